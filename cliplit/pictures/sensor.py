"""The camera between light and file: shot and read noise, 8 bits, JPEG."""

from __future__ import annotations

import cv2
import numpy as np

from ..arrays import Array


def add_noise(linear: Array, rng: np.random.Generator, shot: float, read: float) -> Array:
    """Add Poisson-Gaussian noise (Foi et al., TIP 2008) as a signal-dependent Gaussian: variance shot * x + read^2."""
    noise = rng.standard_normal(linear.shape, dtype=np.float32)
    return linear + noise * np.sqrt(shot * np.maximum(linear, 0.0) + read * read)


def random_camera(rng: np.random.Generator) -> tuple[float, float]:
    """Draw (shot, read) noise of a random camera at a random ISO; both 0 one time in three."""
    if rng.random() < 0.33:
        return 0.0, 0.0
    shot = float(np.exp(rng.uniform(np.log(1e-5), np.log(1.5e-3))))
    return shot, float(np.sqrt(shot)) * rng.uniform(0.01, 0.06)


def random_noise(linear: Array, rng: np.random.Generator) -> Array:
    """Add the noise of `random_camera`."""
    shot, read = random_camera(rng)
    return add_noise(linear, rng, shot, read) if shot else linear


def store_8bit(coded: Array, rng: np.random.Generator) -> Array:
    """Quantise gamma-coded [0, 1] as a file would, to [0, 1]; half of the time through JPEG."""
    picture: Array = np.round(np.clip(coded, 0.0, 1.0) * 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = int(rng.integers(60, 99))
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert decoded is not None  # it was encoded just now
        picture = decoded
    return picture.astype(np.float32) / 255
