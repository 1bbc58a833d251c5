"""Where and when a clip is enhanced: an area with a soft edge, a span of time, a strength that changes."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from cliplit.runtime.light_map import Coefficients

from cliplit.arrays import Array
from cliplit.errors import InputError

FEATHER = 0.12  # of the area's shorter side
FINEST = 8  # coefficient samples that an area's shorter side must span
CLOCK = re.compile(r"(?:(?:(\d+):)?([0-5]?\d):)?(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Region:
    """The area to enhance, in pixels of the stored picture: left, top, width, height."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> Region:
        """From "x,y,w,h". Raises InputError for anything else."""
        numbers = text.split(",")
        if len(numbers) != 4 or not all(re.fullmatch(r"\s*\d+\s*", number) for number in numbers):
            raise InputError(f"area {text!r}; expected x,y,w,h in pixels, such as 100,50,640,480")
        region = cls(*map(int, numbers))
        if not region.width or not region.height:
            raise InputError(f"area {text!r} is empty")
        return region

    def check(self, width: int, height: int) -> None:
        """Raises InputError where nothing of it lies in a picture of this size."""
        if self.x >= width or self.y >= height:
            raise InputError(f"area {self.x},{self.y},{self.width},{self.height} lies outside {width}x{height}")

    def within(self, coefficients: Coefficients, height: int, width: int) -> Coefficients:
        """Those that enhance only the area of an (height, width) picture: outside, the gain is exactly 1.

        The logarithm of the gain is faded in, within the area; an edge that is the picture's own is not faded.
        """
        slope, offset = coefficients.slope, coefficients.offset
        rows, columns = slope.shape
        finer = min(
            1.0,
            self.height * rows / height / FINEST,
            self.width * columns / width / FINEST,
        )
        if finer < 1.0:  # a small area needs a finer grid to have soft edges
            rows, columns = (min(side, round(count / finer)) for side, count in ((height, rows), (width, columns)))
            slope, offset = (cv2.resize(m, (columns, rows), interpolation=cv2.INTER_LINEAR) for m in (slope, offset))
        feather = FEATHER * min(self.width, self.height)
        down = ramp(self.y, self.height, height, rows, feather)
        mask = np.outer(down, ramp(self.x, self.width, width, columns, feather)).astype(np.float32)
        return replace(coefficients, slope=slope * mask, offset=offset * mask)


def ramp(start: int, length: int, side: int, samples: int, feather: float) -> Array:
    """Weights of `samples` along a picture's side: 0 outside and as far inside as interpolation reaches, then rising
    smoothly to 1 over `feather` pixels."""
    step = side / samples
    place = (np.arange(samples) + 0.5) * step
    before = np.inf if start <= 0 else place - start
    after = np.inf if start + length >= side else start + length - place
    reach = step if samples < side else 0.5
    share = np.clip((np.minimum(before, after) * np.ones(samples) - reach) / max(feather, 1e-6), 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


def seconds(text: str) -> float:
    """From "12.5", "1:30" or "0:01:30.2"; "end" is infinite. Raises InputError for anything else."""
    if text.strip() == "end":
        return float("inf")
    found = CLOCK.fullmatch(text.strip())
    if not found:
        raise InputError(f"time {text!r}; expected seconds, mm:ss, hh:mm:ss, or end")
    hours, minutes, rest = found.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(rest)


@dataclass(frozen=True)
class Moments:
    """The strength over time: linear between (second, strength) pairs, constant before and after."""

    pairs: tuple[tuple[float, float], ...]

    @classmethod
    def parse(cls, text: str) -> Moments:
        """From "0:0,2:1,5:0.5", or one number for all times. Raises InputError for anything else."""
        try:
            pairs = tuple(
                (float(t), float(v))
                for t, v in (pair.split(":") for pair in (text if ":" in text else f"0:{text}").split(","))
            )
        except ValueError:
            raise InputError(f"strength {text!r}; expected a number or second:value pairs, as 0:0,2:1,5:0.5") from None
        if len(pairs) > 1 and not all(0.0 <= value <= 2.0 for _, value in pairs):  # one value is the enhancer's
            raise InputError(f"strength {text!r}: a value is outside 0..2")
        if any(b[0] <= a[0] for a, b in pairwise(pairs)):
            raise InputError(f"strength {text!r}: the seconds must increase")
        return cls(pairs)

    @property
    def highest(self) -> float:
        return max(value for _, value in self.pairs)

    @property
    def lowest(self) -> float:
        return min(value for _, value in self.pairs)

    def at(self, second: float) -> float:
        times, values = zip(*self.pairs, strict=True)
        return float(np.interp(second, times, values))


class Schedule:
    """The strength of each moment of a clip, 0 outside a span; seconds count from the first frame it is asked for."""

    def __init__(self, moments: Moments, span: tuple[float, float] = (0.0, float("inf"))) -> None:
        if not span[0] < span[1]:
            raise InputError(f"range {span[0]:g} to {span[1]:g}: it must end after it starts")
        self.moments, self.span = moments, span
        self._start: Fraction | None = None

    def __call__(self, time: Fraction) -> float:
        if self._start is None:
            self._start = time
        second = float(time - self._start)
        return self.moments.at(second) if self.span[0] <= second < self.span[1] else 0.0

    def state(self) -> dict[str, Any]:
        """What it remembers (`source.Stateful`)."""
        start = self._start
        return {} if start is None else {"numerator": start.numerator, "denominator": start.denominator}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        if state:
            self._start = Fraction(int(state["numerator"]), int(state["denominator"]))
