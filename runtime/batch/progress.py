"""How far the files under way are: workers say it, the bar of `cliplit-batch` shows it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

INTERVAL = 0.5  # seconds between what a worker says of a file

_queue: Any = None  # of this process, a worker


def say_to(queue: Any) -> None:
    """Tell a worker where to put what it has to say."""
    global _queue
    _queue = queue


def reporter(name: str) -> Callable[[int, int | None], None]:
    """Return what is called with the frames of a file that are written, and how many there will be."""
    said = time.monotonic()

    def report(written: int, expected: int | None) -> None:
        nonlocal said
        if _queue is None or not expected or time.monotonic() - said < INTERVAL:
            return
        said = time.monotonic()
        _queue.put((name, min(written / expected, 1.0)))

    return report


class Shares:
    """What workers have said: the share of each file under way that is done, by name."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue
        self.done: dict[str, float] = {}

    def update(self, running: set[str]) -> dict[str, float]:
        """Take what was said; forget the files that are not under way any more."""
        while not self.queue.empty():
            name, share = self.queue.get()
            self.done[name] = share
        self.done = {name: share for name, share in self.done.items() if name in running}
        return self.done


def described(shares: dict[str, float]) -> str:
    """Name the file that is furthest."""
    if not shares:
        return ""
    name, share = max(shares.items(), key=lambda item: item[1])
    return f"{name} {share:.0%}"
