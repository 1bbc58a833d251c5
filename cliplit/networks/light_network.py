"""The base class of enhancement networks, with what the runtime must know of each."""

from __future__ import annotations

from torch import nn


class LightNetwork(nn.Module):
    """A module from (N, 3, H, W) sRGB in [0, 1] to a light map (N, 1, H, W), >= 0.

    Attributes:
        multiple: height and width must be multiples of this.
        takes_masks: whether negative samples tell it what is not picture.
        proxy_short_side: of the small picture the runtime shows it.
    """

    multiple: int
    proxy_short_side: int
    takes_masks: bool = False
