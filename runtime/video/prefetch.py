"""Prefetching: decoding ahead in a thread of its own, bounded in bytes.

FFmpeg, ONNX Runtime and the pixel loop let other threads run while they work, so decoding overlaps with enhancing and
writing; the encoder has threads of its own behind its input.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

from .frames import Frame

Item = TypeVar("Item")
LIMIT = 8 << 20  # bytes: two frames of 1080p in 8 bits; at least one of any size
END = object()


def prefetch(items: Iterable[Item], limit: int = LIMIT) -> Generator[Item, None, None]:
    """Yield the same items, made by another thread up to `limit` bytes ahead. What it raises is raised here.

    Close it (`contextlib.closing`) before what it reads from is closed: that ends the thread.
    """
    ready: deque[tuple[Any, int]] = deque()
    changed = threading.Condition()
    held, stopped, begun = 0, False, False

    def work() -> None:
        nonlocal held, begun
        with changed:
            if stopped:
                return
            begun = True
        end: Any = END
        try:
            for item in items:
                size = size_of(item)
                with changed:
                    changed.wait_for(lambda: stopped or not ready or held + size <= limit)  # noqa: B023
                    if stopped:
                        return
                    ready.append((item, size))
                    held += size
                    changed.notify_all()
        except BaseException as error:  # it belongs to whoever takes the items
            end = error
        with changed:
            ready.append((end, 0))
            changed.notify_all()

    thread = threading.Thread(target=work, name="decode", daemon=True)
    try:
        thread.start()  # a signal may come while it starts; then it may begin late, or never
        while True:
            with changed:
                changed.wait_for(lambda: bool(ready))
                item, size = ready.popleft()
                held -= size
                changed.notify_all()
            if item is END:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
            del item
    finally:
        with changed:
            stopped = True
            changed.notify_all()
        if begun:
            thread.join()


def size_of(item: object) -> int:
    """Bytes an item holds; packets count little."""
    if isinstance(item, Frame):
        return sum(plane.nbytes for plane in item.planes)
    return int(getattr(item, "size", 0))
