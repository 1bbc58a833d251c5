"""Package attributes that are imported from their modules on first use (PEP 562)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any


def resolve(package: str, places: Mapping[str, str], name: str) -> Any:
    """Import and return what `name` stands for in `package`.

    `places` maps each name to its module, which may be relative to the package. Raises AttributeError for others.
    """
    if name in places:
        return getattr(import_module(places[name], package), name)
    raise AttributeError(f"module {package!r} has no attribute {name!r}")
