"""ONNX Runtime: its CPU, CUDA and TensorRT providers.

It silently falls back to the CPU if a GPU library cannot be loaded. So this module loads the provider itself first,
which gives the missing library's name, and checks which provider the session uses.

On a card, input and output memory is kept there from call to call (I/O binding).
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import threading
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from cliplit.arrays import Array
from cliplit.errors import BackendError, ModelError, first_line
from cliplit.install import install_hint

from .devices import Device, cuda_problem, nvidia_driver
from .home import cache, home
from .model_file import ModelInfo, network_info

ENGINES = "onnxruntime-tensorrt"  # below `home`
LIBRARIES = {"CUDAExecutionProvider": "providers_cuda", "TensorrtExecutionProvider": "providers_tensorrt"}


class Bound:
    """Device memory for one shape of input and output, bound to a session: calls allocate nothing there.

    ONNX Runtime's plain `run` allocates both on each call. For one thread at a time.
    """

    def __init__(self, session: Any, shape: tuple[int, ...], device: Device) -> None:
        value = import_onnxruntime().OrtValue.ortvalue_from_shape_and_type
        self.shape = shape
        self._session, self._binding = session, session.io_binding()
        self.input = value(list(shape), np.float32, device.kind, device.index)
        self.output = value([shape[0], 1, *shape[2:]], np.float32, device.kind, device.index)
        self._binding.bind_ortvalue_input(session.get_inputs()[0].name, self.input)
        self._binding.bind_ortvalue_output(session.get_outputs()[0].name, self.output)

    def __call__(self, pictures: Array) -> Array:
        self.input.update_inplace(pictures)
        # The copies run on CUDA's default stream, the session on one of its own that does not wait for that.
        self._binding.synchronize_inputs()
        self._session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()
        return np.require(self.output.numpy(), requirements=["OWNDATA"])  # a copy from a card, a view in host memory


class Session:
    """`Backend` by ONNX Runtime. On a card, each thread keeps memory there for its last shape."""

    def __init__(self, session: Any, info: ModelInfo, device: Device, detail: str) -> None:
        self._session, self.info, self.detail = session, info, detail
        self.device = str(device)
        self.precision = info.precision
        self._device, self._input = device, session.get_inputs()[0].name
        self._own = threading.local()
        self.binds = device.kind != "cpu"  # where memory is the host's, `run` is as quick

    def __call__(self, pictures: Array) -> Array:
        try:
            if self.binds:
                return self.bound(pictures.shape)(pictures)
            light: Array = self._session.run(None, {self._input: pictures})[0]
        except Exception as error:  # a type of ONNX Runtime's own for every cause
            raise BackendError(f"ONNX Runtime on {self.device} failed: {first_line(error)}") from error
        return light

    def bound(self, shape: tuple[int, ...]) -> Bound:
        """Return the calling thread's memory for this shape."""
        bound: Bound | None = getattr(self._own, "bound", None)
        if bound is None or bound.shape != shape:
            self._own.bound = bound = None  # the old memory goes before new is asked for
            self._own.bound = bound = Bound(self._session, shape, self._device)
        return bound


def open_model(path: Path, device: Device, threads: int, tensorrt: bool = False) -> Session:
    """Open a model. Raises BackendError if ONNX Runtime or the provider is unusable, ModelError for a bad file."""
    runtime = import_onnxruntime()
    info = network_info(path)
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # failures come back as exceptions, or are told by `_why_not`
    if threads:
        options.intra_op_num_threads = threads
    # Spinning threads would show as CPU time of the video pipeline, whose decoder and encoder want the cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = _providers(device, tensorrt)
    wanted = providers[0][0]
    if wanted not in runtime.get_available_providers():
        if device.kind == "cuda" and (problem := nvidia_driver().problem):  # before it is told to install for a card
            raise BackendError(f"{device} cannot be used: {problem}; where there is a card: {for_cards()}")
        raise BackendError(f"this ONNX Runtime ({_distribution()}) has no {wanted}; install it with: {for_cards()}")
    if device.kind == "cuda":
        if problem := cuda_problem(device, _cuda_version(runtime)):
            raise BackendError(f"{device} cannot be used: {problem}")
        _preload(runtime)
        if cause := _why_not(runtime, wanted):
            raise BackendError(f"{device} cannot be used: {cause}; {_gpu_advice(runtime, tensorrt)}")
    if tensorrt:
        cache(ENGINES)
    try:
        session = runtime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # a type of ONNX Runtime's own for every cause
        if device.kind == "cuda":
            raise BackendError(f"{device} cannot be used: {first_line(error)}") from error
        raise ModelError(f"{path}: not an ONNX model that ONNX Runtime can run ({first_line(error)})") from error
    if session.get_providers()[0] != wanted:
        cause = f"ONNX Runtime fell back to {session.get_providers()[0]}"
        raise BackendError(f"{device} cannot be used: {cause}; {_gpu_advice(runtime, tensorrt)}")
    check_ends(session, path)
    return Session(session, info, device, f"{_distribution()}, {wanted}")


def check_ends(session: Any, path: Path) -> None:
    """Check that a graph takes pictures and gives maps, (N, C, H, W) of float32. Raises ModelError."""
    given, got = session.get_inputs(), session.get_outputs()
    for ends in (given, got):
        if len(ends) != 1 or ends[0].type != "tensor(float)" or len(ends[0].shape or ()) != 4:
            said = ", ".join(f"{end.name!r:.40} {end.type} {end.shape}" for end in ends[:3]) or "nothing"
            what = "takes" if ends is given else "gives"
            raise ModelError(f"{path}: {what} {said}; expected one float tensor of four dimensions")


def _providers(device: Device, tensorrt: bool) -> list[tuple[str, dict[str, Any]]]:
    """List providers in order of preference; those after the first run what the first cannot."""
    cpu: tuple[str, dict[str, Any]] = ("CPUExecutionProvider", {})
    if device.kind == "cpu":
        return [cpu]
    cuda: tuple[str, dict[str, Any]] = ("CUDAExecutionProvider", {"device_id": device.index})
    if not tensorrt:
        return [cuda, cpu]
    folder = str(home() / ENGINES)
    settings = {
        "device_id": device.index,
        "trt_engine_cache_enable": True,  # one build a size, not one a start
        "trt_timing_cache_enable": True,
        "trt_engine_cache_path": folder,
        "trt_timing_cache_path": folder,
    }
    return [("TensorrtExecutionProvider", settings), cuda, cpu]


def _preload(runtime: ModuleType) -> None:
    """Load CUDA and cuDNN from their pip packages (ONNX Runtime 1.21 and newer), whatever the library path says."""
    if hasattr(runtime, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it misses; `_why_not` says it better
            runtime.preload_dlls()


def _why_not(runtime: ModuleType, provider: str) -> str:
    """Return the missing library's name, by loading the provider as ONNX Runtime does; "" if it loads."""
    folder = Path(str(runtime.__file__)).parent / "capi"
    name = LIBRARIES.get(provider, "")
    libraries = [*folder.glob("*providers_shared.*"), *folder.glob(f"*{name}.*")]
    try:
        for library in libraries:
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        return f"{provider} does not load ({first_line(error)})"
    return ""


def _gpu_advice(runtime: ModuleType, tensorrt: bool) -> str:
    if len(installed_distributions()) == 2:
        return one_of_both("gpu")
    major = (_cuda_version(runtime) or (12, 0))[0]
    lines = f'CUDA {major} and cuDNN come with: pip install "onnxruntime-gpu[cuda,cudnn]"'
    return f"{lines}; TensorRT with: pip install tensorrt-cu{major}" if tensorrt else lines


def _cuda_version(runtime: ModuleType) -> tuple[int, int] | None:
    """Return the CUDA version the installed build was made for, if it is known."""
    text = getattr(runtime, "cuda_version", None) or ""
    numbers = [int(part) for part in str(text).split(".")[:2] if part.isdigit()]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None


def import_onnxruntime() -> ModuleType:
    """Import the module. Raises BackendError with the exact command if it is missing or broken."""
    try:
        import onnxruntime

        onnxruntime.InferenceSession  # noqa: B018 - absent where two distributions overwrote each other
        onnxruntime.set_default_logger_severity(4)  # its allocator prints what then comes as an exception
    except (ImportError, AttributeError) as error:
        raise BackendError(f"ONNX Runtime cannot be used ({first_line(error)}); {_install_advice()}") from error
    return onnxruntime


def _install_advice() -> str:
    if len(installed_distributions()) == 2:
        return one_of_both("cpu")
    return f"install it with: {install_hint('cpu')} (or the extra gpu for CUDA)"


def for_cards() -> str:
    return f"pip uninstall -y onnxruntime && {install_hint('gpu')}"


def one_of_both(extra: str) -> str:
    """Say what to do where onnxruntime and onnxruntime-gpu are installed together."""
    remedy = f"pip uninstall -y onnxruntime onnxruntime-gpu && {install_hint(extra)}"
    return f"onnxruntime and onnxruntime-gpu overwrite each other, keep one: {remedy}"


def installed_distributions() -> list[str]:
    """List the installed packages that provide the module `onnxruntime`, with their versions."""
    found = []
    for name in ("onnxruntime", "onnxruntime-gpu"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{name} {metadata.version(name)}")
    return found


def _distribution() -> str:
    return " and ".join(installed_distributions()) or "onnxruntime"
