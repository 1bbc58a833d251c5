"""The encoders that a run asks for."""

from __future__ import annotations

import torch

from ..config import TrainConfig
from .contract import DTYPES, Guidance
from .open_clip_encoder import open_clip_encoder, open_clip_text
from .plain_encoder import load_encoder


def build_guidance(config: TrainConfig, device: torch.device) -> Guidance:
    """Build the frozen encoders of a run on `device`.

    Raises InputError or ModelError if they cannot be had. open_clip's cache is used; importing downloads nothing.
    """
    if config.encoder:
        encoder = load_encoder(config.encoder, config.encoder_weights, device)
        return Guidance(encoder, encoder)
    dtype = DTYPES[config.encoder_arithmetic]
    score, model = open_clip_encoder(config.score_model, config.score_weights, config.antialias, device, dtype)
    with_text = config.method == "cliplit" or config.bias_tokens > 0
    text = open_clip_text(config.score_model, model) if with_text else None
    same = (config.score_model, config.score_weights) == (config.identity_model, config.identity_weights)
    if same:
        return Guidance(score, score, text)
    identity, _ = open_clip_encoder(config.identity_model, config.identity_weights, config.antialias, device, dtype)
    return Guidance(score, identity, text)
