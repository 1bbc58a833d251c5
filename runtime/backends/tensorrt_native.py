"""TensorRT itself: an engine per size, built once and cached, run with pinned memory on two streams.

Never run on a card so far. The calls were checked against the bindings of TensorRT 10.16 and 11.4 and of cuda-python
13; the code around them is tested.
"""

from __future__ import annotations

import hashlib
import logging
import platform
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from cliplit.arrays import Array
from cliplit.errors import BackendError, ModelError, first_line
from cliplit.install import install_hint

from . import engine_file
from .device_memory import Memory, open_memory
from .devices import Device, cuda_problem, nvidia_driver
from .engine_file import EngineHeader, Machine, Shapes, Size
from .model_file import ModelInfo, model_info
from .tensorrt_build import WORKSPACE, Progress, build_engine, logger_of

log = logging.getLogger("cliplit")
LANES = 2  # one copies while the other computes, when two threads call


class Lane:
    """One execution context with its stream, its pinned and its device memory, for one size."""

    def __init__(self, engine: Any, memory: Memory, size: Size) -> None:
        batch, height, width = size
        self._memory, self._stream = memory, memory.stream()
        self._context = engine.create_execution_context()
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
        self._graph = memory.capture(self._start, self._stream)

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
    """`Backend` by TensorRT."""

    def __init__(self, trt: ModuleType, path: Path, device: Device, memory: Memory, machine: Machine) -> None:
        self._trt, self._path, self._memory, self._machine = trt, path, memory, machine
        self._logger = logger_of(trt)
        self._runtime = trt.Runtime(self._logger)
        self._sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self._lock = threading.Lock()
        self._size: Size | None = None
        self._lanes: queue.Queue[Lane] = queue.Queue()
        self.info: ModelInfo = model_info(path)
        self.device, self.precision = str(device), self.info.precision
        self.detail = f"TensorRT {trt.__version__}, CUDA {machine.cuda} through {memory.name}, {machine.gpu}"

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
        engine = self._runtime.deserialize_cuda_engine(self._engine_for(size))
        if engine is None:
            raise BackendError(f"TensorRT does not load the engine: {self._logger.last}")
        self._lanes = queue.Queue()
        for _ in range(LANES):
            self._lanes.put(Lane(engine, self._memory, size))
        self._size = size

    def _engine_for(self, size: Size) -> bytes:
        """Return a cached engine for this size, or whose range covers it; else build one."""
        for path, header in engine_file.cached_engines():
            if isinstance(header, ModelError) or header.model_sha256 != self._sha256 or header.shapes.are_fixed:
                continue
            if header.shapes.cover(size) and not header.mismatches(self.header(header.shapes)):
                return engine_file.read_engine(path)[1]
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
        log.warning("note: building a TensorRT engine for %s, once; this takes a minute or more", shapes)
        engine = build_engine(self._trt, self._path, shapes, self.precision, workspace, progress)
        engine_file.write_engine(path, wanted, engine)
        return engine


def open_model(path: Path, device: Device, threads: int) -> TensorRtNetwork:
    """Open a model, ignoring `threads`. Raises BackendError if TensorRT, its CUDA bindings or the card is missing."""
    trt = require(device)
    memory = open_memory(device.index)
    return TensorRtNetwork(trt, path, device, memory, this_machine(trt, device, memory))


def require(device: Device) -> ModuleType:
    """Import TensorRT. Raises BackendError if it, or the card, is missing."""
    trt = import_tensorrt()
    if problem := cuda_problem(device):
        raise BackendError(f"{device} cannot be used: {problem}")
    return trt


def import_tensorrt() -> ModuleType:
    """Import the module. Raises BackendError, with the command that helps, if it is missing or unsupported."""
    try:
        import tensorrt
    except (ImportError, OSError) as error:  # OSError: its libraries
        raise BackendError(
            f"TensorRT cannot be used ({first_line(error)}); install it with: {install_hint('tensorrt')}"
        ) from error
    version: str = tensorrt.__version__
    if version.split(".")[0] not in ("10", "11"):
        raise BackendError(
            f"TensorRT {version} is installed, 10 or 11 is needed; install it with: {install_hint('tensorrt')}"
        )
    module: ModuleType = tensorrt
    return module


def this_machine(trt: ModuleType, device: Device, memory: Memory) -> Machine:
    name, capability = nvidia_driver().cards[device.index]
    return Machine(
        tensorrt=trt.__version__,
        cuda=memory.cuda_version(),
        gpu=name,
        compute_capability=f"{capability[0]}.{capability[1]}",
        system=f"{platform.system()} {platform.machine()}",
    )
