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
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.filter import Graph, filters_available
from av.video.frame import VideoFrame

from cliplit.errors import InputError

from ..light.noise import plane_noise
from .encoder import picture_of
from .frames import Frame
from .pyav_frame import PyAVFrame, frame_of

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


@dataclass(frozen=True)
class Memory:
    """What the filters have to be given again to go on at a frame as if they had not been interrupted.

    Attributes:
        noise: the level that their thresholds follow.
        taken: frames taken before.
        start: pts of the first frame to give them; what comes out before the frame itself is dropped.
    """

    noise: float
    taken: int
    start: int


def denoised(
    items: Iterable[Any],
    strength: float,
    memory: Memory | None = None,
    begin: int | None = None,
    resumable: bool = False,
) -> Iterator[tuple[Any, Any, Memory | None]]:
    """Pair each item with itself, or each frame with its denoised version: (original, denoised, memory).

    The filters look ahead, so frames come some frames later than packets, which pass at once. With the `memory` of the
    frame of pts `begin`, and items from its `start` on, the frames from `begin` on are those of an uninterrupted run;
    `resumable` leaves out hqdn3d, which remembers everything.
    """
    if not strength:
        for item in items:
            yield item, item, None
        return
    denoiser = Denoiser(strength, memory, resumable)
    for item in items:
        if isinstance(item, Frame):
            yield from (pair for pair in denoiser.push(item) if begin is None or pair[0].pts >= begin)
        else:
            yield item, item, None
    yield from (pair for pair in denoiser.flush() if begin is None or pair[0].pts >= begin)


class Denoiser:
    """Passes a clip's frames through the filters and returns them with the originals, in order, all by `flush`."""

    def __init__(self, strength: float, memory: Memory | None = None, resumable: bool = False) -> None:
        if not 0.0 <= strength <= 1.0:
            raise InputError(f"denoise {strength} is outside 0..1")
        self._strength, self._noise, self._taken = strength, LEAST_NOISE, 0
        if memory is not None:
            self._noise, self._taken = memory.noise, memory.taken
        self._available = filters_available - {"hqdn3d"} if resumable else filters_available
        self._graph: Graph | None = None
        self._waiting: deque[tuple[Frame, Memory]] = deque()
        self._recent: deque[tuple[int, int]] = deque(maxlen=WINDOW)  # (pts, frames before it) of those in the filters

    def push(self, frame: Frame) -> Iterator[tuple[Frame, Frame, Memory]]:
        """Add a frame; yield what is ready."""
        picture = frame.picture if isinstance(frame, PyAVFrame) else picture_of(frame)
        if self._taken % INTERVAL == 0 and self._noise_changed(frame):
            yield from self.flush()
        self._recent.append((frame.pts, self._taken))
        start, taken = self._recent[max(0, len(self._recent) - 1 - WINDOW // 2)]
        # A level that is measured again is the same: at the frames before, it was this one already.
        memory = Memory(self._noise, taken, start)
        self._taken += 1
        if self._graph is None:
            self._graph = graph_of(chain_of(self._strength, self._noise, self._available), picture, frame.time_base)
        self._waiting.append((frame, memory))
        self._graph.push(picture)
        yield from self._ready(self._graph)

    def flush(self) -> Iterator[tuple[Frame, Frame, Memory]]:
        """Yield what is still buffered in the filters."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready(self._graph)
            self._graph = None
            self._recent.clear()

    def _noise_changed(self, frame: Frame) -> bool:
        numbers = frame.coding.numbers
        plane = frame.planes[1 if frame.coding.rgb else 0]
        measured = plane_noise(plane, numbers.y_offset, numbers.y_scale) or 0.0
        noise = min(max(measured * frame.coding.white, LEAST_NOISE), MOST_NOISE)
        if 1 / CHANGED < noise / self._noise < CHANGED:
            return False
        self._noise = noise
        return True

    def _ready(self, graph: Graph) -> Iterator[tuple[Frame, Frame, Memory]]:
        while True:
            try:
                picture = graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            assert isinstance(picture, VideoFrame)
            original, memory = self._waiting.popleft()
            picture.pts, picture.time_base = original.pts, original.time_base
            yield original, frame_of(picture, original.coding, original.scan), memory


def graph_of(chain: Chain, picture: VideoFrame, time_base: Fraction) -> Graph:
    """Build a filter graph for pictures like this one."""
    graph = Graph()
    graph.threads = 1  # with more, fftdnoiz gives a few other codes each time
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
