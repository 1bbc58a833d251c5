"""The losses of CLIP-LIT (Liang et al., ICCV 2023) and RAVE (Gaintseva et al., ECCV 2024).

Embeddings are (N, D) of unit length; a prompt pair is (2, D) of unit length, the negative (backlit) one first.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

LOGIT_SCALE = 100.0
BACKLIT, WELL_LIT = 0, 1  # labels, and rows of a prompt pair


def negative_probability(embeddings: Tensor, pair: Tensor) -> Tensor:
    """Compute S(I), (N,): the softmax probability of the negative prompt."""
    return (LOGIT_SCALE * embeddings @ pair.T).softmax(dim=-1)[:, BACKLIT]


def prompt_loss(embeddings: Tensor, labels: Tensor, pair: Tensor) -> Tensor:
    """Compute the cross-entropy of telling backlit (0) from well-lit (1) pictures; CLIP-LIT section 3.1."""
    return F.cross_entropy(LOGIT_SCALE * embeddings @ pair.T, labels)


def clip_loss(embeddings: Tensor, pair: Tensor) -> Tensor:
    """Compute L_clip: the mean probability that an enhanced picture is backlit."""
    return negative_probability(embeddings, pair).mean()


def identity_loss(enhanced: Sequence[Tensor], original: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Compute L_identity: weighted mean squared errors of the stages' features, summed over the batch as published."""
    per_picture = [
        weight * F.mse_loss(a, b, reduction="none").flatten(1).mean(dim=1)
        for weight, a, b in zip(weights, enhanced, original, strict=True)
    ]
    return torch.stack(per_picture).sum()


def ranking_loss(ladder: Sequence[Tensor], margins: tuple[float, float]) -> Tensor:
    """Compute L_prompt: S must fall along the ladder, (N,) each: backlit, results from old to new, well-lit.

    Well-lit and the first result must each lie a wide margin under backlit, every later step a narrow one. Two,
    three and four rungs give the losses of the initial, the first and the later rounds (CLIP-LIT section 3.2).
    """
    wide, narrow = margins
    loss = hinge(ladder[0], ladder[-1], wide)
    if len(ladder) > 2:
        loss = loss + hinge(ladder[0], ladder[1], wide)
    for higher, lower in pairwise(ladder[1:]):
        loss = loss + hinge(higher, lower, narrow)
    return loss.mean()


def band_loss(embeddings: Tensor, direction: Tensor, low: float, high: float) -> Tensor:
    """Compute the mean squared distance along a direction (D,) from the band [low, high]; 0 within it."""
    places = embeddings @ direction
    return ((low - places).clamp(min=0.0) ** 2 + (places - high).clamp(min=0.0) ** 2).mean()


def hinge(higher: Tensor, lower: Tensor, margin: float) -> Tensor:
    """Compute the hinge loss, 0 if `lower` is at least `margin` under `higher`."""
    return (lower - higher + margin).clamp(min=0.0)


def residual_loss(embeddings: Tensor, residual: Tensor, threshold: float) -> Tensor:
    """Compute L_res of RAVE: squared distance along the residual vector (D,) from where well-lit pictures lie."""
    return ((embeddings @ residual - threshold) ** 2).mean()
