"""RAVE's guidance: the direction in embedding space from backlit to well-lit pictures (section 3.3 of its paper)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..config import TrainConfig
from ..pictures.guided_batches import GuidedSources, all_pictures
from ..pictures.picture_folder import Pictures
from .contract import Guidance, ImageEncoder, TextTower


@dataclass
class Residual:
    """`vector` (D,) of unit length; `threshold`: how far along it well-lit pictures lie on average."""

    vector: Tensor
    threshold: float


def residual_of(backlit: Tensor, well_lit: Tensor, away_from: Tensor | None = None) -> Residual:
    """Compute the residual from unit embeddings of both folders, (N, D) and (M, D), without `away_from` (D,)."""
    positive, negative = mean_direction(well_lit), mean_direction(backlit)
    vector = F.normalize(positive - negative, dim=0)
    if away_from is not None:
        vector = F.normalize(vector - away_from * (away_from @ vector), dim=0)
    return Residual(vector, float(positive @ vector))


def mean_direction(embeddings: Tensor) -> Tensor:
    return F.normalize(embeddings.mean(dim=0), dim=0)


def vocabulary_bias(vector: Tensor, words: Tensor, count: int) -> Tensor:
    """Compute what the vector encodes besides light, (D,), from the words (V, D) at both of its ends.

    The two folders show other things too (more landscapes here, more people there), and the residual vector has
    learnt that. Its most and least similar words name it.
    """
    similarity = F.normalize(words, dim=1) @ vector
    order = similarity.argsort()
    ends = [(similarity[end, None] * words[end]).mean(dim=0) for end in (order[:count], order[-count:])]
    return F.normalize(F.normalize(ends[0], dim=0) + F.normalize(ends[1], dim=0), dim=0)


@torch.no_grad()
def embed_vocabulary(text: TextTower, batch: int = 256) -> Tensor:
    """Compute unit embeddings of every word piece the tower knows, (V, D)."""
    words = text.vocabulary()
    parts = []
    for start in range(0, len(words), batch):
        tokens = text.tokens(words[start : start + batch])
        parts.append(text.encode(text.word_vectors(tokens), tokens))
    return torch.cat(parts)


@torch.no_grad()
def residual_of_sources(
    config: TrainConfig, guidance: Guidance, sources: GuidedSources, device: torch.device
) -> Residual:
    """Compute the residual over all pictures of both folders, without augmentation."""
    backlit = embed_pictures(guidance.score, sources.backlit, True, config, device)
    well_lit = embed_pictures(guidance.score, sources.well_lit, False, config, device)
    away = None
    if config.bias_tokens:
        assert guidance.text is not None  # build_guidance makes it for this option
        plain = residual_of(backlit, well_lit)
        away = vocabulary_bias(plain.vector, embed_vocabulary(guidance.text), config.bias_tokens)
    return residual_of(backlit, well_lit, away)


def embed_pictures(
    encoder: ImageEncoder, pictures: Pictures, backlit: bool, config: TrainConfig, device: torch.device
) -> Tensor:
    """Compute unit embeddings of all pictures, (N, D)."""
    batches = all_pictures(pictures, backlit, config.seed, config.batch)
    return torch.cat([encoder.embed(batch.to(device)).float() for batch in batches])
