"""FFmpeg's log messages, collected on request; nothing is printed otherwise."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import av


@contextlib.contextmanager
def logged(level: int, everywhere: bool = False) -> Iterator[list[tuple[int, str, str]]]:
    """Collect (level, part of FFmpeg, line) of this thread, or of all, up to a level of `av.logging`."""
    before = av.logging.get_level()
    av.logging.set_level(level)
    av.logging.set_skip_repeated(False)  # the same fault in the next file is said again
    try:
        with av.logging.Capture(local=not everywhere) as lines:
            yield lines
    finally:
        if before is None:
            # Another thread may be about to log: with no level at all, which is how PyAV starts, that would print a
            # traceback. Nothing may be logged for good either, as FFmpeg's threads then wait for Python's lock.
            av.logging.set_level(av.logging.PANIC)
            time.sleep(0.002)
        av.logging.set_level(before)
