"""From an ONNX file to a TensorRT engine; one path for TensorRT 10 and 11.

The network is strongly typed: the ONNX file states the precision of each tensor (R5.7). TensorRT 11 supports nothing
else and has no `BuilderFlag.FP16`. After the build the engine inspector must show half precision if the file has it.

Checked against the bindings of TensorRT 10.16 and 11.4 (`tests/test_tensorrt.py`); never run on a card so far.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from cliplit.errors import BackendError, ModelError
from cliplit.files import atomic_write

from .engine_file import Shapes, cache_folder
from .home import cache

WORKSPACE = 4 << 30  # bytes that layers may use while they run; TensorRT's own default is the whole card
Progress = Callable[[str, int, int], object]  # phase, steps done, steps


def build_engine(
    trt: ModuleType,
    model: Path,
    shapes: Shapes,
    precision: str,
    workspace: int = WORKSPACE,
    progress: Progress = lambda phase, done, steps: None,
) -> bytes:
    """Build the serialised engine.

    Args:
        precision: of the ONNX file; for "fp16" the engine is checked for layers in half precision.

    Raises:
        ModelError: TensorRT does not take the file.
        BackendError: the build fails, or the engine came out in another precision.
    """
    logger = logger_of(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model.read_bytes(), str(model)):
        errors = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise ModelError(f"{model}: TensorRT {trt.__version__} does not take it: {errors}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # or the inspector names layers without types
    config.progress_monitor = progress_monitor(trt, progress)
    profile = builder.create_optimization_profile()
    channels = 3
    sizes = [(n, channels, h, w) for n, h, w in (shapes.least, shapes.best, shapes.most)]
    profile.set_shape(network.get_input(0).name, *sizes)
    if config.add_optimization_profile(profile) < 0:
        raise BackendError(f"TensorRT refuses the shapes {shapes}: {logger.last}")
    timings = timing_cache_path(trt)
    cache(timings.parent.name)  # nobody else's
    stored = config.create_timing_cache(timings.read_bytes() if timings.is_file() else b"")
    if not config.set_timing_cache(stored, False):  # of another card
        config.set_timing_cache(config.create_timing_cache(b""), False)

    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise BackendError(f"TensorRT {trt.__version__} could not build {model.name} for {shapes}: {logger.last}")
    data = bytes(memoryview(engine))
    with atomic_write(timings) as temporary:
        temporary.write_bytes(memoryview(config.get_timing_cache().serialize()))
    if precision == "fp16":
        check_half(inspect(trt, data, logger), model)
    return data


def inspect(trt: ModuleType, engine: bytes, logger: Any) -> str:
    """Return the engine's description of its layers, JSON."""
    loaded = trt.Runtime(logger).deserialize_cuda_engine(engine)
    if loaded is None:
        raise BackendError(f"TensorRT {trt.__version__} cannot load the engine it has just built: {logger.last}")
    text: str = loaded.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return text


def check_half(information: str, model: Path) -> None:
    """Check that layers of the engine exchange half-precision tensors. Raises BackendError if none does."""
    half, layers = half_layers(information)
    if half == 0:
        raise BackendError(
            f"{model.name}: the engine came out without a layer in half precision ({layers} layers looked at); "
            "export the model again with: cliplit-export CHECKPOINT --fp16"
        )


def half_layers(information: str) -> tuple[int, int]:
    """Count (layers with an input or output in half precision, layers) in an inspector's JSON.

    The type is given in "Format/Datatype", as "Half" in older and inside a sentence ("Row major linear FP16 format")
    in newer versions. Layers that are mere names (another verbosity) count as without.
    """
    layers = json.loads(information).get("Layers", [])
    half = 0
    for layer in layers:
        tensors = [*layer.get("Inputs", []), *layer.get("Outputs", [])] if isinstance(layer, dict) else []
        texts = [str(value) for tensor in tensors for key, value in tensor.items() if "datatype" in key.lower()]
        half += any(re.search(r"\b(half|fp16|float16)\b", text, re.IGNORECASE) for text in texts)
    return half, len(layers)


def timing_cache_path(trt: ModuleType) -> Path:
    """Return the file of measured layer times; TensorRT itself checks that they are from this card."""
    return cache_folder() / f"timing-{trt.__version__}.cache"


def logger_of(trt: ModuleType) -> Any:
    """Create a logger that keeps the last warning or error instead of printing it."""

    class Keep(trt.ILogger):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last = "no reason given"

        def log(self, severity: Any, message: str) -> None:
            first_warning = severity == trt.ILogger.WARNING and self.last == "no reason given"
            if severity <= trt.ILogger.ERROR or first_warning:
                self.last = " ".join(message.split())

    return Keep()


def progress_monitor(trt: ModuleType, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            progress(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress(phase_name, step + 1, self._steps.get(phase_name, step + 1))
            return True

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()
