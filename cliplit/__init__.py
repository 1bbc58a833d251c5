"""cliplit: relight backlit photos and videos.

`cliplit` itself trains (torch), `cliplit.export` turns a checkpoint into ONNX, `cliplit.runtime` runs it and
never needs torch. Importing this package loads none of them: names are resolved when they are first used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lazy import resolve
from .privacy import keep_private

if TYPE_CHECKING:
    from cliplit.runtime import Enhancer

    from .networks.lite_unet import LiteUNet
    from .networks.unet import UNet

__version__ = "0.1.0"

keep_private()  # before any library that counts its users is loaded

_above = Path(__file__).parent.parent
if (_above / "setup.py").is_file() and (_above / "runtime").is_dir():  # a checkout: its other folders are ours, too
    __path__.append(str(_above))

_PLACES = {"Enhancer": "cliplit.runtime", "LiteUNet": "cliplit.networks.lite_unet", "UNet": "cliplit.networks.unet"}

__all__ = ["Enhancer", "LiteUNet", "UNet", "__version__"]


def __getattr__(name: str) -> Any:
    return resolve(__name__, _PLACES, name)
