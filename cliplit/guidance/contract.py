"""The contract between training and the models that judge pictures: unit embeddings, features, optional text.

An image encoder is a frozen module with two functions of pictures (N, 3, H, W), sRGB in [0, 1], of any size:

    embed(pictures)   -> (N, D), unit length: where the picture lies in the encoder's space
    features(pictures) -> a list of (N, ...) maps, from fine to coarse: what the identity loss compares

A text tower maps words, or learnable vectors in their place, into the same space. `open_clip` has both;
`--encoder FILE.py:FACTORY` brings any other image encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

STAGES = 5  # of the identity loss
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class ImageEncoder(Protocol):
    def embed(self, pictures: Tensor) -> Tensor: ...

    def features(self, pictures: Tensor) -> list[Tensor]: ...


class TextTower(Protocol):
    """The frozen text half of a contrastive model."""

    name: str

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Tokenise texts into (N, context) token numbers."""

    def word_vectors(self, tokens: Tensor) -> Tensor:
        """Look up the transformer's input vectors, (N, context, width)."""

    def encode(self, vectors: Tensor, tokens: Tensor) -> Tensor:
        """Encode word vectors as unit embeddings (N, D), differentiably; `tokens` mark where each text ends."""

    def word_table(self) -> Tensor:
        """Return the vectors of all word pieces as the transformer is given them, (V, width)."""

    def vocabulary(self) -> list[str]:
        """List every word piece in the order of its number."""


@dataclass
class Guidance:
    """`score` judges (ViT-B/32 in the papers), `identity` compares (RN101 in the papers); they may be one."""

    score: ImageEncoder
    identity: ImageEncoder
    text: TextTower | None = None


def freeze(module: nn.Module) -> nn.Module:
    return module.eval().requires_grad_(False)
