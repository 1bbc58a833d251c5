"""Benchmarks of speed and quality, always against references measured in the same run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cliplit.lazy import resolve

if TYPE_CHECKING:
    from .methods import CLASSICAL
    from .quality import halo, luma, noise_gain, picture_scores

__all__ = ["CLASSICAL", "halo", "luma", "noise_gain", "picture_scores"]

_PLACES = {
    "CLASSICAL": ".methods",
    "halo": ".quality",
    "luma": ".quality",
    "noise_gain": ".quality",
    "picture_scores": ".quality",
}


def __getattr__(name: str) -> Any:
    return resolve(__name__, _PLACES, name)
