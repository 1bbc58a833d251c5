"""Noise taken out before the gain brings it up: FFmpeg's filters, over time first, then in space.

FFmpeg's, because PyAV carries them, they work on planes of 8 to 16 bits and are faster than what OpenCV offers. hqdn3d
does both at once and is the first choice; FFmpeg builds without GPL parts, such as PyAV's wheels, lack it. Instead
atadenoise averages each pixel over nine frames as long as it stays the same, so nothing that moves is smeared, and
fftdnoiz thresholds what is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import av
from av.filter import Graph, filters_available
from av.video.frame import VideoFrame
from cliplit.runtime.pyav_reader import PyAVFrame, frame_of
from cliplit.runtime.pyav_writer import picture_of
from cliplit.runtime.source import Frame

from cliplit.errors import InputError

Chain = list[tuple[str, str]]  # filters and their arguments

WINDOW = 9  # frames of atadenoise, which waits for half of them


def chain_of(strength: float, available: Iterable[str] = filters_available) -> Chain:
    """The filters for a strength in 0..1."""
    if not 0.0 <= strength <= 1.0:
        raise InputError(f"denoise {strength} is outside 0..1")
    if "hqdn3d" in available:
        return [("hqdn3d", f"{8 * strength:.3f}:{6 * strength:.3f}:{12 * strength:.3f}:{9 * strength:.3f}")]
    # Thresholds of one pixel and of the sum over the window, for luma (0) and chroma (1, 2).
    one, all_of_them = 0.12 * strength, 0.24 * strength
    limits = ":".join(f"{plane}a={one:.4f}:{plane}b={all_of_them:.4f}" for plane in range(3))
    return [("atadenoise", f"s={WINDOW}:{limits}:p=7"), ("fftdnoiz", f"sigma={4 * strength:.3f}:planes=7")]


def denoised(items: Iterable[Any], strength: float) -> Iterator[tuple[Any, Any]]:
    """Each item of a source with itself, or each frame with its denoised version: (original, denoised).

    The filters look ahead, so frames come some frames later than packets, which pass at once.
    """
    if not strength:
        for item in items:
            yield item, item
        return
    denoiser = Denoiser(strength)
    for item in items:
        if isinstance(item, Frame):
            yield from denoiser.push(item)
        else:
            yield item, item
    yield from denoiser.flush()


class Denoiser:
    """Puts a clip's frames through the filters and gives them back beside the originals, in order, all by `flush`."""

    def __init__(self, strength: float) -> None:
        self._chain = chain_of(strength)
        self._graph: Graph | None = None
        self._waiting: deque[Frame] = deque()

    def push(self, frame: Frame) -> Iterator[tuple[Frame, Frame]]:
        """Takes a frame in, gives those that are ready."""
        picture = frame.picture if isinstance(frame, PyAVFrame) else picture_of(frame)
        if self._graph is None:
            self._graph = graph_of(self._chain, picture, frame.time_base)
        self._waiting.append(frame)
        self._graph.push(picture)
        yield from self._ready(self._graph)

    def flush(self) -> Iterator[tuple[Frame, Frame]]:
        """Those that were waited with."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready(self._graph)

    def _ready(self, graph: Graph) -> Iterator[tuple[Frame, Frame]]:
        while True:
            try:
                picture = graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            assert isinstance(picture, VideoFrame)
            original = self._waiting.popleft()
            picture.pts, picture.time_base = original.pts, original.time_base
            yield original, frame_of(picture, original.coding)


def graph_of(chain: Chain, picture: VideoFrame, time_base: Fraction) -> Graph:
    """A filter graph for pictures like this one."""
    graph = Graph()
    last = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format.name, time_base=time_base, name="in"
    )
    for name, arguments in chain:
        context = graph.add(name, arguments)
        last.link_to(context)
        last = context
    last.link_to(graph.add("buffersink"))
    try:
        graph.configure()
    except av.FFmpegError as error:
        raise InputError(f"{picture.format.name} frames cannot be denoised ({error.strerror})") from error
    return graph
