"""RAVE's guidance: the direction in embedding space from backlit to well-lit pictures (section 3.3 of its paper).

Two things of ours besides it. The direction may come from well-lit pictures alone, each retaken too dark. And the
target may be a band, as far along the direction as well-lit pictures lie, with a second direction against
over-exposure: RAVE's threshold lies beyond the mean of well-lit pictures, since a mean of unit vectors is shorter than
1 and is normalised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..config import TrainConfig
from ..errors import InputError
from ..pictures.guided_batches import GuidedSources, all_pictures
from ..pictures.picture_folder import Pictures
from .contract import Guidance, ImageEncoder, TextTower
from .guided_losses import band_loss, residual_loss
from .views import embed_views, retaken

ALIKE = 1e-5  # distance of two means of unit vectors that differ by rounding only


@dataclass
class Residual:
    """`vector` (D,) of unit length; `threshold`: how far along it well-lit pictures lie on average.

    `band`: between which places along the vector there is nothing to correct, instead of the threshold. `over` (D,):
    the direction of over-exposure, along which results may lie at `limit`.
    """

    vector: Tensor
    threshold: float
    band: tuple[float, float] | None = None
    over: Tensor | None = None
    limit: float = math.inf

    def loss(self, embeddings: Tensor) -> Tensor:
        """Compute the guidance of results' unit embeddings (N, D): L_res, or the distance from the band."""
        if self.band is None:
            loss = residual_loss(embeddings, self.vector, self.threshold)
        else:
            loss = band_loss(embeddings, self.vector, *self.band)
        if self.over is not None:
            loss = loss + band_loss(embeddings, self.over, -math.inf, self.limit)
        return loss


def residual_of(backlit: Tensor, well_lit: Tensor, away_from: Tensor | None = None) -> Residual:
    """Compute the residual from unit embeddings of both kinds, (N, D) and (M, D), without `away_from` (D,).

    Raises InputError if both have the same mean, and there is no direction.
    """
    positive, negative = mean_direction(well_lit), mean_direction(backlit)
    if float((positive - negative).norm()) < ALIKE:
        raise InputError("backlit and well-lit pictures are the same to the encoder; guidance needs two kinds")
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
    well_lit = embed_pictures(guidance.score, sources.well_lit, False, config, device)
    if config.direction == "exposure":
        backlit = embed_pictures(guidance.score, sources.well_lit, False, config, device, -config.exposure_stops)
    else:
        backlit = embed_pictures(guidance.score, sources.backlit, True, config, device)
    away = None
    if config.bias_tokens:
        assert guidance.text is not None  # build_guidance makes it for this option
        plain = residual_of(backlit, well_lit)
        away = vocabulary_bias(plain.vector, vocabulary(guidance.text, config, len(plain.vector)), config.bias_tokens)
    residual = residual_of(backlit, well_lit, away)
    places = (well_lit @ residual.vector).float()
    if config.target == "mean":
        residual.threshold = float(places.mean())
    elif config.target == "band":
        residual.band = quantiles(places, config.band)
    if config.overexposure:
        over = embed_pictures(guidance.score, sources.well_lit, False, config, device, config.overexposure)
        residual.over = residual_of(well_lit, over).vector
        residual.limit = quantiles(well_lit @ residual.over, config.band)[1]
    return residual


def quantiles(places: Tensor, shares: tuple[float, float]) -> tuple[float, float]:
    low, high = torch.quantile(places, torch.tensor(shares, device=places.device)).tolist()
    return low, high


def vocabulary(text: TextTower, config: TrainConfig, dimensions: int) -> Tensor:
    """Give what stands for the words in the bias correction, (V, D). Raises InputError if raw words have another D."""
    if config.bias_words == "encoded":
        return embed_vocabulary(text)
    words = text.word_table().float()
    if words.shape[1] != dimensions:
        raise InputError(
            f"--bias-words raw: words of {text.name} have {words.shape[1]} numbers, its embeddings {dimensions}; "
            "use --bias-words encoded"
        )
    return words


def embed_pictures(
    encoder: ImageEncoder,
    pictures: Pictures,
    backlit: bool,
    config: TrainConfig,
    device: torch.device,
    stops: float = 0.0,
) -> Tensor:
    """Compute unit embeddings of all pictures and of their crops, taken with `stops` more light, (N, D)."""
    found = []
    for number, batch in enumerate(all_pictures(pictures, backlit, config.seed, config.batch)):
        shown = retaken(batch, stops) if stops else batch
        found.append(embed_views(encoder, shown.to(device), config.crops, number).float())
    return torch.cat(found)
