"""The area of a clip that is enhanced, with a soft edge."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import cv2
import numpy as np

from cliplit.arrays import Array
from cliplit.errors import InputError

from .bars import Area
from .light_map import Coefficients

FEATHER = 0.12  # of the area's shorter side
FINEST = 8  # coefficient samples that an area's shorter side must span


@dataclass(frozen=True)
class Region:
    """The area to enhance, in pixels of the stored picture: left, top, width, height.

    `hard` tells of top, bottom, left and right whether that edge is the picture's own; None lets the numbers tell.
    """

    x: int
    y: int
    width: int
    height: int
    hard: tuple[bool, bool, bool, bool] | None = None

    @classmethod
    def parse(cls, text: str) -> Region:
        """Parse "x,y,w,h". Raises InputError for anything else."""
        numbers = text.split(",")
        if len(numbers) != 4 or not all(re.fullmatch(r"\s*\d+\s*", number) for number in numbers):
            raise InputError(f"area {text!r}; expected x,y,w,h in pixels, such as 100,50,640,480")
        x, y, width, height = map(int, numbers)
        region = cls(x, y, width, height)
        if not region.width or not region.height:
            raise InputError(f"area {text!r} is empty")
        return region

    def check(self, width: int, height: int) -> None:
        """Check that part of the area lies in a picture of this size. Raises InputError if not."""
        if self.x >= width or self.y >= height:
            raise InputError(f"area {self.x},{self.y},{self.width},{self.height} lies outside {width}x{height}")

    @property
    def area(self) -> Area:
        """Rows and columns of it."""
        return Area(self.y, self.y + self.height, self.x, self.x + self.width)

    def seen_from(self, seen: Area, height: int, width: int) -> Region:
        """Return the same area in an (height, width) picture's part `seen`.

        Its edges are soft there, too, but for those that are the picture's own, or lie in bars around that part.
        """
        bottom, right = self.y + self.height, self.x + self.width
        hard = (
            self.y <= 0 or self.y < seen.top, bottom >= height or bottom > seen.bottom,
            self.x <= 0 or self.x < seen.left, right >= width or right > seen.right,
        )  # fmt: skip
        return replace(self, x=self.x - seen.left, y=self.y - seen.top, hard=hard)

    def within(self, coefficients: Coefficients, height: int, width: int) -> Coefficients:
        """Restrict coefficients to the area in an (height, width) picture: outside, the gain is exactly 1.

        The logarithm of the gain is faded in, within the area; an edge that is the picture's own is not faded.
        """
        slope, offset = coefficients.slope, coefficients.offset
        rows, columns = slope.shape
        finer = min(1.0, self.height * rows / height / FINEST, self.width * columns / width / FINEST)
        if finer < 1.0:  # a small area needs a finer grid to have soft edges
            rows, columns = (min(side, round(count / finer)) for side, count in ((height, rows), (width, columns)))
            slope, offset = (cv2.resize(m, (columns, rows), interpolation=cv2.INTER_LINEAR) for m in (slope, offset))
        feather = FEATHER * min(self.width, self.height)
        down_hard, across_hard = (self.hard[:2], self.hard[2:]) if self.hard else (None, None)
        down = ramp(self.y, self.height, height, rows, feather, down_hard)
        across = ramp(self.x, self.width, width, columns, feather, across_hard)
        mask = np.outer(down, across).astype(np.float32)
        return replace(coefficients, slope=slope * mask, offset=offset * mask)


def ramp(
    start: int, length: int, side: int, samples: int, feather: float, hard: tuple[bool, bool] | None = None
) -> Array:
    """Compute weights of `samples` along a side: 0 outside, rising smoothly to 1 over `feather` pixels inside.

    They stay 0 as far inside as interpolation reaches. A hard first or last edge has no such rise; without
    `hard` that is one at the side's own end.
    """
    hard = hard or (start <= 0, start + length >= side)
    step = side / samples
    place = (np.arange(samples) + 0.5) * step
    before = np.inf if hard[0] else place - start
    after = np.inf if hard[1] else start + length - place
    reach = step if samples < side else 0.5
    share = np.clip((np.minimum(before, after) * np.ones(samples) - reach) / max(feather, 1e-6), 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)
