"""The light map over time: still where the scene is still, quick where it changes, fresh after a cut.

An exponential moving average in the log domain, whose rate at each point follows how much the picture has changed
there. Without it the network's small reactions to noise show as pulsing brightness.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from cliplit.arrays import Array

TIME_CONSTANT = 0.7  # seconds, of a still scene
STILL, MOVING = 0.015, 0.09  # change of blurred luma up to which a point is still, from which it moves
CUT_DIFFERENCE = 0.10  # mean change of luma between frames ...
CUT_HISTOGRAM = 0.30  # ... and share of pixels that change their brightness class, both needed for a cut
GAP = 1.0  # seconds without a frame after which nothing is carried over


class TemporalFilter:
    """Smooths a sequence of log light maps; one instance a clip."""

    def __init__(self, time_constant: float = TIME_CONSTANT) -> None:
        self.time_constant = time_constant
        self._light: Array | None = None
        self._luma: Array | None = None
        self._previous: Array | None = None
        self._time = 0.0

    def __call__(self, log_light: Array, luma: Array, time: float) -> Array:
        """(h, w) log light map and luma of the frame shown at `time` seconds -> smoothed log light map (h, w)."""
        blurred = cv2.blur(luma, (5, 5), borderType=cv2.BORDER_REPLICATE).astype(np.float32, copy=False)
        elapsed = time - self._time
        if self._light is None or self._luma is None or self._previous is None or self._starts_anew(blurred, elapsed):
            self._light, self._luma = log_light.copy(), blurred
        else:
            still = 1.0 - math.exp(-max(elapsed, 0.0) / self.time_constant) if self.time_constant > 0 else 1.0
            change = np.abs(blurred - self._luma)
            moving = np.clip((change - STILL) / (MOVING - STILL), 0.0, 1.0)
            rate = (still + (1.0 - still) * moving).astype(np.float32)
            self._light += rate * (log_light - self._light)
            self._luma += rate * (blurred - self._luma)
        self._previous, self._time = blurred, time
        return self._light

    def state(self) -> dict[str, Any]:
        """What it remembers (`source.Stateful`), for a run that is resumed."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        for name, value in state.items():
            setattr(self, name, value if value.ndim else value.item())

    def _starts_anew(self, blurred: Array, elapsed: float) -> bool:
        assert self._previous is not None
        if self._previous.shape != blurred.shape or not -GAP < elapsed < GAP:
            return True
        return is_cut(self._previous, blurred)


def is_cut(before: Array, after: Array) -> bool:
    """Whether two frames' blurred luma, (h, w) in [0, 1], belong to different shots."""
    if float(np.abs(after - before).mean()) < CUT_DIFFERENCE:
        return False
    classes = [np.bincount((x * 15.99).astype(np.intp).ravel(), minlength=16) / x.size for x in (before, after)]
    return float(np.abs(classes[0] - classes[1]).sum()) / 2 > CUT_HISTOGRAM
