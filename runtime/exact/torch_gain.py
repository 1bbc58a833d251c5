"""`proxy.planes_proxy`, `light_map` and `gain` in tensors, for frames that stay on a card.

Planes are (N, 1, H, W) luma and (N, 1, h, w) chroma codes, or R, G and B of one size, as float32 on any device; maps of
light are (N, 1, H, W) float32 log2.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cliplit.constants import LUMA_WEIGHTS

from ..light.colour import Coding
from ..light.light_map import KNEE

Codes = tuple[Tensor, Tensor, Tensor]
BLACK = 1e-12  # as `gain.BLACK`


def seen(codes: Codes, coding: Coding) -> tuple[Tensor, Tensor]:
    """Compute what the network sees, (N, 3, H, W) gamma-coded RGB in [0, 1], and its luma, (N, 1, H, W); SDR only."""
    if coding.rgb:
        rgb = torch.cat(codes, dim=1) / coding.numbers.top
        return rgb, luma_of(rgb)
    n = coding.numbers
    luma = ((codes[0] - n.y_offset) * n.y_scale).clamp(0.0, 1.0)
    size = luma.shape[-2:]
    blue, red = ((plane - n.c_offset) * n.c_scale for plane in codes[1:])
    if blue.shape != luma.shape:
        blue, red = (F.interpolate(plane, size, mode="bilinear", align_corners=False) for plane in (blue, red))
    rgb = torch.cat([luma + n.r_cr * red, luma + n.g_cb * blue + n.g_cr * red, luma + n.b_cb * blue], dim=1)
    return rgb.clamp(0.0, 1.0), luma


def luma_of(rgb: Tensor) -> Tensor:
    """Compute luma, (N, 3, H, W) -> (N, 1, H, W)."""
    weights = torch.tensor(LUMA_WEIGHTS, dtype=torch.float32, device=rgb.device)
    return (rgb * weights[:, None, None]).sum(dim=1, keepdim=True)


def bounded(light: Tensor, max_gain: float) -> Tensor:
    """Compute `light_map.log_light`."""
    return torch.log2(light.to(torch.float32).nan_to_num(nan=1.0).clamp(1.0 / max_gain, 1.0))


def softly_bounded(log_light: Tensor, gain: float) -> Tensor:
    """Compute `light_map.softly_bounded`."""
    stops = -log_light
    return -stops / (1.0 + (stops / max(math.log2(gain), 1e-3)) ** KNEE) ** (1.0 / KNEE)


def squared_light(log_light: Tensor, max_gain: float) -> Tensor:
    """Compute the squared light from its log2, bounded."""
    return torch.exp2(2.0 * log_light.clamp(-math.log2(max_gain), 0.0))


def factors(square: Tensor, luma: Tensor, peak: Tensor) -> tuple[Tensor, Tensor]:
    """Compute `gain.factors` of the squared light: what luma is multiplied by, and chroma."""
    of_luma, of_peak = (torch.rsqrt(square + (1.0 - square) * x * x) for x in (luma, peak))
    high = peak + BLACK
    return of_luma, square * (of_luma * of_peak) ** 2 * (high + luma) / (high * of_peak + luma * of_luma)


def relighted(codes: Codes, log_light: Tensor, coding: Coding, max_gain: float, interlaced: bool = False) -> Codes:
    """Compute `gain.apply_planes` or `gain.apply_channels`: whole codes, as float32.

    `interlaced`: the planes hold two fields, whose 4:2:0 chroma lines belong to one field each (`gain.fields`). Both
    get the light of the whole frame.
    """
    if coding.rgb:
        return _channels(codes, log_light, coding, max_gain)
    if not interlaced:
        return _planes(codes, log_light, coding, max_gain)
    y, cb, cr = (torch.cat([plane[:, :, 0::2], plane[:, :, 1::2]]) for plane in codes)
    light = F.avg_pool2d(log_light, (2, 1))
    fields = _planes((y, cb, cr), torch.cat([light, light]), coding, max_gain)
    first, second, third = (torch.stack(plane.chunk(2), dim=3).flatten(2, 3) for plane in fields)
    return first, second, third


def _planes(codes: Codes, log_light: Tensor, coding: Coding, max_gain: float) -> Codes:
    """Compute `gain.planes_reference`."""
    n = coding.numbers
    y, *chroma = codes
    height, width = y.shape[-2:]
    above_black = y - n.y_offset
    blue, red = ((plane - n.c_offset) * n.c_scale for plane in chroma)
    lift = torch.maximum(torch.maximum(n.r_cr * red, n.b_cb * blue), n.g_cb * blue + n.g_cr * red)
    fy, fx = (2 if lift.shape[axis] < y.shape[axis] else 1 for axis in (2, 3))
    low = (above_black * n.y_scale).clamp(0.0, 1.0)
    square = squared_light(log_light, max_gain)
    of_luma = torch.rsqrt(square + (1.0 - square) * low * low)
    if fy * fx > 1:  # a chroma sample's factor is that of the mean luma and squared light of the samples it covers
        edges = (0, -width % fx, 0, -height % fy)
        low, square = (F.avg_pool2d(F.pad(part, edges, mode="replicate"), (fy, fx)) for part in (low, square))
    high = (low + lift).clamp(0.0, 1.0)
    _, mean = factors(square, low, high)
    mean = torch.where(low + lift > 1.0, 1.0 + (mean - 1.0) * (high - low) / (lift + BLACK), mean)  # above white stays
    y = n.y_offset + torch.where(above_black > 0, above_black * of_luma, above_black)
    cb, cr = (n.c_offset + (plane - n.c_offset) * mean for plane in chroma)
    return _whole(y, n.top), _whole(cb, n.top), _whole(cr, n.top)


def _channels(codes: Codes, log_light: Tensor, coding: Coding, max_gain: float) -> Codes:
    top = coding.numbers.top
    peak = torch.maximum(torch.maximum(codes[0], codes[1]), codes[2]) / top
    luma = luma_of(torch.cat(codes, dim=1)) / top
    of_luma, of_chroma = factors(squared_light(log_light, max_gain), luma, peak)
    grey = luma * (of_luma - of_chroma) * top + 0.5
    limit = torch.where(peak < 1.0, top - 1.0, top)  # below the maximum stays below the maximum
    red, green, blue = (torch.minimum(torch.floor(plane * of_chroma + grey), limit) for plane in codes)
    return red, green, blue


def _whole(plane: Tensor, top: float) -> Tensor:
    return torch.floor(plane + 0.5).clamp(0, top)


# ---------------------------------------------------------------- between full size and proxy size


class Shrink:
    """Area averaging to another size, like OpenCV's INTER_AREA, by one matrix per axis.

    A card multiplies them at once; its adaptive pooling uses one thread for each of the few results.

    Args:
        full, small: (H, W) and (h, w).
    """

    def __init__(self, full: tuple[int, int], small: tuple[int, int], device: torch.device) -> None:
        self._down, across = (area_weights(n, of).to(device) for of, n in zip(full, small, strict=True))
        self._across = across.T.contiguous()

    def __call__(self, maps: Tensor) -> Tensor:
        """Resize (N, C, H, W) to (N, C, h, w)."""
        return self._down @ (maps @ self._across)


def area_weights(small: int, full: int) -> Tensor:
    """Build the (small, full) weights of `full` samples in `small` ones that cover the same length."""
    edges = np.arange(small + 1) * full / small
    samples = np.arange(full)
    covered = np.minimum(edges[1:, None], samples + 1) - np.maximum(edges[:-1, None], samples)
    return torch.from_numpy((np.clip(covered, 0.0, 1.0) * small / full).astype(np.float32))


def enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge (N, C, h, w) to (N, C, H, W) bilinearly, like coefficients."""
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)
