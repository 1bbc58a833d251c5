"""Ctrl-C during training takes effect after the step, so that the saved state is one the run really was in."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Stop:
    asked: bool = False


@contextmanager
def interruption_after_step() -> Iterator[Stop]:
    """Delay interruption: the first SIGINT or SIGTERM only sets `asked`, the second interrupts at once."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # where handlers cannot be set
        yield stop
        return

    def ask(signum: int, frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_interrupts(worker: int) -> None:
    """Ignore Ctrl-C in processes that make batches: the terminal sends it to them too, the step still needs one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
