"""Losses on pictures with a known target. Pictures are (N, 3, H, W) in [0, 1]."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .relight import box_mean, luma


def psnr(x: Tensor, y: Tensor, floor: float = 0.0) -> Tensor:
    """Compute the peak signal-to-noise ratio in dB per picture, (N,); `floor` is added to the squared error."""
    return -10.0 * torch.log10(((x - y) ** 2).mean(dim=(1, 2, 3)) + floor)


def ssim(x: Tensor, y: Tensor, window: int = 7) -> Tensor:
    """Compute structural similarity (Wang et al., TIP 2004) with a uniform window, (N,)."""

    def mean(t: Tensor) -> Tensor:
        return box_mean(t, window // 2, replicate=False)

    mx, my = mean(x), mean(y)
    unbiased = window**2 / (window**2 - 1.0)
    vx, vy = (mean(x * x) - mx * mx) * unbiased, (mean(y * y) - my * my) * unbiased
    cov = (mean(x * y) - mx * my) * unbiased
    c1, c2 = 0.01**2, 0.03**2
    score = ((2 * mx * my + c1) * (2 * cov + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return score.mean(dim=(1, 2, 3))


def paired_loss(enhanced: Tensor, target: Tensor, ssim_weight: float = 0.4, level_weight: float = 0.0) -> Tensor:
    """Average log error and structure over the batch: the metrics of the result, made differentiable.

    The log of the error weighs a bad picture no more than a mediocre one; the floor (30 dB) keeps pictures that
    are already right, such as well-lit ones, from dominating. It hardly pulls where everything is too dark alike;
    `level_weight` weighs the error of the mean luma, which does.
    """
    decades = psnr(enhanced, target, floor=1e-3) / (-10.0) - math.log10(1e-3)
    absolute = (enhanced - target).abs().mean(dim=(1, 2, 3))
    level = (luma(enhanced) - luma(target)).mean(dim=(1, 2, 3)).abs()
    structure = 1.0 - ssim(luma(enhanced), luma(target))
    return (decades + absolute + ssim_weight * structure + level_weight * level).mean()
