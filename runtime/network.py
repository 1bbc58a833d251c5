"""The network behind the light map: an ONNX file, its metadata, and one ONNX Runtime session.

ONNX Runtime is imported when a session is made, so that `--help` and error messages come without it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from cliplit.arrays import Array
from cliplit.errors import BackendError, InputError, ModelError, first_line

BUNDLED = Path(__file__).parent / "models"
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class ModelInfo:
    """What an exported model says about itself; `cliplit-export` writes it, `LightMapNetwork` obeys it."""

    name: str
    version: str
    colour_order: str
    value_range: str
    proxy_short_side: int
    multiple: int
    training: str
    checkpoint_sha256: str

    @classmethod
    def from_properties(cls, properties: dict[str, str], path: Path) -> ModelInfo:
        if "cliplit" not in properties:
            raise ModelError(f"{path}: an ONNX file without cliplit metadata; make one with: cliplit-export CHECKPOINT")
        info = cls(**json.loads(properties["cliplit"]))
        if (info.colour_order, info.value_range) != ("RGB", "0..1"):
            raise ModelError(f"{path}: wants {info.colour_order} in {info.value_range}; this runtime feeds RGB in 0..1")
        return info


def bundled_models() -> list[str]:
    return sorted(path.stem for path in BUNDLED.glob("*.onnx"))


def find_model(model: str | Path) -> Path:
    """A bundled model's name, or a path, to the ONNX file. Raises InputError for neither."""
    bundled = BUNDLED / f"{model}.onnx"
    if isinstance(model, str) and bundled.is_file():
        return bundled
    path = Path(model)
    if not path.is_file():
        raise InputError(f"{model}: neither a bundled model ({', '.join(bundled_models())}) nor a file")
    if path.suffix in {".pt", ".pth"}:
        raise ModelError(f"{path}: a PyTorch checkpoint; turn it into a model with: cliplit-export {path}")
    return path


class LightMapNetwork:
    """Proxy in, light map out. Holds one session; calls may come from several threads at once.

    Args:
        model: a bundled model's name or the path of an exported ONNX file.
        device: "cpu", "cuda", or "auto" (CUDA when it works, else CPU).
        threads: of the CPU session; 0 leaves ONNX Runtime's choice, one per core.
    """

    def __init__(self, model: str | Path = "lite", device: str = "auto", threads: int = 0) -> None:
        self.path = path = find_model(model)
        self._session = _open_session(path, device, threads)
        properties = self._session.get_modelmeta().custom_metadata_map
        self.info = ModelInfo.from_properties(properties, path)
        self._input = self._session.get_inputs()[0].name

    @property
    def device(self) -> str:
        """The device in use: "cuda" or "cpu"."""
        return "cuda" if self._session.get_providers()[0] == "CUDAExecutionProvider" else "cpu"

    def __call__(self, rgb: Array) -> Array:
        """(h, w, 3) float32 RGB in [0, 1], sides multiples of `info.multiple` -> light map (h, w) float32."""
        batch = np.ascontiguousarray(rgb.transpose(2, 0, 1))[None]
        light: Array = self._session.run(None, {self._input: batch})[0][0, 0]
        return light


def _open_session(path: Path, device: str, threads: int) -> Any:
    if device not in DEVICES:
        raise InputError(f"device {device!r} is not one of {', '.join(DEVICES)}")
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    if threads:
        options.intra_op_num_threads = threads
    # Spinning threads would show as CPU time of the video pipeline, whose decoder and encoder want the cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = ["CPUExecutionProvider"]
    if device != "cpu" and "CUDAExecutionProvider" in runtime.get_available_providers():
        providers.insert(0, "CUDAExecutionProvider")
    try:
        session = runtime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime raises a type of its own for every cause
        raise ModelError(f"{path}: not an ONNX model that ONNX Runtime can run ({first_line(error)})") from error
    if device == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        raise BackendError(
            "device cuda was asked for, and ONNX Runtime has no working CUDA provider here; install it with: "
            'pip uninstall -y onnxruntime && pip install "cliplit[gpu]", or use --device cpu'
        )
    return session


def import_onnxruntime() -> ModuleType:
    """The module; raises BackendError with the exact command where it is missing or broken."""
    try:
        import onnxruntime

        onnxruntime.InferenceSession  # noqa: B018 - absent where two distributions overwrote each other
    except (ImportError, AttributeError) as error:
        raise BackendError(f"ONNX Runtime cannot be used ({first_line(error)}); {_install_advice()}") from error
    return onnxruntime


def _install_advice() -> str:
    installed = [name for name in ("onnxruntime", "onnxruntime-gpu") if _is_installed(name)]
    if len(installed) == 2:
        return (
            "onnxruntime and onnxruntime-gpu overwrite each other, keep one: "
            'pip uninstall -y onnxruntime onnxruntime-gpu && pip install "cliplit[cpu]"'
        )
    return 'install it with: pip install "cliplit[cpu]" (or "cliplit[gpu]" for CUDA)'


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
