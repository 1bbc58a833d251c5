"""The pictures of a run and the batches made of them, whichever the method."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..arrays import Array
from ..config import TrainConfig
from ..errors import printable
from ..networks.registry import takes_masks
from ..phases import Stage
from ..pictures.guided_batches import GuidedBatches, GuidedSources, read_guided_sources
from ..pictures.pairs import PairBatches, Sources, read_photos, render_scenes
from ..pictures.picture_folder import developed, list_pictures, read_pairs
from ..pictures.tone import exposed, film_curve

T = TypeVar("T")
PAIR_SIZE = (320, 320)  # at which true pairs are kept for paired training
SAMPLE_STOPS = 2.5  # by which the photos of sample sheets are darkened
NAMED = 10  # pictures that are left out and named; the others are counted


@dataclass(frozen=True)
class TrainingSources:
    """`paired` for method paired, `guided` for the others."""

    paired: Sources | None = None
    guided: GuidedSources | None = None

    def samples(self, config: TrainConfig) -> Tensor:
        """Return at most four inputs for the sample sheets, (N, 3, H, W): the same ones always, whole and upright."""
        rng = np.random.default_rng(config.seed)
        if self.guided is not None:
            pictures = [developed(p, True, rng) for p in spread(self.guided.backlit.pictures)]
        else:
            assert self.paired is not None
            pictures = [film_curve(scene.radiance.astype(np.float32)) for scene in spread(self.paired.scenes, 2)]
            pictures += [pair[0].astype(np.float32) / 255 for pair in spread(self.paired.pairs, 4 - len(pictures))]
            photos = spread(self.paired.photos, 4 - len(pictures))
            pictures += [exposed(photo.astype(np.float32) / 255, -SAMPLE_STOPS) for photo in photos]
        height, width = max(config.sizes)
        resized = [cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA) for p in pictures]
        return torch.from_numpy(np.stack(resized).transpose(0, 3, 1, 2).astype(np.float32)).clamp(0.0, 1.0)


def spread(items: Sequence[T], count: int = 4) -> list[T]:
    """Pick at most `count` items, evenly spaced."""
    return [items[i] for i in sorted({round(p) for p in np.linspace(0, len(items) - 1, min(count, len(items)))})]


def batches_of(
    sources: TrainingSources, config: TrainConfig, stage: Stage, part: tuple[int, int] = (0, 1)
) -> PairBatches | GuidedBatches:
    """Return batches of a stage by number, see their `finished`; `part` is this process's share of each."""
    if sources.paired is not None:
        masks = takes_masks(config.network)
        return PairBatches(sources.paired, config.batch, config.sizes, config.seed, config.task, part, masks)
    assert sources.guided is not None
    return GuidedBatches(sources.guided, config, stage, part)


def read_sources(config: TrainConfig, quiet: bool = False) -> TrainingSources:
    """Read and render all pictures. Broken files are named and left out; too few raise InputError."""
    if config.method == "paired":
        paired, failed = _paired_sources(config, quiet)
        sources = TrainingSources(paired=paired)
    else:
        total = len(list_pictures([Path(f) for f in (*config.backlit, *config.welllit)]))
        with tqdm(total=total, disable=quiet or None, unit="picture", desc="reading") as progress:
            guided = read_guided_sources(config, progress.update)
        sources, failed = TrainingSources(guided=guided), guided.failed
    if not quiet:
        tell_skipped(dict.fromkeys(failed, "not a picture that can be read"))
    return sources


def tell_skipped(reasons: Mapping[Path, str]) -> None:
    for path, why in list(reasons.items())[:NAMED]:
        tqdm.write(printable(f"skipped {path}: {why}"), file=sys.stderr)
    if len(reasons) > NAMED:
        tqdm.write(f"skipped {len(reasons) - NAMED} more", file=sys.stderr)


def _paired_sources(config: TrainConfig, quiet: bool) -> tuple[Sources, list[Path]]:
    scenes, pairs = [], []
    photos = read_photos([Path(folder) for folder in config.photos])
    failed = photos.failed
    if not quiet:
        tell_skipped(photos.unfit)
    if config.pairs:
        inputs, targets = read_pairs(Path(config.pairs), PAIR_SIZE, 1)
        rng = np.random.default_rng(config.seed)  # scene-linear pictures are exposed once, for the highlights
        both = ((inputs.pictures, True), (targets.pictures, False))
        plain = [[to_8bit(developed(p, backlit, rng)) for p in pictures] for pictures, backlit in both]
        pairs = list(zip(*plain, strict=True))
        failed += inputs.failed
    if config.hdri:
        rendered = render_scenes(Path(config.hdri), config.scenes, config.seed, config.exclude, workers=config.workers)
        scenes = list(tqdm(rendered, total=config.scenes, disable=quiet or None, unit="view", desc="rendering"))
    return Sources(scenes, photos.pictures, pairs), failed


def to_8bit(picture: Array) -> Array:
    return np.round(picture * 255).astype(np.uint8)
