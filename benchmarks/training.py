"""Pictures per second of the CLIP-guided step, against the plain loop over single pictures.

    python -m cliplit.benchmarks.training [--network lite] [--batch 8] [--device auto]

Both compute the same loss of the same pictures (printed first) with randomly initialised ViT-B/32 and RN101, and make
one optimizer step. The loop does what the published code does: open_clip's models as they come, every picture by
itself through both, the input's features with a graph that nothing needs, the prompts through the text tower at every
step. Ours is measured with its encoders in float32 and in bfloat16 (`--encoder-precision`); loop and ours alternate,
so that other work on the machine disturbs both alike.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor
from torch.nn import functional as F

from cliplit.command import reports_errors
from cliplit.config import TrainConfig
from cliplit.guidance.build import build_guidance
from cliplit.guidance.contract import freeze
from cliplit.guidance.open_clip_encoder import CLIP_MEAN, CLIP_STD
from cliplit.guidance.prompts import build_pair
from cliplit.training.distributed import World, find_device
from cliplit.training.loop import enhance_step
from cliplit.training.relight import APPLY
from cliplit.training.run import Run, initial_network
from cliplit.training.sources import TrainingSources
from cliplit.training.state import State, fresh_state


class LoopedGuidance:
    """The two models as open_clip builds them, with the same random weights as ours."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        names = config.score_model, config.identity_model
        self.score, self.identity = (self._model(name).to(device) for name in names)

    @staticmethod
    def _model(name: str) -> Any:
        import open_clip

        return freeze(open_clip.create_model(Path(name).stem, pretrained=None))

    def embed(self, picture: Tensor) -> Tensor:
        return F.normalize(self.score.encode_image(self._preprocess(picture, self.score.visual)), dim=-1)

    def features(self, picture: Tensor) -> list[Tensor]:
        visual = self.identity.visual
        found = visual.forward_intermediates(self._preprocess(picture, visual), intermediates_only=True)
        return list(found["image_intermediates"])

    @staticmethod
    def _preprocess(picture: Tensor, visual: Any) -> Tensor:
        side = visual.image_size if isinstance(visual.image_size, tuple) else (visual.image_size,) * 2
        resized = F.interpolate(picture, side, mode="bilinear", align_corners=False)
        mean, std = (torch.tensor(v, device=picture.device).view(1, 3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
        return (resized - mean) / std


def looped_step(run: Run, state: State, published: LoopedGuidance, pictures: Tensor) -> Tensor:
    """Train one batch as published, written plainly: batch in, enhanced batch out, then picture by picture."""
    assert state.pair is not None
    enhanced = APPLY[run.config.apply](pictures, state.network(pictures))
    pair = state.pair().detach()
    clip, identity = enhanced.new_zeros(()), enhanced.new_zeros(())
    for i in range(len(pictures)):
        one, original = enhanced[i : i + 1], pictures[i : i + 1]
        clip = clip + (100.0 * published.embed(one) @ pair.T).softmax(dim=-1)[0, 0]
        layers = zip(published.features(one), published.features(original), strict=True)
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
    guidance = build_guidance(config, world.device)
    torch.manual_seed(config.seed)
    network = initial_network(config).to(world.device)
    pair = build_pair(config, guidance, world.device)
    state = fresh_state(config, network, pair, world.device)
    return Run(config, Path(), world, TrainingSources(), guidance, None, network, pair, guidance.identity), state


def medians(steps: Sequence[Callable[[], object]], device: torch.device, repeats: int) -> list[float]:
    """Compute the median seconds of each step, run in turns after one warm-up."""
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(repeats + 1):
        for taken, step in zip(times, steps, strict=True):
            start = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken[1:]) for taken in times]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--network", default="lite", show_default=True)
@click.option("--batch", default=8, show_default=True)
@click.option("--score-model", help="open_clip model, or its .json.  [default: ViT-B-32-quickgelu]")
@click.option("--identity-model", help="open_clip model, or its .json.  [default: RN101-quickgelu]")
@click.option("--side", type=int, help="Of the square pictures.  [default: the network's own]")
@click.option("--device", default="auto", show_default=True)
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
    threads: int,
    repeats: int,
) -> None:
    """Print pictures per second of the loop and of our step in both precisions, and their ratios."""
    if threads:
        torch.set_num_threads(threads)
    options = {"method": "cliplit", "network": network, "batch": batch, "device": device}
    weights = {"score_weights": "random", "identity_weights": "random", "pairs": "made here"}
    models = {"score_model": score_model, "identity_model": identity_model, "sizes": side and [[side, side]]}
    given = {name: value for name, value in models.items() if value}
    ours = {}
    for precision in ("fp32", "bf16"):
        config = TrainConfig.from_dict({**options, **weights, **given, "encoder_precision": precision})
        ours[precision] = set_up(config)
    loop, state = set_up(config)
    state.network.to(memory_format=torch.contiguous_format)  # as published; slices of a channels-last batch are slow
    published = LoopedGuidance(config, loop.world.device)
    pictures = torch.rand(batch, 3, *config.sizes[0], device=loop.world.device) * 0.4
    nothing = torch.empty(0)

    def step(precision: str) -> float:
        return float(enhance_step(*ours[precision], (pictures, pictures, nothing))["loss"].detach())

    steps: dict[str, Callable[[], float]] = {
        "loop": lambda: float(looped_step(loop, state, published, pictures)),
        **{f"batched, {precision} encoders": functools.partial(step, precision) for precision in ours},
    }
    click.echo("loss of the first step: " + "; ".join(f"{name} {run():.3f}" for name, run in steps.items()))
    times = medians(list(steps.values()), loop.world.device, repeats)
    click.echo(f"{network} {pictures.shape[2]}x{pictures.shape[3]} batch {batch} on {loop.world.device}")
    for name, taken in zip(steps, times, strict=True):
        click.echo(f"{name:24} {batch / taken:7.2f} img/s  {times[0] / taken:5.2f} times the loop")


if __name__ == "__main__":
    main()
