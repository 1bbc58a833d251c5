"""How a program keeps its memory: for those that relight frame after frame, whose arrays are as large each time."""

from __future__ import annotations

import contextlib
import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt(3)
KEPT = 512 << 20  # bytes that are free and not given back
LARGEST = 32 << 20  # bytes of one array, the most that glibc takes; those of 8K and more come from the system as before


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next frame: given back, it comes again page by page, each cleared first.

    That took 3 of 25 milliseconds a frame of 1080p. Other C libraries are left alone.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):  # musl has no mallopt
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(MMAP_THRESHOLD, LARGEST)
            mallopt(TRIM_THRESHOLD, KEPT)
