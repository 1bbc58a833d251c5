"""The real-time network: a strided U-Net over a small proxy of the frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .light_network import LightNetwork
from .pooling import pointwise

WIDTHS = (16, 24, 32, 40)


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
    nn.init.kaiming_normal_(conv.weight, a=0.1)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return nn.Sequential(conv, nn.LeakyReLU(0.1))


class GlobalContext(nn.Module):
    """Adds global statistics to every position: how bright, how contrasted, how backlit the picture is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(2 * channels, channels)
        self.expand = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(2, 3), keepdim=True)
        apart = x - mean
        spread = (apart * apart).mean(dim=(2, 3), keepdim=True).add(1e-6).sqrt()
        squeezed = F.leaky_relu(pointwise(self.squeeze, torch.cat([mean, spread], dim=1)), 0.1)
        return x - -pointwise(self.expand, squeezed)  # not a sum: OpenCV 5 fuses one with the convolution, wrongly


class LiteUNet(LightNetwork):
    """Light map of a proxy, at the proxy's size; four strided levels, global context, skip connections by addition.

    The light map is a sigmoid: it never exceeds 1 (a backlit picture is brightened, never darkened), and the
    gain 1 / L = 1 + exp(-z) grows without saturating where the picture is very dark.
    """

    multiple = 16  # height and width must be multiples of this
    proxy_short_side = 192

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = WIDTHS
        self.down1 = _conv(3, a, stride=2)
        self.down2 = nn.Sequential(_conv(a, b, stride=2), _conv(b, b))
        self.down3 = nn.Sequential(_conv(b, c, stride=2))
        self.down4 = nn.Sequential(_conv(c, d, stride=2))
        self.context = GlobalContext(d)
        self.up3 = nn.Conv2d(d, c, 1)
        self.up2 = nn.Conv2d(c, b, 1)
        self.up1 = nn.Conv2d(b, a, 1)
        self.merge3 = _conv(c, c)
        self.merge2 = _conv(b, b)
        self.merge1 = _conv(a, a)
        self.head = nn.Conv2d(a, 1, 3, padding=1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.constant_(self.head.bias, 1.0)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) sRGB in [0, 1], sides multiples of 16, to a light map (N, 1, H, W) in (0, 1)."""
        x1 = self.down1(x * 4.0 - 1.0)
        x2 = self.down2(x1)
        x3 = self.down3(x2)
        x4 = self.context(self.down4(x3))
        y3 = self.merge3(x3 + _double(self.up3(x4)))
        y2 = self.merge2(x2 + _double(self.up2(y3)))
        y1 = self.merge1(x1 + _double(self.up1(y2)))
        return torch.sigmoid(_double(self.head(y1)))


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
