"""Runs a light-map network on pictures and videos. Needs numpy, OpenCV and ONNX Runtime; never torch.

The names below are the whole public interface (docs/api.md). Each is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cliplit.errors import BackendError, CliplitError, InputError, ModelError
from cliplit.lazy import resolve

if TYPE_CHECKING:
    from .enhancer import Enhancer
    from .image.enhance import enhance_picture
    from .light.pixels import PackedRGB, PlanarPixels
    from .light.region import Region
    from .light.relighting import LightSettings, Relighting
    from .light.temporal import TemporalFilter
    from .video.clip import enhance_video
    from .video.codecs import Encoding
    from .video.pyav_reader import Reading
    from .video.request import Steps

__all__ = [
    "BackendError",
    "CliplitError",
    "Encoding",
    "Enhancer",
    "InputError",
    "LightSettings",
    "ModelError",
    "PackedRGB",
    "PlanarPixels",
    "Reading",
    "Region",
    "Relighting",
    "Steps",
    "TemporalFilter",
    "enhance_picture",
    "enhance_video",
]

_PLACES = {
    "Encoding": ".video.codecs",
    "Enhancer": ".enhancer",
    "LightSettings": ".light.relighting",
    "PackedRGB": ".light.pixels",
    "PlanarPixels": ".light.pixels",
    "Reading": ".video.pyav_reader",
    "Region": ".light.region",
    "Relighting": ".light.relighting",
    "Steps": ".video.request",
    "TemporalFilter": ".light.temporal",
    "enhance_picture": ".image.enhance",
    "enhance_video": ".video.clip",
}


def __getattr__(name: str) -> Any:
    return resolve(__name__, _PLACES, name)
