"""The motion of a picture from frame to frame, and what moves along."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from cliplit.arrays import Array

from . import compiled
from .means import Means

MOVING_SHARE = 0.02  # of the picture that must have changed for motion to be looked for
STANDSTILL = 0.25  # proxy pixels a frame that count as none
NEAR, NEAR_SHARE = 9, 0.3  # proxy pixels around; their mean change, as a share of the least, that may be motion
EXPLAINED = 0.6  # of the change may be left along the motion
CAMERA = 0.4  # of the picture in motion that means the camera moves, if so much of what has texture changes, too
AROUND = 63  # proxy pixels, most of which in motion mean that their centre moves
LEAST_SIDE = 32  # pixels for optical flow: OpenCV 4.12 to 5.0 crash on pictures that are wide and lower than that
CARRIED = "light", "blurred", "age", "kept", "slope", "offset"

Flow = tuple[Array, Array]  # how far right and down of each point it was before, (h, w) float32 pixels each


def move_along(means: Means, luma: Array, blurred: Array, still: float) -> tuple[Array, Array] | None:
    """Warp the running means along the picture's motion.

    Returns:
        1 where something seems to move, and where its light does, too; None if the picture is static.
    """
    change = cv2.absdiff(blurred, means.blurred)
    if np.count_nonzero(change > still) < MOVING_SHARE * blurred.size:
        return None
    flow = motion(means.blurred, blurred)
    # Optical flow says something everywhere. It is motion where it explains what has changed.
    unexplained = cv2.absdiff(blurred, *warped([means.blurred], flow))
    left, before = (cv2.blur(difference, (NEAR, NEAR)) for difference in (unexplained, change))
    explained = (left < EXPLAINED * before) & (before > NEAR_SHARE * still)
    moves = np.maximum(np.abs(flow[0]), np.abs(flow[1])) > STANDSTILL
    moved, carries = islands_filled(moves), islands_filled(moves & explained)
    if moved.all() and (change > still)[_textured(blurred, still)].mean() > CAMERA:
        carries = moved
    elif not carries.all():
        carries *= np.abs(luma - means.kept) > still  # what looks the same may as well have stayed
    values = warped([getattr(means, name) for name in CARRIED], flow, carries)
    for name, value in zip(CARRIED, values, strict=True):
        setattr(means, name, value)
    return moved, carries


def motion(before: Array, after: Array) -> Flow:
    """Compute the flow from `after` to where each point was in `before`, both (h, w) luma.

    DIS optical flow (Kroeger et al., ECCV 2016) at half size: a light map is smooth.
    """
    height, width = after.shape
    half = max(width // 2, LEAST_SIDE), max(height // 2, LEAST_SIDE)
    small = [np.sqrt(cv2.resize(luma, half, interpolation=cv2.INTER_AREA)) for luma in (after, before)]
    codes = [(luma * 255).astype(np.uint8) for luma in small]
    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    flow: Array = cv2.resize(search.calc(*codes, None), (width, height), interpolation=cv2.INTER_LINEAR)
    right, down = cv2.split(flow)
    right *= np.float32(width / half[0])
    down *= np.float32(height / half[1])
    return right, down


def warped(maps: list[Array], flow: Flow, share: Array | None = None) -> list[Array]:
    """Fetch each point of (h, w) maps from where it was by the flow, or by a `share` (h, w) of it, bilinearly."""
    if compiled.maps is None:
        return warped_reference(maps, flow, share)
    out = [np.empty_like(each) for each in maps]
    compiled.maps.warp(tuple(maps), tuple(out), (*flow, share))
    return out


def warped_reference(maps: list[Array], flow: Flow, share: Array | None = None) -> list[Array]:
    """Compute `warped` with OpenCV, which rounds places to 1/32 of a pixel."""
    right, down = flow if share is None else (flow[0] * share, flow[1] * share)
    height, width = right.shape
    x = right + np.arange(width, dtype=np.float32)
    y = down + np.arange(height, dtype=np.float32)[:, None]
    return [cv2.remap(each, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for each in maps]


def islands_filled(moved: Array) -> Array:
    """Fill islands in an (h, w) bool map of motion where optical flow found no texture; returns float32, 0 or 1."""
    if np.count_nonzero(moved) > CAMERA * moved.size:
        return np.ones(moved.shape, np.float32)
    size = AROUND, AROUND
    around = cv2.boxFilter(moved.view(np.uint8), cv2.CV_32S, size, normalize=False, borderType=cv2.BORDER_REPLICATE)
    return (moved | (around > AROUND * AROUND / 2)).astype(np.float32)


def _textured(luma: Array, still: float) -> Array:
    """Tell where (h, w) luma differs from its neighbours; the whole of it where nothing does."""
    around = np.ones((3, 3), np.uint8)
    textured = cv2.dilate(luma, around) - cv2.erode(luma, around) > 2.0 * still
    return textured if textured.any() else np.ones_like(textured)
