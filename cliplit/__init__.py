"""cliplit: relight backlit photos and videos.

`cliplit` itself trains (torch), `cliplit.export` turns a checkpoint into ONNX, `cliplit.runtime` runs it and
never needs torch. Importing this package loads none of them: names are resolved when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cliplit.lite_unet import LiteUNet
    from cliplit.runtime import Enhancer
    from cliplit.unet import UNet

__version__ = "0.1.0"

_LAZY = {"Enhancer": "cliplit.runtime", "LiteUNet": "cliplit.lite_unet", "UNet": "cliplit.unet"}

__all__ = ["Enhancer", "LiteUNet", "UNet", "__version__"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'cliplit' has no attribute {name!r}")
