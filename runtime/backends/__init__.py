"""Back ends that run a network: one table, one contract.

A back end is a row. `open_backend` opens one by name, or for "auto" the first that works, and checks that it runs on
the requested device. Each row's module is imported when chosen, so a missing library affects no other row.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cliplit.errors import BackendError, InputError

from .devices import Device, DeviceKind, nvidia_driver
from .model_file import CHECKPOINT_SUFFIXES, ModelInfo, find_model

if TYPE_CHECKING:
    from cliplit.arrays import Array

log = logging.getLogger("cliplit")  # without a handler of the caller's, warnings go to standard error as they are


class Backend(Protocol):
    """One opened network. Calls may come from several threads at once.

    Attributes:
        device: what it really runs on: "cpu" or "cuda:N".
        detail: the library with its version and whatever was chosen inside it, for `cliplit-doctor`.
        precision: of the arithmetic between input and output, "fp32" or a smaller one.
        info: how the network wants to be fed.
    """

    @property
    def device(self) -> str: ...

    @property
    def detail(self) -> str: ...

    @property
    def precision(self) -> str: ...

    @property
    def info(self) -> ModelInfo: ...

    def __call__(self, pictures: Array) -> Array:
        """Map (N, 3, h, w) contiguous float32 RGB in [0, 1] to (N, 1, h, w) float32; sides fit `info.multiple`.

        The result is the caller's own array. Raises BackendError where the device gives up.
        """
        ...


@dataclass(frozen=True)
class Row:
    """One back end.

    Attributes:
        module: below `cliplit.runtime.backends`; has `open_model(path, device, threads, **arguments) -> Backend`,
            which raises BackendError, with the cause and the command that helps, where it cannot.
        devices: kinds it runs on.
        suffixes: of the files it reads.
        reduced: whether it computes in less than fp32 on a plain fp32 model.
    """

    name: str
    module: str
    devices: tuple[DeviceKind, ...]
    about: str
    suffixes: tuple[str, ...] = (".onnx",)
    arguments: dict[str, Any] = field(default_factory=dict)
    reduced: bool = False

    def open(self, path: Path, device: Device, threads: int) -> Backend:
        module = importlib.import_module(f"cliplit.runtime.backends.{self.module}")
        opened: Backend = module.open_model(path, device, threads, **self.arguments)
        if device.kind != opened.device.split(":")[0]:  # R5.1: never another device than requested
            raise BackendError(f"back end {self.name} runs on {opened.device}; {device} was asked for")
        return opened


BACKENDS = (
    Row("onnxruntime", "onnx_runtime", ("cuda", "cpu"), "ONNX Runtime, its CUDA or CPU provider"),
    Row("openvino", "open_vino", ("cpu",), "OpenVINO in fp32; the quickest at full size on Intel CPUs"),
    Row(
        "openvino-bf16",
        "open_vino",
        ("cpu",),
        "OpenVINO in bfloat16, for CPUs with AMX or AVX-512 BF16",
        arguments={"precision": "bf16"},
        reduced=True,
    ),
    Row(
        "onnxruntime-tensorrt",
        "onnx_runtime",
        ("cuda",),
        "ONNX Runtime's TensorRT provider",
        arguments={"tensorrt": True},
    ),
    Row(
        "onnxruntime-tensorrt-rtx",
        "onnx_runtime_plugin",
        ("cuda",),
        "ONNX Runtime with NVIDIA's plug-in for RTX cards; kernels are compiled once and kept",
    ),
    Row(
        "tensorrt-rtx",
        "tensorrt_native",
        ("cuda",),
        "TensorRT for RTX; takes the engine beside the model, or builds one in a second",
        arguments={"library": "tensorrt_rtx"},
    ),
    Row("tensorrt", "tensorrt_native", ("cuda",), "TensorRT itself; builds an engine once and keeps it"),
    Row("pytorch", "pytorch", ("cuda", "cpu"), "PyTorch, for research", suffixes=(".onnx", *CHECKPOINT_SUFFIXES)),
)
NAMES = ("auto", *(row.name for row in BACKENDS))


def find_row(name: str) -> Row:
    """Find a back end by name. Raises InputError for an unknown one."""
    for row in BACKENDS:
        if row.name == name:
            return row
    raise InputError(f"back end {name!r} is not one of {', '.join(NAMES)}")


def open_backend(
    model: str | Path, backend: str = "auto", device: str = "auto", threads: int = 0, full_size: bool = False
) -> Backend:
    """Open the network of `model` with the back end `backend` on `device`.

    "auto" may fall back, to another back end or to the CPU, and says so where a card is there; a name never does.
    On the CPU it takes OpenVINO, if installed, for `full_size` pictures, where that is quickest; for proxies ONNX
    Runtime, which need not be prepared for each of their sizes.

    Raises:
        InputError: an unknown name, device or model.
        ModelError: a file that the back end does not read.
        BackendError: not usable here; the message has the cause and the command that helps.
    """
    wanted = Device.parse(device)
    if backend != "auto":
        row = find_row(backend)
        path = find_model(model, checkpoints=CHECKPOINT_SUFFIXES[0] in row.suffixes)
        if wanted.kind == "auto":
            return _first([(row, kind) for kind in _usable(row.devices)], path, threads)
        if wanted.kind not in row.devices:
            raise BackendError(f"back end {row.name} runs on {' or '.join(row.devices)}, not on {wanted}")
        return row.open(path, wanted, threads)
    path = find_model(model)
    onnxruntime, openvino = find_row("onnxruntime"), find_row("openvino")
    if wanted.kind == "cuda":
        return onnxruntime.open(path, wanted, threads)
    tries = [(onnxruntime, Device("cpu")), (openvino, Device("cpu"))]
    if full_size and importlib.util.find_spec("openvino") is not None:
        tries.reverse()
    if wanted.kind == "auto" and not nvidia_driver().problem:
        tries.insert(0, (onnxruntime, Device("cuda")))
    return _first(tries, path, threads)


def _usable(kinds: tuple[DeviceKind, ...]) -> Iterator[Device]:
    """Return devices to try for "auto": a card if there is one, or if the back end runs on nothing else."""
    return (Device(kind) for kind in kinds if kind == "cpu" or "cpu" not in kinds or not nvidia_driver().problem)


def _first(tries: list[tuple[Row, Device]], path: Path, threads: int) -> Backend:
    """Open the first that works; raise the first one's BackendError if none does."""
    failures: list[BackendError] = []
    for row, device in tries:
        try:
            opened = row.open(path, device, threads)
        except BackendError as error:
            failures.append(error)
            continue
        for failure in failures:
            log.warning("note: running on %s by %s instead: %s", opened.device, row.name, failure)
        return opened
    raise failures[0]
