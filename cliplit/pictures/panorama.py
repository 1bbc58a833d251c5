"""A virtual camera inside HDR panoramas: any number of true backlit pictures with their well-lit counterparts.

The input is one exposure metered for the highlights (what a phone does against a window); the target is an
exposure fusion (Mertens, Kautz, Van Reeth, Pacific Graphics 2007) of a bracket of the same radiance.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..arrays import Array
from ..errors import InputError
from .tone import film_curve


@dataclass(frozen=True)
class View:
    """The camera's direction in degrees, and its picture size in pixels."""

    yaw: float
    pitch: float
    field_of_view: float
    width: int
    height: int


@dataclass(frozen=True)
class Scene:
    """`radiance` (H, W, 3) float16, linear, scaled so that 1 is the metered highlight; `target` (H, W, 3) uint8."""

    radiance: Array
    target: Array


def read_panorama(path: Path) -> Array:
    """Read an equirectangular panorama as linear RGB (H, W, 3) float32, >= 0."""
    data = np.fromfile(path, np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if picture is None or picture.ndim != 3:
        raise InputError(f"{path}: not a Radiance HDR panorama (.hdr, equirectangular RGB)")
    return np.maximum(picture[..., ::-1].astype(np.float32), 0.0)


def perspective_crop(panorama: Array, view: View) -> Array:
    """Project what a pinhole camera sees: linear RGB (height, width, 3)."""
    rows, columns = panorama.shape[:2]
    focal = view.width / 2 / np.tan(np.radians(view.field_of_view) / 2)
    x, y = np.meshgrid(np.arange(view.width) - view.width / 2 + 0.5, np.arange(view.height) - view.height / 2 + 0.5)
    ray = np.stack([x, -y, np.full_like(x, focal)], axis=-1)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    pitch, yaw = np.radians(view.pitch), np.radians(view.yaw)
    up = ray[..., 1] * np.cos(pitch) + ray[..., 2] * np.sin(pitch)
    ahead = ray[..., 2] * np.cos(pitch) - ray[..., 1] * np.sin(pitch)
    right, ahead = ray[..., 0] * np.cos(yaw) + ahead * np.sin(yaw), ahead * np.cos(yaw) - ray[..., 0] * np.sin(yaw)
    longitude, latitude = np.arctan2(right, ahead), np.arcsin(np.clip(up, -1, 1))
    map_x = ((longitude / (2 * np.pi) + 0.5) * columns - 0.5).astype(np.float32)
    map_y = ((0.5 - latitude / np.pi) * rows - 0.5).astype(np.float32)
    crop = cv2.remap(panorama, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.maximum(crop, 0.0)


def luminance(radiance: Array) -> Array:
    return radiance @ np.array([0.2126, 0.7152, 0.0722], np.float32)


def meter_highlights(radiance: Array, percentile: float) -> float | None:
    """Compute the exposure that puts a percentile of the blurred luminance at 0.9; None for a black scene."""
    highlight = float(np.percentile(cv2.GaussianBlur(luminance(radiance), (0, 0), 3), percentile))
    return 0.9 / highlight if highlight > 0 else None


def backlit_share(picture: Array) -> tuple[float, float, float]:
    """Compute (dark share, bright share, mean) of a gamma-coded picture, which together show whether it is backlit."""
    y = luminance(picture)
    blurred = cv2.GaussianBlur(y, (0, 0), 5)
    return float((blurred < 0.16).mean()), float((blurred > 0.65).mean()), float(y.mean())


def well_lit(radiance: Array, exposure: float) -> Array:
    """Fuse exposures from just under the metered one up to one that shows the dark 40 % as middle gray."""
    dark = 0.25 / max(float(np.percentile(luminance(radiance), 40)), 1e-6)
    exposures = np.geomspace(exposure * 0.7, max(dark * 1.6, exposure * 4), 6)
    bracket = [np.round(film_curve(radiance * e) * 255).astype(np.uint8) for e in exposures]
    fused = cv2.createMergeMertens().process(bracket)
    return np.clip(fused * 255, 0, 255).astype(np.uint8)


def render_scene(panorama: Array, rng: np.random.Generator, width: int, height: int) -> Scene | None:
    """Render a random view metered for its highlights; None if it is not backlit (nothing dark, or nothing bright)."""
    view = View(rng.uniform(0, 360), rng.uniform(-8, 22), rng.uniform(55, 90), width, height)
    radiance = perspective_crop(panorama, view)
    exposure = meter_highlights(radiance, rng.choice([93.0, 96.0, 98.0, 99.5]))
    if exposure is None:
        return None
    dark, bright, mean = backlit_share(film_curve(radiance * exposure))
    if dark < 0.2 or bright < 0.02 or not 0.03 < mean < 0.5:
        return None
    scaled = np.minimum(radiance * exposure, 60.0).astype(np.float16)
    return Scene(scaled, well_lit(radiance, exposure))
