"""Training on a card: the guided step beside a loop over single pictures, and `lite` on pairs rendered on the card.

A part of `benchmarks/gpu.py`. Predictions are the operations of one step, counted by PyTorch while it runs, over the
card's rate for dense fp16; the encoders compute in bfloat16, the network in fp32, so the truth lies below.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from cliplit.config import TrainConfig
from cliplit.export.parity import demo_frames
from cliplit.pictures.augment import decoded, encoded
from cliplit.runtime import Enhancer
from cliplit.training.distributed import World, find_device
from cliplit.training.loop import enhance_step, target_step
from cliplit.training.run import Run, initial_network
from cliplit.training.sources import TrainingSources
from cliplit.training.state import fresh_state

from .training import LoopedGuidance, looped_step, medians, set_up

# open_clip's configurations of the smallest encoders that have every layer, for runs that mean nothing.
TINY_TEXT = {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
TINY_VIT = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
TINY_RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8, "patch_size": None}
DARKEST = 5.5  # stops


@dataclass(frozen=True)
class Measured:
    """A way to train: seconds and operations of a step, and how many pictures that is."""

    name: str
    seconds: float
    operations: float
    pictures: int
    note: str


def operations_of(step: Callable[[], object]) -> float:
    """Count the operations of a step, forward and backward, two for each product and sum."""
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops())


def guided(device: str, tiny: bool, batch: int, repeats: int) -> list[Measured]:
    """Measure the published loop over pictures, then ours, on the same pictures with the same weights."""
    torch.backends.cudnn.allow_tf32 = True  # as training has it; the runtime's back end turned it off
    options = {"method": "cliplit", "network": "relative", "batch": batch, "device": device, "pairs": "made here"}
    options |= {"score_weights": "random", "identity_weights": "random", "encoder_precision": "bf16"}
    with tempfile.TemporaryDirectory() as folder:
        if tiny:
            for kind, vision in (("score", TINY_VIT), ("identity", TINY_RESNET)):
                path = Path(folder) / f"{kind}.json"
                about = {"embed_dim": 32, "quick_gelu": True, "vision_cfg": vision, "text_cfg": TINY_TEXT}
                path.write_text(json.dumps(about))
                options[f"{kind}_model"] = str(path)
            options |= {"sizes": ["48x48"], "encoder_precision": "fp32"}
        config = TrainConfig.from_dict(options)
        ours, (loop, state) = set_up(config), set_up(config)
        published = LoopedGuidance(config, loop.world.device)
    state.network.to(memory_format=torch.contiguous_format)  # as published; slices of a channels-last batch are slow
    pictures = torch.rand(batch, 3, *config.sizes[0], device=loop.world.device) * 0.4
    nothing = torch.empty(0)
    steps: dict[str, Callable[[], object]] = {
        "guided step, loop": lambda: looped_step(loop, state, published, pictures),
        "guided step, ours": lambda: enhance_step(*ours, (pictures, pictures, nothing)),
    }
    operations = [operations_of(step) for step in steps.values()]
    times = medians(list(steps.values()), loop.world.device, repeats)
    height, width = pictures.shape[2:]
    note = f"{width}x{height}, batch {batch}, random encoders"
    return [
        Measured(name, taken, count, batch, note) for name, taken, count in zip(steps, times, operations, strict=True)
    ]


def rendered_pairs(targets: Tensor, generator: torch.Generator) -> Tensor:
    """Make backlit pictures of well-lit ones, (N, 3, H, W) in [0, 1], where they are: smooth shadows, noise, 8 bits."""
    count, _, height, width = targets.shape
    coarse = torch.rand(count, 1, 4, 6, device=targets.device, generator=generator)
    shadow = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False).clamp(0.0, 1.0)
    deepest = DARKEST * torch.rand(count, 1, 1, 1, device=targets.device, generator=generator)
    linear = decoded(targets) * torch.exp2(-deepest * shadow)
    shot = torch.randn(linear.shape, device=targets.device, generator=generator)
    return (encoded(linear + shot * (linear * 2e-4 + 1e-6).sqrt()) * 255).round() / 255


def rendered(device: str, tiny: bool, batch: int, seconds: float) -> Measured:
    """Train `lite` from random weights for about `seconds`, each pair rendered for one step and used once."""
    config = TrainConfig.from_dict(
        {"method": "paired", "network": "relative", "batch": batch, "device": device, "pairs": "made here"}
    )
    where, size = find_device(device), (32, 48) if tiny else config.sizes[0]
    torch.backends.cudnn.allow_tf32 = True  # as in `guided`
    torch.manual_seed(0)
    network = initial_network(config).to(where)
    run = Run(config, Path(), World(0, 1, where), TrainingSources(), None, None, network, None)
    state = fresh_state(config, network, None, where)
    frames = np.stack([Enhancer("lite", "cpu")(frame) for frame in demo_frames([0.1, 0.3, 0.5, 0.7, 0.9])])
    photos = torch.from_numpy(frames).permute(0, 3, 1, 2).to(where)
    generator = torch.Generator(where).manual_seed(0)
    losses: list[Tensor] = []

    def step() -> None:
        chosen = torch.randint(len(photos), (batch,), device=where, generator=generator)
        height, width = photos.shape[2:]
        top, left = (int(torch.randint(side // 3, (1,))) for side in (height, width))
        crops = photos[chosen, :, top : top + 2 * height // 3, left : left + 2 * width // 3]
        targets = F.interpolate(crops, size, mode="bilinear", align_corners=False, antialias=True)
        losses.append(target_step(run, state, (rendered_pairs(targets, generator), targets))["loss"].detach())

    operations = operations_of(step)
    for _ in range(2):
        step()
    begin, before = time.perf_counter(), len(losses)
    while time.perf_counter() - begin < seconds or len(losses) < before + 2:
        step()
        if where.type == "cuda":
            torch.cuda.synchronize(where)
    taken = (time.perf_counter() - begin) / (len(losses) - before)
    some = max(1, len(losses) // 10)
    first, last = (float(torch.stack(part).mean()) for part in (losses[:some], losses[-some:]))
    note = f"{size[1]}x{size[0]}, batch {batch}, {len(losses)} steps, loss {first:.3f} to {last:.3f}"
    return Measured("lite on rendered pairs", taken, operations, batch, note)
