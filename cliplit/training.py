"""Paired training, from random weights to a checkpoint: read it top to bottom like an algorithm box.

A run is a folder: `config.json`, `log.jsonl`, `last.pt` (everything needed to go on) and `best.pt` (the weights
with the best validation score). Batch `step` depends on the seed and on `step` alone, and `last.pt` holds the
optimizer, the schedule, the averaged weights and the random state, so a resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from tqdm import tqdm

from cliplit import checkpoint
from cliplit.errors import InputError
from cliplit.losses import paired_loss
from cliplit.networks import build_network
from cliplit.pairs import PairBatches, Sources, read_photos, render_scenes
from cliplit.relight import relight
from cliplit.validation import score_pairs


@dataclass(frozen=True)
class TrainConfig:
    """Every constant of a run; saved beside it as `config.json`."""

    network: str = "lite"
    method: str = "paired"
    hdri: str = ""  # folder of .hdr panoramas
    photos: tuple[str, ...] = ()  # folders of well-lit photos
    exclude: tuple[str, ...] = ()  # panoramas left out, by prefix of their file names
    validation: str = ""  # folder with input/ and gt/, never trained on
    scenes: int = 1600  # panorama views rendered at the start
    steps: int = 5000
    batch: int = 16
    sizes: tuple[tuple[int, int], ...] = ((192, 256), (160, 288), (256, 192), (192, 192))
    learning_rate: float = 2e-3
    final_learning_rate: float = 2e-5
    warmup: int = 200
    weight_decay: float = 1e-4
    gradient_clip: float = 1.0
    ema: float = 0.998
    seed: int = 1
    save_every: int = 250
    threads: int = 0  # of torch; 0 leaves torch's own choice
    workers: int = 1  # processes that make batches

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """The defaults of the chosen network, overridden by `values`. Raises InputError for an unknown option."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise InputError(f"unknown training option {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        values = {k: _as_tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**{**NETWORK_DEFAULTS.get(values.get("network", cls.network), {}), **values})


# What differs from the defaults above: the paper's network is costly and trains on smaller pictures.
NETWORK_DEFAULTS: dict[str, dict[str, Any]] = {
    "unet": {
        "steps": 1100,
        "batch": 8,
        "sizes": ((112, 144), (96, 160), (144, 112), (128, 128)),
        "learning_rate": 5e-4,
        "warmup": 50,
        "ema": 0.99,
    },
}


@dataclass
class State:
    """What a step changes."""

    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: LambdaLR
    step: int = 0
    best: float = -math.inf

    def state_dict(self) -> dict[str, Any]:
        return {
            "weights": self.average.state_dict(),
            "live_weights": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": torch.get_rng_state(),
            "step": self.step,
            "best": self.best,
        }

    def load_state_dict(self, content: dict[str, Any]) -> None:
        self.average.load_state_dict(content["weights"])
        self.network.load_state_dict(content["live_weights"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.schedule.load_state_dict(content["schedule"])
        torch.set_rng_state(content["random"])
        self.step, self.best = content["step"], content["best"]


def train(config: TrainConfig, run: Path, resume: bool = False, quiet: bool = False) -> Path:
    """Train and return the path of the best checkpoint. Raises InputError for data that cannot be used."""
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    state = fresh_state(config)
    last = run / "last.pt"
    if resume:
        state.load_state_dict(checkpoint.read(last))
    elif last.exists():
        raise InputError(f"{run} already holds a run; continue it with --resume, or name another folder")
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.json").write_text(json.dumps(asdict(config), indent=1) + "\n")

    batches = PairBatches(load_sources(config, quiet), config.batch, config.sizes, config.seed, config.steps)
    progress = tqdm(total=config.steps, initial=state.step, disable=quiet or None, unit="step", desc=config.network)
    try:
        for picture, target in remaining(batches, state.step, config.workers):
            loss = paired_step(state, picture.contiguous(memory_format=torch.channels_last), target, config)
            progress.update()
            progress.set_postfix(loss=f"{loss:.4f}", lr=f"{state.schedule.get_last_lr()[0]:.1e}")
            if state.step % config.save_every == 0 or state.step == config.steps:
                validate_and_save(state, config, run, loss)
    except KeyboardInterrupt:
        checkpoint.save(last, {**describe(config), **state.state_dict()})
        raise
    finally:
        progress.close()
    return run / "best.pt"


def fresh_state(config: TrainConfig) -> State:
    network: nn.Module = build_network(config.network)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on CPUs
    optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    schedule = LambdaLR(optimizer, lambda step: learning_rate_factor(step, config))
    return State(network, copy.deepcopy(network).requires_grad_(False), optimizer, schedule)


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine down to the final learning rate."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    floor = config.final_learning_rate / config.learning_rate
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def paired_step(state: State, picture: Tensor, target: Tensor, config: TrainConfig) -> float:
    """One optimizer step through the light map, the runtime's refinement and the protected gain."""
    enhanced = relight(picture, state.network(picture))
    loss = paired_loss(enhanced, target)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.network.parameters(), config.gradient_clip)
    state.optimizer.step()
    state.schedule.step()
    state.step += 1
    average_weights(state.average, state.network, min(config.ema, state.step / (state.step + 10)))
    return float(loss.detach())


@torch.no_grad()
def average_weights(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Exponential moving average, slower as training goes on."""
    for mean, value in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(value, 1.0 - decay)


def remaining(batches: PairBatches, start: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches from number `start` on, made ahead of time by worker processes."""
    order = range(start, len(batches))
    yield from DataLoader(batches, batch_size=None, sampler=order, num_workers=workers)


def load_sources(config: TrainConfig, quiet: bool = False) -> Sources:
    """Render the panorama views and read the photos."""
    scenes = []
    if config.hdri:
        rendered = render_scenes(Path(config.hdri), config.scenes, config.seed, config.exclude)
        scenes = list(tqdm(rendered, total=config.scenes, disable=quiet or None, unit="view", desc="rendering"))
    photos, failed = read_photos([Path(folder) for folder in config.photos])
    for path in failed:
        tqdm.write(f"skipped {path}: not a picture that can be read")
    return Sources(scenes, photos)


def validate_and_save(state: State, config: TrainConfig, run: Path, loss: float) -> None:
    """Score the averaged weights, log a line, keep the best."""
    entry: dict[str, Any] = {"step": state.step, "loss": round(loss, 5), "lr": state.schedule.get_last_lr()[0]}
    score = -loss
    if config.validation:
        entry |= score_pairs(state.average, Path(config.validation))
        score = entry["psnr"] + 20.0 * entry["ssim"]
    entry["time"] = round(time.time(), 1)
    if better := score > state.best:
        state.best = score
    content = {**describe(config), **state.state_dict(), "scores": entry}
    checkpoint.save(run / "last.pt", content)
    if better:
        weights_only = {key: content[key] for key in ("network", "config", "weights", "scores")}
        checkpoint.save(run / "best.pt", weights_only)
    with (run / "log.jsonl").open("a") as log:
        log.write(json.dumps(entry) + "\n")


def describe(config: TrainConfig) -> dict[str, Any]:
    return {"network": config.network, "config": asdict(config)}


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(v) for v in value) if isinstance(value, list) else value
