"""What every enhancement network is: a module from pictures to light maps, and what the runtime must know of it."""

from __future__ import annotations

from torch import nn


class LightNetwork(nn.Module):
    """(N, 3, H, W) sRGB in [0, 1] -> light map (N, 1, H, W), >= 0.

    Attributes:
        multiple: height and width must be multiples of this.
        proxy_short_side: of the small picture the runtime shows it.
    """

    multiple: int
    proxy_short_side: int
