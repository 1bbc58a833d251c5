"""Pictures per second of the CLIP-guided step, against the straightforward loop over single pictures.

    python -m cliplit.benchmarks.training [--network lite] [--batch 8] [--device auto]

Both compute the same loss of the same pictures (checked first) with randomly initialised ViT-B/32 and RN101, and make
one optimizer step. The loop does what the published code does: every picture by itself through both encoders, the
input's features with a graph that nothing needs, the prompts through the text tower at every step.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
from torch import Tensor
from torch.nn import functional as F

from cliplit.command import reports_errors
from cliplit.config import TrainConfig
from cliplit.distributed import World, find_device
from cliplit.guidance import build_guidance
from cliplit.prompts import build_pair
from cliplit.relight import APPLY
from cliplit.run import Run, initial_network
from cliplit.sources import TrainingSources
from cliplit.state import State, fresh_state
from cliplit.training import enhance_step


def looped_step(run: Run, state: State, pictures: Tensor) -> Tensor:
    """The published way, written straightforwardly: batch in, enhanced batch out, then picture by picture."""
    assert run.guidance is not None and state.pair is not None
    enhanced = APPLY[run.config.apply](pictures, state.network(pictures))
    pair = state.pair().detach()
    clip, identity = enhanced.new_zeros(()), enhanced.new_zeros(())
    for i in range(len(pictures)):
        one, original = enhanced[i : i + 1], pictures[i : i + 1]
        clip = clip + (100.0 * run.guidance.score.embed(one) @ pair.T).softmax(dim=-1)[0, 0]
        layers = zip(run.guidance.identity.features(one), run.guidance.identity.features(original), strict=True)
        for weight, (a, b) in zip(run.config.identity_layers, layers, strict=True):
            identity = identity + weight * F.mse_loss(a, b)
    loss = run.config.guidance_weight * clip / len(pictures) + run.config.identity_weight * identity
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()
    return loss.detach()


def set_up(config: TrainConfig) -> tuple[Run, State]:
    world = World(0, 1, find_device(config.device))
    torch.manual_seed(config.seed)
    network = initial_network(config).to(world.device)
    guidance = build_guidance(config, world.device)
    pair = build_pair(config, guidance, world.device)
    state = fresh_state(config, network, pair, world.device)
    return Run(config, Path(), world, TrainingSources(), guidance, None, network, pair), state


def seconds(step: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median time of a step, after one that warms up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--network", default="lite", show_default=True)
@click.option("--batch", default=8, show_default=True)
@click.option("--score-model", help="open_clip model, or its .json.  [default: ViT-B-32-quickgelu]")
@click.option("--identity-model", help="open_clip model, or its .json.  [default: RN101-quickgelu]")
@click.option("--side", type=int, help="Of the square pictures.  [default: the network's own]")
@click.option("--device", default="auto", show_default=True)
@click.option("--precision", default="fp32", show_default=True, help="Of our step; the loop stays in fp32.")
@click.option("--threads", default=0, show_default=True, help="CPU threads of torch; 0 for its own choice.")
@click.option("--repeats", default=5, show_default=True)
@reports_errors
def main(
    network: str,
    batch: int,
    score_model: str | None,
    identity_model: str | None,
    side: int | None,
    device: str,
    precision: str,
    threads: int,
    repeats: int,
) -> None:
    """Print pictures per second of both, and their ratio."""
    if threads:
        torch.set_num_threads(threads)
    options = {"method": "cliplit", "network": network, "batch": batch, "device": device, "precision": precision}
    weights = {"score_weights": "random", "identity_weights": "random", "pairs": "made here"}
    models = {"score_model": score_model, "identity_model": identity_model, "sizes": side and [[side, side]]}
    given = {name: value for name, value in models.items() if value}
    run, state = set_up(TrainConfig.from_dict({**options, **weights, **given}))
    pictures = torch.rand(batch, 3, *run.config.sizes[0], device=run.world.device) * 0.4
    nothing = torch.empty(0)
    ours, loop = enhance_step(run, state, (pictures, pictures, nothing))["loss"], looped_step(run, state, pictures)
    click.echo(f"loss: ours {float(ours.detach()):.4f}, loop {float(loop):.4f} (one step later)")
    fast = seconds(lambda: enhance_step(run, state, (pictures, pictures, nothing)), run.world.device, repeats)
    slow = seconds(lambda: looped_step(run, state, pictures), run.world.device, repeats)
    click.echo(f"{network} {pictures.shape[2]}x{pictures.shape[3]} batch {batch} on {run.world.device}, {precision}")
    click.echo(f"batched step {batch / fast:.2f} img/s, loop {batch / slow:.2f} img/s: {slow / fast:.2f} times")


if __name__ == "__main__":
    main()
