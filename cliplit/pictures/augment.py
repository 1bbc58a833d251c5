"""Augmentation on the device that trains: the paper's flips, turns and warps, and crops, exposure and noise besides.

Worker processes draw numbers and stack bytes, which is cheap; pixels are moved where they are used. What a change does
depends on its numbers alone, so a batch is the same however it is split over processes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..config import TrainConfig
from .sensor import random_camera

KINDS = ("paper", "turns", "none")


@dataclass(frozen=True)
class Change:
    """What is done to one picture, and to its reference alike, but for `stops` and noise, which the input alone gets.

    `angle` in radians, `stretch` along both axes, `window`: (height, width, top, left) of a crop as shares of the
    sides; `shot` and `read`: noise of `sensor.add_noise`, drawn from `noise_seed`; both 0 for none.
    """

    mirror: bool = False
    upside_down: bool = False
    turn: bool = False
    angle: float = 0.0
    stretch: tuple[float, float] = (1.0, 1.0)
    window: tuple[float, float, float, float] = (1.0, 1.0, 0.0, 0.0)
    stops: float = 0.0
    shot: float = 0.0
    read: float = 0.0
    noise_seed: int = 0

    @property
    def warps(self) -> bool:
        return self.angle != 0.0 or self.stretch != (1.0, 1.0) or self.window != (1.0, 1.0, 0.0, 0.0)

    @classmethod
    def drawn(cls, config: TrainConfig, rng: np.random.Generator) -> Change:
        """Draw flips and quarter turns, each half of the time, rotation and zoom, three times in ten, and the rest."""
        mirror, upside_down, turn = (rng.random(3) < 0.5).tolist()
        rotate, zoom = (rng.random(2) < 0.3).tolist()
        angle, stretch = rng.uniform(-90.0, 90.0), rng.uniform(0.7, 1.3, 2).tolist()
        side, top, left = rng.uniform(config.crop_least, 1.0), *rng.random(2)
        stops = rng.uniform(-1.0, 1.0) * config.exposure_jitter
        shot = read = 0.0
        if rng.random() < config.noise:
            shot, read = random_camera(rng)
        noise_seed = int(rng.integers(2**62))
        some, all_of_them = config.augmentation != "none", config.augmentation == "paper"
        return cls(
            mirror and some,
            upside_down and some,
            turn and some,
            math.radians(angle) if rotate and all_of_them else 0.0,
            (stretch[0], stretch[1]) if zoom and all_of_them else (1.0, 1.0),
            (side, side, top * (1.0 - side), left * (1.0 - side)) if config.crop_least < 1.0 else (1.0, 1.0, 0.0, 0.0),
            stops,
            shot,
            read,
            noise_seed,
        )


class Drawn(NamedTuple):
    """A batch before its augmentation: (N, 3, H, W) uint8 each, or empty, and what to do to each picture."""

    backlit: Tensor
    well_lit: Tensor
    changes: list[Change]


def augmented(pictures: Tensor, changes: Sequence[Change]) -> Tensor:
    """Move (N, 3, H, W) uint8 pictures; returns float32 in [0, 1]. Only square pictures are turned by 90 degrees."""
    moved = pictures.float() / 255
    moved = moved.contiguous(memory_format=torch.channels_last)
    square = pictures.shape[2] == pictures.shape[3]
    for i, change in enumerate(changes):
        dims = [dim for dim, flips in ((-1, change.mirror), (-2, change.upside_down)) if flips]
        if dims:
            moved[i] = moved[i].flip(dims)
        if change.turn and square:
            moved[i] = moved[i].transpose(-1, -2).clone()
    warping = [i for i, change in enumerate(changes) if change.warps]
    if warping:
        moved[warping] = warped(moved[warping], [changes[i] for i in warping])
    return moved


def warped(pictures: Tensor, changes: Sequence[Change]) -> Tensor:
    """Crop, stretch along both axes, then rotate, about the centre; outside, the picture is mirrored."""
    height, width = pictures.shape[-2:]
    rows = []
    for change in changes:
        # From a place in the result to one in the picture, both from -1 to 1: the inverse, in pixels, of the change.
        cos, sin = math.cos(change.angle), math.sin(change.angle)
        across, down = change.stretch
        tall, wide, top, left = change.window
        x = [cos / across * wide, -sin / across * height / width * wide, 2.0 * left + wide - 1.0]
        y = [sin / down * width / height * tall, cos / down * tall, 2.0 * top + tall - 1.0]
        rows.append([x, y])
    places = F.affine_grid(
        torch.tensor(rows, dtype=torch.float32, device=pictures.device), list(pictures.shape), align_corners=False
    )
    return F.grid_sample(pictures, places, mode="bilinear", padding_mode="reflection", align_corners=False)


def exposed_by(pictures: Tensor, changes: Sequence[Change]) -> Tensor:
    """Retake gamma-coded inputs with the drawn number of stops more light; what exceeds white is lost."""
    if not any(change.stops for change in changes):
        return pictures
    gains = torch.tensor([2.0**change.stops for change in changes], dtype=torch.float32, device=pictures.device)
    return encoded(decoded(pictures) * gains.view(-1, 1, 1, 1))


def noised(pictures: Tensor, changes: Sequence[Change]) -> Tensor:
    """Add the drawn Poisson-Gaussian noise to gamma-coded inputs, in linear light."""
    noisy = [i for i, change in enumerate(changes) if change.shot or change.read]
    if not noisy:
        return pictures
    result = pictures.clone()
    for i in noisy:
        linear, change = decoded(pictures[i]), changes[i]
        generator = torch.Generator(pictures.device).manual_seed(change.noise_seed)
        grain = torch.randn(linear.shape, generator=generator, device=pictures.device)
        result[i] = encoded(linear + grain * torch.sqrt(change.shot * linear + change.read**2))
    return result


def decoded(coded: Tensor) -> Tensor:
    """Decode gamma-coded [0, 1] to linear light (IEC 61966-2-1)."""
    x = coded.clamp(0.0, 1.0)
    return torch.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def encoded(linear: Tensor) -> Tensor:
    """Encode linear light as gamma-coded [0, 1]; clips. Differentiable at 0."""
    y = linear.clamp(0.0, 1.0)
    return torch.where(y <= 0.0031308, 12.92 * y, 1.055 * y.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)
