"""Noise taken out before the gain brings it up: FFmpeg's filters, over time first, then in space.

FFmpeg's, because PyAV carries them, they work on planes of 8 to 16 bits and are faster than what OpenCV offers. hqdn3d
does both at once and is the first choice; FFmpeg builds without GPL parts, such as PyAV's wheels, lack it. Instead
atadenoise averages each pixel over nine frames as long as it stays the same, so nothing that moves is smeared, and
fftdnoiz thresholds what is left.
"""

from __future__ import annotations

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


class Denoiser:
    """Puts a clip's frames through the filters; it looks ahead, so frames come late, and all of them by `flush`."""

    def __init__(self, strength: float) -> None:
        self._chain = chain_of(strength)
        self._graph: Graph | None = None
        self._last: Frame | None = None

    def push(self, frame: Frame) -> Iterator[Frame]:
        """Takes a frame in, gives those that are ready."""
        picture = frame.picture if isinstance(frame, PyAVFrame) else picture_of(frame)
        if self._graph is None:
            self._graph = graph_of(self._chain, picture, frame.time_base)
        self._last = frame
        self._graph.push(picture)
        yield from self._ready()

    def flush(self) -> Iterator[Frame]:
        """Those that were waited with."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready()
            self._graph = None

    def _ready(self) -> Iterator[Frame]:
        assert self._graph is not None and self._last is not None
        while True:
            try:
                picture = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            assert isinstance(picture, VideoFrame)
            picture.time_base = self._last.time_base
            yield frame_of(picture, self._last.coding)


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


def denoised(items: Iterable[Any], strength: float) -> Iterator[Any]:
    """The items of a source with its frames denoised; packets pass at once."""
    denoiser = Denoiser(strength)
    for item in items:
        if isinstance(item, Frame):
            yield from denoiser.push(item)
        else:
            yield item
    yield from denoiser.flush()
