"""What an encoder is shown of a picture: crops besides the whole, and the same picture at another exposure."""

from __future__ import annotations

import torch
from torch import Tensor

from ..pictures.augment import decoded, encoded
from .contract import ImageEncoder


def embed_views(encoder: ImageEncoder, pictures: Tensor, crops: int, seed: int) -> Tensor:
    """Embed pictures (N, 3, H, W) whole and in `crops` random windows of half their sides: ((1 + crops) N, D).

    A small encoder shrinks a picture to a stamp; in a crop it sees each thing at twice the size. The windows depend on
    the seed and on nothing else, and are the same for all pictures of the batch.
    """
    return torch.cat([encoder.embed(pictures), *embed_crops(encoder, pictures, crops, seed)])


def embed_crops(encoder: ImageEncoder, pictures: Tensor, crops: int, seed: int) -> list[Tensor]:
    """Embed the windows of `embed_views` alone, (N, D) each."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    height, width = (max(side // 2, 1) for side in pictures.shape[-2:])
    for _ in range(crops):
        spare = (pictures.shape[-2] - height, pictures.shape[-1] - width)
        top, left = (int(torch.randint(room + 1, (), generator=generator)) for room in spare)
        found.append(encoder.embed(pictures[..., top : top + height, left : left + width]))
    return found


def retaken(pictures: Tensor, stops: float | Tensor) -> Tensor:
    """Retake gamma-coded pictures in [0, 1] with `stops` more light (IEC 61966-2-1); what exceeds white is lost."""
    return encoded(decoded(pictures) * 2.0**stops)
