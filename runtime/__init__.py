"""Runs a light-map network on pictures and videos. Needs numpy, OpenCV and ONNX Runtime; never torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cliplit.runtime.enhancer import Enhancer

__all__ = ["Enhancer"]


def __getattr__(name: str) -> Any:
    if name == "Enhancer":
        from cliplit.runtime.enhancer import Enhancer

        return Enhancer
    raise AttributeError(f"module 'cliplit.runtime' has no attribute {name!r}")
