"""Pictures of a clip at full size on a card: planes go up once, relighted ones come down once.

Between them only two small maps come down, light and luma at proxy size, for the temporal filter; what it changes goes
up as one small map, is enlarged there and added. The light map at full size and the gain never leave the card. A batch
is queued there while the filter, here, goes over the pictures of the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from cliplit.arrays import Array

from ..light.bars import Area
from ..light.colour import Coding
from ..light.gain import columns_per_sample, fields
from ..light.hdr import TRANSFERS
from ..light.light_map import plain_coefficients
from ..light.pixels import Pixels, PlanarPixels
from ..light.region import Region
from . import torch_gain
from .exact_torch import ExactTorch, PendingArrays
from .torch_gain import Codes


class Card(ExactTorch):
    """`ExactTorch` for the pictures of clips, as `light.relighting.Relighting` uses it."""

    def takes(self, pixels: Pixels) -> bool:
        """Tell whether these stay on the card: SDR planes, chroma at least half of luma's width."""
        return (
            isinstance(pixels, PlanarPixels)
            and pixels.transfer not in TRANSFERS
            and columns_per_sample(pixels.with_chroma) <= 2
        )

    def look(
        self,
        pictures: Sequence[PlanarPixels],
        areas: Sequence[Area | None],
        max_gain: float,
        small_size: Callable[[int, int], tuple[int, int]],
    ) -> list[Picture]:
        """Queue the network for these pictures, or their areas; those of one coding and size go together.

        `small_size` tells the size at which the temporal filter works from that of the picture.
        """
        lights: list[Picture] = []
        with self.computing():
            seen = [(p.cropped(area) if area else p, area) for p, area in zip(pictures, areas, strict=True)]
            for (coding, size), group in groupby(seen, lambda one: (one[0].coding, one[0].size)):
                alike = list(group)
                codes = self.codes([pixels.with_chroma for pixels, _ in alike])
                batch = Batch(self, codes, coding, size, small_size(*size), max_gain)
                lights += [Picture(batch, number, area) for number, (_, area) in enumerate(alike)]
        return lights


class Batch:
    """Pictures of one coding and size on the card; the network's answer is on its way.

    Args:
        codes: their planes.
        size, small: (H, W) and (h, w).
    """

    def __init__(
        self,
        card: Card,
        codes: Codes,
        coding: Coding,
        size: tuple[int, int],
        small: tuple[int, int],
        max_gain: float,
    ) -> None:
        self.card, self.codes, self.coding, self.size, self.max_gain = card, codes, coding, size, max_gain
        self._shrink = torch_gain.Shrink(size, small, card.device)
        self._queue()

    def _queue(self) -> None:
        rgb, luma = torch_gain.seen(self.codes, self.coding)
        self._half, light = self.card.half, self.card.light(rgb)
        self.log_light = torch_gain.bounded(light, self.max_gain)  # (N, 1, H, W)
        small = self._shrink(torch.cat([self.log_light, luma], dim=1))
        self._pending = PendingArrays([small, torch.isfinite(light).all()])

    def small_maps(self) -> Array:
        """Wait for (N, 2, h, w) log light and luma; computed anew in fp32 where they came out as NaN or infinity."""
        maps, finite = self._pending.arrays()
        while not finite:
            self.card.leave_half_precision(self._half)
            with self.card.computing():
                self._queue()
            maps, finite = self._pending.arrays()
        return maps


@dataclass(frozen=True)
class Picture:
    """A picture's place in a batch; see `light.relighting.LightOnCard`."""

    batch: Batch
    number: int
    area: Area | None = None

    def small_maps(self) -> tuple[Array, Array]:
        log_light, luma = self.batch.small_maps()[self.number]
        return log_light, luma

    def relight(self, out: PlanarPixels, change: Array, bound: float, strength: float, region: Region | None) -> None:
        card, size = self.batch.card, self.batch.size
        interlaced = len(fields(out.with_chroma, out.interlaced)) > 1
        with card.computing():
            log_light = self.batch.log_light[self.number : self.number + 1]
            if bound < self.batch.max_gain:
                log_light = torch_gain.softly_bounded(log_light, bound)
            log_light = log_light + torch_gain.enlarged(card.up([change])[:, None], size)
            if region:
                log_light = log_light * self._mask(region)
            y, cb, cr = (plane[self.number : self.number + 1] for plane in self.batch.codes)
            planes = torch_gain.relighted((y, cb, cr), log_light * strength, self.batch.coding, bound, interlaced)
            for target, plane in zip(out.planes, planes, strict=False):  # grey has luma only
                target[...] = card.down(plane[0, 0], target.dtype)

    def _mask(self, region: Region) -> Tensor:
        everywhere = plain_coefficients(np.ones(self.batch.size, np.float32), 1.0)
        return self.batch.card.up([region.within(everywhere, *self.batch.size).offset])[:, None]
