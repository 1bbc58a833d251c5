"""The networks that predict a light map, and their checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..lazy import resolve

if TYPE_CHECKING:
    from .checkpoint import load_network, read, save

__all__ = ["load_network", "read", "save"]

_PLACES = {
    "load_network": ".checkpoint",
    "read": ".checkpoint",
    "save": ".checkpoint",
}


def __getattr__(name: str) -> Any:
    return resolve(__name__, _PLACES, name)
