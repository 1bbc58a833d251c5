"""What an encoder is shown of a picture: crops besides the whole, and the same picture at another exposure."""

from __future__ import annotations

import torch
from torch import Tensor

from .contract import ImageEncoder


def embed_views(encoder: ImageEncoder, pictures: Tensor, crops: int, seed: int) -> Tensor:
    """Embed pictures (N, 3, H, W) whole and in `crops` random windows of half their sides: ((1 + crops) N, D).

    A small encoder shrinks a picture to a stamp; in a crop it sees each thing at twice the size. The windows depend on
    the seed and on nothing else, and are the same for all pictures of the batch.
    """
    generator = torch.Generator().manual_seed(seed)
    parts = [pictures]
    height, width = (max(side // 2, 1) for side in pictures.shape[-2:])
    for _ in range(crops):
        spare = (pictures.shape[-2] - height, pictures.shape[-1] - width)
        top, left = (int(torch.randint(room + 1, (), generator=generator)) for room in spare)
        parts.append(pictures[..., top : top + height, left : left + width])
    return torch.cat([encoder.embed(part) for part in parts])


def retaken(pictures: Tensor, stops: float) -> Tensor:
    """Retake gamma-coded pictures in [0, 1] with `stops` more light (IEC 61966-2-1); what exceeds white is lost."""
    x = pictures.clamp(0.0, 1.0)
    linear = torch.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    y = (linear * 2.0**stops).clamp(0.0, 1.0)
    return torch.where(y <= 0.0031308, 12.92 * y, 1.055 * y.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)
