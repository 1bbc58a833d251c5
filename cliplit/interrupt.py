"""Signals that end a program: each becomes an exception, so that nothing is left half done.

Compiled code that calls back loses exceptions now and then (PyAV does while it opens a codec). So loops over frames and
files ask again, by `raise_if_ended`. Ctrl-C during training takes effect after the step, so that the saved state is one
the run really was in.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

# What ends a process that does not handle it, and can be handled; SIGHUP is a closed terminal or a lost connection.
NAMES = ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGXCPU", "SIGBREAK")
ENDING = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))


_came: list[type[KeyboardInterrupt]] = []  # what the handlers raised in this run


def end_as_ctrl_c() -> None:
    """Raise KeyboardInterrupt at every signal that would end the process, so that it leaves nothing half done.

    A signal that is ignored stays so: `nohup` asks for it.
    """
    _came.clear()
    if threading.current_thread() is threading.main_thread():
        for number in ENDING:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _interrupt)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _interrupt)


class Ended(KeyboardInterrupt):
    """A signal of `ENDING` came."""


def _interrupt(signum: int, frame: FrameType | None) -> None:
    _came.append(KeyboardInterrupt if signum == signal.SIGINT else Ended)
    raise _came[-1]


def raise_if_ended() -> None:
    """Raise what a signal's handler raised, if it was lost on its way to the main thread's loop."""
    if _came and threading.current_thread() is threading.main_thread():
        raise _came[-1]


@dataclass
class Stop:
    asked: bool = False


@contextmanager
def interruption_after_step() -> Iterator[Stop]:
    """Delay interruption: the first SIGINT or `ENDING` only sets `asked`, the second interrupts at once."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # where handlers cannot be set
        yield stop
        return

    def ask(signum: int, frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True

    numbers = [n for n in (signal.SIGINT, *ENDING) if signal.getsignal(n) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_interrupts(worker: int) -> None:
    """Ignore Ctrl-C in processes that make batches: the terminal sends it to them too, the step still needs one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
