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

    Attributes:
        moved: how many pictures could not be near their own time.
    """

    def __init__(self, rate: Fraction) -> None:
        self.rate = rate
        self.moved = 0
        self._last: int | None = None

    def __call__(self, frame: Frame) -> Frame:
        """Return the frame at its tick."""
        exact = frame.time * self.rate
        tick = round(exact)
        if self._last is not None:
            tick = max(tick, self._last + 1)
        self.moved += abs(tick - exact) > SLACK
        self._last = tick
        return _at(frame, tick, self.rate)


def _at(frame: Frame, tick: int, rate: Fraction) -> Frame:
    return replace(frame, pts=tick, time_base=1 / rate)
