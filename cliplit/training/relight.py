"""The runtime's relighting in torch, differentiable: from a light map to the enhanced picture.

Training through the same edge-aware refinement and highlight protection that the runtime applies is what makes
the trained light map look right there. `tests/test_relight.py` holds the two implementations together.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..constants import GUIDE_EPSILON, GUIDE_RADIUS, LUMA_WEIGHTS, MAX_GAIN


def luma(x: Tensor) -> Tensor:
    """Compute luma, (N, 3, H, W) -> (N, 1, H, W), ITU-R BT.709 weights on gamma-coded values."""
    r, g, b = LUMA_WEIGHTS
    return r * x[:, :1] + g * x[:, 1:2] + b * x[:, 2:]


def box_mean(x: Tensor, radius: int, replicate: bool = True) -> Tensor:
    """Average over a (2 radius + 1) window; borders are replicated, or cropped as in `avg_pool2d`."""
    window = 2 * radius + 1
    if replicate:
        x = F.pad(x, [radius] * 4, mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(x, (1, window), stride=1), (window, 1), stride=1)  # separable: 2 n taps, not n^2


def guided_refine(log_light: Tensor, guide: Tensor) -> Tensor:
    """Apply the guided filter (He, Sun, Tang, PAMI 2013) to the log light map; both (N, 1, H, W)."""
    mean_g, mean_l = box_mean(guide, GUIDE_RADIUS), box_mean(log_light, GUIDE_RADIUS)
    covariance = box_mean(guide * log_light, GUIDE_RADIUS) - mean_g * mean_l
    variance = box_mean(guide * guide, GUIDE_RADIUS) - mean_g * mean_g
    slope = covariance / (variance + GUIDE_EPSILON)
    offset = mean_l - slope * mean_g
    return box_mean(slope, GUIDE_RADIUS) * guide + box_mean(offset, GUIDE_RADIUS)


def bounded_log2(light: Tensor, max_gain: float) -> Tensor:
    """Compute log2 of the light map clamped to [1 / max_gain, 1]."""
    return torch.log2(straight_clamp(light, 1.0 / max_gain, 1.0))


def straight_clamp(x: Tensor, low: float, high: float) -> Tensor:
    """Clamp, but pass gradients straight through.

    A plain one would leave a network whose last ReLU went to 0, or whose map exceeds 1 everywhere (as it may at the
    start), without a gradient.
    """
    return x + (x.clamp(low, high) - x).detach()


def toned(picture: Tensor, log_light: Tensor) -> Tensor:
    """Compute `cliplit.runtime.light.gain.rgb_reference` without rounding."""
    square = torch.exp2(2.0 * log_light)
    low, high = luma(picture), picture.amax(dim=1, keepdim=True)
    of_luma, of_peak = (torch.rsqrt(square + (1.0 - square) * x * x) for x in (low.clamp(0, 1), high.clamp(0, 1)))
    high = high + 1e-6  # black: gradients of float32 want more than the runtime does
    of_chroma = square * (of_luma * of_peak) ** 2 * (high + low) / (high * of_peak + low * of_luma)
    return picture * of_chroma + low * (of_luma - of_chroma)


def relight(picture: Tensor, light: Tensor, max_gain: float = MAX_GAIN) -> Tensor:
    """Relight pictures (N, 3, H, W) in [0, 1] by light maps (N, 1, H, W) -> (N, 3, H, W) in [0, 1]."""
    refined = guided_refine(bounded_log2(light, max_gain), luma(picture))
    return toned(picture, straight_clamp(refined, -math.inf, 0.0))


def divide(picture: Tensor, light: Tensor) -> Tensor:
    """Compute the papers' enhanced picture, clip(I / (L + 1e-9), 0, 1); shapes as in `relight`."""
    return (picture / (light + 1e-9)).clamp(0.0, 1.0)


APPLY = {"divide": divide, "runtime": relight}
