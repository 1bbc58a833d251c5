"""From a frame to the relighted frame: proxy, network, light map, temporal filter, edges, gain.

Two ways lead there, and `way_of` alone decides between them: by processor (`OnProcessor`), for every back end and every
option, and at full size on a card (`on_card`), where frames go up once and come down once. Each first asks the network,
for several frames if it likes, and then, frame by frame in their order, does what depends on the frames before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Protocol

import cv2

from cliplit.arrays import Array

from ..enhancer import Enhancer
from ..light.gain import apply_channels, apply_planes, fields
from ..light.hdr import TRANSFERS, signal_log_light, tone_mapped
from ..light.light_map import Coefficients
from ..light.noise import GainLimit
from ..light.proxy import Proxy, planes_proxy, shrink
from ..light.region import Region
from ..light.temporal import TemporalFilter
from .compare import Comparison
from .frames import Clip, Frame, Stateful

Lap = Callable[[str], object]  # called behind the stages with their names, for who measures them
Moment = tuple[Any, Any, float]  # an item as it came, the same denoised, the strength of its moment


@dataclass
class Steps:
    """What may be done to a frame besides relighting it; the defaults do nothing. One instance a clip.

    Attributes:
        smooth: filter of the light map over time, None for each frame by itself.
        limit: of the gain, by the noise; used with an enhancer whose `max_gain` is "auto".
        strength: of the moment, as a factor on the enhancer's own; None for 1 throughout. Frames at 0 pass untouched.
        denoise: 0..1, before anything else.
        region: the only area to enhance.
        compare: what is written is a comparison with the original.
    """

    smooth: TemporalFilter | None = None
    limit: GainLimit = field(default_factory=GainLimit)
    strength: Callable[[Fraction], float] | None = None
    denoise: float = 0.0
    region: Region | None = None
    compare: Comparison | None = None

    def stateful(self) -> list[Stateful]:
        """The steps that remember earlier frames, in a fixed order."""
        return [step for step in (self.smooth, self.limit, self.strength) if isinstance(step, Stateful)]


class Way(Protocol):
    """From frames of a clip to relighted ones.

    Attributes:
        at_once: frames that `lights` wants together.
        ahead: whether the light of the next ones may be asked for before these are relighted.
    """

    at_once: int
    ahead: bool

    def lights(self, frames: Sequence[Frame]) -> Sequence[Any]:
        """The network's answer for each frame, in a form of the way's own; it may still be coming."""
        ...

    def relight(self, frame: Frame, light: Any, strength: float) -> Frame:
        """The frame with the gain applied; the one given must not be used any more. Call it for each in turn."""
        ...


def lit(moments: Iterable[Moment], way: Way) -> Iterator[tuple[Moment, Any]]:
    """The moments in their order, each with the light of its frame, None where its strength is 0.

    Where the way allows, the network has the next frames to work on before these are given.
    """
    before: list[tuple[Moment, Any]] = []
    for batch in batches(moments, way.at_once):
        lights = iter(way.lights([frame for _, frame, strength in batch if strength]))
        now = [(moment, next(lights) if moment[2] else None) for moment in batch]
        if way.ahead:
            before, now = now, before
        yield from now
    yield from before


def batches(moments: Iterable[Moment], count: int) -> Iterator[list[Moment]]:
    """Lists that hold `count` frames, the last one perhaps fewer, and the packets before them."""
    batch: list[Moment] = []
    frames = 0
    for moment in moments:
        batch.append(moment)
        frames += isinstance(moment[1], Frame)
        if frames == count:
            yield batch
            batch, frames = [], 0
    yield batch


@dataclass(frozen=True)
class Light:
    """What the network says about a frame: log2 of its light map, beside the proxy that it saw, both of one size.

    Attributes:
        signal: the proxy as it was before HDR was tone-mapped, else the same.
    """

    log_light: Array
    seen: Proxy
    signal: Proxy


class OnProcessor:
    """See `Way`. The network on any back end; what comes before and after it in numpy, OpenCV and C."""

    at_once, ahead = 1, False

    def __init__(self, clip: Clip, enhancer: Enhancer, steps: Steps, lap: Lap) -> None:
        self.clip, self.enhancer, self.steps, self.lap = clip, enhancer, steps, lap
        self.size = enhancer.proxy_size(clip.height, clip.width)
        self.steady_size = enhancer.steady_size(clip.height, clip.width)
        self.smooth = steps.smooth or TemporalFilter(0.0)
        self.transfer = TRANSFERS.get(clip.colour.transfer)  # HDR

    def lights(self, frames: Sequence[Frame]) -> list[Light]:
        return [self._light(frame) for frame in frames]

    def _light(self, frame: Frame) -> Light:
        proxy = planes_proxy(frame.planes, frame.coding, self.size)
        seen = tone_mapped(proxy, self.transfer) if self.transfer else proxy
        self.lap("proxy")
        log_light = self.enhancer.log_light(seen)
        self.lap("network")
        return Light(log_light, seen, proxy)

    def relight(self, frame: Frame, light: Light, strength: float) -> Frame:
        bearable = allowed_gain(frame, self.steps.limit) if self.enhancer.heeds_noise else math.inf
        coefficients = self.steady_coefficients(light, float(frame.time), bearable)
        if self.steps.region:
            coefficients = self.steps.region.within(coefficients, self.clip.height, self.clip.width)
        self.lap("temporal filter, edges")
        return relight(frame, coefficients.scaled(strength))

    def steady_coefficients(self, light: Light, time: float, bearable: float) -> Coefficients:
        """The filter over time works at proxy size; what it changes about light of full size is enlarged."""
        own, luma = (self._small(map) for map in (light.log_light, light.seen.luma))
        steady = self.smooth(own, luma, time)
        full_size = own is not light.log_light
        if self.transfer:
            changed = light.log_light + self._enlarged(steady.log_light - own) if full_size else steady.log_light
            log_light = signal_log_light(changed, light.signal, self.transfer)
            return self.enhancer.refine(log_light, light.signal.luma, bearable)
        if not full_size:
            return self.enhancer.refine_steady(steady, bearable)
        refined = self.enhancer.refine(light.log_light, light.seen.luma, bearable)
        change = self.enhancer.steady_change(steady, own, bearable)
        return replace(refined, offset=refined.offset + self._enlarged(change))

    def _small(self, map: Array) -> Array:
        return map if map.shape == self.steady_size else shrink(map, self.steady_size)

    def _enlarged(self, map: Array) -> Array:
        return cv2.resize(map, self.size[::-1], interpolation=cv2.INTER_LINEAR)


def allowed_gain(frame: Frame, limit: GainLimit) -> float:
    """The gain that the frame's noise allows; RGB is judged by its green."""
    y_offset, y_scale, *_ = frame.coding.numbers
    return limit(frame.planes[1 if frame.coding.rgb else 0], y_offset, y_scale, float(frame.time))


def relight(frame: Frame, coefficients: Coefficients) -> Frame:
    """The frame with the gain applied; the one given must not be used any more."""
    result = frame.writable()
    if frame.coding.rgb:
        apply_channels(result.planes, result.planes, coefficients, frame.coding.depth)
        return result
    for planes in fields(result.planes, frame.interlaced):
        apply_planes(planes, planes, coefficients, frame.coding)
    return result
