"""The real-time network: it sees how light is spread over the picture, not how bright the file is.

A network that sees coded values must guess from them whether a picture was underexposed, and its answer jumps. Here
the exposure is taken out of what the convolutions see: each pixel's logarithm is relative to the picture's level, so
that the same scene at any exposure is the same to them. For every pixel they say the level below which it wants to be
lifted; the lift follows from how far the picture's level lies below that, on a curve that never falls and rises by at
most a stop a stop. So less light in is never more light out, whatever the weights are, but for
what the steps between 8-bit codes tell of how dark a file is.

What is not picture (transparent pixels, what lies outside a region) is told by negative samples, and counts nowhere:
not in the level, not in the context of the whole, not in what its neighbours see.

Logarithms and exponentials stand for powers and soft-plus, which ONNX Runtime computes one by one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..constants import LUMA_WEIGHTS
from .light_network import LightNetwork
from .pooling import pointwise

WIDTHS = (16, 28, 40, 64)
FLOOR = 2.0**-7  # of the picture's level, added to linear light: what lies deeper is noise and 8-bit steps
CODED_STOPS = 1 / 2.2  # stops of gamma-coded values for one of light
KNEE = 0.3  # stops over which the curve bends
MIDDLE = -2.5  # log2 of linear light: the level an ordinary picture has
DIM = 1e-12  # of linear light, below anything that is coded: its logarithm is finite
ROBUST = 3.0  # stops from the level at which a pixel's vote on it is bounded
LN2 = math.log(2.0)


class GlobalContext(nn.Module):
    """Adds to every position what the whole picture says: how contrasted, how backlit it is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(2 * channels, channels)
        self.expand = nn.Linear(channels, channels)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """(N, C, h, w) features; (N, 1, h, w) share of each position that is picture."""
        mean = masked_mean(x, valid)
        apart = x - mean
        spread = masked_mean(apart * apart, valid).add(1e-6).sqrt()
        squeezed = F.leaky_relu(pointwise(self.squeeze, torch.cat([mean, spread], dim=1)), 0.1)
        return x - -pointwise(self.expand, squeezed)  # not a sum: OpenCV 5 fuses one with the convolution, wrongly


class RelativeUNet(LightNetwork):
    """Light map of a proxy, at the proxy's size, in (0, 1]; four levels, global context, skips by addition."""

    multiple = 16  # height and width must be multiples of this
    proxy_short_side = 192
    takes_masks = True

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = WIDTHS
        self.down1 = _conv(4, a)
        self.down2 = nn.Sequential(_conv(a, b, stride=2), _conv(b, b))
        self.down3 = nn.Sequential(_conv(b, c, stride=2), _conv(c, c))
        self.down4 = _conv(c, d, stride=2)
        self.context = GlobalContext(d)
        self.deep = _conv(d, d)
        self.context2 = GlobalContext(d)
        self.up3 = nn.Conv2d(d, c, 1)
        self.up2 = nn.Conv2d(c, b, 1)
        self.up1 = nn.Conv2d(b, a, 1)
        self.merge3 = _conv(c, c)
        self.merge2 = _conv(b, b)
        self.merge1 = _conv(a, a)
        self.slope = nn.Linear(d, 1)
        self.head = nn.Conv2d(a, 1, 3, padding=1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) sRGB in [0, 1], negative where it is not picture; H and W multiples of 16 -> (N, 1, H, W)."""
        level, seen, valid = relative_light(x)
        x1 = self.down1(torch.cat([seen, valid], dim=1))
        x2 = self.down2(x1)
        x3 = self.down3(x2)
        coarse = F.avg_pool2d(valid, 8).clamp(min=0.0)  # no change; without it OpenCV 5 stops at the next mean
        x4 = self.context2(self.deep(self.context(self.down4(x3), coarse)), coarse)
        y3 = self.merge3(x3 + _double(self.up3(x4)))
        y2 = self.merge2(x2 + _double(self.up2(y3)))
        y1 = self.merge1(x1 + _double(self.up1(y2)))
        slope = torch.sigmoid(0.3 * pointwise(self.slope, masked_mean(x4, coarse)) + 2.5)
        wanted = 2.0 * _double(self.head(y1)) + MIDDLE  # the level below which this pixel is lifted
        stops = slope * KNEE * soft_plus((wanted - level) / KNEE)
        return torch.exp(-LN2 * CODED_STOPS * stops)


def relative_light(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute what the network sees, at half size, of (N, 3, H, W) sRGB, negative where it is not picture.

    Returns:
        (N, 1, 1, 1) level of the picture, log2 of linear light; (N, 3, h, w) log2 of each pixel's light relative to
        it, scaled, 0 where there is no picture; (N, 1, h, w) share of each pixel that is picture.
    """
    least = torch.minimum(torch.minimum(x[:, :1], x[:, 1:2]), x[:, 2:])
    picture = (least >= 0).to(x.dtype)
    valid = F.avg_pool2d(picture, 2)
    linear = srgb_to_linear(F.avg_pool2d(x.clamp(min=0.0) * picture, 2) / valid.clamp(min=1e-3))
    level = picture_level(luminance(linear), valid)
    relative = linear * torch.exp(-LN2 * level)
    return level, torch.log2(relative + FLOOR) * valid * 0.35, valid


def picture_level(light: Tensor, valid: Tensor) -> Tensor:
    """Compute (N, 1, 1, 1) log2 of the level of linear light (N, 1, h, w): a robust mean, which a caption hardly moves.

    Light k times as strong has a level log2(k) higher, exactly: no floor but one relative to the picture itself.
    """
    scale = power(masked_mean(power(light.clamp(min=DIM), 0.4), valid).clamp(min=1e-4), 2.5)
    log_light = torch.log2(light / scale + FLOOR)
    level = torch.zeros_like(scale)
    for _ in range(2):
        level = level + masked_mean((log_light - level).clamp(-ROBUST, ROBUST), valid)
    return torch.log2(scale) + level


def masked_mean(x: Tensor, valid: Tensor) -> Tensor:
    """Average (N, C, h, w) over what is picture, to (N, C, 1, 1)."""
    return (x * valid).mean(dim=(2, 3), keepdim=True) / valid.mean(dim=(2, 3), keepdim=True).clamp(min=1e-4)


def srgb_to_linear(x: Tensor) -> Tensor:
    return torch.where(x <= 0.04045, x / 12.92, power((x.clamp(min=0.04045) + 0.055) / 1.055, 2.4))


def power(x: Tensor, exponent: float) -> Tensor:
    """Raise positive numbers to a power."""
    return torch.exp(exponent * torch.log(x))


def soft_plus(x: Tensor) -> Tensor:
    """Compute log(1 + exp(x)) without overflow."""
    return F.relu(x) + torch.log(1.0 + torch.exp(-x.abs()))


def luminance(linear: Tensor) -> Tensor:
    r, g, b = LUMA_WEIGHTS
    return r * linear[:, :1] + g * linear[:, 1:2] + b * linear[:, 2:]


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
    nn.init.kaiming_normal_(conv.weight, a=0.1)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return nn.Sequential(conv, nn.LeakyReLU(0.1))


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
