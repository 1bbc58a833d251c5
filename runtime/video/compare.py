"""Original and enhanced in one picture: side by side, split by a line, or wiped by a moving one (R6.8)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from cliplit.arrays import Array

from ..light.colour import Coding
from .frames import Clip, Frame

Comparison = Literal["side", "split", "wipe"]

LINE = 2  # columns of the white line; chroma may be halved
PERIOD = 6.0  # seconds of a wipe back and forth


def comparison(kind: Comparison) -> Callable[[Frame, Frame], Frame]:
    """Return the step that combines the original, on the left, and the relighted frame."""
    if kind == "side":
        return side_by_side
    if kind == "split":
        return lambda original, relighted: divided(original, relighted, 0.5)
    return lambda original, relighted: divided(original, relighted, wipe_position(float(relighted.time)))


def compared_clip(clip: Clip, kind: Comparison | None) -> Clip:
    """Return the clip as the sink receives it."""
    return clip.with_size(2 * (clip.width + clip.width % 2), clip.height) if kind == "side" else clip


def wipe_position(time: float) -> float:
    """Return the share of the width that shows the original: from 0 to 1 and back, slow at the ends."""
    return 0.5 - 0.5 * math.cos(2 * math.pi * time / PERIOD)


def divided(original: Frame, relighted: Frame, position: float) -> Frame:
    """Copy the left part of `original` into `relighted`, with a line where they meet."""
    width = relighted.planes[0].shape[1]
    split = min(round(position * width / 2) * 2, width)  # even: a chroma sample belongs to one side
    targets, sources = list(relighted.planes), list(original.planes)
    if relighted.alpha is not None and original.alpha is not None:
        targets.append(relighted.alpha)
        sources.append(original.alpha)
    white = (*white_codes(relighted.coding), None)
    for target, source, code in zip(targets, sources, white, strict=False):
        scale = columns_per_sample(target, width)
        edge = -(-split // scale)
        target[:, :edge] = source[:, :edge]
        if code is not None and 0 < split < width:
            target[:, max(edge - max(LINE // scale // 2, 1), 0) : edge + max(LINE // scale // 2, 1)] = code
    return relighted


def side_by_side(original: Frame, relighted: Frame) -> Frame:
    """Build a frame of twice the width; an odd width grows by a column to keep chroma aligned."""
    width = relighted.planes[0].shape[1]

    def joined(left: Array, right: Array) -> Array:
        scale = columns_per_sample(left, width)
        missing = (width + width % 2) // scale - left.shape[1]
        return np.hstack([np.pad(half, ((0, 0), (0, missing)), mode="edge") for half in (left, right)])

    y, u, v = (joined(a, b) for a, b in zip(original.planes, relighted.planes, strict=True))
    both_alpha = original.alpha is not None and relighted.alpha is not None
    return Frame(
        (y, u, v), relighted.coding, relighted.pixel_format, relighted.pts, relighted.time_base, relighted.key_frame,
        relighted.scan, joined(original.alpha, relighted.alpha) if both_alpha else None,  # type: ignore[arg-type]
    )  # fmt: skip


def columns_per_sample(plane: Array, width: int) -> int:
    """1, or 2 or 4 for chroma of that share of the width."""
    return -(-width // plane.shape[1])


def white_codes(coding: Coding) -> tuple[int, int, int]:
    """Return the code of white in each plane."""
    numbers = coding.numbers
    white, gray = round(numbers.y_offset + 1 / numbers.y_scale), round(numbers.c_offset)
    return (white, white, white) if coding.rgb else (white, gray, gray)
