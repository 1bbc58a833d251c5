"""ONNX Runtime with NVIDIA's plug-in of TensorRT for RTX, beside the plain package `onnxruntime`.

The plug-in is a library that ONNX Runtime is told of by its path; its cards are then among the execution devices. Asked
for by the provider's name, ONNX Runtime warns and runs on the processor. Here the cards are given to it, what they
cannot run is an error (`session.disable_cpu_ep_fallback`), and the session's provider is looked at.

Never run on a card so far: the one that was at hand, an H200, it does not support and does not list. Registering and
what is said without a card are tested with the real plug-in.
"""

from __future__ import annotations

import ctypes
import importlib
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from cliplit.errors import BackendError, first_line

from .devices import Device, cuda_problem
from .home import home
from .model_file import network_info
from .onnx_runtime import Session, import_onnxruntime

MODULE = "onnxruntime_ep_nv_tensorrt_rtx"
PACKAGE = "onnxruntime-ep-nv-tensorrt-rtx-cu12"


def open_model(path: Path, device: Device, threads: int) -> Session:
    """Open a model. Raises BackendError if ONNX Runtime, the plug-in or the card is missing, or gives the work away."""
    runtime = import_onnxruntime()
    info = network_info(path)
    plugin = import_plugin(runtime)
    if problem := cuda_problem(device):  # first: without a driver the plug-in does not load
        raise BackendError(f"{device} cannot be used: {problem}")
    register(runtime, plugin)
    name = plugin.get_ep_name()
    cards = [found for found in runtime.get_ep_devices() if found.ep_name == name]
    if device.index >= len(cards):
        raise BackendError(f"{device} cannot be used: the plug-in {name} sees {len(cards)} cards it supports")
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # failures come back as exceptions
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    if threads:
        options.intra_op_num_threads = threads
    folder = home() / "onnxruntime-tensorrt-rtx"
    folder.mkdir(parents=True, exist_ok=True)
    options.add_provider_for_devices([cards[device.index]], {"nv_runtime_cache_path": str(folder)})
    try:
        session = runtime.InferenceSession(str(path), options)
    except Exception as error:  # a type of ONNX Runtime's own for every cause
        raise BackendError(f"{device} cannot be used: {first_line(error)}") from error
    if (used := session.get_providers()[0]) != name:
        raise BackendError(f"{device} cannot be used: ONNX Runtime fell back to {used}")
    opened = Session(session, info, device, f"onnxruntime {runtime.__version__}, {name} {plugin.__version__}")
    opened.binds = False  # the plain package has no memory of a card to bind
    return opened


def import_plugin(runtime: ModuleType) -> Any:
    """Import the plug-in's module. Raises BackendError, with the command that helps, if that cannot be."""
    try:
        plugin = importlib.import_module(MODULE)
    except (ImportError, OSError) as error:
        remedy = f"install it with: pip install {PACKAGE}"
        raise BackendError(f"the plug-in for RTX cards cannot be used ({first_line(error)}); {remedy}") from error
    if not hasattr(runtime, "register_execution_provider_library"):
        remedy = "1.24 is needed; pip install -U onnxruntime"
        raise BackendError(f"onnxruntime {runtime.__version__} takes no plug-ins, {remedy}")
    return plugin


@cache
def register(runtime: ModuleType, plugin: Any) -> None:
    """Register the plug-in's library, once a process. Raises BackendError if it does not load."""
    # It comes with CUDA's runtime under its full name only (version 0.5), where the loader looks for the short one.
    for library in sorted(Path(str(plugin.__file__)).parent.glob("libcudart.so.*")):
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    try:
        runtime.register_execution_provider_library(plugin.get_ep_name(), plugin.get_library_path())
    except Exception as error:  # a type of ONNX Runtime's own
        raise BackendError(f"the plug-in for RTX cards does not load ({first_line(error)})") from error
