"""The area of a clip that is enhanced, with a soft edge."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import cv2
import numpy as np

from cliplit.arrays import Array
from cliplit.errors import InputError

from .light_map import Coefficients

FEATHER = 0.12  # of the area's shorter side
FINEST = 8  # coefficient samples that an area's shorter side must span


@dataclass(frozen=True)
class Region:
    """The area to enhance, in pixels of the stored picture: left, top, width, height."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> Region:
        """Parse "x,y,w,h". Raises InputError for anything else."""
        numbers = text.split(",")
        if len(numbers) != 4 or not all(re.fullmatch(r"\s*\d+\s*", number) for number in numbers):
            raise InputError(f"area {text!r}; expected x,y,w,h in pixels, such as 100,50,640,480")
        region = cls(*map(int, numbers))
        if not region.width or not region.height:
            raise InputError(f"area {text!r} is empty")
        return region

    def check(self, width: int, height: int) -> None:
        """Check that part of the area lies in a picture of this size. Raises InputError if not."""
        if self.x >= width or self.y >= height:
            raise InputError(f"area {self.x},{self.y},{self.width},{self.height} lies outside {width}x{height}")

    def seen_from(self, x: int, y: int) -> Region:
        """Return the same area of a picture whose corner lies at (x, y) of this one's."""
        return replace(self, x=self.x - x, y=self.y - y)

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
        down = ramp(self.y, self.height, height, rows, feather)
        mask = np.outer(down, ramp(self.x, self.width, width, columns, feather)).astype(np.float32)
        return replace(coefficients, slope=slope * mask, offset=offset * mask)


def ramp(start: int, length: int, side: int, samples: int, feather: float) -> Array:
    """Compute weights of `samples` along a side: 0 outside, rising smoothly to 1 over `feather` pixels inside.

    They stay 0 as far inside as interpolation reaches.
    """
    step = side / samples
    place = (np.arange(samples) + 0.5) * step
    before = np.inf if start <= 0 else place - start
    after = np.inf if start + length >= side else start + length - place
    reach = step if samples < side else 0.5
    share = np.clip((np.minimum(before, after) * np.ones(samples) - reach) / max(feather, 1e-6), 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)
