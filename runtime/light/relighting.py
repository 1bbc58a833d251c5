"""The way of a picture from samples to relighted samples, the same for every host.

    proxy -> network -> log light map -> temporal filter -> edges -> gain

`Relighting` is the state of one clip. Its `look` asks the network, remembers nothing and may be called ahead of time,
for several pictures at once; its `relight` does, picture by picture in their order, what depends on those before. At
full size on a graphics card (`network.card`) pictures go up once and come down once: then `look` leaves its answer on
the card, and only small maps come down for the temporal filter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, Protocol

import cv2
import numpy as np

from cliplit.arrays import Array

from ..enhancer import Enhancer
from .bars import Area, whole
from .hdr import TRANSFERS, Transfer, signal_log_light, tone_mapped
from .light_map import Coefficients
from .noise import ClipGrain, GainLimit
from .pixels import Pixels
from .proxy import shrink
from .region import Region
from .shadows import lifts
from .temporal import TEMPORAL, TemporalFilter, time_constant

Profile = Callable[[str], object]  # a hook, called after each stage with the stage's name


def no_profile(stage: str) -> None:
    """Ignore the stage."""


@dataclass(frozen=True)
class LightSettings:
    """What relighting a clip depends on besides the enhancer.

    Attributes:
        time_constant: of the temporal filter, in seconds; 0 relights each picture by itself.
        region: the only area to relight.
        bars: whether to look for bars and frames; what they are is neither looked at nor relighted.
    """

    time_constant: float = time_constant(TEMPORAL)
    region: Region | None = None
    bars: bool = True


@dataclass(frozen=True)
class Light:
    """The network's answer for one picture: maps (h, w) float32 of the size that the network saw.

    Attributes:
        log_light: log2 of the light map.
        luma: of what the network saw.
        signal: luma of the picture's own signal; differs from `luma` only where HDR was tone-mapped.
        transfer: how the signal codes HDR, None for SDR.
        area: the part of the picture that the maps are of, None for all of it.
    """

    log_light: Array
    luma: Array
    signal: Array
    transfer: Transfer | None = None
    area: Area | None = None


class LightOnCard(Protocol):
    """The network's answer for one picture where it stays on the card, at full size; `area` as of `Light`."""

    @property
    def area(self) -> Area | None: ...

    def small_maps(self) -> tuple[Array, Array]:
        """Wait for (log light, luma), (h, w) each, of the size the temporal filter works at."""
        ...

    def relight(self, out: Any, change: Array, bound: float, strength: float, region: Region | None) -> None:
        """Write the relighted picture into `out`, its light changed by `change` stops (h, w), the gain bounded."""
        ...


class Relighting:
    """Relights the pictures of one clip.

    Args:
        enhancer: its strength, 0 to 2, is a factor on the strength of each picture.
        settings: of the clip.
        profile: a hook for whoever measures the stages.
    """

    def __init__(
        self, enhancer: Enhancer, settings: LightSettings | None = None, profile: Profile = no_profile
    ) -> None:
        self.enhancer = enhancer
        self.settings = LightSettings() if settings is None else settings
        self.temporal = TemporalFilter(self.settings.time_constant)
        self.gain_limit = GainLimit()
        self.grain = ClipGrain()
        self._framed: Area | None = None  # what of the last picture was no bars
        self._profile = profile

    @property
    def batch(self) -> int:
        """Pictures that `look` wants together: more than one only on a card, where looking ahead hides its latency."""
        return 1 if self._card is None else int(self._card.batch)

    @property
    def _card(self) -> Any:
        """What relights at full size on a graphics card, or None."""
        return self.enhancer.network.card if self.enhancer.quality == "exact" else None

    def look(self, pictures: Sequence[Pixels]) -> Sequence[Light | LightOnCard]:
        """Ask the network about each picture. Remembers nothing.

        Raises InputError where full size would exhaust this machine's memory.
        """
        card = self._card
        if card is not None and all(card.takes(pixels) for pixels in pictures):
            areas = [self._area(pixels) for pixels in pictures]
            lights: Sequence[LightOnCard] = card.look(
                pictures, areas, self.enhancer.max_gain, self.enhancer.steady_size
            )
            self._profile("proxy")
            return lights
        return [self.look_at(pixels) for pixels in pictures]

    def look_at(self, pixels: Pixels) -> Light:
        """Ask the network about one picture, whose light comes to this processor's memory. Remembers nothing."""
        area = self._area(pixels)
        pixels = pixels.cropped(area) if area else pixels
        signal = pixels.proxy(self.enhancer.proxy_size(*pixels.size))
        transfer = TRANSFERS.get(pixels.transfer)
        seen = tone_mapped(signal, transfer) if transfer else signal
        self._profile("proxy")
        log_light = self.enhancer.log_light(seen)
        self._profile("network")
        return Light(log_light, seen.luma, signal.luma, transfer, area)

    def _area(self, pixels: Pixels) -> Area | None:
        """Find what is looked at: what lies between bars, and of that the region's part; None for all of it."""
        area = pixels.picture_area() if self.settings.bars else whole(*pixels.size)
        region = self.settings.region
        if region:
            area = pixels.aligned(area.within(region.area) or area)
        return None if area == whole(*pixels.size) else area

    def relight(
        self, pixels: Pixels, light: Light | LightOnCard, time: float, strength: float = 1.0, out: Pixels | None = None
    ) -> Pixels:
        """Return the relighted picture. Call it for each picture of the clip in turn.

        Args:
            pixels: the picture that `light` was asked for.
            time: of the picture, in seconds.
            strength: a factor on the enhancer's.
            out: where the result is written, `pixels` themselves included; new memory by default.
        """
        out = pixels.like() if out is None else out
        strength *= self.enhancer.strength
        limit = self.gain_limit(*pixels.noise_plane(), time) if self.enhancer.auto_max_gain else math.inf
        region = self.settings.region
        if light.area:
            if out is not pixels:
                pixels.copy_to(out)
            region = region.seen_from(light.area, *pixels.size) if region else None
            pixels, out_area = pixels.cropped(light.area), out.cropped(light.area)
        else:
            out_area = out
        if isinstance(light, Light):
            self._frame(light.area or whole(*out.size), light.log_light.shape)
            coefficients = self.coefficients(light, time, limit)
            if region:
                coefficients = region.within(coefficients, *pixels.size)
            self._profile("temporal filter, edges")
            coefficients = coefficients.scaled(strength)
            cleaned = self.enhancer.cleans and lifts(coefficients)
            pixels.relight(coefficients, out_area, self.grain(pixels.grain, time) if cleaned else None)
            return out
        log_light, luma = light.small_maps()
        self._profile("network")
        self._frame(light.area or whole(*out.size), luma.shape)
        steady = self.temporal(log_light, luma, time)
        change = self.enhancer.steady_change(steady, log_light, limit)
        self._profile("temporal filter, edges")
        light.relight(out_area, change, min(self.enhancer.max_gain, limit), strength, region)
        return out

    def _frame(self, area: Area, shape: tuple[int, ...]) -> None:
        """Have the temporal filter follow where bars come or go."""
        if self._framed and area != self._framed:
            if self.enhancer.quality == "exact":
                shape = self.enhancer.steady_size(shape[0], shape[1])
            self.temporal.reframe(self._framed, area, shape)
        self._framed = area

    def coefficients(self, light: Light, time: float, gain_limit: float = math.inf) -> Coefficients:
        """Filter the light over time and return it in the form that is applied at full size, at strength 1.

        With quality "exact" the temporal filter works at proxy size, and what it changes is enlarged.
        """
        size = light.log_light.shape
        steady_size = self.enhancer.steady_size(*size) if self.enhancer.quality == "exact" else size
        log_light, luma = (m if size == steady_size else shrink(m, steady_size) for m in (light.log_light, light.luma))
        steady = self.temporal(log_light, luma, time)
        if light.transfer:
            changed = steady.log_light
            if size != steady_size:
                changed = light.log_light + _enlarged(steady.log_light - log_light, size)
            own = signal_log_light(changed, light.signal, light.transfer)
            return self._kept(self.enhancer.refine(own, light.signal, gain_limit))
        if size == steady_size:
            return steady.flicker_suppressed(
                self._kept(self.enhancer.refine(steady.log_light, steady.luma, gain_limit))
            )
        refined = self.enhancer.refine(light.log_light, light.luma, gain_limit)
        change = self.enhancer.steady_change(steady, log_light, gain_limit)
        return replace(refined, offset=refined.offset + _enlarged(change, size))

    def _kept(self, coefficients: Coefficients) -> Coefficients:
        """Keep what the guided filter makes of points that stand still; a bound that follows the noise comes first."""
        guided = self.enhancer.quality == "fast" and not self.enhancer.auto_max_gain
        return self.temporal.kept(coefficients) if guided else coefficients

    @property
    def _parts(self) -> dict[str, Any]:
        return {"temporal": self.temporal, "gain limit": self.gain_limit, "grain": self.grain}

    def state(self) -> dict[str, Any]:
        """Return what it remembers of earlier pictures, for a run that is continued later."""
        parts = {name: part.state() for name, part in self._parts.items()}
        state = {f"{part} {name}": value for part, values in parts.items() for name, value in values.items()}
        return state | ({"area": np.array(astuple(self._framed))} if self._framed else {})

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""

        def part(prefix: str) -> dict[str, Any]:
            return {name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)}

        self._framed = Area(*map(int, state["area"])) if "area" in state else None
        for name, stateful in self._parts.items():
            stateful.restore(part(f"{name} "))


def _enlarged(values: Array, size: tuple[int, ...]) -> Array:
    return cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
