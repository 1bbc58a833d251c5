"""The pictures of a run and the batches made of them, whichever the method."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from ..config import TrainConfig
from ..networks.registry import build_network
from ..phases import Stage
from ..pictures.guided_batches import GuidedBatches, GuidedSources, read_guided_sources
from ..pictures.pairs import PairBatches, Sources, read_photos, render_scenes
from ..pictures.picture_folder import list_pictures, read_pairs

PAIR_SIZE = (320, 320)  # at which true pairs are kept for paired training


@dataclass(frozen=True)
class TrainingSources:
    """`paired` for method paired, `guided` for the others."""

    paired: Sources | None = None
    guided: GuidedSources | None = None

    def samples(self, config: TrainConfig) -> Tensor:
        """Return the four pictures of the sample sheets, (4, 3, H, W); always the same ones."""
        stage = Stage.TARGETS if self.paired is not None else Stage.ENHANCE
        first: Tensor = batches_of(self, config, stage)[0][0]
        return first[:4]


def batches_of(
    sources: TrainingSources, config: TrainConfig, stage: Stage, part: tuple[int, int] = (0, 1)
) -> Dataset[Any]:
    """Return batches of a stage by number; `part` is this process's share of each."""
    if sources.paired is not None:
        masks = build_network(config.network).takes_masks
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
        for path in failed:
            tqdm.write(f"skipped {path}: not a picture that can be read")
    return sources


def _paired_sources(config: TrainConfig, quiet: bool) -> tuple[Sources, list[Path]]:
    scenes, pairs = [], []
    photos, failed = read_photos([Path(folder) for folder in config.photos])
    if config.pairs:
        inputs, targets = read_pairs(Path(config.pairs), PAIR_SIZE, 1)
        pairs = list(zip(inputs.pictures, targets.pictures, strict=True))
        failed += inputs.failed
    if config.hdri:
        rendered = render_scenes(Path(config.hdri), config.scenes, config.seed, config.exclude)
        scenes = list(tqdm(rendered, total=config.scenes, disable=quiet or None, unit="view", desc="rendering"))
    return Sources(scenes, photos, pairs), failed
