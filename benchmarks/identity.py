"""What a cheaper identity loss saves, and what it costs in the gradient of the enhancer's loss.

    python -m cliplit.benchmarks.identity --backlit DIR --welllit DIR [--encoder FILE.py:FACTORY --encoder-weights FILE]

Every row computes the gradients of the same batches at the same weights, those of a bundled model. `step`: mean cosine
between a step's gradient and the full one. `mean`: cosine between the means over all steps, which is what Adam's
averages come near to. Without `--encoder`, ViT-B/32 and RN101 with random weights: times are those of any weights, the
cosines of a smaller side are not. Rows run in turns; the time is the median over the rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor
from torch.nn import functional as F

from cliplit.command import reports_errors
from cliplit.config import TrainConfig
from cliplit.phases import Stage
from cliplit.training.distributed import World, find_device
from cliplit.training.loop import STEPS
from cliplit.training.run import Run, batches_from, prepare
from cliplit.training.state import State

from .guidance import write_start
from .training import medians

Folder = click.Path(exists=True, file_okay=False, path_type=Path)
ROWS: dict[str, dict[str, Any]] = {
    "every step, full side": {},
    "every 2nd step": {"identity_every": 2},
    "every 4th step": {"identity_every": 4},
    "side 160": {"identity_side": 160},
    "side 112": {"identity_side": 112},
    "side 64": {"identity_side": 64},
    "features of the inputs from the cache": {"identity_cache": 4096},
    "cache and every 2nd step": {"identity_cache": 4096, "identity_every": 2},
}


def gradients(run: Run, state: State, batches: list[tuple[Tensor, ...]]) -> Tensor:
    """Compute the gradient of each step, (steps, parameters); the learning rate is 0 and no weight moves."""
    found = []
    for number, batch in enumerate(batches):
        state.step = number
        STEPS[Stage.ENHANCE](run, state, batch)
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in state.network.parameters()]
        found.append(torch.cat([p.flatten() for p in parts]).clone())
    return torch.stack(found)


def cosines(found: Tensor, full: Tensor) -> tuple[float, float]:
    """Return (mean cosine of the steps, cosine of the means over the steps)."""
    return float(F.cosine_similarity(found, full, dim=1).mean()), float(
        F.cosine_similarity(found.mean(dim=0), full.mean(dim=0), dim=0)
    )


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--backlit", type=Folder, multiple=True, required=True)
@click.option("--welllit", type=Folder, multiple=True, required=True)
@click.option("--encoder", default="", help="FILE.py:FACTORY, as of cliplit-train.  [default: CLIP's architectures]")
@click.option("--encoder-weights", default="")
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Folder for the weights to start from.")
@click.option("--model", default="lite", show_default=True, help="Bundled model whose gradients are computed.")
@click.option("--row", "rows", multiple=True, type=click.Choice(list(ROWS)), help="Rows to measure.  [default: all]")
@click.option("--batch", default=4, show_default=True)
@click.option("--steps", default=4, show_default=True, help="Batches; a multiple of 4.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--threads", default=1, show_default=True, help="CPU threads of torch.")
@reports_errors
def main(
    backlit: tuple[Path, ...],
    welllit: tuple[Path, ...],
    encoder: str,
    encoder_weights: str,
    work: Path,
    model: str,
    rows: tuple[str, ...],
    batch: int,
    steps: int,
    rounds: int,
    device: str,
    threads: int,
) -> None:
    """Print cosines and pictures per second of each row."""
    torch.set_num_threads(threads)
    work.mkdir(parents=True, exist_ok=True)
    network = write_start(work / "start.pt", model)
    encoders: dict[str, Any] = {"encoder": encoder, "encoder_weights": encoder_weights}
    if not encoder:
        encoders = {"score_weights": "random", "identity_weights": "random"}
    common = {
        "method": "rave",
        "network": network,
        "init": str(work / "start.pt"),
        "sizes": ["192x192"],
        "batch": batch,
        "backlit": [str(f) for f in backlit],
        "welllit": [str(f) for f in welllit],
        "workers": 0,
        "seed": 1,
        "learning_rate": 0.0,
        "final_learning_rate": 0.0,
        "weight_decay": 0.0,
        "threads": threads,
    }
    world = World(0, 1, find_device(device))
    base, _ = prepare(TrainConfig.from_dict({**common, **encoders}), work, world, True)
    stream = batches_from(base, Stage.ENHANCE, 0)
    batches = [next(stream) for _ in range(steps)]
    runs: dict[str, Callable[[], Tensor]] = {}
    for name in rows or ROWS:
        if "identity_side" in ROWS[name] and encoder:
            continue  # it has a size of its own, and shrinking pictures before saves nothing
        run, state = prepare(TrainConfig.from_dict({**common, **encoders, **ROWS[name]}), work, world, True)
        runs[name] = lambda run=run, state=state: gradients(run, state, batches)  # type: ignore[misc]
    begun = time.perf_counter()
    full = gradients(*prepare(TrainConfig.from_dict({**common, **encoders}), work, world, True), batches)
    found = {name: cosines(step(), full) for name, step in runs.items()}
    times = medians(list(runs.values()), world.device, rounds)
    click.echo(f"{batch} pictures a step, {steps} steps, {rounds} rounds on {world.device}")
    click.echo("| identity loss | pictures/s | times | cosine, step | cosine, mean |\n| --- | --- | --- | --- | --- |")
    for (name, (step, mean)), taken in zip(found.items(), times, strict=True):
        speed = batch * steps / taken
        click.echo(f"| {name} | {speed:.2f} | {times[0] / taken:.2f} | {step:.4f} | {mean:.4f} |")
    click.echo(f"{time.perf_counter() - begun:.0f} s in all", err=True)


if __name__ == "__main__":
    main()
