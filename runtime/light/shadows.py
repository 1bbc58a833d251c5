"""What lifted shadows are cleaned of: the steps between codes (debanding) and the noise of chroma.

A gain of four makes a step of one code four codes high, and grain of two codes eight. Both corrections look at a fixed
star of other samples around each one, the taps:

- **Debanding**, of 8 bits: the mean of the taps that differ by at most one code says where between two codes the light
  lies. It moves a sample by less than half a code, so the picture still rounds to itself: where nothing is lifted
  nothing changes, and texture is not lost.
- **Chroma noise reduction**: the mean chroma of the taps that look alike, in luma and in both chromas. How much may
  differ follows the noise that is measured. The correction fades in from a gain of 1 to one of 1.5.

The loops are compiled (`_shadows.c`); `steps_reference` and `alike_reference` define what they compute and take over
where the package was installed without a compiler.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from cliplit.arrays import Array

from .colour import Coding, Planes
from .compiled import shadows as _shadows
from .light_map import Coefficients

Taps = Sequence[tuple[int, int, int]]  # (dy, dx, weight)


def star(rings: Sequence[tuple[int, int]]) -> Taps:
    """Place four taps on each ring of (radius, weight), every ring turned against the one before."""
    taps = []
    for number, (radius, weight) in enumerate(rings):
        for quarter in range(4):
            angle = 0.3 + 1.44 * number + math.pi / 2 * quarter
            taps.append((round(radius * math.sin(angle)), round(radius * math.cos(angle)), weight))
    return tuple(taps)


# Chosen by the largest step that remains of staircases of 2 to 96 samples a code: 0.8 codes down to 0.25.
LUMA_TAPS = star([(1, 3), (3, 2), (7, 1), (13, 1), (22, 1)])
LUMA_UNIT = sum(weight for _, _, weight in LUMA_TAPS)  # what one code is in a sum of steps
FULL_CHROMA_TAPS = star([(2, 1), (7, 1), (13, 1), (22, 1)])  # at luma's size, where JPEG's chroma blocks are 16 wide
CHROMA_TAPS = tuple((round(dy / 2), round(dx / 2), weight) for dy, dx, weight in FULL_CHROMA_TAPS)  # at half its size
REACH = 22  # of the farthest tap

DITHERED = 0.7  # codes of luma's noise from which there are no steps to be seen
LUMA_GATE = 8  # codes of 8 bits in which what looks alike may differ
LEAST_GATE, LARGEST_GATE = 1.5, 12.0  # the same in chroma: without noise a step of one code, and at most
CLEAN = 0.3  # codes of noise up to which a picture counts as clean: rounding to codes alone is 0.29
NOISE_GATE = 6.0  # codes of gate to a code of noise above that
INNER_DEPTH = 14  # bits of what is compared, at most: differences and their sums fit into 16
UNLIKE = (1 << 15) - 1  # a luma far from all others
STRIP = 64  # rows converted at once: what lies between fits into a cache
INNER_WHITE = 255 << (INNER_DEPTH - 8)
JPEG = Coding(0.299, 0.114, full_range=True).numbers  # ITU-T T.871: the Y'CbCr in which RGB is cleaned
LIFTED = 0.3  # stops of gain from which a point of the map is cleaned


@dataclass(frozen=True)
class Cleanup:
    """What is added to a picture before it is lifted.

    Attributes:
        luma: (H, W) int8 in 1 / `LUMA_UNIT` of a code, None where nothing is debanded.
        cb, cr: of the chroma planes' size, float32 in codes; None where there is no chroma.
    """

    luma: Array | None = None
    cb: Array | None = None
    cr: Array | None = None


class Grain(NamedTuple):
    """The standard deviation of noise in a picture's dark parts, of full scale; 0 where it cannot be told."""

    luma: float
    chroma: float


def lifted(coefficients: Coefficients) -> Array:
    """Return which points of the map are lifted, (h, w) bool.

    Luma being from 0 to 1, the light of a point lies between its offset and offset + slope.
    """
    return np.asarray(np.minimum(coefficients.offset, coefficients.offset + coefficients.slope) < -LIFTED)


def lifted_spans(coefficients: Coefficients, size: tuple[int, int]) -> Array:
    """Return between which columns each row of a plane of `size` is lifted: (H, 2) int32, first and behind the last.

    A point more of the map on all sides is taken with it, since it is interpolated between two.
    """
    wide = cv2.dilate(lifted(coefficients).astype(np.uint8), np.ones((3, 3), np.uint8)).view(bool)
    columns, any_there = wide.shape[1], wide.any(axis=1)
    first = np.where(any_there, wide.argmax(axis=1), columns)
    behind = columns - np.where(any_there, wide[:, ::-1].argmax(axis=1), 0)
    return spans_at(np.stack([first, behind], axis=1), columns, size)


def spans_at(spans: Array, width: int, size: tuple[int, int]) -> Array:
    """Return spans in rows of `width` columns as those of a plane of another `size` that shows the same."""
    first, behind = spans[:, 0] * size[1] // width, -(-spans[:, 1] * size[1] // width)
    scaled = np.stack([first, behind], axis=1).astype(np.int32)
    return np.ascontiguousarray(scaled[np.arange(size[0]) * len(spans) // size[0]])


def lifts(coefficients: Coefficients) -> bool:
    """Return whether anything is lifted, so that there is something to clean."""
    return bool(lifted(coefficients).any())


def planes_cleanup(planes: Sequence[Array], depth: int, coefficients: Coefficients, grain: Grain) -> Cleanup:
    """Compute the corrections of Y', or Y', Cb and Cr planes of `depth` bits, zero beside what is lifted in a row.

    Grain hides the steps between codes by itself: then nothing is debanded, which saves time.
    """
    luma = planes[0]
    spans = lifted_spans(coefficients, luma.shape)
    fine = steps(luma, spans) if depth == 8 and 255 * grain.luma < DITHERED else None
    if len(planes) < 3:
        return Cleanup(fine)
    cb, cr = planes[1:3]
    taps = FULL_CHROMA_TAPS if cb.shape == luma.shape else CHROMA_TAPS
    spans = spans_at(spans, luma.shape[1], cb.shape)
    cb_change, cr_change = alike(at_chroma_size(luma, cb), cb, cr, depth, spans, grain.chroma, taps)
    return Cleanup(fine, cb_change, cr_change)


def rgb_cleanup(picture: Array, coefficients: Coefficients, grain: Grain, planes: Planes | None = None) -> Cleanup:
    """Compute the corrections of an (H, W, 3 or 4) uint8, uint16 or float32 picture, as `planes_cleanup`.

    They are of the picture's own numbers, in `JPEG`'s Y'CbCr. `planes` are its `rgb_planes`, if there already.
    """
    spans = lifted_spans(coefficients, picture.shape[:2])
    fine = None
    if picture.dtype == np.uint8:
        luma = cv2.cvtColor(np.ascontiguousarray(picture[..., :3]), cv2.COLOR_RGB2GRAY)
        hidden = transparent(picture)
        fine = steps(luma if hidden is None else np.where(hidden, np.uint8(255), luma), spans)
    changes = alike(*(planes or rgb_planes(picture)), INNER_DEPTH, spans, grain.chroma, FULL_CHROMA_TAPS)
    scale = np.float32((1.0 if picture.dtype == np.float32 else np.iinfo(picture.dtype).max) / INNER_WHITE)
    return Cleanup(fine, *(np.multiply(change, scale, out=change) for change in changes))


def rgb_planes(picture: Array) -> Planes:
    """Return Y', Cb and Cr of a picture, full range, of `INNER_DEPTH` bits, so that all types come out alike.

    What is transparent gets a luma that nothing is alike, whatever it hides.
    """
    y, cb, cr = (np.empty(picture.shape[:2], np.uint16) for _ in range(3))
    for top in range(0, len(picture), STRIP):
        rows = slice(top, top + STRIP)
        y[rows], cr[rows], cb[rows] = cv2.split(cv2.cvtColor(_deep(picture[rows, :, :3]), cv2.COLOR_RGB2YCrCb))
    hidden = transparent(picture)
    if hidden is not None:
        y[hidden], cb[hidden], cr[hidden] = UNLIKE, 0, 0
    return y, cb, cr


def _deep(colour: Array) -> Array:
    """Return (h, w, 3) RGB of any type in codes of `INNER_DEPTH` bits, uint16; what is not a number is black."""
    if colour.dtype == np.uint8:
        return np.multiply(colour, INNER_WHITE // 255, dtype=np.uint16)
    white = np.float32(1.0 if colour.dtype == np.float32 else np.iinfo(colour.dtype).max)
    unit = np.clip(np.nan_to_num(colour / white, nan=0.0), 0, 1)
    return (unit * np.float32(INNER_WHITE) + np.float32(0.5)).astype(np.uint16)


def transparent(picture: Array) -> Array | None:
    """Return where an (H, W, 4) picture's alpha is 0, (H, W); None where nothing is transparent."""
    if picture.shape[2] < 4 or picture[..., 3].all():
        return None
    return np.asarray(picture[..., 3] == 0)


def at_chroma_size(luma: Array, chroma: Array) -> Array:
    """Shrink a luma plane to the size of a chroma plane."""
    if luma.shape == chroma.shape:
        return luma
    return cv2.resize(np.ascontiguousarray(luma), chroma.shape[::-1], interpolation=cv2.INTER_AREA)


def steps(luma: Array, spans: Array) -> Array:
    """Sum the weighted differences of taps that differ by one code: (H, W) int8, in 1 / `LUMA_UNIT` of a code.

    The codes 254 and 255 count as one. What lies outside `spans`, see `lifted_spans`, is 0.
    """
    padded = _padded(luma)
    cv2.threshold(padded, 254, 254, cv2.THRESH_TRUNC, padded)  # numpy's minimum takes eight times as long
    if _shadows is None:
        return steps_reference(padded, spans)
    out = np.empty(luma.shape, np.int8)
    _shadows.steps(padded, REACH, LUMA_TAPS, spans, out)
    return out


def steps_reference(padded: Array, spans: Array) -> Array:
    """Compute `steps` in numpy."""
    middle = _at(padded, 0, 0).astype(np.int16)
    total = np.zeros(middle.shape, np.int16)
    for dy, dx, weight in LUMA_TAPS:
        difference = _at(padded, dy, dx) - middle
        total += np.where(np.abs(difference) <= 1, difference, 0) * weight
    bound = (LUMA_UNIT - 1) // 2
    return (np.clip(total, -bound, bound) * within(spans, middle.shape[1])).astype(np.int8)


def within(spans: Array, width: int) -> Array:
    """Return what lies in spans of rows, (H, width) bool."""
    column = np.arange(width)
    return np.asarray((column >= spans[:, :1]) & (column < spans[:, 1:]))


def alike(luma: Array, cb: Array, cr: Array, depth: int, spans: Array, noise: float, taps: Taps) -> tuple[Array, Array]:
    """Average how taps that look alike differ in chroma: Cb's and Cr's mean difference, (h, w) float32 in codes."""
    if depth > INNER_DEPTH:
        shift = depth - INNER_DEPTH
        cb_change, cr_change = alike(luma >> shift, cb >> shift, cr >> shift, INNER_DEPTH, spans, noise, taps)
        return cb_change * np.float32(1 << shift), cr_change * np.float32(1 << shift)
    code = 1 << (depth - 8)
    gate = int(min(LEAST_GATE + NOISE_GATE * max(255 * noise - CLEAN, 0.0), LARGEST_GATE) * code)
    padded = [_padded(plane) for plane in (luma, cb, cr)]
    if _shadows is None:
        return alike_reference(padded, taps, spans, LUMA_GATE * code, gate)
    out = np.empty(cb.shape, np.float32), np.empty(cb.shape, np.float32)
    _shadows.alike(*padded, REACH, taps, spans, LUMA_GATE * code, gate, *out)
    return out


def alike_reference(
    padded: Sequence[Array], taps: Taps, spans: Array, luma_gate: int, gate: int
) -> tuple[Array, Array]:
    """Compute `alike` in numpy."""
    middles = [_at(plane, 0, 0).astype(np.int32) for plane in padded]
    cb, cr = np.zeros((2, *middles[0].shape), np.int32)
    count = np.ones(middles[0].shape, np.int32)
    inside = within(spans, middles[0].shape[1])
    for dy, dx, _ in taps:
        far = [_at(plane, dy, dx) - middle for plane, middle in zip(padded, middles, strict=True)]
        near = (np.abs(far[0]) <= luma_gate) & (np.abs(far[1]) <= gate) & (np.abs(far[2]) <= gate) & inside
        cb, cr, count = cb + far[1] * near, cr + far[2] * near, count + near
    return tuple(total.astype(np.float32) / count.astype(np.float32) for total in (cb, cr))  # type: ignore[return-value]


def _padded(plane: Array) -> Array:
    """Mirror a plane at its edges as far as taps reach."""
    return cv2.copyMakeBorder(plane, REACH, REACH, REACH, REACH, cv2.BORDER_REFLECT)


def _at(padded: Array, dy: int, dx: int) -> Array:
    height, width = padded.shape[0] - 2 * REACH, padded.shape[1] - 2 * REACH
    return padded[REACH + dy : REACH + dy + height, REACH + dx : REACH + dx + width]
