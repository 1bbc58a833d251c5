"""Noise of a picture's dark parts, measured at full size, and the largest gain that keeps it invisible.

The noise of a block is the median of a high-pass filter that ignores flat and sloping light (Immerkaer, CVIU 1996).
Texture only adds to it, so a low quantile over the dark blocks estimates the noise. Blocks clipped to black are left
out; there, JPEG's steps on its 8x8 grid count as noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from cliplit.arrays import Array
from cliplit.constants import LUMA_WEIGHTS, MAX_GAIN

from .colour import Planes
from .gain import WHITE
from .shadows import INNER_WHITE, Grain, at_chroma_size

BLOCK = 16  # two of JPEG's and of H.264's transforms
ROWS, COLUMNS = 15, 20  # sampled blocks: a few milliseconds
DARKEST, DARK = 0.012, 0.30  # mean luma of the blocks that count
CLIPPED = 0.2  # share of a block's pixels at its lowest code from which it counts as clipped ...
NEAR_BLACK = 0.02  # ... if that code is so dark
QUANTILE = 0.15  # of the dark blocks, the flattest first
QUANTILE_BIAS = 0.90  # what that quantile of blocks of pure noise is of their noise
FEWEST = 8  # blocks needed for an answer
LARGEST_STEP = 0.03  # of luma, that one block adds to the mean step on JPEG's grid
GRID_WEIGHT = 1.5  # of those steps of chroma next to noise: they are a mean, of blocks with steps and without
VISIBLE = 0.045  # standard deviation of noise that may be seen in the result, of white
LEAST_GAIN = 3.0  # what a noisy picture still gets
SETTLING = 0.5  # seconds in which a clip's limit follows
INTERVAL = 0.15  # seconds between measurements of a clip
GRAIN_INTERVAL = 0.6  # the same of its grain, which takes six times as long


def picture_noise(picture: Array) -> float | None:
    """Estimate the noise of the dark parts of (H, W, 3 or 4) RGB as `level_of_blocks`; converts sampled blocks only."""
    blocks = sample_blocks(picture[..., :3]).astype(np.float32) / np.float32(WHITE[picture.dtype])
    return level_of_blocks(np.nan_to_num(blocks, nan=0.0, posinf=1.0) @ np.array(LUMA_WEIGHTS, np.float32))


def plane_noise(plane: Array, black: float, scale: float) -> float | None:
    """Estimate the noise of a Y' plane whose codes c mean ``(c - black) * scale``, as `level_of_blocks`."""
    return level_of_blocks((sample_blocks(plane).astype(np.float32) - np.float32(black)) * np.float32(scale))


def sample_blocks(picture: Array) -> Array:
    """Sample (n, 16, 16, ...) blocks on an even grid whose corners are multiples of 8."""
    height, width = picture.shape[:2]
    if height < BLOCK or width < BLOCK:
        return np.empty((0, BLOCK, BLOCK, *picture.shape[2:]), picture.dtype)
    tops, lefts = (
        np.unique(np.linspace(0, side - BLOCK, min(count, max(1, side // BLOCK))).astype(int) // 8 * 8)
        for side, count in ((height, ROWS), (width, COLUMNS))
    )
    inside = np.arange(BLOCK)
    rows, columns = (tops[:, None] + inside).ravel(), (lefts[:, None] + inside).ravel()
    grid = picture[rows][:, columns]
    shape = (len(tops), BLOCK, len(lefts), BLOCK, *picture.shape[2:])
    return grid.reshape(shape).swapaxes(1, 2).reshape(-1, BLOCK, BLOCK, *picture.shape[2:])


def level_of_blocks(blocks: Array) -> float | None:
    """Estimate the standard deviation of noise in dark blocks, (n, 16, 16) luma in [0, 1].

    Returns None if too few blocks are dark, or all of them are clipped.
    """
    if not len(blocks):
        return None
    mean = blocks.mean(axis=(1, 2))
    blocks = blocks[(mean > DARKEST) & (mean < DARK)]
    if len(blocks) < FEWEST:
        return None
    lowest = blocks.min(axis=(1, 2))
    clipped = (lowest < NEAR_BLACK) & ((blocks <= lowest[:, None, None]).mean(axis=(1, 2)) > CLIPPED)
    steps = grid_steps(blocks)
    blocks = blocks[~clipped]
    if len(blocks) < FEWEST:
        return steps or None
    return max(float(np.quantile(_block_noise(blocks), QUANTILE)) / QUANTILE_BIAS, steps)


def rgb_grain(planes: Planes) -> Grain:
    """Estimate the grain of a picture from its `rgb_planes`, as `planes_grain`."""
    return planes_grain(planes, 0.0, 1.0 / INNER_WHITE)


def planes_grain(planes: Planes, black: float, scale: float) -> Grain:
    """Estimate the grain of Y', Cb and Cr whose codes c mean ``(c - black) * scale`` and ``c * scale``."""
    luma, cb, cr = planes
    return Grain(plane_noise(luma, black, scale) or 0.0, chroma_noise(at_chroma_size(luma, cb), cb, cr, black, scale))


def chroma_noise(luma: Array, cb: Array, cr: Array, black: float, scale: float) -> float:
    """Estimate the standard deviation of chroma noise in dark blocks of planes whose codes c mean ``c * scale``.

    The planes are of one size, `black` is luma's code of black. Noise that is coarser than a sample is looked for at
    half size, too: pictures were enlarged, or their chroma was. 0 where too few blocks are dark.
    """
    largest = 0.0
    for _ in range(2):
        blocks = [sample_blocks(plane).astype(np.float32) for plane in (luma, cb, cr)]
        mean = (blocks[0].mean(axis=(1, 2)) - np.float32(black)) * np.float32(scale) if len(blocks[0]) else blocks[0]
        dark = (mean > DARKEST) & (mean < DARK)
        if np.count_nonzero(dark) >= FEWEST:
            for chroma in (each[dark] * np.float32(scale) for each in blocks[1:]):
                largest = max(largest, float(np.median(_block_noise(chroma))), GRID_WEIGHT * grid_steps(chroma))
        if min(luma.shape) < 2 * BLOCK:
            break
        luma, cb, cr = (
            cv2.resize(plane, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for plane in (luma, cb, cr)
        )
    return largest


def _block_noise(blocks: Array) -> Array:
    """Estimate the noise of each of (n, 16, 16) blocks."""
    curved = blocks[:, 1:-1] * 2 - blocks[:, :-2] - blocks[:, 2:]
    curved = curved[:, :, 1:-1] * 2 - curved[:, :, :-2] - curved[:, :, 2:]
    return np.asarray(np.median(np.abs(curved).reshape(len(blocks), -1), axis=1) / np.float32(0.6745 * 6))


def grid_steps(blocks: Array) -> float:
    """Compute how much larger steps on the 8x8 grid are than beside it: the mean over (n, 16, 16) blocks.

    Edges of objects fall on the grid and beside it alike; a single one counts little.
    """
    across = [np.abs(np.diff(view, axis=2)).mean(axis=1) for view in (blocks, blocks.swapaxes(1, 2))]
    excess = [a[:, 7] - (a[:, 5] + a[:, 6] + a[:, 8] + a[:, 9]) / 4 for a in across]
    return max(0.0, float(np.clip(excess, -LARGEST_STEP, LARGEST_STEP).mean()))


def noise_gain_limit(noise: float | None, bound: float = MAX_GAIN) -> float:
    """Compute the gain, 3 to `bound`, that raises noise of this standard deviation to the visible limit."""
    if not noise:
        return bound
    return min(max(VISIBLE / noise, min(LEAST_GAIN, bound)), bound)


class _Settling:
    """Numbers of a clip's frames, measured now and then and smoothed over time so that single frames do not show."""

    interval = INTERVAL

    def __init__(self) -> None:
        self._value: Array | None = None
        self._goal = np.zeros(1)
        self._time = self._measured = 0.0

    def follow(self, measure: Callable[[], Sequence[float]], time: float) -> Array:
        """Return the numbers for the frame shown at `time` seconds."""
        elapsed, self._time = time - self._time, time
        if self._value is None or not 0.0 <= elapsed < 1.0 or time - self._measured >= self.interval:
            self._goal, self._measured = np.array(measure(), float), time
        if self._value is None or not 0.0 <= elapsed < 1.0:
            self._value = self._goal
        if elapsed > 0.0:
            self._value = self._value + (1 - math.exp(-elapsed / SETTLING)) * (self._goal - self._value)
        return self._value

    def state(self) -> dict[str, Any]:
        """Return the state to save (`frames.Stateful`)."""
        numbers = {"goal": self._goal, "time": self._time, "measured": self._measured}
        return numbers if self._value is None else {**numbers, "value": self._value}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        self._time, self._measured = float(state["time"]), float(state["measured"])
        self._goal = np.array(state["goal"], float)
        self._value = np.array(state["value"], float) if "value" in state else None


class GainLimit(_Settling):
    """The noise-limited gain of a clip's frames."""

    def __call__(self, plane: Array, black: float, scale: float, time: float) -> float:
        """Return the limit for the Y' plane (see `plane_noise`) of the frame shown at `time` seconds."""
        [limit] = self.follow(lambda: [math.log2(noise_gain_limit(plane_noise(plane, black, scale)))], time)
        return float(2.0**limit)


class ClipGrain(_Settling):
    """The grain of a clip's frames."""

    interval = GRAIN_INTERVAL

    def __call__(self, measure: Callable[[], Grain], time: float) -> Grain:
        """Return the grain of the frame shown at `time` seconds, which `measure` measures."""
        return Grain(*map(float, self.follow(measure, time)))
