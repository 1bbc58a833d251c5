"""Transfer and camera curves between linear light and gamma-coded pictures. Arrays in, arrays out, any shape."""

from __future__ import annotations

import numpy as np

from ..arrays import Array
from ..srgb import to_coded, to_linear


def srgb_encode(linear: Array) -> Array:
    """Encode linear [0, 1] as gamma-coded [0, 1]; clips."""
    return to_coded(np.clip(linear, 0.0, 1.0, dtype=np.float32))


def srgb_decode(coded: Array) -> Array:
    """Decode gamma-coded [0, 1] to linear [0, 1]; clips."""
    return to_linear(np.clip(coded, 0.0, 1.0, dtype=np.float32))


def exposed(coded: Array, stops: float) -> Array:
    """Retake a gamma-coded picture in [0, 1] with `stops` more light; what exceeds white is lost."""
    return srgb_encode(srgb_decode(coded) * np.float32(2.0**stops))


def film_curve(exposed: Array, shoulder: float = 1.35) -> Array:
    """Develop linear light, 1 at the metered highlight, to gamma-coded [0, 1] with a soft shoulder."""
    return srgb_encode(1.0 - np.exp(-shoulder * np.maximum(exposed, 0.0)))


def s_curve(coded: Array, amount: float) -> Array:
    """Apply a camera's contrast curve around middle gray: `amount` 0 is the identity, 1 a smoothstep."""
    return coded + amount * (coded * coded * (3.0 - 2.0 * coded) - coded)
