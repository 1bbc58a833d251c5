"""Batches of unpaired (or referenced) pictures for guided training, each determined by the seed and its number."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..arrays import Array
from ..config import TrainConfig
from ..errors import InputError
from ..phases import Stage
from .augment import augmented
from .picture_folder import Pictures, developed, read_folder, read_pairs
from .sensor import random_noise
from .tone import exposed, srgb_decode, srgb_encode

BACKLIT_STREAM, WELL_LIT_STREAM = 0, 1


@dataclass(frozen=True)
class GuidedSources:
    """Backlit and well-lit pictures; if `matched`, picture i of both shows the same scene."""

    backlit: Pictures
    well_lit: Pictures
    matched: bool

    @property
    def failed(self) -> list[Path]:
        return self.backlit.failed + self.well_lit.failed


def read_guided_sources(config: TrainConfig, tick: Callable[[], object] = lambda: None) -> GuidedSources:
    """Read the pictures; without a backlit folder, the well-lit ones taken `exposure_stops` too dark are the inputs.

    Raises InputError if there are fewer of a kind than a batch has, or if both kinds share pictures.
    """
    size = max(config.sizes)
    if config.pairs:
        inputs, references = read_pairs(Path(config.pairs), size, config.batch)
        return GuidedSources(inputs, references, matched=True)
    backlit, well_lit = ([Path(folder) for folder in folders] for folders in (config.backlit, config.welllit))
    light = read_folder(well_lit, size, config.batch, tick)
    if not backlit:
        return GuidedSources(darkened(light, config), light, matched=True)
    dark = read_folder(backlit, size, config.batch, tick)
    check_apart(dark, light)
    return GuidedSources(dark, light, matched=False)


def darkened(pictures: Pictures, config: TrainConfig) -> Pictures:
    rng = np.random.default_rng(config.seed)
    plain = (developed(picture, False, rng) for picture in pictures.pictures)
    dark = [np.round(exposed(picture, -config.exposure_stops) * 255).astype(np.uint8) for picture in plain]
    return Pictures(dark, pictures.paths)


def check_apart(backlit: Pictures, well_lit: Pictures) -> None:
    """Check that no picture is of both kinds, under whatever name. Raises InputError."""
    paths: list[dict[bytes, Path]] = []
    for kind in (backlit, well_lit):
        digests = (hashlib.sha256(picture.tobytes()).digest() for picture in kind.pictures)
        paths.append(dict(zip(digests, kind.paths, strict=True)))
    both = [(path, paths[1][digest]) for digest, path in paths[0].items() if digest in paths[1]]
    if both:
        raise InputError(
            f"{both[0][0]} is the same picture as {both[0][1]} ({len(both)} are in --backlit and in --welllit); "
            "guidance learns the difference between the two, so remove them from one"
        )


class GuidedBatches(Dataset[tuple[Tensor, ...]]):
    """Batch number `step` of a stage; each tensor is (batch, 3, H, W) float32 in [0, 1].

    Enhancer stages: (input, clean input, reference or an empty tensor). Prompt stages: (backlit, well-lit).
    `part` = (rank, processes): this process's share of every batch.
    """

    def __init__(
        self, sources: GuidedSources, config: TrainConfig, stage: Stage, part: tuple[int, int] = (0, 1)
    ) -> None:
        self.sources, self.config, self.stage, self.part = sources, config, stage, part

    def __getitem__(self, step: int) -> tuple[Tensor, ...]:
        if self.stage is Stage.PROMPTS:
            return self._both_kinds(step, max(1, self.config.prompt_batch // 2))
        if self.stage is Stage.REFINE:
            return self._both_kinds(step, self.config.prompt_batch)
        return self._enhancer_batch(step)

    def _enhancer_batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        sizes = self.config.sizes
        height, width = sizes[np.random.default_rng((self.config.seed, step)).integers(len(sizes))]
        items = [self._enhancer_item(step, i, (height, width)) for i in self._share(self.config.batch)]
        return _stack([i[0] for i in items]), _stack([i[1] for i in items]), _stack([i[2] for i in items if len(i) > 2])

    def _enhancer_item(self, step: int, i: int, size: tuple[int, int]) -> list[Array]:
        """Return [input, clean input] and the reference if it is known."""
        rng = np.random.default_rng((self.config.seed, step, i))
        number = self._number(BACKLIT_STREAM, step * self.config.batch + i)
        pictures = [developed(self.sources.backlit.pictures[number], True, rng)]
        if self.sources.matched:
            pictures.append(developed(self.sources.well_lit.pictures[number], False, rng))
        clean, *reference = augmented([_resized(p, size) for p in pictures], rng)
        noisy = clean
        if rng.random() < self.config.noise:
            noisy = srgb_encode(random_noise(srgb_decode(clean), rng)).astype(np.float32)
        return [noisy, clean, *reference]

    def _both_kinds(self, step: int, each: int) -> tuple[Tensor, Tensor]:
        size = (self.config.prompt_size, self.config.prompt_size)
        backlit, well_lit = [], []
        for i in self._share(each):
            rng = np.random.default_rng((self.config.seed, step, i))
            position = step * each + i
            number = self._number(BACKLIT_STREAM, position)
            other = number if self.sources.matched else self._number(WELL_LIT_STREAM, position)
            dark = developed(self.sources.backlit.pictures[number], True, rng)
            light = developed(self.sources.well_lit.pictures[other], False, rng)
            dark, light = augmented([_resized(dark, size), _resized(light, size)], rng)
            backlit.append(dark)
            well_lit.append(light)
        return _stack(backlit), _stack(well_lit)

    def _share(self, batch: int) -> range:
        rank, processes = self.part
        return range(batch * rank // processes, batch * (rank + 1) // processes)

    def _number(self, stream: int, position: int) -> int:
        """Return the picture number at a position of an endless stream of shuffled passes through the folder."""
        count = len((self.sources.backlit, self.sources.well_lit)[stream].pictures)
        lap, place = divmod(position, count)
        return int(np.random.default_rng((self.config.seed, stream, lap)).permutation(count)[place])


def all_pictures(pictures: Pictures, backlit: bool, seed: int, batch: int) -> list[Tensor]:
    """Return every picture once, unchanged, in batches; RAVE's residual vector averages over them."""
    rng = np.random.default_rng(seed)
    plain = [developed(picture, backlit, rng) for picture in pictures.pictures]
    return [_stack(plain[start : start + batch]) for start in range(0, len(plain), batch)]


def _resized(picture: Array, size: tuple[int, int]) -> Array:
    if picture.shape[:2] == size:
        return picture
    return cv2.resize(picture, (size[1], size[0]), interpolation=cv2.INTER_AREA)


def _stack(pictures: Sequence[Array]) -> Tensor:
    if not pictures:
        return torch.empty(0)
    return torch.from_numpy(np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2), np.float32))
