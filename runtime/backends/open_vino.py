"""OpenVINO on the CPU.

Networks are compiled for one size: OpenVINO then folds the pooling matrices and plans all memory, a fifth faster at
full size than with free sizes, and bfloat16 does not touch the positions they are made from (which it cannot count).
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from cliplit.arrays import Array
from cliplit.errors import BackendError, ModelError, first_line
from cliplit.install import install_hint
from cliplit.privacy import without_openvino_telemetry

from .devices import Device
from .model_file import ModelInfo, network_info

HINTS = {"fp32": "f32", "bf16": "bf16"}
SIZES = 4  # compiled networks that are kept; at full size each holds its layers' memory


class Compiled:
    """A network compiled for one size, with its idle requests."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._idle: deque[Any] = deque()

    def __call__(self, pictures: Array) -> Array:
        try:
            request = self._idle.pop()
        except IndexError:  # all are busy in other threads
            request = self._network.create_infer_request()
        try:
            light: Array = request.infer([pictures], share_inputs=True)[0]
        except Exception as error:  # OpenVINO raises RuntimeError for every cause
            raise BackendError(f"OpenVINO failed: {first_line(error)}") from error
        self._idle.append(request)
        return light


class OpenVinoNetwork:
    """`Backend` by OpenVINO."""

    def __init__(self, core: Any, path: Path, info: ModelInfo, settings: dict[str, Any], precision: str) -> None:
        self._core, self._path, self._settings = core, path, settings
        self._compiled: OrderedDict[tuple[int, ...], Compiled] = OrderedDict()
        self._lock = threading.Lock()
        self.info, self.device = info, "cpu"
        self.precision = info.precision if info.precision != "fp32" else precision

    @property
    def detail(self) -> str:
        openvino = import_openvino()
        return f"openvino {openvino.__version__.split('-')[0]}, {self.precision}"

    def __call__(self, pictures: Array) -> Array:
        return self._for(pictures.shape)(pictures)

    def _for(self, shape: tuple[int, ...]) -> Compiled:
        with self._lock:
            if shape in self._compiled:
                self._compiled.move_to_end(shape)
            else:
                while len(self._compiled) >= SIZES:
                    self._compiled.popitem(last=False)
                try:
                    model = self._core.read_model(self._path)
                    model.reshape(list(shape))
                    network = self._core.compile_model(model, "CPU", self._settings)
                except Exception as error:
                    raise ModelError(f"{self._path}: OpenVINO cannot run it ({first_line(error)})") from error
                self._compiled[shape] = Compiled(network)
            return self._compiled[shape]


def import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry. Raises BackendError with the command that installs it."""
    try:
        with without_openvino_telemetry():
            import openvino
    except ImportError as error:
        hint = install_hint("openvino")
        raise BackendError(f"OpenVINO cannot be used ({first_line(error)}); install it with: {hint}") from error
    return openvino


def open_model(
    path: Path, device: Device, threads: int, precision: Literal["fp32", "bf16"] = "fp32"
) -> OpenVinoNetwork:
    """Open a model. Raises BackendError without OpenVINO or bfloat16 instructions, ModelError for a bad file."""
    openvino = import_openvino()
    info = network_info(path)
    core = openvino.Core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise BackendError("this CPU has no bfloat16 instructions (AVX-512 BF16 or AMX); use --backend openvino")
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    try:
        model = core.read_model(path)
    except Exception as error:  # OpenVINO raises RuntimeError for every cause
        raise ModelError(f"{path}: not an ONNX model that OpenVINO can run ({first_line(error)})") from error
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(f"{path}: takes {len(model.inputs)} and gives {len(model.outputs)} tensors, expected one each")
    return OpenVinoNetwork(core, path, info, settings, precision)
