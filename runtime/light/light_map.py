"""The light map between the network and the pixels: bounded, in the log domain, made to follow edges.

The network sees a small proxy. Enlarging its map directly would leave halos along every edge, so it becomes a local
linear function of luma: log2 L = slope * luma + offset (guided filter of He, Sun and Tang, PAMI 2013, in its fast form
with coefficients at low resolution, arXiv 1505.00996). Both maps are smooth; full-size luma restores the edges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from cliplit.arrays import Array
from cliplit.constants import GUIDE_EPSILON, GUIDE_RADIUS

from . import compiled

KNEE = 4  # how sharply a soft bound bends


@dataclass(frozen=True)
class Coefficients:
    """log2 L = clip(slope * luma + offset, floor, 0) at every full-size pixel, luma in [0, 1].

    `slope` and `offset` are contiguous float32 maps of one size, at most full size, enlarged bilinearly.
    """

    slope: Array
    offset: Array
    floor: float

    def scaled(self, strength: float) -> Coefficients:
        """Return the coefficients of L^strength; the bound stays."""
        if strength == 1.0:
            return self
        return replace(self, slope=self.slope * np.float32(strength), offset=self.offset * np.float32(strength))


def log_light(light: Array, max_gain: float) -> Array:
    """Compute log2 of the light map clamped to [1 / max_gain, 1]; NaN counts as 1 (no gain)."""
    bounded = np.maximum(np.fmin(light, np.float32(1.0)), np.float32(1.0 / max_gain))
    return np.log2(bounded, dtype=np.float32)


def softly_bounded(log_light: Array, gain: float) -> Array:
    """Bend gains smoothly to stay below `gain`; those under half of it hardly change."""
    bound = max(math.log2(gain), 1e-3)
    stops = -log_light
    return (-stops / (1.0 + (stops / np.float32(bound)) ** KNEE) ** (1.0 / KNEE)).astype(np.float32, copy=False)


def guided_coefficients(log_light: Array, luma: Array, max_gain: float) -> Coefficients:
    """Compute edge-aware coefficients from a log light map and the proxy's luma, both (h, w)."""
    if compiled.maps is None:
        return guided_reference(log_light, luma, max_gain)
    luma, log_light = (np.ascontiguousarray(values, np.float32) for values in (luma, log_light))
    slope, offset = np.empty_like(luma), np.empty_like(luma)
    compiled.maps.guide((luma, log_light, slope, offset), GUIDE_EPSILON)
    return Coefficients(slope, offset, -math.log2(max_gain))


def guided_reference(log_light: Array, luma: Array, max_gain: float) -> Coefficients:
    """Compute `guided_coefficients` with OpenCV."""
    mean_y, mean_l = _box(luma), _box(log_light)
    covariance = _box(luma * log_light) - mean_y * mean_l
    variance = _box(luma * luma) - mean_y * mean_y
    slope = covariance / (variance + np.float32(GUIDE_EPSILON))
    offset = mean_l - slope * mean_y
    return Coefficients(_box(slope), _box(offset), -math.log2(max_gain))


def plain_coefficients(log_light: Array, max_gain: float) -> Coefficients:
    """Return coefficients that reproduce a light map which already has full size."""
    return Coefficients(np.zeros_like(log_light), np.ascontiguousarray(log_light), -math.log2(max_gain))


def _box(x: Array) -> Array:
    window = 2 * GUIDE_RADIUS + 1
    return cv2.blur(x, (window, window), borderType=cv2.BORDER_REPLICATE).astype(np.float32, copy=False)
