"""Transfer and camera curves between linear light and gamma-coded pictures. Arrays in, arrays out, any shape."""

from __future__ import annotations

import numpy as np

from ..arrays import Array


def srgb_encode(linear: Array) -> Array:
    """Encode linear [0, 1] as gamma-coded [0, 1] by IEC 61966-2-1; clips."""
    x = np.clip(linear, 0.0, 1.0, dtype=np.float32)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** np.float32(1 / 2.4) - 0.055)


def srgb_decode(coded: Array) -> Array:
    """Decode gamma-coded [0, 1] to linear [0, 1] by IEC 61966-2-1."""
    x = np.clip(coded, 0.0, 1.0, dtype=np.float32)
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** np.float32(2.4))


def exposed(coded: Array, stops: float) -> Array:
    """Retake a gamma-coded picture in [0, 1] with `stops` more light; what exceeds white is lost."""
    return srgb_encode(srgb_decode(coded) * np.float32(2.0**stops))


def film_curve(exposed: Array, shoulder: float = 1.35) -> Array:
    """Develop linear light, 1 at the metered highlight, to gamma-coded [0, 1] with a soft shoulder."""
    return srgb_encode(1.0 - np.exp(-shoulder * np.maximum(exposed, 0.0)))


def s_curve(coded: Array, amount: float) -> Array:
    """Apply a camera's contrast curve around middle gray: `amount` 0 is the identity, 1 a smoothstep."""
    return coded + amount * (coded * coded * (3.0 - 2.0 * coded) - coded)
