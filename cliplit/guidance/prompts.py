"""The learned half of CLIP-LIT and CLIP-LIT-Latent guidance: a negative and a positive point in embedding space."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import TrainConfig
from ..errors import ModelError
from ..networks import checkpoint
from .contract import Guidance, TextTower


class PromptPair(nn.Module):
    """Two learnable sentences through a frozen text tower (CLIP-LIT section 3.1).

    `embedding_prompt` (2, context, width) starts as the word vectors of "X X ... X"; its name is that of published
    prompt files. Row 0 is the negative (backlit) prompt. The tower is no part of the state.
    """

    tokens: Tensor

    def __init__(self, text: TextTower, length: int) -> None:
        super().__init__()
        tokens = text.tokens([" ".join(["X"] * length)]).repeat(2, 1)
        self.register_buffer("tokens", tokens, persistent=False)
        self.embedding_prompt = nn.Parameter(text.word_vectors(tokens).clone())
        self._encode = text.encode

    def forward(self) -> Tensor:
        """Compute unit embeddings (2, D)."""
        return self._encode(self.embedding_prompt, self.tokens)


class LatentPair(nn.Module):
    """Two learnable points of the embedding space itself (CLIP-LIT-Latent, RAVE section 3.2): no text tower needed."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(2, dimensions))

    def forward(self) -> Tensor:
        """Compute unit embeddings (2, D)."""
        return F.normalize(self.vectors, dim=-1)


def build_pair(config: TrainConfig, guidance: Guidance, device: torch.device) -> PromptPair | LatentPair:
    """Build a fresh pair for the method, or load the one in `config.init_prompts`."""
    pair: PromptPair | LatentPair
    if config.method == "cliplit":
        assert guidance.text is not None  # build_guidance makes it for this method
        pair = PromptPair(guidance.text, config.prompt_length)
    else:
        with torch.no_grad():
            dimensions = guidance.score.embed(torch.rand(1, 3, 64, 64, device=device)).shape[1]
        pair = LatentPair(dimensions)
    if config.init_prompts:
        load_pair(pair, Path(config.init_prompts))
    return pair.to(device)


def save_pair(pair: PromptPair | LatentPair, path: Path, config: TrainConfig, scores: Mapping[str, Any]) -> None:
    """Write a prompt file with its kind, length, encoder and the scores of both prompts."""
    described = {
        "kind": config.method,
        "length": config.prompt_length if config.method == "cliplit" else 1,
        "encoder": config.encoder or f"{config.score_model} {config.score_weights}",
        "scores": dict(scores),
    }
    checkpoint.save(path, {"prompts": pair.state_dict(), "about": described})


def load_pair(pair: PromptPair | LatentPair, path: Path) -> None:
    """Load our prompt files and the published ones (`module.embedding_prompt` among the text encoder's weights)."""
    content = checkpoint.read(path)
    name = "prompts" if "prompts" in content else "weights"
    state = {k.removeprefix("module."): v for k, v in checkpoint.tensors_of(content, name, path).items()}
    try:
        own = pair.state_dict()
        pair.load_state_dict({name: state[name].to(own[name]) for name in own})
    except (KeyError, RuntimeError) as error:
        wanted = ", ".join(f"{k} {tuple(v.shape)}" for k, v in pair.state_dict().items())
        raise ModelError(f"{path}: no prompt pair for this encoder (expected {wanted})") from error
