"""Export of a checkpoint to files that run elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cliplit.lazy import resolve

if TYPE_CHECKING:
    from .onnx_file import export_onnx
    from .triton import write_repository
    from .whole_image import export_whole_image

__all__ = ["export_onnx", "export_whole_image", "write_repository"]

_PLACES = {
    "export_onnx": ".onnx_file",
    "export_whole_image": ".whole_image",
    "write_repository": ".triton",
}


def __getattr__(name: str) -> Any:
    return resolve(__name__, _PLACES, name)
