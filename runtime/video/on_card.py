"""Clips at full size on a card: planes go up once, relighted ones come down once.

Between them only two small maps come down, light and luma at proxy size, for the filter over time; what it changes goes
up as one small map, is enlarged there and added. The light map at full size and the gain never leave the card. A batch
is queued there while the filter, here, goes over the frames of the one before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from cliplit.arrays import Array

from ..enhancer import Enhancer
from ..exact import torch_gain
from ..exact.exact_torch import ExactTorch, PendingArrays
from ..exact.torch_gain import Codes
from ..light.colour import Coding
from ..light.gain import fields
from ..light.light_map import plain_coefficients
from ..light.temporal import TemporalFilter
from .frames import Clip, Frame
from .relighting import Lap, Steps, allowed_gain


@dataclass
class Batch:
    """Frames of one coding on the card.

    Attributes:
        codes: their planes.
        log_light: (N, 1, H, W), the network's, bounded.
        half: the network was to run in half precision.
        coming: (N, 2, h, w) log light and luma at proxy size, and whether the network's answer was finite.
    """

    codes: Codes
    coding: Coding
    log_light: Tensor
    half: bool
    coming: PendingArrays

    def of(self, number: int) -> Codes:
        y, cb, cr = (plane[number : number + 1] for plane in self.codes)
        return y, cb, cr


@dataclass(frozen=True)
class LightOnCard:
    """A frame's place in a batch."""

    batch: Batch
    number: int


class OnCard:
    """See `Way`. Not for HDR."""

    def __init__(self, exact: ExactTorch, clip: Clip, enhancer: Enhancer, steps: Steps, lap: Lap, live: bool) -> None:
        self.exact, self.enhancer, self.steps, self.lap = exact, enhancer, steps, lap
        self.at_once, self.ahead = (1, False) if live else (exact.batch, True)
        self.size = clip.height, clip.width
        self.shrink = torch_gain.Shrink(self.size, enhancer.steady_size(*self.size), exact.device)
        self.smooth = steps.smooth or TemporalFilter(0.0)
        self.mask: Tensor | None = None  # of the region
        if steps.region:
            everywhere = plain_coefficients(np.ones(self.size, np.float32), 1.0)
            self.mask = exact.up([steps.region.within(everywhere, *self.size).offset])[:, None]

    def lights(self, frames: Sequence[Frame]) -> list[LightOnCard]:
        lights: list[LightOnCard] = []
        with self.exact.computing():
            for coding, alike in groupby(frames, lambda frame: frame.coding):
                codes = self.exact.codes([frame.planes for frame in alike])
                batch = self._queued(codes, coding)
                lights += [LightOnCard(batch, number) for number in range(len(codes[0]))]
        self.lap("proxy")
        return lights

    def _queued(self, codes: Codes, coding: Coding) -> Batch:
        rgb, luma = torch_gain.seen(codes, coding)
        half, light = self.exact.half, self.exact.light(rgb)
        log_light = torch_gain.bounded(light, self.enhancer.max_gain)
        small = self.shrink(torch.cat([log_light, luma], dim=1))
        return Batch(codes, coding, log_light, half, PendingArrays([small, torch.isfinite(light).all()]))

    def relight(self, frame: Frame, light: LightOnCard, strength: float) -> Frame:
        own, luma = self._small_maps(light.batch)[light.number]
        self.lap("network")
        bearable = allowed_gain(frame, self.steps.limit) if self.enhancer.heeds_noise else math.inf
        steady = self.smooth(own, luma, float(frame.time))
        change = self.enhancer.steady_change(steady, own, bearable)
        self.lap("temporal filter, edges")
        result = frame.writable()
        interlaced = len(fields(result.planes, result.interlaced)) > 1
        with self.exact.computing():
            relighted = self._relighted(light, change, bearable, strength, interlaced)
            for target, plane in zip(result.planes, relighted, strict=True):
                target[...] = self.exact.down(plane[0, 0], target.dtype)
        return result

    def _relighted(
        self, light: LightOnCard, change: Array, bearable: float, strength: float, interlaced: bool
    ) -> Codes:
        log_light = light.batch.log_light[light.number : light.number + 1]
        bound = min(self.enhancer.max_gain, bearable)
        if bound < self.enhancer.max_gain:
            log_light = torch_gain.softly_bounded(log_light, bound)
        log_light = log_light + torch_gain.enlarged(self.exact.up([change])[:, None], self.size)
        if self.mask is not None:
            log_light = log_light * self.mask
        codes = light.batch.of(light.number)
        return torch_gain.relighted(codes, log_light * strength, light.batch.coding, bound, interlaced)

    def _small_maps(self, batch: Batch) -> Array:
        """(N, 2, h, w), waited for; of the same frames in fp32 where they came out as NaN or infinity."""
        maps, finite = batch.coming.arrays()
        while not finite:
            self.exact.leave_half_precision(batch.half)
            with self.exact.computing():
                again = self._queued(batch.codes, batch.coding)
            batch.log_light, batch.half, batch.coming = again.log_light, again.half, again.coming
            maps, finite = batch.coming.arrays()
        return maps
