"""What a cheaper identity loss saves, and what it costs in the gradient of the enhancer's loss.

    python -m cliplit.benchmarks.identity --backlit DIR --welllit DIR [--encoder FILE.py:FACTORY --encoder-weights FILE]

Every row computes the gradients of the same batches at the same weights, those of a bundled model. `step`: mean cosine
between a step's gradient and the full one. `mean`: cosine between the means over all steps, which is what Adam's
averages come near to. Without `--encoder`, ViT-B/32 and RN101 with random weights: times are those of any weights, the
cosines are not; `--guidance-weight 0` shows those of the identity loss alone. On a CPU the time is the processor's. The
rows run in turns, and the least of the rounds counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
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
from cliplit.training.run import Run, batches_from, compared, prepare
from cliplit.training.state import State

from .guidance import write_start

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
@click.option("--guidance-weight", default=1920.0, show_default=True)
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
    guidance_weight: float,
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
        "guidance_weight": guidance_weight,
        "learning_rate": 0.0,
        "final_learning_rate": 0.0,
        "weight_decay": 0.0,
        "threads": threads,
    }
    world = World(0, 1, find_device(device))
    base, state = prepare(TrainConfig.from_dict({**common, **encoders}), work, world, True)
    stream = batches_from(base, Stage.ENHANCE, 0)
    batches = [next(stream) for _ in range(steps)]
    full = gradients(base, state, batches)
    click.echo(f"{batch} pictures a step, {steps} steps, {rounds} rounds on {world.device}, {threads} threads")
    click.echo("| identity loss | pictures/s | times | cosine, step | cosine, mean |\n| --- | --- | --- | --- | --- |")
    names = [name for name in rows or ROWS if not ("identity_side" in ROWS[name] and encoder)]  # it has one size only
    runs = {name: variant(base, {**common, **encoders, **ROWS[name]}) for name in names}
    found = {name: cosines(gradients_of(run, state, batches), full) for name, run in runs.items()}  # fills caches, too
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(seconds(lambda run=run: gradients_of(run, state, batches), world.device))  # type: ignore[misc]
    speeds = {name: batch * steps / min(taken) for name, taken in times.items()}
    first = speeds[names[0]]
    for name, (step, mean) in found.items():
        click.echo(f"| {name} | {speeds[name]:.2f} | {speeds[name] / first:.2f} | {step:.4f} | {mean:.4f} |")


def variant(base: Run, options: dict[str, Any]) -> Run:
    """Return the same run, with the same encoders, and another identity loss."""
    config = TrainConfig.from_dict(options)
    return replace(base, config=config, compared=compared(config, base.guidance))


def gradients_of(run: Run, state: State, batches: list[tuple[Tensor, ...]]) -> Tensor:
    """Compute `gradients` of a variant, at its side of the identity encoder, which all share."""
    assert run.guidance is not None
    encoder: Any = run.guidance.identity
    if hasattr(encoder, "feature_side"):
        encoder.feature_side = run.config.identity_side
    return gradients(run, state, batches)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Measure seconds: of the processor on a CPU, whatever else runs there, else of the clock."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start


if __name__ == "__main__":
    main()
