"""Noise of a picture's dark parts, measured at full size, and the largest gain that keeps it invisible.

The noise of a block is the median of a high-pass filter that ignores flat and sloping light (Immerkaer, CVIU 1996).
Texture only adds to it, so a low quantile over the dark blocks estimates the noise. Blocks clipped to black are left
out; there, JPEG's steps on its 8x8 grid count as noise.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cliplit.arrays import Array
from cliplit.constants import LUMA_WEIGHTS, MAX_GAIN

from .gain import WHITE

BLOCK = 16  # two of JPEG's and of H.264's transforms
ROWS, COLUMNS = 15, 20  # sampled blocks: a few milliseconds
DARKEST, DARK = 0.012, 0.30  # mean luma of the blocks that count
CLIPPED = 0.2  # share of a block's pixels at its lowest code from which it counts as clipped ...
NEAR_BLACK = 0.02  # ... if that code is so dark
QUANTILE = 0.15  # of the dark blocks, the flattest first
QUANTILE_BIAS = 0.90  # what that quantile of blocks of pure noise is of their noise
FEWEST = 8  # blocks needed for an answer
LARGEST_STEP = 0.03  # of luma, that one block adds to the mean step on JPEG's grid

VISIBLE = 0.045  # standard deviation of noise that may be seen in the result, of white
LEAST_GAIN = 3.0  # what a noisy picture still gets
SETTLING = 0.5  # seconds in which a clip's limit follows
INTERVAL = 0.15  # seconds between measurements of a clip


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
    curved = blocks[:, 1:-1] * 2 - blocks[:, :-2] - blocks[:, 2:]
    curved = curved[:, :, 1:-1] * 2 - curved[:, :, :-2] - curved[:, :, 2:]
    noise = np.median(np.abs(curved).reshape(len(blocks), -1), axis=1) / np.float32(0.6745 * 6)
    return max(float(np.quantile(noise, QUANTILE)) / QUANTILE_BIAS, steps)


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


class GainLimit:
    """The noise-limited gain of a clip's frames, smoothed over time so that single frames do not show."""

    def __init__(self) -> None:
        self._log: float | None = None
        self._goal = 0.0
        self._time = self._measured = 0.0

    def __call__(self, plane: Array, black: float, scale: float, time: float) -> float:
        """Return the limit for the Y' plane (see `plane_noise`) of the frame shown at `time` seconds."""
        elapsed, self._time = time - self._time, time
        if self._log is None or not 0.0 <= elapsed < 1.0 or time - self._measured >= INTERVAL:
            self._goal, self._measured = math.log2(noise_gain_limit(plane_noise(plane, black, scale))), time
        if self._log is None or not 0.0 <= elapsed < 1.0:
            self._log = self._goal
        self._log += (1 - math.exp(-elapsed / SETTLING)) * (self._goal - self._log) if elapsed > 0 else 0.0
        return 2.0**self._log

    def state(self) -> dict[str, Any]:
        """Return the state to save (`frames.Stateful`)."""
        numbers = {"goal": self._goal, "time": self._time, "measured": self._measured}
        return numbers if self._log is None else {**numbers, "log": self._log}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        self._goal, self._time, self._measured = (float(state[name]) for name in ("goal", "time", "measured"))
        self._log = float(state["log"]) if "log" in state else None
