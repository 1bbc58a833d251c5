"""Application of the light map to full-size pixels, RGB or Y'CbCr, in one pass.

The tone curve of a pixel is ``f(x) = x ((1 - x^2) L^2 + x^2)^(-1/2)`` with L its light: x / L in the dark, 1 at 1,
monotonic and concave between, as an exposure longer by 1 / L is under a film's shoulder. Luma goes through it, and so
does the brightest channel; chroma, the channels' differences from luma, is scaled by the slope of the line between the
two. So hue stays, lights lose colour as they come up, a pixel that was not clipped does not clip, nothing gets darker,
and because all of it is a factor for luma and another one for chroma, Y'CbCr and RGB come out the same.

What cleans lifted shadows (`shadows`) is added before.

The loop is compiled (`_relight.c`); `rgb_reference` and `planes_reference` define what it computes and take over
where the package was installed without a compiler.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from cliplit.arrays import Array
from cliplit.constants import LUMA_WEIGHTS

from .colour import Coding, Planes
from .compiled import relight as _relight
from .light_map import Coefficients
from .shadows import JPEG, LUMA_UNIT, Cleanup, Grain, rgb_cleanup

BAND = 1 << 20  # samples per thread
BLACK = np.float32(1e-12)  # added to the brightest channel where it is divided by
WHITE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}


def apply_rgb(
    picture: Array, coefficients: Coefficients, out: Array | None = None, cleanup: Cleanup | None = None
) -> Array:
    """Enhance (H, W, 3 or 4) uint8, uint16 or float32 into `out` or a new array; alpha, if any, is copied.

    `cleanup` is of the picture's own numbers, see `shadows.rgb_cleanup`.
    """
    enhanced = np.empty(picture.shape, picture.dtype) if out is None else out
    if _relight is None:
        enhanced[...] = rgb_reference(picture, coefficients, cleanup)
        return enhanced
    picture = np.ascontiguousarray(picture)
    maps: tuple[Any, ...] = coefficients.slope, coefficients.offset, coefficients.floor, _corrections(cleanup)
    height = picture.shape[0]
    bands = min(os.cpu_count() or 1, 4, 1 + picture.size // BAND)
    edges = [height * i // bands for i in range(bands + 1)]
    if bands == 1:
        _relight.rgb(picture, enhanced, *maps, 0, height)
        return enhanced
    with ThreadPoolExecutor(bands) as pool:  # the loop lets other threads run
        for part in [pool.submit(_relight.rgb, picture, enhanced, *maps, *rows) for rows in pairwise(edges)]:
            part.result()
    return enhanced


def _corrections(cleanup: Cleanup | None) -> tuple[Any, ...] | None:
    return None if cleanup is None else (cleanup.luma, cleanup.cb, cleanup.cr, 1 / LUMA_UNIT)


def fields(planes: Planes, interlaced: bool) -> list[Planes]:
    """Split planes into what `apply_planes` takes in turn: the planes, or views of their two interlaced fields.

    The 4:2:0 chroma lines of interlaced pictures lie between lines of one field. Both fields get the light map of the
    whole frame, so that it cannot flicker between them.
    """
    y, cb, cr = planes
    halved = cb.shape[0] < y.shape[0]
    if not interlaced or not halved or y.shape[0] % 4:
        return [planes]
    return [(y[first::2], cb[first::2], cr[first::2]) for first in (0, 1)]


def apply_planes(
    planes: Planes, out: Planes, coefficients: Coefficients, coding: Coding, cleanup: Cleanup | None = None
) -> None:
    """Enhance Y', Cb, Cr planes (uint8 or uint16, of any sampling from 4:4:4 to 4:1:1) into `out`, or in place.

    Y'CbCr is linear in R'G'B', so what multiplies the channels' differences from luma multiplies the chroma offsets.
    4:1:1 is relighted as 4:2:2 with each chroma sample twice, whose means are the same. `cleanup` is of the planes'
    codes, see `shadows.planes_cleanup`.
    """
    if columns_per_sample(planes) > 2:
        wide = _chroma_repeated(planes)
        relighted = wide[0], np.empty_like(wide[1]), np.empty_like(wide[2])
        if cleanup and cleanup.cb is not None and cleanup.cr is not None:
            _, cb, cr = _chroma_repeated((planes[0], cleanup.cb, cleanup.cr))
            cleanup = replace(cleanup, cb=cb, cr=cr)
        apply_planes(wide, (out[0], relighted[1], relighted[2]), coefficients, coding, cleanup)
        for target, source in zip(out[1:], relighted[1:], strict=True):
            target[...] = _pairs_averaged(source, target.shape[1])
        return
    if _relight is None:
        for target, plane in zip(out, planes_reference(planes, coefficients, coding, cleanup), strict=True):
            target[...] = plane
        return
    maps = coefficients.slope, coefficients.offset, coefficients.floor
    _relight.planes(*planes, *out, *maps, _corrections(cleanup), coding.numbers)


def columns_per_sample(planes: Planes) -> int:
    """Return how many luma columns a chroma sample covers: 1, 2, or up to 4 with 4:1:1."""
    return -(-planes[0].shape[1] // planes[1].shape[1])


def _chroma_repeated(planes: Planes) -> Planes:
    """Repeat each chroma sample along its row, cut to half of luma's width."""
    width = -(-planes[0].shape[1] // 2)
    cb, cr = (np.ascontiguousarray(plane.repeat(2, axis=1)[:, :width]) for plane in planes[1:])
    return planes[0], cb, cr


def _pairs_averaged(plane: Array, width: int) -> Array:
    """Average pairs of columns, the last one by itself where its partner is missing."""
    whole = np.pad(plane, ((0, 0), (0, 2 * width - plane.shape[1])), mode="edge").astype(np.uint32)
    return (whole[:, ::2] + whole[:, 1::2] + 1) // 2


def apply_channels(
    planes: Planes, out: Planes, coefficients: Coefficients, depth: int, grain: Grain | None = None
) -> None:
    """Enhance R, G, B planes of 8 to 16 bits into `out`. A light map of 1 changes no code.

    Shadows are cleaned where the picture's `grain` is known.
    """
    picture = packed(planes, depth)
    cleanup = None if grain is None else rgb_cleanup(picture, coefficients, grain)
    relighted = apply_rgb(picture, coefficients, cleanup=cleanup)
    if depth != 8:
        relighted = np.rint(relighted / _to_sixteen(depth)).astype(np.uint16)
    for channel, plane in enumerate(out):
        plane[...] = relighted[..., channel]


def packed(planes: Planes, depth: int) -> Array:
    """Return R, G and B planes as an (H, W, 3) picture: uint8 of 8 bits, else uint16 of all its codes."""
    picture = np.stack(planes, axis=-1)
    return picture if depth == 8 else np.rint(picture * _to_sixteen(depth)).astype(np.uint16)


def _to_sixteen(depth: int) -> np.float32:
    return np.float32(65535 / ((1 << depth) - 1))


def gain(light: Array, x: Array) -> Array:
    """Compute f(x) / x of the tone curve, from 1 / light down to 1, for light in (0, 1] and x in [0, 1]."""
    square = light * light
    return 1 / np.sqrt(square + (1 - square) * x * x)


def full_size_log_light(luma: Array, coefficients: Coefficients) -> Array:
    """Compute log2 L at the size of `luma`, (H, W) in [floor, 0]."""
    height, width = luma.shape
    slope = cv2.resize(coefficients.slope, (width, height), interpolation=cv2.INTER_LINEAR)
    offset = cv2.resize(coefficients.offset, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(slope * luma + offset, coefficients.floor, 0.0)


def factors(light: Array, luma: Array, peak: Array) -> tuple[Array, Array]:
    """Compute what luma is multiplied by, and chroma, for light in (0, 1] and luma <= peak, both in [0, 1].

    The second is (f(peak) - f(luma)) / (peak - luma), f the tone curve, in a form that holds for peak = luma, too.
    """
    of_luma, of_peak = gain(light, luma), gain(light, peak)
    both = light * of_luma * of_peak
    high = peak + BLACK
    return of_luma, both * both * (high + luma) / (high * of_peak + luma * of_luma)


def rgb_reference(picture: Array, coefficients: Coefficients, cleanup: Cleanup | None = None) -> Array:
    """Compute `apply_rgb` in numpy."""
    white = np.float32(WHITE[picture.dtype])
    colour = picture[..., :3].astype(np.float32)
    bounded = np.clip(np.nan_to_num(colour / white, nan=0.0), 0.0, 1.0)
    luma, peak = bounded @ np.array(LUMA_WEIGHTS, np.float32), bounded.max(axis=2)
    of_luma, of_chroma = factors(np.exp2(full_size_log_light(luma, coefficients)), luma, peak)
    enhanced = colour * of_chroma[..., None] + (luma * (of_luma - of_chroma) * white)[..., None]
    if cleanup and cleanup.luma is not None:
        enhanced += (cleanup.luma * np.float32(1 / LUMA_UNIT) * of_luma)[..., None]
    if cleanup and cleanup.cb is not None and cleanup.cr is not None:
        clean = np.clip(2 * (of_chroma - 1), 0, 1) * of_chroma
        cb, cr = clean * cleanup.cb, clean * cleanup.cr
        enhanced += np.stack([JPEG.r_cr * cr, JPEG.g_cb * cb + JPEG.g_cr * cr, JPEG.b_cb * cb], axis=-1)
    not_darker = np.where(colour < 0.0, enhanced, np.maximum(enhanced, colour))  # by what cleans it
    if picture.dtype == np.float32:
        enhanced = np.where(colour < 1.0, not_darker, colour)
    else:
        limit = np.where(peak < 1.0, white - 1.0, white)[..., None]  # below the maximum stays below the maximum
        enhanced = np.minimum(np.floor(not_darker + 0.5), limit)
    result = picture.copy()
    result[..., :3] = enhanced
    return result


def planes_reference(
    planes: Planes, coefficients: Coefficients, coding: Coding, cleanup: Cleanup | None = None
) -> Planes:
    """Compute `apply_planes` in numpy."""
    n = coding.numbers
    luma, *chroma = (plane.astype(np.float32) for plane in planes)
    height, width = luma.shape
    cb, cr = ((plane - n.c_offset) * n.c_scale for plane in chroma)
    lift = np.maximum(np.maximum(n.r_cr * cr, n.b_cb * cb), n.g_cb * cb + n.g_cr * cr)
    fy, fx = (2 if lift.shape[axis] < luma.shape[axis] else 1 for axis in (0, 1))
    if cleanup and cleanup.luma is not None:
        luma = luma + cleanup.luma.astype(np.float32) / np.float32(LUMA_UNIT)
    above_black = luma - n.y_offset
    low = np.clip(above_black * n.y_scale, 0, 1)
    light = np.exp2(full_size_log_light(low, coefficients))
    # A chroma sample's factor is that of the mean luma and the mean squared light of the samples it covers.
    padded = (np.pad(m, ((0, -height % fy), (0, -width % fx)), mode="edge") for m in (low, light * light))
    y, square = (m.reshape(m.shape[0] // fy, fy, m.shape[1] // fx, fx).mean(axis=(1, 3)) for m in padded)
    high = np.clip(y + lift, 0, 1)
    _, mean = factors(np.sqrt(square), y, high)
    above_white = 1 + (mean - 1) * (high - y) / (lift + BLACK)  # what lies there stays
    mean = np.where(y + lift > 1.0, above_white, mean)
    of_luma = gain(light, low)
    if cleanup and cleanup.cb is not None and cleanup.cr is not None:
        share = np.clip(2 * (mean - 1), 0, 1)
        chroma = [plane + share * change for plane, change in zip(chroma, (cleanup.cb, cleanup.cr), strict=True)]
    y_out = n.y_offset + np.where(above_black > 0, above_black * of_luma, above_black)
    c_out = [n.c_offset + (plane - n.c_offset) * mean for plane in chroma]
    dtype = planes[0].dtype
    y_plane, u_plane, v_plane = (np.clip(np.floor(p + 0.5), 0, n.top).astype(dtype) for p in (y_out, *c_out))
    return y_plane, u_plane, v_plane
