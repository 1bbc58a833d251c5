"""What of a picture is picture: found between bars, frames and margins of one colour, on any of its four sides.

Bars are no part of the scene, and a light map must not take them for its darkness or its light. So the network is shown
what lies between them, and nothing else changes: a letterboxed picture comes out as the same picture without bars.

A side has a bar where its outermost lines are all of one colour, from edge to edge, and the line behind them differs
from it over most of its length. A clear sky, whose border is not straight, or the dark around a face is no bar.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from cliplit.arrays import Array

SAME = 5.0  # of 255: how far samples of one colour may lie apart; compression leaves that
FLAT = 1.5  # of 255: how far the colour may drift over a bar; a smooth sky's does further
DIFFERENT = 8.0  # of 255: what lies further from the bar's colour is certainly not the bar
SOFT = 0.012  # of the side, and at least two lines, over which a bar may fade into the picture
RINGING = 16  # lines, the same for what compression makes of a thick bar's edge
MOST = 0.5  # of a line that differs from the bar, where the picture begins
DARK, SAME_DARK, MOST_OF_DARK = 24.0, 2.0, 0.15  # of 255, and the same for dark bars: night is dark along them, too
ALL = 0.997  # of a line that is of one colour, within a bar
NEARLY = 0.9  # the same, where compression frays its edge
TEXT = 0.55  # of a line that is of the bar's colour, where there may be subtitles in it
THIN = 0.006  # of the side: a thinner bar is a scan's edge and not worth a change of view
LEAST = 0.2  # of a side that is picture: more than the rest are no bars
SAMPLES = 480  # looked at across


@dataclass(frozen=True)
class Area:
    """Rows [top, bottom) and columns [left, right) of a picture."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.bottom - self.top, self.right - self.left

    def within(self, other: Area) -> Area | None:
        """Return what both cover; None for nothing."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom, right = min(self.bottom, other.bottom), min(self.right, other.right)
        return Area(top, bottom, left, right) if top < bottom and left < right else None

    def aligned(self, rows: int, columns: int, height: int, width: int) -> Area:
        """Grown within the picture to edges that are multiples: chroma and fields have no others."""
        top, left = self.top - self.top % rows, self.left - self.left % columns
        bottom, right = self.bottom + -self.bottom % rows, self.right + -self.right % columns
        return Area(top, min(bottom, height), left, min(right, width))

    def reframed(self, values: Array, to: Area, shape: tuple[int, ...], border: int = cv2.BORDER_REPLICATE) -> Array:
        """Resample a map of this area to one of `shape` of another area of the picture."""
        lines = []
        for axis, (own, new) in enumerate(((self.top, to.top), (self.left, to.left))):
            step = to.size[axis] / shape[axis]
            at = new - own + (np.arange(shape[axis]) + 0.5) * step
            lines.append((at * values.shape[axis] / self.size[axis] - 0.5).astype(np.float32))
        x, y = np.meshgrid(lines[1], lines[0])
        return cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=border)


def whole(height: int, width: int) -> Area:
    return Area(0, height, 0, width)


def picture_area(picture: Array, white: float) -> Area:
    """Find the part between the bars; all of it where there are none, or where nothing else is there.

    Args:
        picture: (H, W) luma or (H, W, channels) of any type.
        white: the value of white there.
    """
    height, width = picture.shape[:2]
    area = whole(height, width)
    for _ in range(2):  # a frame's sides reach into each other's lines: rows first, columns between them, rows again
        top, bottom = _edges(picture[:, area.left : area.right], white)
        left, right = _edges(picture[top:bottom].swapaxes(0, 1), white)
        area = Area(top, bottom, left, right)
    rows, columns = area.size
    return area if rows >= LEAST * height and columns >= LEAST * width else whole(height, width)


def _edges(lines: Array, white: float) -> tuple[int, int]:
    """Find [first, last) of the lines along axis 0 that are picture."""
    step = max(1, lines.shape[1] // SAMPLES)
    thin = lines[:, ::step]
    count = len(lines)
    first = _bar(thin, white)
    last = count - _bar(thin[::-1], white)
    return (first, last) if first < last else (0, count)


def _bar(lines: Array, white: float) -> int:
    """Count the first lines that are a bar; 0 for none."""
    unit = white / 255
    colour = _median(lines[0])
    found = _flat(lines, colour, SAME * unit, MOST, unit)
    if not found and (colour <= DARK * unit).all():
        found = _flat(lines, colour, SAME_DARK * unit, MOST_OF_DARK, unit)
    return found


def _flat(lines: Array, colour: Array, same: float, most: float, unit: float) -> int:
    """Count the first lines that are of this colour, if enough of what follows them differs; 0 otherwise."""
    if _share(lines[:1], colour, same)[0] < ALL:
        return 0
    shares: list[Array] = []
    wide, at = 16, 0
    while at < len(lines):  # most pictures have no bars, and those that have none are done with a few lines
        shares.append(_share(lines[at : at + wide], colour, same))
        at += wide
        if shares[-1][-1] < TEXT:
            break
        wide *= 2
    share = np.concatenate(shares)
    begun = np.flatnonzero(share < TEXT)
    end = int(begun[0]) if begun.size else len(share)
    bar = int(np.flatnonzero(share[:end] >= ALL)[-1]) + 1
    drift = np.abs(_median(lines[bar // 2]) - colour)
    if (drift > FLAT * unit).any():
        return 0
    while bar < end and share[bar] >= NEARLY:
        bar += 1
    reach = max(2, min(RINGING, 2 * bar), round(SOFT * len(lines)))
    behind = lines[bar : bar + reach + 1]
    if not len(behind):
        return len(lines)
    edge = _median(lines[bar - 1])
    if bar < THIN * len(lines) or 1.0 - _share(behind, edge, DIFFERENT * unit).min() < most:
        return 0
    return bar


def _median(line: Array) -> Array:
    """Compute the (upper) median of (n,) samples or (n, channels), float32; several times as fast as numpy's own."""
    middle = len(line) // 2
    return np.asarray(np.partition(line, middle, axis=0)[middle], np.float32)


def _share(lines: Array, colour: Array, tolerance: float) -> Array:
    """Compute (n,): what share of each line lies within the tolerance of the colour."""
    far: Array = np.abs(lines.astype(np.float32) - colour)
    if far.ndim == 3:
        far = far.max(axis=2)
    share: Array = 1.0 - (far > tolerance).mean(axis=1)
    return share
