"""Pairs that are rendered once and kept where the network trains: a card trains faster than processors render.

Batch `step` depends on the seed and on `step` alone, as that of `PairBatches` does.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor


class PairPool:
    """Pairs in half precision, 12 bytes a pixel: 16,000 of 192x256 are 9.4 GB."""

    def __init__(
        self,
        rendered: Iterable[tuple[Tensor, Tensor]],
        batch: int,
        seed: int,
        part: tuple[int, int],
        device: torch.device,
    ) -> None:
        """Keep all of `rendered`, batches of (input, target); `part` = (rank, processes) is this process's share."""
        self.batch, self.seed, self.part, self.device = batch, seed, part, device
        kept: dict[torch.Size, list[list[Tensor]]] = {}
        for pair in rendered:
            kept.setdefault(pair[0].shape[2:], []).append([pictures.half().to(device) for pictures in pair])
        self.pairs = [tuple(map(torch.cat, zip(*some, strict=True))) for some in kept.values()]

    def __getitem__(self, step: int) -> tuple[Tensor, ...]:
        """Draw batch number `step`: this process's part of (input, target), each (batch, 3, H, W) float32 in [0, 1]."""
        rng = np.random.default_rng((self.seed, step))
        counts = np.array([len(both[0]) for both in self.pairs])
        both = self.pairs[rng.choice(len(counts), p=counts / counts.sum())]
        rank, processes = self.part
        mine = slice(self.batch * rank // processes, self.batch * (rank + 1) // processes)
        chosen = torch.from_numpy(rng.integers(len(both[0]), size=self.batch)[mine]).to(self.device)
        flipped = torch.from_numpy(rng.random(self.batch)[mine] < 0.5).to(self.device)[:, None, None, None]
        return tuple(mirrored(pictures[chosen], flipped) for pictures in both)


def mirrored(pictures: Tensor, flipped: Tensor) -> Tensor:
    """Mirror those of (N, 3, H, W) that `flipped` (N, 1, 1, 1) tells; in the form the network trains on."""
    found = torch.where(flipped, pictures.flip(3), pictures)
    return found.to(torch.float32, memory_format=torch.channels_last)
