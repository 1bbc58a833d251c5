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

from .bars import Area
from .exposure import Exposure
from .light_map import Coefficients

TEMPORAL = 0.5  # of 0..1
LONGEST = 4.0  # seconds, the time constant at 1
GAP = 1.0  # seconds without a frame after which nothing is carried over
BLUR = 3  # proxy pixels; what is compared between frames

# Change of luma (in [0, 1], blurred) below which a point is still, from which it is new: in
# multiples of the noise, within bounds.
STILL_SIGMAS, NEW_SIGMAS = 3.5, 12.0
STILL_BOUNDS = 0.003, 0.035
DRIFT, DRIFT_NOISE = 0.3, 0.6  # rate of the mean that shows a drift; what its noise, 0.42 of a frame's, is counted as
KEPT_AFTER = 0.3  # of the time constant, over which the light of a still point is averaged; then it is kept
RETURN = 60.0  # seconds over which what is kept comes to what the network says
LARGEST_STEP = np.float32(0.007)  # of log2 light, by which a still point may change from frame to frame; 0.0154 stops
STILL_CHANGE = 5.0  # times as much as what counts as still: a point that changes by a fifth is none
BESIDE, CALM = 25, 2.0  # proxy pixels around what has changed, and seconds after it, in which light is not kept
UNBOUNDED = 100.0  # stops; more than any change
SOON = 0.4  # seconds over which light there comes to what the network says, as far as LARGEST_STEP lets it
STILL_SHARE = 0.4  # of the picture; if less stands still the whole dissolves into another
COARSE = 4  # proxy pixels to one of what is averaged over half the picture
AGREED_SHARE = 0.1  # of the picture that must stand still for its light to say how far the network has drifted
ORDINARY_LIGHT = np.float32(-0.09)  # log2 of what an ordinary picture is lifted by at least, taken for one from black
FOLLOWED = 0.9  # of a stop of exposure that the network undoes
MOVING_SHARE = 0.02  # of the picture that must have changed for motion to be looked for
PATCH = 15  # proxy pixels over which is judged whether luma flickers or drifts:
TO_AND_FRO, ONE_SIDED = 0.55, 0.75  # drift as a share of the deviation; noise has 0.42, what stays has 1
STANDSTILL = 0.25  # proxy pixels a frame that count as none
NEAR, NEAR_SHARE = 9, 0.3  # proxy pixels around; their mean change, as a share of the least, that may be motion
PANNED = 0.6  # of the change may be left along the motion in a pan; between two photos 0.8 and more are
EXPLAINED = 0.6  # of the change may be left along the motion
CAMERA = 0.4  # of the picture in motion that means the camera moves, if so much of what has texture changes, too
AROUND = 63  # proxy pixels, most of which in motion mean that their centre moves
LEAST_SIDE = 32  # pixels for optical flow: OpenCV 4.12 to 5.0 crash on pictures that are wide and lower than that
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
FINE = 4.0  # times as strong as in blurred luma is the noise in luma itself


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
        y = self.luma
        light = np.exp2(2.0 * np.clip(coefficients.slope * y + coefficients.offset, coefficients.floor, 0.0))
        effect = (1.0 - y * y) * light
        divisor = effect + y * y
        growth = 1.0 / (y + DARKEST) - y * (1.0 - light) / divisor
        stops = (y - self.own) * (growth / (LN2 * np.maximum(effect / divisor, LEAST_EFFECT)) - coefficients.slope)
        limit = np.clip(-self.log_light, 0.0, FLICKER_LIMIT)
        return replace(coefficients, offset=coefficients.offset - np.clip(stops, -limit, limit))


@dataclass
class _State:
    """Running means (h, w) of light, luma and blurred luma; ages, luma's drift and mean deviation.

    `kept` is the luma that the light was made for: like `luma`, but kept where light is.
    """

    light: Array
    luma: Array
    blurred: Array
    kept: Array
    age: Array  # seconds
    luma_drift: Array
    deviation: Array
    disturbed: Array  # 1 where it has just changed, falling to 0
    taken: Array  # share of this frame in the coefficients
    slope: Array
    offset: Array

    @classmethod
    def begin(cls, log_light: Array, luma: Array, blurred: Array) -> _State:
        """Start a shot with its first frame."""
        zero, one = np.zeros_like(luma), np.ones_like(luma)
        return cls(log_light, luma, blurred, luma, zero, zero.copy(), zero.copy(), zero, one, zero, zero)

    def follow(self, luma: Array, blurred: Array, still: float) -> tuple[Array, Array] | None:
        """Warp everything along the picture's motion.

        Returns:
            1 where something seems to move, and where its light does, too; None if the picture is static.
        """
        change = np.abs(blurred - self.blurred)
        if np.count_nonzero(change > still) < MOVING_SHARE * blurred.size:
            return None
        flow = motion(self.blurred, blurred)
        # Optical flow says something everywhere. It is motion where it explains what has changed.
        left, before = (cv2.blur(d, (NEAR, NEAR)) for d in (np.abs(blurred - warped(self.blurred, flow)), change))
        explained = (left < EXPLAINED * before) & (before > NEAR_SHARE * still)
        moves = np.maximum(np.abs(flow[..., 0]), np.abs(flow[..., 1])) > STANDSTILL
        moved, carries = (_filled(m.astype(np.float32)) for m in (moves, moves & explained))
        if moved.all() and (change > still)[_textured(blurred, still)].mean() > CAMERA:
            carries = moved
        elif not carries.all():
            carries *= np.abs(luma - self.kept) > still  # what looks the same may as well have stayed
        flow *= carries[..., None]
        for names in (("light", "blurred", "age", "kept"), ("slope", "offset")):
            carried = warped(cv2.merge([getattr(self, name) for name in names]), flow)
            for name, values in zip(names, cv2.split(carried), strict=True):
                setattr(self, name, values)
        return moved, carries

    def flickering(self) -> Array:
        """Compute (h, w): 1 where luma oscillates about its mean, as noise does, 0 where it stays on one side.

        There something moves slowly, and its difference from the mean is detail.
        """
        drift, deviation = (cv2.blur(x, (PATCH, PATCH)) for x in (np.abs(self.luma_drift), self.deviation))
        share = drift / (deviation + np.float32(1e-6))
        return np.clip(_from_to(share, ONE_SIDED, TO_AND_FRO), 0.0, 1.0)


class TemporalFilter:
    """Temporal filter for the light of one clip's frames; use one instance per clip.

    Args:
        time_constant: seconds over which a still scene is averaged; 0 for none.
    """

    def __init__(self, time_constant: float = time_constant(TEMPORAL)) -> None:
        self.time_constant = time_constant
        self._state: _State | None = None
        self._cuts = CutDetector()
        self._exposure = Exposure()
        self._blurred: Array | None = None  # of the frame before
        self._noise = 0.0  # standard deviation of blurred luma
        self._time = 0.0
        self._factor = np.float32(1.0)  # of luma, to the shot's exposure

    def __call__(self, log_light: Array, luma: Array, time: float) -> Steady:
        """Filter the (h, w) log light map and luma of the frame shown at `time` seconds."""
        if self.time_constant <= 0:
            return Steady(log_light, luma, luma)
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
        now = _blur(luma / self._factor)
        left = np.abs(now - warped(before, motion(before, now))).mean()
        return bool(left < PANNED * np.abs(now - before).mean())

    def _filtered(self, log_light: Array, luma: Array, time: float, cut: bool) -> Steady:
        blurred = _blur(luma)
        elapsed = time - self._time
        before, self._blurred, self._time = self._blurred, blurred, time
        state = self._state
        if cut or state is None or before is None or state.light.shape != log_light.shape or not -GAP < elapsed < GAP:
            self._state = _State.begin(log_light, luma, blurred)
            return Steady(log_light, luma, luma)
        self._learn_noise(np.abs(blurred - before)[::3, ::3], log_light[::3, ::3])
        self._step(state, log_light, luma, blurred, max(elapsed, 1e-3))
        if state.luma is luma:  # all of it moves
            return Steady(state.light, luma, luma)
        return Steady(state.light, state.luma, state.luma + state.flickering() * (luma - state.luma))

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
        self._state = _State(**maps)

    def state(self) -> dict[str, Any]:
        """Return the state to save (`frames.Stateful`), for a run that is resumed."""
        numbers = {"noise": self._noise, "time": self._time, "usual": self._cuts.usual, "last": self._cuts.last}
        numbers |= {f"exposure {name}": value for name, value in self._exposure.state().items()}
        if self._state is None or self._blurred is None or self._cuts.cells is None:
            return numbers
        return {**numbers, **asdict(self._state), "before": self._blurred, "cells": self._cuts.cells}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        self._noise, self._time = float(state["noise"]), float(state["time"])
        self._cuts.usual, self._cuts.last = float(state["usual"]), float(state["last"])
        known = {name.removeprefix("exposure "): state[name] for name in state if name.startswith("exposure ")}
        self._exposure.restore(known)
        if "before" in state:
            self._state = _State(**{name: state[name].copy() for name in _State.__dataclass_fields__})
            self._blurred, self._cuts.cells = state["before"], state["cells"]

    def _learn_noise(self, change: Array, log_light: Array) -> None:
        """Estimate noise from the lower quartile of change in dark parts, robust to motion elsewhere."""
        dark = change[log_light < -0.5]
        quartile = float(np.percentile(dark if dark.size > change.size // 50 else change, 25))
        found = max(quartile / QUARTILE / 2**0.5, QUIET)
        self._noise = min(found, self._noise * NOISE_GROWTH) if self._noise else found

    def _step(self, state: _State, log_light: Array, luma: Array, blurred: Array, elapsed: float) -> None:
        still = min(max(STILL_SIGMAS * self._noise, STILL_BOUNDS[0]), STILL_BOUNDS[1])
        still *= 2.0 ** max(-self._exposure.stops, 0.0)  # a dark picture's codes are coarse at the shot's exposure
        new = still * NEW_SIGMAS / STILL_SIGMAS
        moved, carries = state.follow(luma, blurred, still) or (None, None)
        difference = blurred - state.blurred
        cv2.accumulateWeighted(difference, state.luma_drift, DRIFT)
        cv2.accumulateWeighted(np.abs(difference), state.deviation, DRIFT)
        drift = np.abs(state.luma_drift) * np.float32(1 / DRIFT_NOISE)
        change = np.maximum(np.maximum(np.abs(difference), np.abs(blurred - _blur(state.kept))), drift)
        np.minimum(change, np.abs(luma - state.kept), out=change)  # a point beside what has changed is still
        changed = np.clip(_from_to(change, still, new), 0.0, 1.0)
        # The weight of this frame is its share of the time averaged over, and at least what has changed.
        age = np.maximum(state.age, np.float32(elapsed)) + np.float32(elapsed)
        rate = np.maximum(elapsed / np.minimum(age, self.time_constant), changed)
        np.minimum(rate, 1.0, out=rate)
        state.age = elapsed / rate
        self._relight(state, log_light, luma, changed, carries, rate, elapsed)
        # What moves keeps its light; its luma is not averaged, so that no detail is smeared.
        if moved is not None:
            np.maximum(rate, moved, out=rate)
            state.luma_drift *= 1.0 - moved
            state.deviation *= 1.0 - moved
            if moved.all():
                state.blurred, state.luma = blurred, luma
                return
        state.blurred = state.blurred + rate * difference
        fine = luma - state.luma
        thin = np.clip(_from_to(np.abs(fine), FINE * still, FINE * new), 0.0, 1.0)  # lost in what is blurred
        state.luma = state.luma + np.maximum(rate, thin) * fine

    def _relight(
        self, state: _State, log_light: Array, luma: Array, changed: Array, moved: Array | None, rate: Array,
        elapsed: float,
    ) -> None:  # fmt: skip
        """Take from the network's answer what is new, and keep the light of what stands still.

        `changed` (h, w) in [0, 1] is by how much each point's luma has; `rate` what a running mean takes of the frame.
        """
        still = np.clip(1.0 - STILL_CHANGE * changed, 0.0, 1.0)
        dissolving = np.float32(np.clip(1.0 - still.mean() / STILL_SHARE, 0.0, 1.0))
        if moved is not None:
            still *= 1.0 - moved
        if self._exposure.returning:
            state.disturbed = np.ones_like(still)
        else:
            state.disturbed = np.maximum(state.disturbed - np.float32(elapsed / CALM), still <= 0.0)
        beside = cv2.dilate(state.disturbed, np.ones((BESIDE, BESIDE), np.uint8)) > 0.0
        kept = (state.age >= KEPT_AFTER * self.time_constant) & ~beside & (still > 0.5)
        wanted = log_light
        if not kept.all():
            drift = agreed(state.light - log_light, still * kept)
            wanted = np.minimum(np.where(kept, log_light, log_light + drift), np.float32(0.0))
        taken = np.where(beside & (still > 0.5), np.maximum(rate, np.float32(min(1.0, elapsed / SOON))), rate)
        taken = np.where(kept, np.maximum(changed, np.float32(elapsed / RETURN)), taken)
        taken = np.maximum(taken, dissolving)
        most = LARGEST_STEP + np.float32(UNBOUNDED) * np.maximum(1.0 - still, dissolving)
        state.light = state.light + np.clip(taken * (wanted - state.light), -most, most)  # callers hold the last
        state.kept = state.kept + taken * (luma - state.kept)
        state.taken = np.where((still <= 0.5) | ~(kept | beside), np.float32(1.0), taken)


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


def motion(before: Array, after: Array) -> Array:
    """Compute (h, w, 2): each point's offset in pixels from `after` to its position in `before`; both luma.

    DIS optical flow (Kroeger et al., ECCV 2016) at half size: a light map is smooth.
    """
    height, width = after.shape
    half = max(width // 2, LEAST_SIDE), max(height // 2, LEAST_SIDE)
    small = [np.sqrt(cv2.resize(luma, half, interpolation=cv2.INTER_AREA)) for luma in (after, before)]
    codes = [(luma * 255).astype(np.uint8) for luma in small]
    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    flow: Array = search.calc(*codes, None)
    flow *= np.array([width / half[0], height / half[1]], np.float32)
    return cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR)


def warped(maps: Array, flow: Array) -> Array:
    """Fetch each point of (h, w) or (h, w, n) maps from where the flow (h, w, 2) says it was."""
    height, width = flow.shape[:2]
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return cv2.remap(maps, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _filled(moved: Array) -> Array:
    """Fill islands in a 0 or 1 map of motion where optical flow found no texture."""
    if np.count_nonzero(moved) > CAMERA * moved.size:
        return np.ones_like(moved)
    around = cv2.blur(moved, (AROUND, AROUND), borderType=cv2.BORDER_REPLICATE)
    return np.maximum(moved, (around > 0.5).astype(np.float32))


def _textured(luma: Array, still: float) -> Array:
    """Tell where (h, w) luma differs from its neighbours; the whole of it where nothing does."""
    around = np.ones((3, 3), np.uint8)
    textured = cv2.dilate(luma, around) - cv2.erode(luma, around) > 2.0 * still
    return textured if textured.any() else np.ones_like(textured)


def _from_to(x: Array, low: float, high: float) -> Array:
    """Map `low` to 0 and `high` to 1 linearly, unbounded."""
    return (x - np.float32(low)) * np.float32(1 / (high - low))


def _blur(x: Array) -> Array:
    return cv2.blur(x, (BLUR, BLUR), borderType=cv2.BORDER_REPLICATE).astype(np.float32, copy=False)
