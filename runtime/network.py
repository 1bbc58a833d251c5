"""The network behind the light map: a back end, and a check of its output."""

from __future__ import annotations

import logging
import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cliplit.arrays import Array
from cliplit.errors import BackendError, ModelError

from .backends import Backend, open_backend
from .backends.model_file import ModelInfo, check_network, find_model, model_info
from .backends.pytorch import TorchNetwork

if TYPE_CHECKING:
    from .exact.card import Card

log = logging.getLogger("cliplit")


class LightMapNetwork:
    """Computes light maps from proxies with one back end; safe to call from several threads.

    Attributes:
        path: of the model's file, None for a back end that came opened.

    Args:
        model: a bundled model's name, the path of an exported ONNX file (back end "pytorch": or of a checkpoint), or
            an opened back end.
        device: "cpu", "cuda", "cuda:N", or "auto" (CUDA when it works, else CPU).
        threads: on the CPU; 0 leaves the back end's choice, one per core.
        backend: a name of `cliplit.runtime.backends.NAMES`.
        full_size: whether it will see whole pictures, for the choice of "auto".
    """

    def __init__(
        self,
        model: str | Path | Backend = "lite",
        device: str = "auto",
        threads: int = 0,
        backend: str = "auto",
        full_size: bool = False,
    ) -> None:
        self.path: Path | None = None
        if isinstance(model, (str, Path)):
            self.path = find_model(model, checkpoints=True)
            self.backend = open_backend(model, backend, device, threads, full_size)
            if (shape := self.info.shape) and shape[0] != 1:
                raise ModelError(
                    f"{self.path}: takes {shape[0]} pictures at once, and is given one; export it with "
                    f"--shape {shape[1]}x{shape[2]}"
                )
        else:
            self.backend = model
        check_network(self.info, model)
        self._threads = threads
        self._lock = threading.Lock()

    @property
    def info(self) -> ModelInfo:
        return self.backend.info

    @property
    def device(self) -> str:
        """The device in use: "cpu" or "cuda:N"."""
        return self.backend.device

    @cached_property
    def card(self) -> Card | None:
        """What relights at full size without leaving the card: with PyTorch on CUDA, else None."""
        if self.backend.device == "cpu" or not isinstance(self.backend, TorchNetwork):
            return None
        from .exact.card import Card

        return Card(self.backend)

    def __call__(self, rgb: Array) -> Array:
        """Map (h, w, 3) float32 RGB in [0, 1], sides multiples of `info.multiple`, to a light map (h, w) float32."""
        return self.light_maps(np.ascontiguousarray(rgb.transpose(2, 0, 1))[None])[0, 0]

    def light_maps(self, pictures: Array) -> Array:
        """Map (N, 3, h, w) contiguous float32 to (N, 1, h, w) float32, all of it finite.

        Raises BackendError if the network gives NaN or infinity and there is no fp32 network to fall back on.
        """
        light = self._checked(self.backend(pictures), pictures)
        if np.isfinite(light).all():
            return light
        with self._lock:  # R5.8: half precision overflowed; use fp32 from now on, and log it once
            if self.backend.precision != "fp32":
                self._fall_back()
        light = self._checked(self.backend(pictures), pictures)
        if not np.isfinite(light).all():
            raise BackendError(
                f"the network gave NaN or infinity on {self.backend.device} ({self.backend.detail}); "
                "export the checkpoint again, without --fp16, or use another --backend"
            )
        return light

    def _checked(self, light: Array, pictures: Array) -> Array:
        """Check what a network gave. Raises ModelError if it is no light map of the pictures."""
        wanted = (pictures.shape[0], 1, *pictures.shape[2:])
        if light.shape != wanted or light.dtype != np.float32:
            given = f"{light.dtype} {light.shape}"
            raise ModelError(f"{self.path or self.info.name}: gives {given} for pictures, expected float32 {wanted}")
        return light

    def _fall_back(self) -> None:
        before = self.backend
        model = None if self.path is None else full_precision_sibling(self.path, before.info)
        if model is None:
            raise BackendError(
                f"the network gave NaN or infinity in {before.precision} ({before.detail}) and no fp32 model of the "
                "same checkpoint lies beside it; export one with: cliplit-export CHECKPOINT"
            )
        kind = "onnxruntime" if before.device != "cpu" else "auto"
        self.backend = open_backend(model, kind, before.device, self._threads)
        log.warning("note: NaN or infinity in %s (%s); going on in fp32", before.precision, before.detail)


def full_precision_sibling(path: Path, info: ModelInfo) -> Path | None:
    """Find the fp32 ONNX model of the same checkpoint: `path` itself, or a file in its folder."""
    if info.precision == "fp32":  # the file is fp32, the back end was not
        return path
    for other in sorted(path.parent.glob("*.onnx")):
        try:
            found = model_info(other)
        except ModelError:  # somebody else's ONNX file
            continue
        if (found.checkpoint_sha256, found.precision, found.kind) == (info.checkpoint_sha256, "fp32", "light"):
            return other
    return None
