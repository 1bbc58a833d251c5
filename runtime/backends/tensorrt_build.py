"""From an ONNX file to an engine; one path for TensorRT 10 and 11 and for TensorRT for RTX.

The network is strongly typed: the ONNX file states the precision of each tensor (R5.7). TensorRT 11 and TensorRT for
RTX support nothing else and have no `BuilderFlag.FP16`. Half precision is proven by the network's own layers before the
build; where there is a card, by the engine inspector as well.

TensorRT for RTX builds in the tests. TensorRT 10.16 and 11.4 were checked against their bindings and never built.
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

from .devices import nvidia_driver
from .engine_file import Shapes, cache_folder
from .home import cache
from .tensorrt_library import TENSORRT, Library, logger_of

WORKSPACE = 4 << 30  # bytes that layers may use while they run; TensorRT's own default is the whole card
Progress = Callable[[str, int, int], object]  # phase, steps done, steps


def build_engine(
    trt: ModuleType,
    model: Path,
    shapes: Shapes,
    precision: str,
    workspace: int = WORKSPACE,
    progress: Progress = lambda phase, done, steps: None,
    library: Library = TENSORRT,
    target: str = "",
) -> bytes:
    """Build the serialised engine.

    Args:
        precision: of the ONNX file; for "fp16" its layers, and the engine's, are checked.
        target: one of the library's; the least compute capability that it is for.

    Raises:
        ModelError: TensorRT does not take the file, or it is not of the precision it says.
        BackendError: the build fails, or the engine came out in another precision.
    """
    logger = logger_of(trt)
    logger.clear()
    version = f"{library.name} {trt.__version__}"
    builder = trt.Builder(logger)
    network, parser = parsed(trt, builder, model, version)  # the parser holds the weights
    if precision == "fp16":
        check_network(trt, network, model)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # or the inspector names layers without types
    config.progress_monitor = progress_monitor(trt, progress)
    if capability := dict(library.targets).get(target):
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    profile = builder.create_optimization_profile()
    source = network.get_input(0)
    images = tuple(source.shape)[-1] == 3  # a whole-image file
    sizes = [(n, h, w, 3) if images else (n, 3, h, w) for n, h, w in (shapes.least, shapes.best, shapes.most)]
    profile.set_shape(source.name, *sizes)
    if config.add_optimization_profile(profile) < 0:
        raise BackendError(f"{version} refuses the shapes {shapes}: {logger.cause}")
    timings = timing_cache_path(trt)
    if library.timing_cache:
        cache(timings.parent.name)  # nobody else's
        stored = config.create_timing_cache(timings.read_bytes() if timings.is_file() else b"")
        if not config.set_timing_cache(stored, False):  # of another card
            config.set_timing_cache(config.create_timing_cache(b""), False)

    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise BackendError(f"{version} could not build {model.name} for {shapes}: {logger.cause}")
    data = bytes(memoryview(engine))
    del parser
    if library.timing_cache:
        with atomic_write(timings) as temporary:
            temporary.write_bytes(memoryview(config.get_timing_cache().serialize()))
    if precision == "fp16" and not (library.portable and nvidia_driver().problem):
        check_half(inspect(trt, data, logger), model)
    return data


def parsed(trt: ModuleType, builder: Any, model: Path, version: str) -> tuple[Any, Any]:
    """Return (the builder's network of an ONNX file, its parser). Raises ModelError, with the cause, if not taken."""
    logger = logger_of(trt)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model.read_bytes(), str(model)):
        cause = logger.cause
        if parser.num_errors:
            error = parser.get_error(0)
            cause = f"{error.node_operator() or 'the file'}: {first_cause(error.desc())}"
        raise ModelError(f"{model}: {version} does not take it: {cause}")
    if network.num_layers == 0:  # what is not ONNX at all is taken as empty
        raise ModelError(f"{model}: {version} finds no network in it")
    return network, parser


def first_cause(text: str) -> str:
    """Return a parser's message without its echoes: its first two lines, the node and what is wrong with it."""
    return ": ".join(line.strip() for line in text.strip().splitlines()[:2])


def check_network(trt: ModuleType, network: Any, model: Path) -> None:
    """Check that all convolutions but the head are in half precision. Raises ModelError if not."""
    half, full = convolutions(trt, network)
    if full > 1 or half == 0:
        raise ModelError(
            f"{model}: says fp16, and {full} of its {half + full} convolutions are in fp32, where only the head should "
            "be; export the model again with: cliplit-export CHECKPOINT --fp16"
        )


def convolutions(trt: ModuleType, network: Any) -> tuple[int, int]:
    """Count a network's convolutions in (half precision, fp32)."""
    layers = (network.get_layer(index) for index in range(network.num_layers))
    kinds = [layer.get_output(0).dtype for layer in layers if layer.type == trt.LayerType.CONVOLUTION]
    half = kinds.count(trt.DataType.HALF)
    return half, len(kinds) - half


def inspect(trt: ModuleType, engine: bytes, logger: Any) -> str:
    """Return the engine's description of its layers, JSON."""
    loaded = trt.Runtime(logger).deserialize_cuda_engine(engine)
    if loaded is None:
        raise BackendError(f"TensorRT {trt.__version__} cannot load the engine it has just built: {logger.cause}")
    text: str = loaded.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return text


def check_half(information: str, model: Path) -> None:
    """Check that layers of the engine exchange half-precision tensors. Raises BackendError if none does.

    An inspector that names no types, as TensorRT for RTX may, says nothing; the network's layers were checked before.
    """
    half, layers = half_layers(information)
    if half == 0 and "datatype" in information.lower():
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
