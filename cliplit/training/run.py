"""A run around its steps: set-up, batches, and saving results."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..arrays import Array
from ..config import ALTERNATING, TrainConfig
from ..errors import InputError, OptionError
from ..files import atomic_write
from ..guidance.build import build_guidance
from ..guidance.contract import Guidance, ImageEncoder
from ..guidance.feature_cache import FeatureCache
from ..guidance.guided_losses import negative_probability
from ..guidance.plain_encoder import PlainEncoder
from ..guidance.prompts import build_pair, save_pair
from ..guidance.residual import Residual, residual_of_sources
from ..interrupt import ignore_interrupts
from ..networks import checkpoint
from ..networks.registry import build_network
from ..phases import Stage
from ..pictures.pair_pool import PairPool
from .distributed import World
from .journal import EACH
from .relight import APPLY
from .samples import sample_sheet
from .sources import TrainingSources, batches_of, read_sources
from .state import State, draw_weights, fresh_state
from .validation import best_score, check_validation, score_all

OUTER_CONVOLUTIONS = ("cond1", "condx", "condy", "cond_add1")  # of the unet


@dataclass
class Run:
    """The constant part of a run: its configuration, encoders, pictures, and the modules as the loss sees them."""

    config: TrainConfig
    folder: Path
    world: World
    sources: TrainingSources
    guidance: Guidance | None  # of the guided methods
    residual: Residual | None  # of rave
    network: nn.Module  # state.network, distributed and compiled
    pair: nn.Module | None  # state.pair, distributed
    compared: ImageEncoder | FeatureCache | None = None  # the identity encoder, for the pictures compared with
    beginning: nn.Module | None = None  # the network of --init, frozen, for --identity-to result
    pool: PairPool | None = None  # of --pool


def prepare(config: TrainConfig, folder: Path, world: World, quiet: bool) -> tuple[Run, State]:
    """Set up everything a run needs, the most likely user mistakes checked first."""
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    network = initial_network(config).to(world.device)
    set_padding(network, config)
    check_sizes(config)
    check_validation(config)
    sources = read_sources(config, quiet)
    guidance = pair = residual = None
    if config.method != "paired":
        guidance = build_guidance(config, world.device)
        if isinstance(guidance.identity, PlainEncoder):
            guidance.identity.calibrate(sources.samples(config).to(world.device))
        if config.method in ALTERNATING:
            pair = build_pair(config, guidance, world.device)
        elif sources.guided is not None:
            residual = residual_of_sources(config, guidance, sources.guided, world.device)
    state = fresh_state(config, network, pair, world.device)
    trained: Any = torch.compile(network) if config.compile else network
    wrapped = world.wrap(pair) if pair is not None else None
    modules = world.wrap(trained), wrapped, compared(config, guidance), beginning(config, network)
    pool = rendered_pool(config, sources, world, quiet)
    return Run(config, folder, world, sources, guidance, residual, *modules, pool), state


def rendered_pool(config: TrainConfig, sources: TrainingSources, world: World, quiet: bool) -> PairPool | None:
    """Render the pairs of --pool, where paired training asks for them."""
    if not config.pool or sources.paired is None:
        return None
    count = -(-config.pool // config.batch)
    rendered = loaded(batches_of(sources, config, Stage.TARGETS), range(count), config.workers)
    shown = tqdm(rendered, total=count, disable=quiet or None, unit="batch", desc="pairs")
    return PairPool(shown, config.batch, config.seed, (world.rank, world.size), world.device)


def write_config(run: Run) -> None:
    """Write `config.json`, with which the run goes on."""
    if run.world.is_first:
        run.folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(run.folder / "config.json") as temporary:
            temporary.write_text(json.dumps(asdict(run.config), indent=1) + "\n", encoding="utf-8")


def compared(config: TrainConfig, guidance: Guidance | None) -> ImageEncoder | FeatureCache | None:
    """Give what computes the features that the identity loss compares with, from a cache if there is to be one."""
    if guidance is None or not config.identity_cache:
        return guidance.identity if guidance is not None else None
    return FeatureCache(guidance.identity, config.identity_cache << 20)


def beginning(config: TrainConfig, network: nn.Module) -> nn.Module | None:
    """Copy the network of --init, whose results the identity loss is to compare with."""
    return copy.deepcopy(network).requires_grad_(False) if config.identity_to == "result" else None


def set_padding(network: nn.Module, config: TrainConfig, testing: bool = False) -> None:
    """Set the padding of the unet's outer convolutions: as it trains, or reflect, as it is tested and runs."""
    if config.train_padding != "reflect":
        for name in OUTER_CONVOLUTIONS:
            network.get_submodule(name).padding_mode = "reflect" if testing else config.train_padding  # type: ignore[assignment]


@contextmanager
def as_tested(network: nn.Module, config: TrainConfig) -> Iterator[nn.Module]:
    """Give the network as it will run, and set it back afterwards."""
    set_padding(network, config, testing=True)
    try:
        yield network
    finally:
        set_padding(network, config)


def initial_network(config: TrainConfig) -> nn.Module:
    network = build_network(config.network)
    if config.init:
        loaded = checkpoint.load_network(Path(config.init))
        if type(loaded) is not type(network):
            kind = type(loaded).__name__
            raise InputError(f"--init {config.init}: holds a {kind}, and --network is {config.network}")
        network.load_state_dict(loaded.state_dict())
    else:
        draw_weights(network, config.initial_std)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on CPUs


def check_sizes(config: TrainConfig) -> None:
    """Check that the network can take pictures of these sizes. Raises OptionError."""
    multiple = build_network(config.network).multiple
    for name, sides in (("sizes", {s for size in config.sizes for s in size}), ("prompt-size", {config.prompt_size})):
        if wrong := sorted(side for side in sides if side % multiple):
            raise OptionError(f"--{name} {wrong[0]}: the {config.network} network takes multiples of {multiple}")


def batches_from(run: Run, stage: Stage, start: int) -> Iterator[tuple[Tensor, ...]]:
    """Return batches of a stage from number `start` on, without end, from the pool or drawn ahead of time."""
    numbers = itertools.count(start)
    if run.pool is not None:
        return map(run.pool.__getitem__, numbers)
    batches: Any = batches_of(run.sources, run.config, stage, (run.world.rank, run.world.size))
    drawn = loaded(batches, numbers, run.config.workers, pinned=run.world.device.type == "cuda")
    return (batches.finished(batch, run.world.device) for batch in drawn)


def loaded(batches: Any, numbers: Iterable[int], workers: int, pinned: bool = False) -> DataLoader[Any]:
    """Draw the batches of these numbers, by worker processes."""
    return DataLoader(
        batches,
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        worker_init_fn=ignore_interrupts,
        generator=torch.Generator(),  # or it would draw from the global one, and a resumed run once more
        pin_memory=pinned,
    )


def keep_best(run: Run, state: State, loss: float) -> dict[str, float]:
    """Score the averaged weights, and write them to best.pt where none were better."""
    if not run.world.is_first:
        return {}
    with as_tested(state.average, run.config) as network:
        scores, each = score_all(network, run.config)
    score = best_score(scores, loss, run.config)
    if score > state.score:
        state.score = score
        result = {"weights": state.average.state_dict(), "scores": {"step": state.step, "loss": loss, **scores}}
        checkpoint.save(run.folder / "best.pt", {**describe(run), **result})
        if each:
            with atomic_write(run.folder / EACH) as temporary:
                temporary.write_text(json.dumps({"step": state.step, **each}, indent=1) + "\n", encoding="utf-8")
    return scores


def keep_prompts(run: Run, state: State) -> None:
    """Write prompts.pt, with the mean probability each prompt gives to its own pictures."""
    if not run.world.is_first or state.pair is None or run.guidance is None:
        return
    batches: Any = batches_of(run.sources, run.config, Stage.REFINE)
    backlit, well_lit = batches.finished(batches[0], run.world.device)
    with torch.no_grad():
        pair = state.pair()
        encoder = run.guidance.score
        negative, positive = (negative_probability(encoder.embed(p), pair).mean() for p in (backlit, well_lit))
    scores = {"negative": float(negative), "positive": 1.0 - float(positive)}
    save_pair(state.pair, run.folder / "prompts.pt", run.config, scores)


def sheet_of(run: Run, state: State) -> Array:
    pictures = run.sources.samples(run.config).to(run.world.device)
    with as_tested(state.average, run.config) as network:
        return sample_sheet(network, pictures, APPLY[run.config.apply])


def save(run: Run, state: State) -> None:
    if run.world.is_first:
        checkpoint.save(run.folder / "last.pt", {**describe(run), **state.state_dict()})


def describe(run: Run) -> dict[str, Any]:
    return {"network": run.config.network, "config": asdict(run.config)}
