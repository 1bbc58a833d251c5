"""The encoders that a run asks for."""

from __future__ import annotations

from typing import Any

import torch

from ..config import TrainConfig
from ..errors import InputError
from .contract import DTYPES, Guidance, ImageEncoder
from .open_clip_encoder import open_clip_encoder, open_clip_text
from .plain_encoder import load_encoder


def build_guidance(config: TrainConfig, device: torch.device) -> Guidance:
    """Build the frozen encoders of a run on `device`.

    Raises InputError or ModelError if they cannot be had. open_clip's cache is used; importing downloads nothing.
    """
    guidance = _build(config, device)
    if config.identity_side:
        set_identity_side(guidance.identity, config)
    return guidance


def set_identity_side(encoder: ImageEncoder, config: TrainConfig) -> None:
    """Let an encoder compute features of smaller pictures. Raises InputError for one that cannot."""
    resizable: Any = encoder
    visual = getattr(encoder, "visual", None)
    if not hasattr(encoder, "feature_side") or (visual is not None and not hasattr(visual, "layer4")):
        raise InputError(
            f"--identity-side {config.identity_side}: this identity encoder takes one size only; CLIP's ResNets "
            "(RN50, RN101) and modules with encode_image take others"
        )
    resizable.feature_side = config.identity_side


def _build(config: TrainConfig, device: torch.device) -> Guidance:
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
