"""What a still point looked like, and its light, before something passed in front of it.

The network lights the ground beside a figure otherwise than without it, so a point that has just been uncovered would
get one light now and another when the figure has gone. Where the ground looks as it did before, its light is that of
before, at once. What was still before the figure came keeps its light beside it, too.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np

from cliplit.arrays import Array

from . import compiled
from .means import FINE, KEPT_AFTER, Changes, Means, Pace, keeps

UNKNOWN = np.float32(9.0)  # luma that no point has
WHOLE = np.ones((3, 3), np.uint8)  # proxy pixels that must all look as before: waving leaves do here and there
NEAR = np.ones((9, 9), np.uint8)  # around the middle of such a window a point's own luma decides
RESTLESS = np.float32(0.15)  # seconds: what is back for no longer waves to and fro, and is not known any more
HELD = np.float32(5.0)  # seconds that something else must stand still to become what is known of a point
LOST_AFTER = 0.2  # seconds over which the picture becomes another one, after which nothing is known
KNOWN = "luma", "blurred", "light", "kept", "slope", "offset"


@dataclass
class Background:
    """Maps (h, w) float32, by the names in `Means`, of what was there when a point last stood still.

    Attributes:
        settled: seconds since the light of a point is kept, 0 where it is not.
        blurred: UNKNOWN where no point is known.
    """

    settled: Array
    luma: Array
    blurred: Array
    light: Array
    kept: Array
    slope: Array
    offset: Array

    @classmethod
    def begin(cls, shape: tuple[int, ...]) -> Background:
        """Begin with maps of this shape, of which nothing is known."""
        maps = {field.name: np.zeros(shape, np.float32) for field in fields(cls)}
        return cls(**{**maps, "blurred": np.full(shape, UNKNOWN)})

    def forget(self) -> None:
        """Forget all: the camera moves, or the picture becomes another one."""
        self.settled.fill(0.0)
        self.blurred.fill(UNKNOWN)

    @property
    def _known(self) -> tuple[Array, ...]:
        return tuple(getattr(self, name) for name in KNOWN)

    def remember(self, means: Means, luma: Array, blurred: Array, pace: Pace) -> Array | None:
        """Note the settled points that change now, to (h, w) `luma` and its blur.

        Returns:
            (h, w) uint8, 1 where the frame looks as what is known, or stands still; None if the former is nowhere.
        """
        if compiled.maps is None:
            return self.remember_reference(means, luma, blurred, pace)
        alike = np.empty(blurred.shape, np.uint8)
        any_alike = compiled.maps.remember(
            (luma, blurred, *_state(means), *self._known, self.settled, alike), pace.still, HELD, RESTLESS, UNKNOWN
        )
        return alike if any_alike else None

    def remember_reference(self, means: Means, luma: Array, blurred: Array, pace: Pace) -> Array | None:
        """Compute `remember` in numpy."""
        changed = np.minimum(np.abs(blurred - means.blurred), np.abs(luma - means.kept)) > np.float32(pace.still)
        leaving = changed & (self.settled > np.where(self.blurred == UNKNOWN, np.float32(0.0), HELD))
        for known, state in zip(self._known, _state(means), strict=True):
            np.copyto(known, state, where=leaving)
        restless = changed & (self.settled > 0.0) & (self.settled <= RESTLESS) & ~leaving
        self.blurred[restless] = UNKNOWN
        self.settled[changed] = 0.0
        alike = np.abs(blurred - self.blurred) < np.float32(pace.still)
        return (alike | (self.settled > 0.0)).astype(np.uint8) if alike.any() else None

    def recall(self, means: Means, luma: Array, alike: Array, pace: Pace) -> None:
        """Give the means what is known of the points that are there again, by `remember`'s answer."""
        near = cv2.dilate(cv2.erode(alike, WHOLE), NEAR)
        if compiled.maps is None:
            self.recall_reference(means, luma, near, pace)
            return
        made = tuple(np.empty_like(luma) for _ in KNOWN)
        reset = self.settled, means.age, means.luma_drift, means.deviation
        compiled.maps.recall(
            (luma, *self._known, *_state(means), *made, *reset, near),
            FINE * pace.still, UNKNOWN, pace.time_constant, pace.elapsed,
        )  # fmt: skip
        for name, values in zip(KNOWN, made, strict=True):
            setattr(means, name, values)

    def recall_reference(self, means: Means, luma: Array, near: Array, pace: Pace) -> None:
        """Compute `recall` in numpy."""
        alike = np.abs(luma - self.luma) < np.float32(FINE * pace.still)
        back = (near > 0) & alike & (self.blurred < UNKNOWN) & (self.settled == 0.0)
        for name, known, state in zip(KNOWN, self._known, _state(means), strict=True):
            setattr(means, name, np.where(back, known, state))
        means.age[back] = pace.time_constant
        means.luma_drift[back] = means.deviation[back] = 0.0
        self.settled[back] = pace.elapsed

    def settle(self, means: Means, found: Changes, beside: Array, pace: Pace) -> None:
        """Follow where light is kept; what was settled before is not `beside` (h, w) uint8 what has changed."""
        if compiled.maps is None:
            self.settle_reference(means, found, beside, pace)
            return
        compiled.maps.settle(
            (found.quiet, means.age, self.settled, beside), KEPT_AFTER * pace.time_constant, pace.elapsed
        )

    def settle_reference(self, means: Means, found: Changes, beside: Array, pace: Pace) -> None:
        """Compute `settle` in numpy."""
        stays = (keeps(means, found.quiet, beside, pace) | (self.settled > 0.0)) & (found.quiet > 0.5)
        self.settled = np.where(stays, self.settled + np.float32(pace.elapsed), np.float32(0.0))
        beside[self.settled > 0.0] = 0


def _state(means: Means) -> tuple[Array, ...]:
    return tuple(getattr(means, name) for name in KNOWN)
