"""The paper's augmentations: flips and quarter turns, each half of the time; rotation and zoom, three times in ten."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..arrays import Array


def augmented(pictures: Sequence[Array], rng: np.random.Generator) -> list[Array]:
    """Apply one random change to all pictures, (H, W, 3); square ones may be turned by 90 degrees."""
    mirror, upside_down, turn = rng.random(3) < 0.5
    rotate, zoom = rng.random(2) < 0.3
    angle, stretch = rng.uniform(-90.0, 90.0), rng.uniform(0.7, 1.3, 2)
    changed = []
    for picture in pictures:
        if mirror:
            picture = picture[:, ::-1]
        if upside_down:
            picture = picture[::-1]
        if turn and picture.shape[0] == picture.shape[1]:
            picture = picture.transpose(1, 0, 2)
        if zoom or rotate:
            picture = warped(picture, angle if rotate else 0.0, stretch if zoom else np.ones(2))
        changed.append(np.ascontiguousarray(picture, np.float32))
    return changed


def warped(picture: Array, angle: float, stretch: Array) -> Array:
    """Stretch along both axes, then rotate (degrees), about the centre; outside, the picture is mirrored."""
    height, width = picture.shape[:2]
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    turn = np.radians(angle)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) @ np.diag(stretch)
    affine = np.concatenate([matrix, (centre - matrix @ centre)[:, None]], axis=1)
    return cv2.warpAffine(
        np.ascontiguousarray(picture), affine, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
