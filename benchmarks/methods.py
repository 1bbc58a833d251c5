"""The methods compared: this project's models and the classical methods a user might pick instead.

A method is a function from an (H, W, 3) uint8 RGB picture to another. CLAHE, resizing and exposure fusion are OpenCV's.
We found no maintained library for LIME; the short version here, without its denoising step, is called
"LIME-style" wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from cliplit.arrays import Array
from cliplit.pictures.tone import srgb_decode, srgb_encode
from cliplit.runtime import Enhancer

Enhance = Callable[[Array], Array]


@dataclass(frozen=True)
class Method:
    """A named way to relight a picture.

    Attributes:
        name: unique in a table.
        enhance: (H, W, 3) uint8 RGB -> the same shape and type.
        light: (H, W, 3) uint8 -> light map (H, W) float32, where the method has one.
        note: one line on what it is.
    """

    name: str
    enhance: Enhance
    light: Callable[[Array], Array] | None = None
    note: str = ""


def clahe(picture: Array, clip_limit: float = 3.0, tiles: int = 8) -> Array:
    """Apply contrast-limited adaptive histogram equalisation (Zuiderveld 1994) to CIELAB lightness."""
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(clip_limit, (tiles, tiles)).apply(np.ascontiguousarray(lab[..., 0]))
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


def gamma(picture: Array, exponent: float = 0.5) -> Array:
    """Raise every sample to one power, as a brightness slider does."""
    table = np.round(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
    return cv2.LUT(picture, table)


def virtual_exposures(picture: Array, stops: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0, 4.0)) -> Array:
    """Fuse one picture developed at several stops (Mertens, Kautz, Van Reeth, Pacific Graphics 2007)."""
    linear = srgb_decode(np.arange(256) / 255)
    bracket = [
        cv2.LUT(picture, np.round(255 * srgb_encode(linear * 2.0**stop)).astype(np.uint8)) for stop in stops
    ]  # a table for each exposure: 8 bits have 256 values
    fused = cv2.createMergeMertens().process(bracket)
    return np.clip(np.round(fused * 255), 0, 255).astype(np.uint8)


def lime(picture: Array, alpha: float = 0.0015, exponent: float = 0.8, iterations: int = 12) -> Array:
    """Divide by the LIME-style Retinex light map (Guo, Li, Ling, TIP 2017), raised to a power.

    Weighted total variation by alternating directions (the paper's algorithm 1, weights of strategy II); no denoising.
    """
    scaled = picture.astype(np.float32) / 255
    light = smooth_illumination(scaled.max(axis=2), alpha, iterations)
    return np.round(255 * np.clip(scaled / (light**exponent)[..., None], 0, 1)).astype(np.uint8)


def lime_light(picture: Array, alpha: float = 0.0015, exponent: float = 0.8, iterations: int = 12) -> Array:
    """Compute the light map of `lime`: the brightest channel, smoothed except at its edges."""
    light = smooth_illumination(picture.max(axis=2).astype(np.float32) / 255, alpha, iterations)
    return (light**exponent).astype(np.float32)


def smooth_illumination(first: Array, alpha: float, iterations: int) -> Array:
    """Solve min_T ||T - first||^2 + alpha ||W grad T||_1 by FFT with periodic borders; (H, W) float32."""
    height, width = first.shape
    padded = cv2.copyMakeBorder(first, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)  # even sides, real FFT
    rows, columns = padded.shape
    spectrum = np.abs(np.fft.fft([1, -1], rows)[:, None]) ** 2
    spectrum = (spectrum + np.abs(np.fft.fft([1, -1], columns)[: columns // 2 + 1])[None] ** 2).astype(np.float32)

    def gradient(x: Array) -> Array:
        return np.stack([np.roll(x, -1, 0) - x, np.roll(x, -1, 1) - x])

    def divergence(g: Array) -> Array:  # the adjoint of `gradient`
        return (np.roll(g[0], 1, 0) - g[0]) + (np.roll(g[1], 1, 1) - g[1])

    weight = alpha / (np.abs(gradient(padded)) + np.float32(1e-3))
    split, dual = np.zeros_like(weight), np.zeros_like(weight)
    light, penalty = padded, 1.0
    for _ in range(iterations):
        right = 2 * padded + penalty * divergence(split - dual / penalty)
        light = np.fft.irfft2(np.fft.rfft2(right) / (2 + penalty * spectrum), padded.shape).astype(np.float32)
        slope = gradient(light)
        moved = slope + dual / penalty
        split = np.sign(moved) * np.maximum(np.abs(moved) - weight / penalty, 0)
        dual = dual + penalty * (slope - split)
        penalty *= 1.5
    return np.clip(light[:height, :width], 1e-2, 1.0)


CLASSICAL = (
    Method("CLAHE", clahe, note="OpenCV, clip limit 3, 8x8 tiles, CIELAB lightness"),
    Method("gamma 0.5", gamma, note="one power for every sample"),
    Method(
        "exposure fusion", virtual_exposures, note="OpenCV's Mertens fusion of five virtual exposures, 0 to 4 stops"
    ),
    Method("LIME-style", lime, lime_light, note="own short implementation, weighted total variation, no denoising"),
)


def ours(model: str = "lite", quality: str = "fast", **settings: object) -> Method:
    """Build a method from a bundled model or an exported file, run by the runtime."""
    enhancer = Enhancer(model, quality=quality, **settings)  # type: ignore[arg-type]
    return Method(f"{model} {quality}", enhancer, enhancer.light_map, "cliplit's runtime")


def effective_light(before: Array, after: Array) -> Array:
    """Estimate the light map a method implies: blurred luma before over after, (H, W) in [0, 1]."""
    dark, bright = (cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float32) + 2 for p in (before, after))
    blur = partial(cv2.GaussianBlur, ksize=(0, 0), sigmaX=max(1.0, min(before.shape[:2]) / 200))
    return np.clip(blur(dark) / blur(bright), 0, 1)
