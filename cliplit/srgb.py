"""The curve of sRGB (IEC 61966-2-1) between linear light and codes. Arrays in, arrays out, any shape."""

from __future__ import annotations

import numpy as np

from .arrays import Array


def to_coded(linear: Array) -> Array:
    """Code linear light, also above 1; below 0 mirrored."""
    size = np.abs(linear)
    coded = np.where(size <= 0.0031308, 12.92 * size, 1.055 * np.power(size, 1 / 2.4) - 0.055)
    return np.copysign(coded, linear).astype(np.float32)


def to_linear(coded: Array) -> Array:
    """Invert `to_coded`."""
    size = np.abs(coded)
    linear = np.where(size <= 0.04045, size / 12.92, np.power((size + 0.055) / 1.055, 2.4))
    return np.copysign(linear, coded).astype(np.float32)
