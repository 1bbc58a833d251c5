"""Running means of a clip's light and luma, point by point: what has changed, and what is taken of a new frame.

What is compiled (`_maps.c`) is defined by the functions in numpy, whose names end in `_reference`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from cliplit.arrays import Array

from . import compiled

BLUR = 3  # proxy pixels; what is compared between frames
# Change of luma (in [0, 1], blurred) below which a point is still, from which it is new: in
# multiples of the noise, within bounds.
STILL_SIGMAS, NEW_SIGMAS = 3.5, 12.0
STILL_BOUNDS = 0.003, 0.035
DRIFT, DRIFT_NOISE = 0.3, 0.6  # rate of the mean that shows a drift; what its noise, 0.42 of a frame's, is counted as
KEPT_AFTER = 0.3  # of the time constant, over which the light of a still point is averaged; then it is kept
RETURN = 60.0  # seconds over which what is kept comes to what the network says
LARGEST_STEP = np.float32(0.007)  # of log2 light, by which a still point may change from frame to frame; 0.0154 stops
STILL_CHANGE = np.float32(5.0)  # times as much as what counts as still: a point that changes by a fifth is none
CALM = 2.0  # seconds after a change, in which light beside it is not kept
UNBOUNDED = np.float32(100.0)  # stops; more than any change
SOON = 0.4  # seconds over which light there comes to what the network says, as far as LARGEST_STEP lets it
FINE = 4.0  # times as strong as in blurred luma is the noise in luma itself
PATCH = 15  # proxy pixels over which is judged whether luma flickers or drifts:
TO_AND_FRO, ONE_SIDED = 0.55, 0.75  # drift as a share of the deviation; noise has 0.42, what stays has 1


@dataclass
class Means:
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
    def begin(cls, log_light: Array, luma: Array, blurred: Array) -> Means:
        """Start a shot with its first frame."""
        zero, one = np.zeros_like(luma), np.ones_like(luma)
        return cls(log_light, luma, blurred, luma, zero.copy(), zero.copy(), zero.copy(), zero, one, zero, zero)


class Pace(NamedTuple):
    """How a frame is judged: from which changes of luma on points are not `still` and are `new`, and the seconds."""

    still: float
    new: float
    elapsed: float
    time_constant: float
    returning: bool  # the exposure is (`exposure.Exposure.returning`): nothing counts as calm

    @classmethod
    def of(cls, noise: float, stops: float, elapsed: float, time_constant: float, returning: bool) -> Pace:
        """Compute it for luma with this standard deviation of `noise`, in a picture exposed `stops` off the shot's."""
        still = min(max(STILL_SIGMAS * noise, STILL_BOUNDS[0]), STILL_BOUNDS[1])
        still *= 2.0 ** max(-stops, 0.0)  # a dark picture's codes are coarse at the shot's exposure
        return cls(still, still * NEW_SIGMAS / STILL_SIGMAS, elapsed, time_constant, returning)


class Changes(NamedTuple):
    """What a frame changes, (h, w) float32.

    Attributes:
        changed: in [0, 1], by how much each point's luma has.
        rate: what a running mean takes of the frame.
        quiet: in [0, 1], how still each point is; 0 where the picture moves.
        share: the mean of that before motion.
        disturbed: (h, w) uint8, 1 where something has changed in the last seconds.
    """

    changed: Array
    rate: Array
    quiet: Array
    share: float
    disturbed: Array


def blurred_luma(luma: Array) -> Array:
    """Blur (h, w) luma as it is compared between frames."""
    return cv2.blur(luma, (BLUR, BLUR), borderType=cv2.BORDER_REPLICATE).astype(np.float32, copy=False)


def changes(means: Means, luma: Array, blurred: Array, carried: Array | None, pace: Pace) -> Changes:
    """Compare a frame's luma (h, w) with the running means, and update their drift, deviation, age and disturbance.

    `carried` is 1 where light moves along with the picture.
    """
    around = blurred_luma(means.kept)
    if compiled.maps is None:
        return changes_reference(means, luma, blurred, around, carried, pace)
    changed, rate, quiet, age, disturbed = (np.empty_like(luma) for _ in range(5))
    fresh = np.empty(luma.shape, np.uint8)
    share = compiled.maps.change(
        (luma, blurred, around, means.blurred, means.kept, means.age, means.disturbed, carried,
         means.luma_drift, means.deviation, changed, rate, quiet, age, disturbed, fresh),
        pace.still, 1 / (pace.new - pace.still), pace.elapsed, pace.time_constant, DRIFT, 1 / DRIFT_NOISE,
        STILL_CHANGE, pace.elapsed / CALM, pace.returning,
    )  # fmt: skip
    means.age, means.disturbed = age, disturbed
    return Changes(changed, rate, quiet, share, fresh)


def changes_reference(
    means: Means, luma: Array, blurred: Array, around: Array, carried: Array | None, pace: Pace
) -> Changes:
    """Compute `changes` in numpy; `around` is the blurred `means.kept`."""
    elapsed = np.float32(pace.elapsed)
    difference = blurred - means.blurred
    cv2.accumulateWeighted(difference, means.luma_drift, DRIFT)
    cv2.accumulateWeighted(np.abs(difference), means.deviation, DRIFT)
    drift = np.abs(means.luma_drift) * np.float32(1 / DRIFT_NOISE)
    change = np.maximum(np.maximum(np.abs(difference), np.abs(blurred - around)), drift)
    np.minimum(change, np.abs(luma - means.kept), out=change)  # a point beside what has changed is still
    changed = np.clip(from_to(change, pace.still, pace.new), 0.0, 1.0)
    # The weight of this frame is its share of the time averaged over, and at least what has changed.
    age = np.maximum(means.age, elapsed) + elapsed
    rate = np.minimum(np.maximum(elapsed / np.minimum(age, np.float32(pace.time_constant)), changed), np.float32(1.0))
    means.age = elapsed / rate
    quiet = np.clip(1.0 - STILL_CHANGE * changed, 0.0, 1.0)
    share = float(quiet.mean())
    if carried is not None:
        quiet *= 1.0 - carried
    if pace.returning:
        means.disturbed = np.ones_like(quiet)
    else:
        means.disturbed = np.maximum(means.disturbed - np.float32(pace.elapsed / CALM), quiet <= 0.0)
    return Changes(changed, rate, quiet, share, (means.disturbed > 0.0).astype(np.uint8))


def keeps(means: Means, quiet: Array, beside: Array, pace: Pace) -> Array:
    """Tell where light is kept, (h, w) bool: long still, and not `beside` what has changed."""
    return (means.age >= np.float32(KEPT_AFTER * pace.time_constant)) & (beside == 0) & (quiet > 0.5)


def take(
    means: Means, log_light: Array, luma: Array, blurred: Array, found: Changes, beside: Array, offset: Array | None,
    moved: Array | None, dissolving: float, pace: Pace,
) -> None:  # fmt: skip
    """Take from the network's answer what is new, keep the light of what stands still, and average luma.

    Args:
        means: of the shot; its maps are replaced, not changed, for callers hold the last ones.
        log_light, luma, blurred: the frame's, (h, w).
        found: what `changes` gave for it.
        beside: (h, w) uint8, not 0 near what has changed.
        offset: by how much the network has drifted, where its answer is new; None for not at all.
        moved: 1 where the picture moves: its luma is not averaged, so that no detail is smeared.
        dissolving: in [0, 1], how far the whole becomes another picture.
        pace: as for `changes`.
    """
    if compiled.maps is None:
        take_reference(means, log_light, luma, blurred, found, beside, offset, moved, dissolving, pace)
        return
    made = [np.empty_like(luma) for _ in range(5)]
    compiled.maps.take(
        (log_light, luma, blurred, means.light, means.luma, means.blurred, means.kept, found.changed, found.rate,
         found.quiet, means.age, offset, moved, *made, beside),
        KEPT_AFTER * pace.time_constant, min(1.0, pace.elapsed / SOON), pace.elapsed / RETURN, dissolving,
        LARGEST_STEP, UNBOUNDED, FINE * pace.still, 1 / (FINE * (pace.new - pace.still)),
    )  # fmt: skip
    means.light, means.kept, means.taken, means.luma, means.blurred = made


def take_reference(
    means: Means, log_light: Array, luma: Array, blurred: Array, found: Changes, beside: Array, offset: Array | None,
    moved: Array | None, dissolving: float, pace: Pace,
) -> None:  # fmt: skip
    """Compute `take` in numpy."""
    changed, rate, quiet = found[:3]
    whole, near, calm = np.float32(dissolving), beside > 0, quiet > 0.5
    kept = keeps(means, quiet, beside, pace)
    drifted = log_light if offset is None else np.where(kept, log_light, log_light + offset)
    wanted = np.minimum(drifted, np.float32(0.0))
    taken = np.where(near & calm, np.maximum(rate, np.float32(min(1.0, pace.elapsed / SOON))), rate)
    taken = np.where(kept, np.maximum(changed, np.float32(pace.elapsed / RETURN)), taken)
    taken = np.maximum(taken, whole)
    most = LARGEST_STEP + UNBOUNDED * np.maximum(1.0 - quiet, whole)
    means.light = means.light + np.clip(taken * (wanted - means.light), -most, most)
    means.kept = means.kept + taken * (luma - means.kept)
    means.taken = np.where(calm & (kept | near), taken, np.float32(1.0))
    rate = rate if moved is None else np.maximum(rate, moved)
    means.blurred = means.blurred + rate * (blurred - means.blurred)
    fine = luma - means.luma
    thin = np.clip(from_to(np.abs(fine), FINE * pace.still, FINE * pace.new), 0.0, 1.0)  # lost in what is blurred
    means.luma = means.luma + np.maximum(rate, thin) * fine


def flickering(means: Means, luma: Array) -> Array:
    """Compute the (h, w) luma of a frame of which only what oscillates about its mean differs from that, as noise does.

    Where it stays on one side something moves slowly, and its difference from the mean is detail.
    """
    drift, deviation = (cv2.blur(x, (PATCH, PATCH)) for x in (np.abs(means.luma_drift), means.deviation))
    if compiled.maps is None:
        share = from_to(drift / (deviation + np.float32(1e-6)), ONE_SIDED, TO_AND_FRO)
        return np.asarray(means.luma + np.clip(share, 0.0, 1.0) * (luma - means.luma))
    own = np.empty_like(luma)
    compiled.maps.flicker((luma, means.luma, drift, deviation, own), ONE_SIDED, 1 / (TO_AND_FRO - ONE_SIDED))
    return own


def from_to(x: Array, low: float, high: float) -> Array:
    """Map `low` to 0 and `high` to 1 linearly, unbounded."""
    return np.asarray((x - np.float32(low)) * np.float32(1 / (high - low)))
