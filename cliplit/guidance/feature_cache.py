"""Features of pictures that recur, computed once. The pictures' bytes are the key, so nothing else can be mistaken."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import torch
from torch import Tensor

from .contract import ImageEncoder


class FeatureCache:
    """`features` of a frozen encoder, without a graph, kept for as many bytes as allowed; the oldest go first.

    A picture is computed by itself, so that its features do not depend on what else is in the batch: a resumed run,
    whose cache begins empty, gets the same bits.
    """

    def __init__(self, encoder: ImageEncoder, most: int) -> None:
        """Keep at most `most` bytes."""
        self.encoder, self.most = encoder, most
        self.kept: OrderedDict[bytes, list[Tensor]] = OrderedDict()
        self.size = self.hits = self.misses = 0

    @torch.no_grad()
    def features(self, pictures: Tensor) -> list[Tensor]:
        """Give the features of (N, 3, H, W) pictures, as the encoder does."""
        each = [self._of_one(picture) for picture in pictures]
        return [torch.cat(stage) for stage in zip(*each, strict=True)]

    def _of_one(self, picture: Tensor) -> list[Tensor]:
        plain = picture.detach().cpu().contiguous()
        key = hashlib.blake2b(plain.numpy().tobytes() + bytes(str(plain.shape), "ascii"), digest_size=16).digest()
        if key in self.kept:
            self.hits += 1
            self.kept.move_to_end(key)
            return self.kept[key]
        self.misses += 1
        found = [stage.clone() for stage in self.encoder.features(picture[None])]
        self.kept[key] = found
        self.size += size_of(found)
        while self.size > self.most and len(self.kept) > 1:
            self.size -= size_of(self.kept.popitem(last=False)[1])
        return found


def size_of(stages: list[Tensor]) -> int:
    return sum(stage.numel() * stage.element_size() for stage in stages)
