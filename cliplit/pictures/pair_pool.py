"""Pairs that are rendered once and kept where the network trains: a card trains faster than processors render.

Batch `step` depends on the seed and on `step` alone, as that of `PairBatches` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..interrupt import ignore_interrupts
from .pairs import PairBatches

Tick = Callable[[], Any]


class PairPool:
    """At least `count` pairs in half precision, 12 bytes a pixel: 16,000 of 192x256 are 9.4 GB."""

    def __init__(self, rendered: PairBatches, count: int, workers: int, device: torch.device, tick: Tick) -> None:
        """Render the first batches of `rendered`, all its processes' parts of them; `tick` is called for each."""
        self.batch, self.seed, self.part, self.device = rendered.batch, rendered.seed, rendered.part, device
        kept: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
        for pair in loaded(rendered.whole(), -(-count // rendered.batch), workers):
            size = pair[0].shape[2], pair[0].shape[3]
            kept.setdefault(size, []).append((pair[0].half().to(device), pair[1].half().to(device)))
            tick()
        self.pairs = [(torch.cat([p[0] for p in some]), torch.cat([p[1] for p in some])) for some in kept.values()]
        self.share = np.array([len(inputs) for inputs, _ in self.pairs]) / sum(len(inputs) for inputs, _ in self.pairs)

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """Draw batch number `step`: this process's part of (input, target), each (batch, 3, H, W) float32 in [0, 1]."""
        rng = np.random.default_rng((self.seed, step))
        inputs, targets = self.pairs[rng.choice(len(self.pairs), p=self.share)]
        rank, processes = self.part
        mine = slice(self.batch * rank // processes, self.batch * (rank + 1) // processes)
        chosen = torch.from_numpy(rng.integers(len(inputs), size=self.batch)[mine]).to(self.device)
        flipped = torch.from_numpy(rng.random(self.batch)[mine] < 0.5).to(self.device)[:, None, None, None]
        return finished(inputs[chosen], flipped), finished(targets[chosen], flipped)

    def batches(self, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches from number `start` on, without end."""
        while True:
            yield self[start]
            start += 1


def loaded(rendered: PairBatches, count: int, workers: int) -> DataLoader[Any]:
    """Load the first `count` batches, by worker processes."""
    numbers: Any = range(count)
    generator = torch.Generator()  # or it would draw from the global one, and a resumed run once more
    return DataLoader(
        rendered,
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        worker_init_fn=ignore_interrupts,
        generator=generator,
    )


def pool_of(rendered: PairBatches, count: int, workers: int, device: torch.device, quiet: bool) -> PairPool:
    """Render a pool with a bar on a terminal."""
    with tqdm(total=-(-count // rendered.batch), disable=quiet or None, unit="batch", desc="pairs") as progress:
        return PairPool(rendered, count, workers, device, progress.update)


def finished(pictures: Tensor, flipped: Tensor) -> Tensor:
    """Turn stored pictures into what the network trains on; `flipped` (N, 1, 1, 1) tells which to mirror."""
    mirrored = torch.where(flipped, pictures.flip(3), pictures)
    return mirrored.to(torch.float32, memory_format=torch.channels_last)
