"""The loops over small maps that are compiled (`_maps.c`).

`maps` is None where the package was installed without a compiler; then numpy and OpenCV compute the same.
"""

from __future__ import annotations

from typing import Any

maps: Any
try:
    from . import _maps as maps  # type: ignore[attr-defined, no-redef]
except ImportError:
    maps = None
