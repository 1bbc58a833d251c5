"""TensorRT and TensorRT for RTX: an engine per size, built once and cached, run with pinned memory on two streams.

Never run on a card so far. Engines of TensorRT for RTX 1.7 are built by the tests; the other calls were checked
against the bindings of TensorRT 10.16 and 11.4, of TensorRT for RTX 1.7 and of cuda-python 13.
"""

from __future__ import annotations

import hashlib
import logging
import platform
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from cliplit.arrays import Array
from cliplit.errors import BackendError, ModelError
from cliplit.files import atomic_write

from . import engine_file
from .device_memory import Memory, open_memory
from .devices import Device, cuda_problem, nvidia_driver
from .engine_file import ANYTHING, EngineHeader, Machine, Shapes, Size
from .model_file import ModelInfo, model_info
from .tensorrt_build import WORKSPACE, Progress, build_engine
from .tensorrt_library import LIBRARIES, PORTABLE, TENSORRT, Library, import_library, logger_of

log = logging.getLogger("cliplit")
LANES = 2  # one copies while the other computes, when two threads call


class Lane:
    """One execution context with its stream, its pinned and its device memory, for one size."""

    def __init__(self, engine: Any, memory: Memory, size: Size, settings: Any = None) -> None:
        batch, height, width = size
        self._memory, self._stream = memory, memory.stream()
        self._context = engine.create_execution_context(*(() if settings is None else (settings,)))
        source, result = (engine.get_tensor_name(i) for i in range(2))
        self._context.set_optimization_profile_async(0, self._stream)
        memory.synchronize(self._stream)
        if not self._context.set_input_shape(source, (batch, 3, height, width)):
            raise BackendError(f"the engine refuses pictures of {width}x{height}")
        self._source, self._result = memory.pinned((batch, 3, height, width)), memory.pinned((batch, 1, height, width))
        self._addresses = memory.allocate(self._source.nbytes), memory.allocate(self._result.nbytes)
        for name, address in zip((source, result), self._addresses, strict=True):
            self._context.set_tensor_address(name, address)
        self._start()  # TensorRT sets up on the first run, which a graph must not contain
        memory.synchronize(self._stream)
        self._graph = memory.capture(self._start, self._stream) if settings is None else None

    def _start(self) -> None:
        self._memory.to_device(self._addresses[0], self._source, self._stream)
        if not self._context.execute_async_v3(self._stream):
            raise BackendError("TensorRT could not start the network")
        self._memory.to_host(self._result, self._addresses[1], self._stream)

    def __call__(self, pictures: Array) -> Array:
        self._source[...] = pictures
        if self._graph is None:
            self._start()
        else:
            self._graph.launch()
        self._memory.synchronize(self._stream)
        return self._result.copy()

    def close(self) -> None:
        if self._graph is not None:
            self._graph.close()
        for address in self._addresses:
            self._memory.free(address)
        for array in (self._source, self._result):
            self._memory.unpin(array)
        self._memory.close_stream(self._stream)


class TensorRtNetwork:
    """`Backend` by TensorRT or TensorRT for RTX."""

    def __init__(
        self,
        trt: ModuleType,
        path: Path,
        device: Device,
        memory: Memory,
        machine: Machine,
        library: Library = TENSORRT,
    ) -> None:
        self._trt, self._path, self._memory, self._machine, self._library = trt, path, memory, machine, library
        self._logger = logger_of(trt)
        self._runtime = trt.Runtime(self._logger)
        self._sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self._lock = threading.Lock()
        self._size: Size | None = None
        self._lanes: queue.Queue[Lane] = queue.Queue()
        self.info: ModelInfo = model_info(path)
        self.device, self.precision = str(device), self.info.precision
        self.detail = f"{library.name} {trt.__version__}, CUDA {machine.cuda} through {memory.name}, {machine.gpu}"

    def __call__(self, pictures: Array) -> Array:
        batch, _, height, width = pictures.shape
        with self._memory.active(), self._lane((batch, height, width)) as lane:
            return lane(pictures)

    @contextmanager
    def _lane(self, size: Size) -> Iterator[Lane]:
        with self._lock:
            if size != self._size:
                self._switch(size)
            lanes = self._lanes
            lane = lanes.get()  # under the lock: nobody may take the lanes away between the two
        try:
            yield lane
        finally:
            lanes.put(lane)

    def _switch(self, size: Size) -> None:
        """Make lanes for another size; those of the last one are freed when nobody uses them any more."""
        if self._size is not None:
            for _ in range(LANES):
                self._lanes.get().close()
            self._size = None
        data = self._engine_for(size)
        self._logger.clear()
        engine = self._runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise BackendError(f"{self._library.name} does not load the engine: {self._logger.cause}")
        settings = self._settings(engine)
        self._lanes = queue.Queue()
        for _ in range(LANES):
            self._lanes.put(Lane(engine, self._memory, size, settings))
        if settings is not None:
            self._keep_kernels(settings)
        self._size = size

    def _settings(self, engine: Any) -> Any:
        """Return the engine's runtime settings where the library has them: kernels compiled before, CUDA graphs."""
        if not self._library.own_graphs:
            return None
        settings = engine.create_runtime_config()
        settings.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        cache = settings.create_runtime_cache()
        if (path := self.kernels_path()).is_file():
            cache.deserialize(path.read_bytes())  # False where they are of another card, driver or version
        settings.set_runtime_cache(cache)
        return settings

    def _keep_kernels(self, settings: Any) -> None:
        """Keep the kernels that the first runs compiled; without them the next start compiles again."""
        data = bytes(memoryview(settings.get_runtime_cache().serialize()))
        path = self.kernels_path()
        if data and not (path.is_file() and path.read_bytes() == data):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as temporary:
                temporary.write_bytes(data)

    def kernels_path(self) -> Path:
        """Return the file of compiled kernels for this model on this card."""
        machine = self._machine
        key = hashlib.sha256(f"{self._sha256} {machine.gpu} {machine.tensorrt}".encode()).hexdigest()[:12]
        return engine_file.cache_folder() / f"kernels-{self.info.name}-{key}.cache"

    def _engine_for(self, size: Size) -> bytes:
        """Return an engine for this size, or whose range covers it, from beside the model or the cache; else build."""
        for path, header in (*engine_file.engines_of(self._path), *engine_file.cached_engines()):
            if isinstance(header, ModelError) or header.model_sha256 != self._sha256:
                continue
            if header.shapes.are_fixed and path.parent == engine_file.cache_folder():
                continue  # `engine` looks there, and says why one does not fit
            if header.shapes.cover(size) and not header.mismatches(self.header(header.shapes)):
                try:
                    return engine_file.read_engine(path)[1]
                except ModelError as error:
                    log.warning("note: passing over %s", error)
        return self.engine(Shapes.fixed(size))

    def header(self, shapes: Shapes) -> EngineHeader:
        return EngineHeader(self.info.name, self._sha256, self.precision, shapes, self._machine)

    def engine(
        self, shapes: Shapes, workspace: int = WORKSPACE, progress: Progress = lambda phase, done, steps: None
    ) -> bytes:
        """Return the engine for these shapes, cached or newly built; log why a cached one does not fit."""
        wanted = self.header(shapes)
        path = wanted.path()
        if path.is_file():
            try:
                found, engine = engine_file.read_engine(path)
                if not (reasons := found.mismatches(wanted)):
                    return engine
                log.warning("note: rebuilding %s, which was made for: %s", path.name, "; ".join(reasons))
            except ModelError as error:
                log.warning("note: rebuilding: %s", error)
        slow = "" if self._library.portable else "; this takes a minute or more"
        log.warning("note: building an engine of %s for %s, once%s", self._library.name, shapes, slow)
        target = target_of(self._library, self._machine.compute_capability)
        engine = build_engine(self._trt, self._path, shapes, self.precision, workspace, progress, self._library, target)
        made_for = wanted.machine if not self._library.portable else portable_machine(self._trt, target)
        engine_file.write_engine(path, replace(wanted, machine=made_for), engine)
        return engine


def open_model(path: Path, device: Device, threads: int, library: str = TENSORRT.module) -> TensorRtNetwork:
    """Open a model, ignoring `threads`. Raises BackendError if TensorRT, its CUDA bindings or the card is missing."""
    chosen = LIBRARIES[library]
    trt = require(device, chosen)
    memory = open_memory(device.index)
    return TensorRtNetwork(trt, path, device, memory, this_machine(trt, device, memory, chosen), chosen)


def require(device: Device, library: Library = TENSORRT) -> ModuleType:
    """Import TensorRT. Raises BackendError if it, or the card, is missing."""
    trt = import_library(library)
    if problem := cuda_problem(device):
        raise BackendError(f"{device} cannot be used: {problem}")
    return trt


def target_of(library: Library, capability: str) -> str:
    """Return the library's target for a card of this compute capability, "" where there is nothing to choose."""
    exact = [target for target, _ in library.targets if target == capability]
    return exact[0] if exact else PORTABLE if library.targets else ""


def portable_header(trt: ModuleType, model: Path, info: ModelInfo, shapes: Shapes, target: str) -> EngineHeader:
    """Return the header of a portable engine of an ONNX file."""
    checksum = hashlib.sha256(model.read_bytes()).hexdigest()
    return EngineHeader(info.name, checksum, info.precision, shapes, portable_machine(trt, target))


def portable_machine(trt: ModuleType, target: str) -> Machine:
    """Describe what a portable engine is bound to: the library's version and a compute capability."""
    capability = f"{target}+" if target == PORTABLE else target
    return Machine(f"RTX {trt.__version__}", ANYTHING, ANYTHING, capability, ANYTHING)


def this_machine(trt: ModuleType, device: Device, memory: Memory, library: Library = TENSORRT) -> Machine:
    name, capability = nvidia_driver().cards[device.index]
    return Machine(
        tensorrt=f"RTX {trt.__version__}" if library.portable else trt.__version__,
        cuda=memory.cuda_version(),
        gpu=name,
        compute_capability=f"{capability[0]}.{capability[1]}",
        system=f"{platform.system()} {platform.machine()}",
    )
