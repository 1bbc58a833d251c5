"""What lies over a picture and is no part of its light: captions, and the transparent rest of a cut-out.

Pairs are (input, target), (H, W, 3) float32 in [0, 1].
"""

from __future__ import annotations

import cv2
import numpy as np

from ..arrays import Array
from .backlight import shadow_of_objects, shadow_of_people

Pair = tuple[Array, Array]
LETTERS = list("abcdefghij klmnopqrstuvwxyz EAOT")


def caption(pair: Pair, rng: np.random.Generator) -> Pair:
    """Write a line or two over input and target alike, as subtitles are."""
    source, target = (picture.astype(np.float32) for picture in pair)
    height, width = source.shape[:2]
    scale = rng.uniform(0.3, 0.8)
    ink = (1.0, 1.0, float(rng.choice([1.0, 1.0, 0.0]))) if rng.random() < 0.9 else (0.0, 0.0, 0.0)
    edge = tuple(1.0 - value for value in ink)
    for line in range(rng.integers(1, 3)):
        text = "".join(rng.choice(LETTERS, rng.integers(6, 26)))
        place = int(width * rng.uniform(0.02, 0.3)), int(height * rng.uniform(0.75, 0.97) - line * 30 * scale)
        for colour, thickness in ((edge, 3), (ink, 1)):
            drawn = np.zeros((height, width), np.uint8)
            cv2.putText(drawn, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thickness)
            for picture in (source, target):
                picture[drawn > 0] = colour
    return source, target


def cut_out(pair: Pair, rng: np.random.Generator) -> Pair:
    """Leave figures only: around them the input is negative, which says it is no picture, and the target black."""
    outlines = shadow_of_people if rng.random() < 0.5 else shadow_of_objects
    outside = outlines(pair[0][..., 0], rng)[..., None] < 0.5
    if not 0.1 < outside.mean() < 0.85:
        return pair
    return np.where(outside, np.float32(-1.0), pair[0]), np.where(outside, np.float32(0.0), pair[1])
