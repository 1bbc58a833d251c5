"""Synthetic backlighting of well-lit photos: the photo is the target, a darkened copy of it the input."""

from __future__ import annotations

import cv2
import numpy as np

from ..arrays import Array


def shadow_of_dark_areas(luma: Array, rng: np.random.Generator) -> Array:
    """Put the dark parts of the photo into shadow, like a foreground against the light."""
    sigma = float(np.exp(rng.uniform(np.log(0.7), np.log(12.0))))
    blurred = cv2.GaussianBlur(luma, (0, 0), sigma)
    threshold = np.percentile(blurred, rng.uniform(30, 80))
    width = rng.uniform(0.02, 0.2)
    return (1.0 / (1.0 + np.exp((blurred - threshold) / width))).astype(np.float32)


def shadow_of_objects(luma: Array, rng: np.random.Generator) -> Array:
    """Draw a few random outlines with crisp edges, like figures in front of a window."""
    height, width = luma.shape
    mask = np.zeros((height, width), np.float32)
    for _ in range(rng.integers(1, 5)):
        corners = int(rng.integers(5, 14))
        angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radius = rng.uniform(0.4, 1.0, corners) * rng.uniform(0.12, 0.6) * min(height, width)
        center = np.array([rng.uniform(0, width), rng.uniform(0.25 * height, 1.1 * height)])
        stretch = np.array([1.0, rng.uniform(0.8, 2.2)])
        outline = center + np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None] * stretch
        cv2.fillPoly(mask, [outline.astype(np.int32)], 1.0)
    return cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.4, 2.0))


def shadow_of_people(luma: Array, rng: np.random.Generator) -> Array:
    """Draw heads and shoulders, near or far: a face against a window, a group before a sunset."""
    height, width = luma.shape
    mask = np.zeros((height, width), np.float32)
    for _ in range(rng.integers(1, 4)):
        head = rng.uniform(0.05, 0.24) * min(height, width)  # half the width of a head
        x, y = rng.uniform(0.1, 0.9) * width, rng.uniform(0.15, 0.75) * height
        lean = rng.normal(0.0, 8.0)
        cv2.ellipse(mask, ((x, y), (2 * head, 2 * head * rng.uniform(1.15, 1.5)), lean), 1.0, -1)
        neck, shoulder = head * rng.uniform(0.4, 0.7), head * rng.uniform(1.6, 3.0)
        top, slope = y + head * rng.uniform(1.2, 1.5), head * rng.uniform(0.3, 1.0)
        floor = y + head * rng.uniform(4.0, 14.0)
        hip = shoulder * rng.uniform(0.6, 1.1)
        right = [(x + neck, y), (x + neck, top), (x + shoulder, top + slope), (x + hip, floor)]
        left = [(2 * x - px, py) for px, py in reversed(right)]
        cv2.fillPoly(mask, [np.array(right + left).astype(np.int32)], 1.0)
    return cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.4, 1.5))


def shadow_of_gradient(luma: Array, rng: np.random.Generator) -> Array:
    """Draw a soft horizon at any tilt: ground under a bright sky, the far end of a room."""
    height, width = luma.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    tilt = rng.normal(0.0, 0.6)
    along = (x / width - 0.5) * np.sin(tilt) + (y / height - 0.5) * np.cos(tilt)
    return (1.0 / (1.0 + np.exp(-(along - rng.uniform(-0.35, 0.2)) / rng.uniform(0.02, 0.3)))).astype(np.float32)


SHADOWS = (shadow_of_dark_areas, shadow_of_dark_areas, shadow_of_objects, shadow_of_people, shadow_of_gradient)


def exposure_map(luma: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return (shadow in [0, 1], exposure change in stops <= 0), both (H, W): large in the shadow, slight elsewhere."""
    shadow = SHADOWS[rng.integers(len(SHADOWS))](luma, rng)
    if rng.random() < 0.3:
        shadow = np.maximum(shadow, SHADOWS[rng.integers(len(SHADOWS))](luma, rng))
    return shadow, -rng.uniform(1.0, 6.0) * shadow - rng.uniform(0.0, 0.5)
