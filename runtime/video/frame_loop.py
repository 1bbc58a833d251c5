"""The way of a frame through a clip: denoise, look, relight, compare. The way of its light is in `light.relighting`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from cliplit.interrupt import raise_if_ended

from ..enhancer import Enhancer
from ..light.hdr import TRANSFERS
from ..light.pixels import PlanarPixels
from ..light.relighting import LightSettings, Profile, Relighting, no_profile
from .compare import comparison
from .denoise import Memory, denoised
from .frames import Clip, Frame
from .request import Steps


@dataclass
class Pending:
    """An item of a source on its way.

    Attributes:
        original: the item as it came.
        item: the same, denoised if it is a frame.
        strength: a factor on the enhancer's strength; 0 for what passes untouched.
        light: what `Relighting.look` says of the frame.
    """

    original: Any
    item: Any
    strength: float
    light: Any = None


class FrameLoop:
    """Relights the frames of one clip in their order and remembers what the later ones need of the earlier ones.

    Args:
        clip: what holds for all frames.
        steps: what is done to each.
        profile: a hook that is called after each stage with its name.
        live: give each frame before the next one is asked for.
        start: time of the clip's first frame, from which `steps.strength` counts; that of the first frame given.

    Raises:
        InputError: a region outside the picture, a size that the model or this machine's memory cannot take.
    """

    def __init__(
        self, clip: Clip, enhancer: Enhancer, steps: Steps, profile: Profile = no_profile, live: bool = False,
        start: Fraction | None = None,
    ) -> None:  # fmt: skip
        self.clip, self.enhancer, self.steps, self.profile = clip, enhancer, steps, profile
        enhancer.proxy_size(clip.height, clip.width)
        if steps.region:
            steps.region.check(clip.width, clip.height)
        self.relighting = Relighting(enhancer, LightSettings(steps.time_constant, steps.region), profile)
        self._compare = comparison(steps.compare) if steps.compare else None
        self._batch = 1 if live or clip.colour.transfer in TRANSFERS else self.relighting.batch
        self._start = start
        self.touched, self.last = 0, 0.0  # frames relighted, and the last one's seconds since the first
        self.memory: Memory | None = None  # of the denoising filters, where a resumed run goes on

    def __call__(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the items of a source, each frame relighted; packets pass through."""
        return self.relighted(denoised(items, self.steps.denoise))

    def relighted(self, items: Iterable[tuple[Any, Any, Memory | None]]) -> Iterator[Any]:
        """Do the same with what `denoised` gives."""
        for pending in self._looked_at(self._prepared(items)):
            if not isinstance(pending.item, Frame):
                yield pending.item
            elif not pending.strength and not self._compare:
                yield pending.original
            else:
                before = pending.original.copy() if self._compare else None
                frame = self._relighted(pending) if pending.strength else pending.original.writable()
                yield self._compare(before, frame) if self._compare and before else frame

    def _prepared(self, items: Iterable[tuple[Any, Any, Memory | None]]) -> Iterator[Pending]:
        for original, item, _ in items:
            raise_if_ended()
            if not isinstance(item, Frame):
                yield Pending(original, item, 0.0)
                continue
            if self.steps.denoise:
                self.profile("denoise")
            if self._start is None:
                self._start = item.time
            self.last = float(item.time - self._start)
            factor = self.steps.strength(self.last) if self.steps.strength else 1.0
            self.touched += bool(factor)
            yield Pending(original, item, factor if self.enhancer.strength else 0.0)

    def _looked_at(self, pending: Iterable[Pending]) -> Iterator[Pending]:
        """Yield them in their order with their light; on a card, a batch is asked for before the last one is given."""
        before: list[Pending] = []
        for batch in _batches(pending, self._batch):
            frames = [p for p in batch if p.strength]
            for p, light in zip(frames, self.relighting.look([self._pixels(p.item) for p in frames]), strict=True):
                p.light = light
            if self._batch > 1:
                before, batch = batch, before
            yield from batch
        yield from before

    def _relighted(self, pending: Pending) -> Frame:
        frame: Frame = pending.item
        time, result = float(frame.time), frame.writable()
        pixels = self._pixels(result)
        self.relighting.relight(pixels, pending.light, time, pending.strength, out=pixels)
        self.profile("apply")
        return result

    def _pixels(self, frame: Frame) -> PlanarPixels:
        return PlanarPixels(frame.planes, frame.coding, frame.interlaced, self.clip.colour.transfer)

    def state(self) -> dict[str, Any]:
        """Return arrays and numbers by name (`frames.Stateful`)."""
        start = self._start
        known: dict[str, Any] = {} if start is None else {"start": [start.numerator, start.denominator]}
        if self.memory is not None:
            known |= {"noise": self.memory.noise, "filters": [self.memory.taken, self.memory.start]}
        return {**self.relighting.state(), **known}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        self.relighting.restore(state)
        if "start" in state:
            self._start = Fraction(*(int(number) for number in state["start"]))
        if "noise" in state:
            taken, start = (int(number) for number in state["filters"])
            self.memory = Memory(float(state["noise"]), taken, start)


def _batches(pending: Iterable[Pending], count: int) -> Iterator[list[Pending]]:
    """Yield lists that hold `count` frames, the last one perhaps fewer, and the packets before them."""
    batch: list[Pending] = []
    frames = 0
    for p in pending:
        batch.append(p)
        frames += isinstance(p.item, Frame)
        if frames == count:
            yield batch
            batch, frames = [], 0
    yield batch
