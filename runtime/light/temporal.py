"""The light over time: steady in static scenes, quick to follow changes, restarted after a cut.

Each point of the log light map is a running mean since the picture last changed there. Two things count as change: a
luma jump beyond the sensor's noise and a slow luma drift. So noise and the network's reactions to it average out, steps
and passing objects are followed at once, and dissolves or exposure ramps within a few hundredths of a stop.

The network looks at the whole picture, and says something else of all of it when a figure enters or a caption appears.
Where the picture stands still its light does not change for that: after a moment it is kept. By how much the network
deviates there says how far it has drifted as a whole, and what is new is relighted as if it had not.

The gain also amplifies noise, whose large blotches pulse. `Steady.flicker_suppressed` cancels a proxy pixel's deviation
from the running mean of luma in static parts. Finer grain is left to a denoiser.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import cv2
import numpy as np

from cliplit.arrays import Array

from . import compiled
from .background import LOST_AFTER, Background
from .bars import Area
from .exposure import Exposure
from .light_map import Coefficients
from .means import Means, Pace, blurred_luma, changes, flickering, keeps, take
from .motion import motion, move_along, warped
from .quantile import quantile

TEMPORAL = 0.5  # of 0..1
LONGEST = 4.0  # seconds, the time constant at 1
GAP = 1.0  # seconds without a frame after which nothing is carried over
BESIDE = np.ones((25, 25), np.uint8)  # proxy pixels around what has changed, in which light is not kept
STILL_SHARE = 0.4  # of the picture; if less stands still the whole dissolves into another
COARSE = 4  # proxy pixels to one of what is averaged over half the picture
AGREED_SHARE = 0.1  # of the picture that must stand still for its light to say how far the network has drifted
ORDINARY_LIGHT = np.float32(-0.09)  # log2 of what an ordinary picture is lifted by at least, taken for one from black
FOLLOWED = 0.9  # of a stop of exposure that the network undoes
PANNED = 0.6  # of the change may be left along the motion in a pan; between two photos 0.8 and more are
QUARTILE = 0.3186  # of the absolute value of normal noise
QUIET = 1e-4  # a clip without noise has so much, so that a dissolve is not taken for the first of it
NOISE_GROWTH = 1.02  # a frame: a pan must not be taken for noise

SUDDEN = 0.04  # mean change of log2 luma between two frames that may be a cut ...
SUDDEN_RATIO = 4.0  # ... if it is so much larger than those before it
MOST_CELLS = 0.4  # of those that are not black must change in a cut; a figure that enters or a caption changes fewer
CHANGED_CELL = 0.03  # change of a cell's log2 luma
CELLS = 32, 18  # in which cuts are looked for, so that a moving camera is none
BLACK = 0.03  # added to luma before its logarithm
DARKEST = np.float32(0.004)  # added to luma where flicker is taken for a share of it
LN2 = np.float32(math.log(2.0))
LEAST_EFFECT = np.float32(0.05)  # of a stop of light; less is too little to steer by
FLICKER_LIMIT = np.float32(0.25)  # stops that the gain may differ from the light map's


def time_constant(temporal: float) -> float:
    """Convert `--temporal` to seconds: 0 at 0, a second at 0.5, four at 1."""
    return LONGEST * temporal * temporal


@dataclass(frozen=True)
class Steady:
    """A frame's light after the filter, all (h, w) float32 at proxy size.

    Attributes:
        log_light: log2 of the light map.
        luma: what guides it: a running mean, too, so that noise does not shake the guided filter's coefficients.
        own: the frame's luma, of which only what flickers differs from the mean: what comes and goes like noise.
    """

    log_light: Array
    luma: Array
    own: Array

    def flicker_suppressed(self, coefficients: Coefficients) -> Coefficients:
        """Remove flicker from the coefficients where they brighten, so that the frame is relighted like the mean.

        Relighted luma is y * gain, gain = D^(-1/2), D = (1 - y^2) L^2 + y^2 (`gain.gain`). To first order, its
        logarithm grows with y by 1 / y - y (1 - L^2) / D, and with log L by -(1 - y^2) L^2 / D.
        """
        if self.luma is self.own:
            return coefficients
        if compiled.maps is not None:
            offset = np.empty_like(self.luma)
            compiled.maps.suppress(
                (self.luma, self.own, self.log_light, coefficients.slope, coefficients.offset, offset),
                coefficients.floor, DARKEST, LEAST_EFFECT, FLICKER_LIMIT,
            )  # fmt: skip
            return replace(coefficients, offset=offset)
        return self.suppressed_reference(coefficients)

    def suppressed_reference(self, coefficients: Coefficients) -> Coefficients:
        """Compute `flicker_suppressed` in numpy."""
        y = self.luma
        light = np.exp2(2.0 * np.clip(coefficients.slope * y + coefficients.offset, coefficients.floor, 0.0))
        effect = (1.0 - y * y) * light
        divisor = effect + y * y
        growth = 1.0 / (y + DARKEST) - y * (1.0 - light) / divisor
        stops = (y - self.own) * (growth / (LN2 * np.maximum(effect / divisor, LEAST_EFFECT)) - coefficients.slope)
        limit = np.clip(-self.log_light, 0.0, FLICKER_LIMIT)
        return replace(coefficients, offset=coefficients.offset - np.clip(stops, -limit, limit))


class TemporalFilter:
    """Temporal filter for the light of one clip's frames; use one instance per clip.

    Args:
        time_constant: seconds over which a still scene is averaged; 0 for none.
    """

    def __init__(self, time_constant: float = time_constant(TEMPORAL)) -> None:
        self.time_constant = time_constant
        self._state: Means | None = None
        self._background: Background | None = None
        self._cuts = CutDetector()
        self._exposure = Exposure()
        self._blurred: Array | None = None  # of the frame before
        self._noise = 0.0  # standard deviation of blurred luma
        self._time = 0.0
        self._factor = np.float32(1.0)  # of luma, to the shot's exposure
        self._dissolved = 0.0  # seconds

    def __call__(self, log_light: Array, luma: Array, time: float) -> Steady:
        """Filter the (h, w) log light map and luma of the frame shown at `time` seconds."""
        if self.time_constant <= 0:
            return Steady(log_light, luma, luma)
        log_light, luma = (np.ascontiguousarray(values, np.float32) for values in (log_light, luma))
        elapsed = time - self._time
        cut = self._cuts(luma) and not self._panned(luma)
        stops = self._exposure(luma, max(elapsed, 1e-3), cut)
        self._factor = np.float32(2.0**stops)
        if stops == 0.0:
            return self._filtered(log_light, luma, time, cut)
        # At the shot's own exposure: the light is made for that, and only what else changes counts as change.
        factor = self._factor
        most = ORDINARY_LIGHT if self._exposure.from_black else np.float32(0.0)
        own = np.minimum(log_light - np.float32(FOLLOWED * stops), most)
        steady = self._filtered(own, luma / factor, time, cut)
        return Steady(steady.log_light, steady.luma * factor, steady.own * factor)

    def _panned(self, luma: Array) -> bool:
        """Tell whether motion explains what changes: a camera that begins to move, and no cut."""
        before = self._blurred
        if before is None or before.shape != luma.shape:
            return False
        now = blurred_luma(luma / self._factor)
        left = np.abs(now - warped([before], motion(before, now))[0]).mean()
        return bool(left < PANNED * np.abs(now - before).mean())

    def _filtered(self, log_light: Array, luma: Array, time: float, cut: bool) -> Steady:
        blurred = blurred_luma(luma)
        elapsed = time - self._time
        before, self._blurred, self._time = self._blurred, blurred, time
        state = self._state
        if cut or state is None or before is None or state.light.shape != log_light.shape or not -GAP < elapsed < GAP:
            self._state = Means.begin(log_light, luma, blurred)
            self._background, self._dissolved = None, 0.0
            return Steady(log_light, luma, luma)
        self._learn_noise(np.abs(blurred - before)[::3, ::3], log_light[::3, ::3])
        self._step(state, log_light, luma, blurred, max(elapsed, 1e-3))
        if state.luma is luma:  # all of it moves
            return Steady(state.light, luma, luma)
        return Steady(state.light, state.luma, flickering(state, luma))

    def kept(self, own: Coefficients) -> Coefficients:
        """Return the frame's own coefficients, from what the filter returned for it; those of before where it is still.

        What moves near a still point changes its window of the guided filter, but not its light.
        """
        state = self._state
        if state is None or state.taken.shape != own.slope.shape:
            return own
        state.slope = state.slope + state.taken * (own.slope * self._factor - state.slope)
        state.offset = state.offset + state.taken * (own.offset - state.offset)
        return replace(own, slope=state.slope / self._factor, offset=state.offset)

    def reframe(self, before: Area, after: Area, shape: tuple[int, ...]) -> None:
        """Carry everything to maps (of `shape`) of another area of the picture; what lies outside the first is new."""
        self._cuts.cells = None
        self._exposure.reframe()
        if self._state is None or self._blurred is None:
            return
        self._blurred = before.reframed(self._blurred, after, shape)
        maps = {name: before.reframed(values, after, shape) for name, values in vars(self._state).items()}
        maps["age"] = before.reframed(self._state.age, after, shape, cv2.BORDER_CONSTANT)
        self._state = Means(**maps)
        self._background = None

    def state(self) -> dict[str, Any]:
        """Return the state to save (`frames.Stateful`), for a run that is resumed."""
        numbers = {"noise": self._noise, "time": self._time, "usual": self._cuts.usual, "last": self._cuts.last}
        numbers["dissolved"] = self._dissolved
        numbers |= {f"exposure {name}": value for name, value in self._exposure.state().items()}
        if self._state is None or self._blurred is None or self._cuts.cells is None:
            return numbers
        maps = {**asdict(self._state), "before": self._blurred, "cells": self._cuts.cells}
        if self._background is not None:
            maps |= {f"background {name}": values for name, values in asdict(self._background).items()}
        return numbers | maps

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken. Raises ValueError, TypeError or LookupError if it is none."""
        self._noise, self._time = float(state["noise"]), float(state["time"])
        self._cuts.usual, self._cuts.last = float(state["usual"]), float(state["last"])
        self._dissolved = float(state["dissolved"])
        known = {name.removeprefix("exposure "): state[name] for name in state if name.startswith("exposure ")}
        self._exposure.restore(known)
        if "before" in state:
            self._state = Means(**{name: state[name].copy() for name in Means.__dataclass_fields__})
            self._blurred, self._cuts.cells = state["before"], state["cells"]
            known = {name.removeprefix("background "): state[name] for name in state if name.startswith("background ")}
            self._background = Background(**{name: map_.copy() for name, map_ in known.items()}) if known else None
            maps = [*vars(self._state).values(), *known.values(), self._blurred]
            if any(map_.dtype != np.float32 or map_.shape != maps[0].shape for map_ in maps):
                raise ValueError("maps of different sizes or types")
            if self._cuts.cells.shape != CELLS[::-1]:
                raise ValueError("cells of another size")

    def _learn_noise(self, change: Array, log_light: Array) -> None:
        """Estimate noise from the lower quartile of change in dark parts, robust to motion elsewhere."""
        dark = change[log_light < -0.5]
        quartile = quantile(dark if dark.size > change.size // 50 else change.ravel(), 0.25)
        found = max(quartile / QUARTILE / 2**0.5, QUIET)
        self._noise = min(found, self._noise * NOISE_GROWTH) if self._noise else found

    def _step(self, state: Means, log_light: Array, luma: Array, blurred: Array, elapsed: float) -> None:
        exposure = self._exposure
        pace = Pace.of(self._noise, exposure.stops, elapsed, self.time_constant, exposure.returning)
        if self._background is None:
            self._background = Background.begin(luma.shape)
        before = self._background
        alike = before.remember(state, luma, blurred, pace)
        moved, carried = move_along(state, luma, blurred, pace.still) or (None, None)
        if exposure.returning or (carried is not None and carried.all()):
            before.forget()
        else:
            if alike is not None:
                before.recall(state, luma, alike, pace)
            if carried is not None:
                carried *= before.settled == 0.0
        found = changes(state, luma, blurred, carried, pace)
        dissolving = min(max(1.0 - found.share / STILL_SHARE, 0.0), 1.0)
        self._dissolved = self._dissolved + elapsed if dissolving else 0.0
        if self._dissolved > LOST_AFTER:
            before.forget()
        beside = cv2.dilate(found.disturbed, BESIDE)
        kept = keeps(state, found.quiet, beside, pace)
        drifted = None if kept.all() else agreed(state.light - log_light, found.quiet * kept)
        before.settle(state, found, beside, pace)
        take(state, log_light, luma, blurred, found, beside, drifted, moved, dissolving, pace)
        # What moves keeps its light; its luma is not averaged, so that no detail is smeared.
        if moved is not None:
            state.luma_drift *= 1.0 - moved
            state.deviation *= 1.0 - moved
            if moved.all():
                state.blurred, state.luma = blurred, luma


def agreed(deviation: Array, still: Array) -> Array:
    """Spread what the kept light (h, w) deviates from the network's, in log2, over what is new around it.

    Args:
        deviation: of each point, (h, w).
        still: (h, w) in [0, 1], the weight of each point.
    """
    share = float(still.mean())
    if share == 0.0:
        return np.zeros_like(deviation)
    height, width = deviation.shape
    small = max(1, width // COARSE), max(1, height // COARSE)
    maps = [cv2.resize(x, small, interpolation=cv2.INTER_AREA) for x in (still * deviation, still)]
    size = small[0] // 2 | 1, small[1] // 2 | 1
    around, weight = (cv2.blur(cv2.blur(x, size), size) for x in maps)
    common = np.float32(maps[0].mean() / maps[1].mean())
    near = (around + np.float32(0.05) * common) / (weight + np.float32(0.05))
    near *= np.float32(min(1.0, share / AGREED_SHARE))
    return cv2.resize(near, (width, height), interpolation=cv2.INTER_LINEAR)


class CutDetector:
    """Detector of cuts: the whole picture changes suddenly, after little change.

    A flash or a step of exposure counts too, as the filter should restart there.
    """

    def __init__(self) -> None:
        self.cells: Array | None = None
        self.usual = self.last = 0.0  # change from frame to frame

    def __call__(self, luma: Array) -> bool:
        """Return whether the frame with this luma, (h, w) in [0, 1], begins a shot; call it for each frame in turn."""
        cells = np.log2(cv2.resize(luma, CELLS, interpolation=cv2.INTER_AREA) + np.float32(BLACK))
        before, self.cells = self.cells, cells
        if before is None:
            return False
        change = float(np.abs(cells - before).mean())
        cut = change > max(SUDDEN, SUDDEN_RATIO * self.usual) and _most_change(cells, before)
        # A single cut says nothing about the shot; a fast camera, whose change continues, does.
        self.usual += 0.5 * (min(change, self.last) - self.usual)
        self.last = change
        return cut


def _most_change(cells: Array, before: Array) -> bool:
    """Tell whether most of what is not black in both changes, from log2 luma of the cells of two frames."""
    seen = np.maximum(cells, before) > math.log2(2.0 * BLACK)
    changed = np.abs(cells - before) > CHANGED_CELL
    return bool(changed[seen].mean() > MOST_CELLS) if seen.any() else bool(changed.mean() > MOST_CELLS)
