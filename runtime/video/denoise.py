"""Noise removal before the gain would amplify it, by FFmpeg's filters: over time first, then in space.

PyAV includes these filters; they work on planes of 8 to 16 bits and are faster than OpenCV's. hqdn3d does both at once
and is the first choice, but FFmpeg builds without GPL parts, such as PyAV's wheels, lack it. Then atadenoise averages
each pixel over nine frames while it is unchanged, and fftdnoiz thresholds the rest.

The thresholds follow the noise measured in dark areas: detail in one clip is noise in another, and fixed thresholds
would smear all dark motion.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import av
from av.filter import Graph, filters_available
from av.video.frame import VideoFrame

from cliplit.errors import InputError

from ..light.noise import plane_noise
from .encoder import picture_of
from .frames import Frame
from .pyav_reader import PyAVFrame, frame_of

Chain = list[tuple[str, str]]  # filters and their arguments

WINDOW = 9  # frames of atadenoise, which waits for half of them
LEAST_NOISE, MOST_NOISE = 0.3 / 255, 12 / 255  # standard deviation; thresholds stay within
CHANGED = 1.4  # ratio of noise levels that restarts the filters
INTERVAL = 12  # frames between measurements


def chain_of(strength: float, noise: float, available: Iterable[str] = filters_available) -> Chain:
    """Choose the filters for a strength in 0..1 and noise of a standard deviation in (0, 1].

    At 0.5 the thresholds are what noise itself does not pass, at 1 twice that.
    """
    codes = 255 * noise * 2 * strength
    if "hqdn3d" in available:
        return [("hqdn3d", f"{1.5 * codes:.3f}:{1.5 * codes:.3f}:{2.5 * codes:.3f}:{2.5 * codes:.3f}")]
    # Largest difference of one pixel from frame to frame, and of all over the window; luma (0) and chroma (1, 2).
    one, all_of_them = min(3.0 * codes / 255, 0.3), min(7.0 * codes / 255, 1.0)
    limits = ":".join(f"{plane}a={one:.5f}:{plane}b={all_of_them:.5f}" for plane in range(3))
    return [("atadenoise", f"s={WINDOW}:{limits}:p=7"), ("fftdnoiz", f"sigma={min(codes, 30):.3f}:planes=7")]


def denoised(items: Iterable[Any], strength: float) -> Iterator[tuple[Any, Any]]:
    """Pair each item with itself, or each frame with its denoised version: (original, denoised).

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
    """Passes a clip's frames through the filters and returns them with the originals, in order, all by `flush`."""

    def __init__(self, strength: float) -> None:
        if not 0.0 <= strength <= 1.0:
            raise InputError(f"denoise {strength} is outside 0..1")
        self._strength, self._noise, self._taken = strength, LEAST_NOISE, 0
        self._graph: Graph | None = None
        self._waiting: deque[Frame] = deque()

    def push(self, frame: Frame) -> Iterator[tuple[Frame, Frame]]:
        """Add a frame; yield the pairs that are ready."""
        picture = frame.picture if isinstance(frame, PyAVFrame) else picture_of(frame)
        if self._taken % INTERVAL == 0 and self._noise_changed(frame):
            yield from self.flush()
        self._taken += 1
        if self._graph is None:
            self._graph = graph_of(chain_of(self._strength, self._noise), picture, frame.time_base)
        self._waiting.append(frame)
        self._graph.push(picture)
        yield from self._ready(self._graph)

    def flush(self) -> Iterator[tuple[Frame, Frame]]:
        """Yield the pairs still buffered in the filters."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready(self._graph)
            self._graph = None

    def _noise_changed(self, frame: Frame) -> bool:
        numbers = frame.coding.numbers
        plane = frame.planes[1 if frame.coding.rgb else 0]
        measured = plane_noise(plane, numbers.y_offset, numbers.y_scale) or 0.0
        noise = min(max(measured * frame.coding.white, LEAST_NOISE), MOST_NOISE)
        if 1 / CHANGED < noise / self._noise < CHANGED:
            return False
        self._noise = noise
        return True

    def _ready(self, graph: Graph) -> Iterator[tuple[Frame, Frame]]:
        while True:
            try:
                picture = graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            assert isinstance(picture, VideoFrame)
            original = self._waiting.popleft()
            picture.pts, picture.time_base = original.pts, original.time_base
            yield original, frame_of(picture, original.coding, original.scan)


def graph_of(chain: Chain, picture: VideoFrame, time_base: Fraction) -> Graph:
    """Build a filter graph for pictures like this one."""
    graph = Graph()
    last = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=time_base, name="in"
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
