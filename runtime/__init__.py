"""Runs a light-map network on pictures and videos. Needs numpy, OpenCV and ONNX Runtime; never torch.

The names below are the whole public interface (docs/api.md). Each is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cliplit.errors import BackendError, CliplitError, InputError, ModelError
from cliplit.lazy import resolve

if TYPE_CHECKING:
    from .backends.model_file import BUNDLED, model_info
    from .backends.pytorch import from_onnx
    from .batch.job import Options as BatchOptions
    from .batch.local import run_local
    from .batch.plan import find_jobs, travelling_model
    from .enhancer import Enhancer
    from .image.enhance import enhance_picture
    from .light.pixels import PackedRGB, PlanarPixels
    from .light.region import Region
    from .light.relighting import LightSettings, Relighting
    from .light.temporal import TemporalFilter
    from .video.clip import enhance_video
    from .video.codecs import Encoding
    from .video.opening import Reading
    from .video.request import Steps

__all__ = [
    "BUNDLED",
    "BackendError",
    "BatchOptions",
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
    "find_jobs",
    "from_onnx",
    "model_info",
    "run_local",
    "travelling_model",
]

_PLACES = {
    "BUNDLED": ".backends.model_file",
    "Encoding": ".video.codecs",
    "Enhancer": ".enhancer",
    "LightSettings": ".light.relighting",
    "PackedRGB": ".light.pixels",
    "PlanarPixels": ".light.pixels",
    "Reading": ".video.opening",
    "Region": ".light.region",
    "Relighting": ".light.relighting",
    "Steps": ".video.request",
    "TemporalFilter": ".light.temporal",
    "enhance_picture": ".image.enhance",
    "enhance_video": ".video.clip",
    "find_jobs": ".batch.plan",
    "from_onnx": ".backends.pytorch",
    "model_info": ".backends.model_file",
    "run_local": ".batch.local",
    "travelling_model": ".batch.plan",
}


def __getattr__(name: str) -> Any:
    if name == "BatchOptions":  # `Options` says too little out of its room
        return resolve(__name__, {"Options": ".batch.job"}, "Options")
    return resolve(__name__, _PLACES, name)
