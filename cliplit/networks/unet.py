"""The enhancement network of CLIP-LIT (Liang et al., ICCV 2023, section 3.2): full resolution, 278,790 parameters.

Attribute names are those of the published checkpoints, so that their state dicts load directly.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .light_network import LightNetwork
from .pooling import adaptive_average_pool

Padding = Literal["reflect", "zeros"]


class ResidualBlock(nn.Module):
    """conv - LeakyReLU - conv, plus the input, LeakyReLU; bias-free 3x3 convolutions with reflect padding."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False, padding_mode="reflect")
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.leaky_relu(self.conv1(x), 0.2))
        return F.leaky_relu(x + y, 0.2)


class ExactPool(nn.Module):
    """`nn.AdaptiveAvgPool2d(size)` in a form that exports exactly at dynamic sizes."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return adaptive_average_pool(x, self.size)


class PyramidPooling(nn.Module):
    """Context at 1, 2, 3 and 6 cells a side, brought back to full size, concatenated and fused."""

    def __init__(self, channels: int, cells: tuple[int, ...] = (1, 2, 3, 6)) -> None:
        super().__init__()
        branch = channels // len(cells)
        self.features = nn.ModuleList(
            nn.Sequential(ExactPool(size), nn.Conv2d(channels, branch, 1, bias=False), nn.PReLU()) for size in cells
        )
        self.fuse = nn.Sequential(
            nn.Conv2d(channels + branch * len(cells), channels, 3, padding=1, bias=False), nn.PReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        context = [_enlarged(f(x), size) for f in self.features]
        return self.fuse(torch.cat([x, *context], dim=1))


def _enlarged(cells: Tensor, size: torch.Size) -> Tensor:
    if cells.shape[-1] == 1:  # the same values as below, where OpenCV 5 reads beyond the one cell
        return F.interpolate(cells, size, mode="nearest")
    return F.interpolate(cells, size, mode="bilinear", align_corners=True)


class _RevivableReLU(torch.autograd.Function):
    """ReLU whose zero side passes gradients that would raise it.

    The map starts from one bias; a few early steps that push it below zero everywhere would otherwise leave the
    whole network without a gradient, for good.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x)
        return x.clamp(min=0.0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return torch.where((x > 0) | (gradient < 0), gradient, torch.zeros_like(gradient))


class UNet(LightNetwork):
    """Light map of an RGB picture at the picture's own size.

    Args:
        padding: of the four outer convolutions. The paper trains with ``"zeros"`` and tests with
            ``"reflect"`` on the same weights; parity with published results needs ``"reflect"``.
    """

    multiple = 1  # any size from 2x2 on
    proxy_short_side = 144

    def __init__(self, padding: Padding = "reflect") -> None:
        super().__init__()

        def conv(inputs: int, outputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode=padding)

        self.cond1 = conv(3, 32)
        self.ResidualBlock1 = ResidualBlock(32)
        self.ResidualBlock2 = ResidualBlock(32)
        self.PPM1 = PyramidPooling(32)
        self.condx = conv(32, 64)
        self.ResidualBlock3 = ResidualBlock(64)
        self.ResidualBlock4 = ResidualBlock(64)
        self.condy = conv(64, 32)
        self.ResidualBlock5 = ResidualBlock(32)
        self.ResidualBlock6 = ResidualBlock(32)
        self.cond_add1 = conv(32, 1)
        nn.init.ones_(self.cond_add1.bias)  # type: ignore[arg-type]  # start near L = 1, away from ReLU's dead side

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) sRGB in [0, 1], sides at least 2, to a light map (N, 1, H, W), >= 0."""
        x = F.leaky_relu(self.cond1(x), 0.2)
        x = self.ResidualBlock2(self.ResidualBlock1(x))
        x = self.PPM1(x)
        x = self.ResidualBlock4(self.ResidualBlock3(self.condx(x)))
        x = self.ResidualBlock6(self.ResidualBlock5(self.condy(x)))
        light = self.cond_add1(x)
        return _RevivableReLU.apply(light) if self.training else F.relu(light)
