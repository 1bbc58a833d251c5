"""Changes of exposure in a clip: fades, a camera that hunts, a lamp that is dimmed.

There the whole picture changes by one factor, and the light that falls into the scene does not: what was lifted stays
lifted by as much, or a fade would be undone by the network, which sees ever darker pictures. So the light is filtered
for pictures brought back to one exposure, that of the shot so far. What stays dark after a change is lifted in the end,
slowly.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from cliplit.arrays import Array

from .quantile import quantile

CELLS = 32, 18  # of which each gives the factor its own way
SEEN = 0.02  # of white: darker cells tell nothing
FEW = 0.1  # of the cells: if fewer are seen the picture is black
ALIKE, ALIKE_SHARE = 0.006, 0.3  # stops, and share of the change, by which cells may differ in a change of exposure
CHANGING = 0.003  # stops a frame; a smaller change is none
CALM = 0.3  # seconds without a change, after which exposure counts as settled
RETURN = 0.2  # stops a second, by which a settled exposure becomes the shot's
SAME, LEAST = 0.0005, 0.002  # of white: a change that is none, and a level that is
MOST = 6.0  # stops
ORDINARY = 0.4  # mean luma of what a fade from black is taken to end in


class Exposure:
    """How many stops (of gamma-coded values) pictures are brighter than the exposure that their light is made for."""

    def __init__(self) -> None:
        self.stops = 0.0
        self.changing = False
        self._calm = CALM
        self._change = 0.0
        self.from_black = False
        self._cells: Array | None = None

    @property
    def unsettled(self) -> bool:
        """Whether it changes, or has just changed."""
        return self._calm < CALM

    @property
    def returning(self) -> bool:
        """Whether what has settled is becoming the shot's exposure."""
        return self.stops != 0.0 and not self.unsettled

    def __call__(self, luma: Array, elapsed: float, cut: bool) -> float:
        """Return the stops for the picture with this luma, (h, w) in [0, 1], `elapsed` seconds after the one before."""
        cells = cv2.resize(luma, CELLS, interpolation=cv2.INTER_AREA)
        before, self._cells = self._cells, cells
        seen = cells > SEEN
        black = seen.mean() < FEW
        if black or (self.from_black and (before is None or (before > SEEN).mean() < FEW)):
            self._wait(cells, before, elapsed, black)
        elif cut:
            self.stops, self._calm, self.from_black, self.changing = 0.0, CALM, False, False
        elif before is not None:
            self._follow(cells, before, seen & (before > SEEN), elapsed)
        elif self.changing:  # another area of the picture: it goes on as it did
            self._add(self._change)
        return self.stops

    def _wait(self, cells: Array, before: Array | None, elapsed: float, black: bool) -> None:
        """Take black, and what appears out of it, for the fade-in of an ordinary picture; unless it stays so."""
        same = black and before is not None and float(np.abs(cells - before).mean()) < SAME
        self._calm = self._calm + elapsed if same else 0.0
        if self._calm < CALM:
            ordinary = np.log2(max(float(cells.mean()), LEAST) / ORDINARY)
            self.stops = float(np.clip(ordinary, -MOST, 0.0))
        elif cells.mean() > LEAST:
            self._return(elapsed)
        self.from_black, self.changing = True, False

    def _add(self, change: float) -> None:
        self.stops = float(np.clip(self.stops + change, -MOST, MOST))

    def _return(self, elapsed: float) -> None:
        self.stops -= float(np.copysign(min(abs(self.stops), RETURN * elapsed), self.stops))

    def _follow(self, cells: Array, before: Array, seen: Array, elapsed: float) -> None:
        ratios = np.log2(cells[seen] / before[seen]) if seen.any() else np.zeros(1, np.float32)
        change = quantile(ratios, 0.5)
        spread = quantile(np.abs(ratios - np.float32(change)), 0.5)
        self.changing = abs(change) > CHANGING and spread < max(ALIKE, ALIKE_SHARE * abs(change))
        if self.changing:
            self._calm = 0.0
            self._change = change
            self._add(change)
            return
        self._calm += elapsed
        if self._calm >= CALM:
            self.from_black = False
            self._return(elapsed)

    def reframe(self) -> None:
        """Go on with another area of the pictures: the next one cannot be compared with the one before."""
        self._cells = None

    def state(self) -> dict[str, Any]:
        """Return the state to save, for a run that is resumed."""
        numbers = {"stops": self.stops, "calm": self._calm, "from black": self.from_black}
        numbers |= {"changing": self.changing, "change": self._change}
        return numbers if self._cells is None else {**numbers, "cells": self._cells}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        self.stops, self._calm = float(state["stops"]), float(state["calm"])
        self.from_black, self.changing = bool(state["from black"]), bool(state["changing"])
        self._change, self._cells = float(state["change"]), state.get("cells")
