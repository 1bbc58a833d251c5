"""The compiled loops: `maps` over small maps, `relight` and `shadows` over full-size pictures.

Each is None where the package was installed without a compiler; then numpy and OpenCV compute the same, slower.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def _loop(name: str) -> Any:
    try:
        return import_module(f".{name}", __package__)
    except ImportError:
        return None


maps, relight, shadows = _loop("_maps"), _loop("_relight"), _loop("_shadows")
COMPILED = None not in (maps, relight, shadows)
