"""When a clip is enhanced: a span of time, and a strength that changes over it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cliplit.errors import InputError

CLOCK = re.compile(r"(?:(?:(\d+):)?([0-5]?\d):)?(\d+(?:\.\d+)?)")


def seconds(text: str) -> float:
    """Parse "12.5", "1:30" or "0:01:30.2"; "end" is infinite. Raises InputError for anything else."""
    if text.strip() == "end":
        return float("inf")
    found = CLOCK.fullmatch(text.strip())
    if not found:
        raise InputError(f"time {text!r}; expected seconds, mm:ss, hh:mm:ss, or end")
    hours, minutes, rest = found.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(rest)


@dataclass(frozen=True)
class StrengthCurve:
    """The strength over time: linear between (second, strength) pairs, constant before and after."""

    pairs: tuple[tuple[float, float], ...]

    @classmethod
    def parse(cls, text: str) -> StrengthCurve:
        """From "0:0,2:1,5:0.5", or one number for all times. Raises InputError for anything else."""
        try:
            pairs = tuple(
                (float(t), float(v))
                for t, v in (pair.split(":") for pair in (text if ":" in text else f"0:{text}").split(","))
            )
        except ValueError:
            raise InputError(f"strength {text!r}; expected a number or second:value pairs, as 0:0,2:1,5:0.5") from None
        if not all(0.0 <= value <= 2.0 for _, value in pairs):
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


@dataclass(frozen=True)
class Schedule:
    """The strength of each second of a clip, 0 outside a span of seconds."""

    curve: StrengthCurve
    span: tuple[float, float] = (0.0, float("inf"))

    def __post_init__(self) -> None:
        if not self.span[0] < self.span[1]:
            raise InputError(f"range {self.span[0]:g} to {self.span[1]:g}: it must end after it starts")

    def __call__(self, second: float) -> float:
        return self.curve.at(second) if self.span[0] <= second < self.span[1] else 0.0
