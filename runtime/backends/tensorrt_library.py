"""TensorRT and TensorRT for RTX: how they differ, in one table, and what is the same for both.

TensorRT for RTX builds without a card, in a fraction of a second, engines for every card of compute capability 8.0 and
later (or for 7.5, by name); it compiles their kernels on the card, and keeps those in a cache of its own.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from cliplit.errors import BackendError, first_line
from cliplit.install import install_hint

PORTABLE = "8.0"  # the least compute capability of what TensorRT for RTX builds when it is not told


@dataclass(frozen=True)
class Library:
    """One of the two.

    Attributes:
        name: for messages.
        module: in Python.
        extra: of the package that installs it.
        majors: versions that our calls were checked against.
        portable: whether it builds without a card, for every card of a target; else for the card that is there.
        targets: compute capabilities that can be asked for, and the names of its `ComputeCapability`; none for the
            default.
        timing_cache: whether builds measure layers, and remember it. Deprecated in TensorRT for RTX, where it is empty.
        own_graphs: whether it records CUDA graphs itself (`CudaGraphStrategy`) and compiles kernels at run time, which
            a runtime cache keeps.
    """

    name: str
    module: str
    extra: str
    majors: tuple[str, ...]
    portable: bool
    targets: tuple[tuple[str, str], ...]
    timing_cache: bool
    own_graphs: bool


TENSORRT = Library("TensorRT", "tensorrt", "tensorrt", ("10", "11"), False, (), True, False)
TENSORRT_RTX = Library(
    "TensorRT for RTX", "tensorrt_rtx", "tensorrt-rtx", ("1",), True, ((PORTABLE, ""), ("7.5", "SM75")), False, True
)
LIBRARIES = {library.module: library for library in (TENSORRT, TENSORRT_RTX)}


def import_library(library: Library) -> ModuleType:
    """Import the module. Raises BackendError, with the command that helps, if it is missing or unsupported."""
    remedy = f"install it with: {install_hint(library.extra)}"
    try:
        module = importlib.import_module(library.module)
    except (ImportError, OSError, RuntimeError) as error:  # of its own libraries
        raise BackendError(f"{library.name} cannot be used ({first_line(error)}); {remedy}") from error
    version: str = getattr(module, "__version__", "of no known version")
    if version.split(".")[0] not in library.majors:
        raise BackendError(f"{library.name} {version} is installed, {' or '.join(library.majors)} is needed; {remedy}")
    return module


_LOGGERS: dict[str, Any] = {}


def logger_of(trt: ModuleType) -> Any:
    """Return this process's one logger for the module; TensorRT complains of a second.

    It prints nothing and keeps the first error since `clear` (or, without one, the first warning): the cause. Those
    that follow are its echoes, such as that there is no driver to ask about a wrong shape.
    """
    name = f"{trt.__name__} {id(trt)}"
    if name not in _LOGGERS:

        class Keep(trt.ILogger):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)
                self.clear()

            def clear(self) -> None:
                self._error = self._warning = ""

            @property
            def cause(self) -> str:
                return self._error or self._warning or "no reason given"

            def log(self, severity: Any, message: str) -> None:
                text = " ".join(message.split())
                if severity <= trt.ILogger.ERROR:
                    self._error = self._error or text
                elif severity == trt.ILogger.WARNING:
                    self._warning = self._warning or text

        _LOGGERS[name] = Keep()
    return _LOGGERS[name]
