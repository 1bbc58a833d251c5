"""Runs a light-map network on pictures and videos. Needs numpy, OpenCV and ONNX Runtime; never torch.

The names below are the whole public interface (docs/api.md). Each is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cliplit.lazy import resolve

if TYPE_CHECKING:
    from .enhancer import Enhancer
    from .light.temporal import TemporalFilter
    from .video.clip import enhance_video
    from .video.codecs import Encoding

__all__ = ["Encoding", "Enhancer", "TemporalFilter", "enhance_video"]

_PLACES = {
    "Encoding": ".video.codecs",
    "Enhancer": ".enhancer",
    "TemporalFilter": ".light.temporal",
    "enhance_video": ".video.clip",
}


def __getattr__(name: str) -> Any:
    return resolve(__name__, _PLACES, name)
