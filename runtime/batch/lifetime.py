"""How long a worker process lives: no longer than the run it belongs to, and not past a signal that ends that run."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing.connection import wait
from types import FrameType

from cliplit.interrupt import ENDING, Ended

PATIENCE = 10.0  # seconds a worker has to remove what is half done
_busy = False


def begin_worker() -> None:
    """Prepare a worker: it ends with its parent, also one that was killed, and at once at a signal."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    for number in (signal.SIGINT, *ENDING):
        signal.signal(number, _end)


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)  # whatever the main thread is at; the next run sweeps what that leaves (`leftovers`)


def _end(signum: int, frame: FrameType | None) -> None:
    if not _busy:
        os._exit(1)
    raise Ended


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let a signal unwind what is inside, which so removes its temporary files; the process ends after it."""
    global _busy
    _busy = True
    try:
        yield
    except KeyboardInterrupt:
        os._exit(1)
    finally:
        _busy = False


def end_workers() -> None:
    """End this process's workers, and wait until they have."""
    workers = multiprocessing.active_children()
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(PATIENCE)
        if worker.is_alive():
            worker.kill()
