"""Devices by name, and the reasons why a GPU cannot be used, found without any CUDA library.

`cuda:N` counts as CUDA does: after CUDA_VISIBLE_DEVICES has chosen and ordered the cards.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from dataclasses import dataclass
from functools import cache
from typing import Literal

from cliplit.errors import InputError

DeviceKind = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Device:
    """Where to run: "auto", "cpu", or one CUDA card."""

    kind: DeviceKind
    index: int = 0

    def __str__(self) -> str:
        return f"cuda:{self.index}" if self.kind == "cuda" else self.kind

    @classmethod
    def parse(cls, text: str) -> Device:
        """Parse a device. Raises InputError for anything but auto, cpu, cuda, cuda:N."""
        if found := re.fullmatch(r"(auto|cpu|cuda)|cuda:(\d+)", text):
            return cls(found[1] or "cuda", int(found[2] or 0))  # type: ignore[arg-type]
        raise InputError(f"device {text!r} is not one of auto, cpu, cuda, cuda:N")


@dataclass(frozen=True)
class Driver:
    """The state of NVIDIA's driver: `problem` is empty if cards can be used.

    Attributes:
        cuda: (major, minor) of the newest CUDA the driver can run, (0, 0) without a driver.
        cards: names and compute capabilities, e.g. ("NVIDIA H200", (9, 0)).
    """

    problem: str
    cuda: tuple[int, int] = (0, 0)
    cards: tuple[tuple[str, tuple[int, int]], ...] = ()


@cache
def nvidia_driver() -> Driver:
    """Query the driver library itself (CUDA driver API: cuInit, cuDriverGetVersion, cuDeviceGet*)."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        cuda = ctypes.CDLL(name)
    except OSError:
        return Driver(f"no NVIDIA driver ({name} is not there)")
    number = ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(number))
    version = number.value // 1000, number.value % 1000 // 10
    if error := cuda.cuInit(0):
        return Driver(f"the NVIDIA driver (CUDA {version[0]}.{version[1]}) does not start, error {error}", version)
    cuda.cuDeviceGetCount(ctypes.byref(number))
    cards = tuple(_card(cuda, index) for index in range(number.value))
    return Driver("" if cards else "no card is visible to CUDA (see CUDA_VISIBLE_DEVICES)", version, cards)


def _card(cuda: ctypes.CDLL, index: int) -> tuple[str, tuple[int, int]]:
    handle, major, minor, name = ctypes.c_int(), ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(256)
    cuda.cuDeviceGet(ctypes.byref(handle), index)
    cuda.cuDeviceGetName(name, len(name), handle)
    # 75 and 76 are CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
    cuda.cuDeviceGetAttribute(ctypes.byref(major), 75, handle)
    cuda.cuDeviceGetAttribute(ctypes.byref(minor), 76, handle)
    return name.value.decode(errors="replace"), (major.value, minor.value)


def cuda_problem(device: Device, needs: tuple[int, int] | None = None) -> str:
    """Return why this card cannot be used, "" if it can; `needs` is the CUDA version a library was built for.

    CUDA promises minor-version compatibility, so only the major version has to be reached.
    """
    driver = nvidia_driver()
    if driver.problem:
        return driver.problem
    if needs is not None and driver.cuda[0] < needs[0]:
        return (
            f"the driver is too old: it runs CUDA {driver.cuda[0]}.{driver.cuda[1]}, the library was built for "
            f"CUDA {needs[0]}.{needs[1]}; install a newer NVIDIA driver"
        )
    if device.index >= len(driver.cards):
        return f"there is no card {device.index}: {len(driver.cards)} visible ({', '.join(c[0] for c in driver.cards)})"
    return ""


def cores() -> int:
    """Count the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
