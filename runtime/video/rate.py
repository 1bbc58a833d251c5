"""A constant frame rate, on request (`--cfr`): each tick shows the frame the source showed then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

from .frames import Clip, Frame

CONSTANT = {
    "yuv4mpegpipe",
    "avi",
    "h264",
    "hevc",
    "mpeg2video",
    "mxf",
    "dv",
}  # a rate in place of times
WITHOUT_GAPS = CONSTANT - {"avi", "mxf"}  # every picture follows the one before it
RATES_ALONE = ("mpeg1video", "mpeg2video")  # encoders that take one of a few rates as the unit of their times
MPEG4_MOST = 65535  # ticks a second in MPEG-4 part 2 (ISO/IEC 14496-2, vop_time_increment_resolution)
MPEG4_TICKS = Fraction(30000)  # in place of more
SLACK = Fraction(3, 4)  # ticks that a picture may be moved without a word


def at_rate(clip: Clip, rate: Fraction) -> Clip:
    """Return the clip's description after `constant_rate`."""
    expected = clip.expected_frames
    if expected is not None and clip.rate:
        expected = round(expected * rate / clip.rate)
    return replace(clip, rate=rate, time_base=1 / rate, expected_frames=expected, steady=True)


def constant_rate(
    items: Iterable[Any], rate: Fraction, until: Callable[[], Fraction | None] = lambda: None
) -> Iterator[Any]:
    """Repeat and drop frames so that their times are multiples of 1 / rate; packets pass through.

    A frame is shown from the multiple nearest to its own time until the next frame's, the last one once. Where the
    clip goes on behind the items, `until` says behind them at which time.
    """
    shown: Frame | None = None
    tick = 0
    for item in items:
        if not isinstance(item, Frame):
            yield item
            continue
        start = round(item.time * rate)
        if shown is None:
            tick = start
        else:
            for number in range(tick, start):
                yield _at(shown, number, rate)
            tick = max(tick, start)
        shown = item
    if shown is not None:
        end = until()
        for number in range(tick, tick + 1 if end is None else round(end * rate)):
            yield _at(shown, number, rate)


class Slots:
    """Puts pictures on the ticks of a constant rate, each on one of its own: for containers that have no other times.

    Args:
        rate: ticks a second.
        gaps: whether ticks may be empty; otherwise the container closes them up.

    Attributes:
        moved: how many pictures could not be near their own time.
    """

    def __init__(self, rate: Fraction, gaps: bool = True) -> None:
        self.rate, self.gaps = rate, gaps
        self._first: Fraction | None = None
        self._count = 0
        self.moved = 0
        self._last: int | None = None

    def __call__(self, frame: Frame) -> Frame:
        """Return the frame at its tick."""
        exact = frame.time * self.rate
        tick = round(exact)
        if self._last is not None:
            tick = max(tick, self._last + 1)
        if self._first is None:
            self._first = exact
        shown = tick if self.gaps else self._first + self._count
        self.moved += abs(shown - exact) > SLACK
        self._count += 1
        self._last = tick
        return _at(frame, tick, self.rate)


def _at(frame: Frame, tick: int, rate: Fraction) -> Frame:
    return replace(frame, pts=tick, time_base=1 / rate)
