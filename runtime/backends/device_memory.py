"""Device memory, pinned memory, streams and graphs: the few CUDA calls the TensorRT back end needs.

PyCUDA where it is installed (its users have a reason), cuda-python otherwise, whose wheels need no compiler (R5.13).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cliplit.arrays import Array
from cliplit.errors import BackendError, first_line
from cliplit.install import install_hint


@dataclass(frozen=True)
class Graph:
    """Recorded work: `launch` starts it on its stream, `close` frees it."""

    launch: Callable[[], object]
    close: Callable[[], object]


class Memory(Protocol):
    """One card's memory. Addresses and streams are plain integers."""

    name: str

    def active(self) -> Any:
        """Return a context manager that makes the card current in the calling thread."""
        ...

    def allocate(self, size: int) -> int:
        """Allocate bytes on the card, until the process ends or `free`."""
        ...

    def free(self, address: int) -> None: ...

    def pinned(self, shape: tuple[int, ...]) -> Array:
        """Allocate page-locked float32 host memory, whose copies overlap with computation."""
        ...

    def unpin(self, array: Array) -> None:
        """Free what `pinned` returned; the array must not be used afterwards."""
        ...

    def stream(self) -> int: ...

    def close_stream(self, stream: int) -> None: ...

    def to_device(self, address: int, source: Array, stream: int) -> None:
        """Start a copy; `source` is pinned and must not change until the stream is synchronised."""
        ...

    def to_host(self, target: Array, address: int, stream: int) -> None: ...

    def synchronize(self, stream: int) -> None: ...

    def capture(self, work: Callable[[], None], stream: int) -> Graph | None:
        """Record what `work` starts on the stream, to launch it all at once; None where that cannot be done."""
        ...

    def cuda_version(self) -> str: ...


class CudaPython:
    """`Memory` by NVIDIA's own bindings of the CUDA runtime."""

    name = "cuda-python"

    def __init__(self, index: int) -> None:
        try:
            from cuda.bindings import runtime
        except ImportError:
            from cuda import cudart as runtime  # type: ignore[attr-defined,no-redef]  # before 12.8
        self._cuda, self._index = runtime, index
        with self.active():
            pass

    @contextmanager
    def active(self) -> Iterator[None]:
        self._call(self._cuda.cudaSetDevice(self._index))
        yield

    def allocate(self, size: int) -> int:
        return int(self._call(self._cuda.cudaMalloc(size)))

    def free(self, address: int) -> None:
        self._call(self._cuda.cudaFree(address))

    def pinned(self, shape: tuple[int, ...]) -> Array:
        count = int(np.prod(shape))
        address = int(self._call(self._cuda.cudaMallocHost(4 * count)))
        return np.ctypeslib.as_array((ctypes.c_float * count).from_address(address)).reshape(shape)

    def unpin(self, array: Array) -> None:
        self._call(self._cuda.cudaFreeHost(array.ctypes.data))

    def close_stream(self, stream: int) -> None:
        self._call(self._cuda.cudaStreamDestroy(stream))

    def stream(self) -> int:
        return int(self._call(self._cuda.cudaStreamCreateWithFlags(self._cuda.cudaStreamNonBlocking)))

    def to_device(self, address: int, source: Array, stream: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call(self._cuda.cudaMemcpyAsync(address, source.ctypes.data, source.nbytes, kind, stream))

    def to_host(self, target: Array, address: int, stream: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call(self._cuda.cudaMemcpyAsync(target.ctypes.data, address, target.nbytes, kind, stream))

    def synchronize(self, stream: int) -> None:
        self._call(self._cuda.cudaStreamSynchronize(stream))

    def capture(self, work: Callable[[], None], stream: int) -> Graph | None:
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call(self._cuda.cudaStreamBeginCapture(stream, mode))
        try:
            work()
        finally:
            graph = self._call(self._cuda.cudaStreamEndCapture(stream))
        ready = self._call(self._cuda.cudaGraphInstantiate(graph, 0))
        self._call(self._cuda.cudaGraphDestroy(graph))  # what was instantiated stands by itself
        return Graph(
            launch=lambda: self._call(self._cuda.cudaGraphLaunch(ready, stream)),
            close=lambda: self._call(self._cuda.cudaGraphExecDestroy(ready)),
        )

    def cuda_version(self) -> str:
        number = int(self._call(self._cuda.cudaRuntimeGetVersion()))
        return f"{number // 1000}.{number % 1000 // 10}"

    def _call(self, result: tuple[Any, ...]) -> Any:
        """Return the value of a call's (error, value). Raises BackendError for an error."""
        error, *values = result
        if int(error) != 0:
            text = self._cuda.cudaGetErrorString(error)[1]
            raise BackendError(f"CUDA: {text.decode() if isinstance(text, bytes) else text} (error {int(error)})")
        return values[0] if values else None


class PyCuda:
    """`Memory` by PyCUDA on the card's primary context, which TensorRT uses too."""

    name = "pycuda"

    def __init__(self, index: int) -> None:
        import pycuda.driver as driver

        driver.init()
        self._driver, self._context = driver, driver.Device(index).retain_primary_context()
        self._streams: dict[int, Any] = {}
        self._allocations: dict[int, Any] = {}

    @contextmanager
    def active(self) -> Iterator[None]:
        self._context.push()
        try:
            yield
        finally:
            self._driver.Context.pop()

    def allocate(self, size: int) -> int:
        allocation = self._driver.mem_alloc(size)
        self._allocations[int(allocation)] = allocation
        return int(allocation)

    def free(self, address: int) -> None:
        self._allocations.pop(address).free()

    def pinned(self, shape: tuple[int, ...]) -> Array:
        array: Array = self._driver.pagelocked_empty(shape, np.float32)
        return array

    def unpin(self, array: Array) -> None:
        """Do nothing: PyCUDA frees the memory with the array's last reference."""

    def close_stream(self, stream: int) -> None:
        del self._streams[stream]

    def stream(self) -> int:
        stream = self._driver.Stream()
        self._streams[int(stream.handle)] = stream
        return int(stream.handle)

    def to_device(self, address: int, source: Array, stream: int) -> None:
        self._driver.memcpy_htod_async(address, source, self._streams[stream])

    def to_host(self, target: Array, address: int, stream: int) -> None:
        self._driver.memcpy_dtoh_async(target, address, self._streams[stream])

    def synchronize(self, stream: int) -> None:
        self._streams[stream].synchronize()

    def capture(self, work: Callable[[], None], stream: int) -> Graph | None:
        return None  # no released PyCUDA captures streams

    def cuda_version(self) -> str:
        return ".".join(map(str, self._driver.get_version()[:2]))


def open_memory(index: int) -> Memory:
    """Open a card's memory. Raises BackendError, with the command that helps, if neither library works."""
    failures = []
    for kind in (PyCuda, CudaPython):
        try:
            return kind(index)
        except ImportError as error:
            failures.append(first_line(error))
        except BackendError:
            raise
        except Exception as error:  # PyCUDA's errors have types of their own
            raise BackendError(f"{kind.name} does not work ({first_line(error)})") from error
    hint = install_hint("tensorrt")
    raise BackendError(f"device memory needs cuda-python or PyCUDA ({'; '.join(failures)}); install it with: {hint}")
