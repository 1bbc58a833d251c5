"""Batches of unpaired (or referenced) pictures for guided training, each determined by the seed and its number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..arrays import Array
from ..config import TrainConfig
from ..errors import InputError
from ..phases import Stage
from .augment import Change, Drawn, augmented, exposed_by, noised
from .picture_folder import Pictures, as_stored, developed, read_folder, read_pairs
from .tone import exposed

BACKLIT_STREAM, WELL_LIT_STREAM = 0, 1
SAME = 2.0  # codes of 255, mean difference of two shrunken pictures that are one


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
    size, most = max(config.sizes), config.memory << 20
    if config.pairs:
        inputs, references = read_pairs(Path(config.pairs), size, config.batch, most)
        return GuidedSources(inputs, references, matched=True)
    backlit, well_lit = ([Path(folder) for folder in folders] for folders in (config.backlit, config.welllit))
    light = read_folder(well_lit, size, config.batch, tick, most // 2)
    if not backlit:
        dark = Pictures(DarkenedPictures(light.pictures, config.exposure_stops, config.seed), light.paths)
        return GuidedSources(dark, light, matched=True)
    dark = read_folder(backlit, size, config.batch, tick, most // 2)
    check_apart(dark, light)
    return GuidedSources(dark, light, matched=False)


class DarkenedPictures(Sequence[Array]):
    """Well-lit pictures taken some stops too dark; made when they are asked for."""

    def __init__(self, pictures: Sequence[Array], stops: float, seed: int) -> None:
        self.pictures, self.stops, self.seed = pictures, stops, seed

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, number: Any) -> Any:
        plain = as_stored(self.pictures[number], False, np.random.default_rng((self.seed, number)))
        return cv2.LUT(plain, np.round(exposed(np.arange(256) / 255, -self.stops) * 255).astype(np.uint8))


def check_apart(backlit: Pictures, well_lit: Pictures) -> None:
    """Check that no picture is of both kinds, under whatever name and in whatever format. Raises InputError."""
    dark, light = (np.stack([small(picture) for picture in kind.pictures]) for kind in (backlit, well_lit))
    both = []
    for number, picture in enumerate(dark):
        distance = np.abs(light - picture).mean(axis=1)
        if distance.min() < SAME:
            both.append((backlit.paths[number], well_lit.paths[int(distance.argmin())]))
    if both:
        raise InputError(
            f"{both[0][0]} is the same picture as {both[0][1]} ({len(both)} are in --backlit and in --welllit); "
            "guidance learns the difference between the two, so remove them from one"
        )


def small(picture: Array) -> Array:
    """Shrink a picture to what a copy shares with it, saved again or resized: (3 * 12 * 12,) float32, codes."""
    plain = as_stored(picture, False, np.random.default_rng(0))
    return cv2.resize(plain, (12, 12), interpolation=cv2.INTER_AREA).astype(np.float32).reshape(-1)


class GuidedBatches(Dataset[Drawn]):
    """Batch number `step` of a stage; each tensor is (batch, 3, H, W) float32 in [0, 1].

    Enhancer stages: (input, clean input, reference or an empty tensor). Prompt stages: (backlit, well-lit).
    `part` = (rank, processes): this process's share of every batch. `__getitem__` gives what a worker process draws,
    bytes and numbers, and `finished` makes the batch of it, on the device that will use it.
    """

    def __init__(
        self, sources: GuidedSources, config: TrainConfig, stage: Stage, part: tuple[int, int] = (0, 1)
    ) -> None:
        self.sources, self.config, self.stage, self.part = sources, config, stage, part

    def __getitem__(self, step: int) -> Drawn:
        if self.stage is Stage.PROMPTS:
            return self._both_kinds(step, max(1, self.config.prompt_batch // 2))
        if self.stage is Stage.REFINE:
            return self._both_kinds(step, self.config.prompt_batch)
        return self._enhancer_batch(step)

    def finished(self, drawn: Drawn, device: torch.device) -> tuple[Tensor, ...]:
        """Augment what was drawn on `device`: the batch."""
        dark, light = (
            augmented(pictures.to(device, non_blocking=True), drawn.changes) if len(pictures) else torch.empty(0)
            for pictures in (drawn.backlit, drawn.well_lit)
        )
        if self.stage.trains_prompts:
            return dark, light
        clean = exposed_by(dark, drawn.changes)
        return noised(clean, drawn.changes), clean, light

    def batch(self, step: int, device: torch.device | None = None) -> tuple[Tensor, ...]:
        return self.finished(self[step], device or torch.device("cpu"))

    def _enhancer_batch(self, step: int) -> Drawn:
        sizes = self.config.sizes
        size = sizes[np.random.default_rng((self.config.seed, step)).integers(len(sizes))]
        dark, light, changes = [], [], []
        for i in self._share(self.config.batch):
            rng = np.random.default_rng((self.config.seed, step, i))
            number = self._number(BACKLIT_STREAM, step * self.config.batch + i)
            dark.append(self._picture(self.sources.backlit, number, True, size, rng))
            if self.sources.matched:
                light.append(self._picture(self.sources.well_lit, number, False, size, rng))
            changes.append(Change.drawn(self.config, rng))
        return Drawn(_stack(dark), _stack(light), changes)

    def _both_kinds(self, step: int, each: int) -> Drawn:
        size = (self.config.prompt_size, self.config.prompt_size)
        dark, light, changes = [], [], []
        for i in self._share(each):
            rng = np.random.default_rng((self.config.seed, step, i))
            position = step * each + i
            number = self._number(BACKLIT_STREAM, position)
            other = number if self.sources.matched else self._number(WELL_LIT_STREAM, position)
            dark.append(self._picture(self.sources.backlit, number, True, size, rng))
            light.append(self._picture(self.sources.well_lit, other, False, size, rng))
            changes.append(Change.drawn(self.config, rng))
        return Drawn(_stack(dark), _stack(light), changes)

    @staticmethod
    def _picture(kind: Pictures, number: int, backlit: bool, size: tuple[int, int], rng: np.random.Generator) -> Array:
        return _resized(as_stored(kind.pictures[number], backlit, rng), size)

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
    starts = range(0, len(plain), batch)
    return [torch.from_numpy(np.stack(plain[s : s + batch]).transpose(0, 3, 1, 2).copy()) for s in starts]


def _resized(picture: Array, size: tuple[int, int]) -> Array:
    if picture.shape[:2] == size:
        return picture
    return cv2.resize(picture, (size[1], size[0]), interpolation=cv2.INTER_AREA)


def _stack(pictures: Sequence[Array]) -> Tensor:
    """Stack (H, W, 3) uint8 as (N, 3, H, W) in the channels-last layout, which copies nothing."""
    if not pictures:
        return torch.empty(0, dtype=torch.uint8)
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
