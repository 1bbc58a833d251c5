"""Live sources: always the newest frame, never a growing delay (R6.9).

A thread takes every frame as it comes and keeps the last one. Who is slower than the source gets the newest frame when
it asks, and the ones between are dropped and counted. What is shown is at most one frame's work behind the camera.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from .frames import Frame, Source

REPORT = 1.0  # seconds between reports


class Newest:
    """The newest frame of a source at each moment, by iterating; the source is read by a thread.

    Args:
        source: must be safe to read from another thread.
        stop: asked between frames; ends the iteration when it returns true.

    Attributes:
        dropped: frames that were replaced by a newer one before anybody took them.
        taken: frames given out.
        got: when the frame given out last came from the source, as `time.monotonic` counts.
    """

    def __init__(self, source: Source, stop: Callable[[], bool] = lambda: False) -> None:
        self.source, self.stop = source, stop
        self.dropped = self.taken = 0
        self.got = 0.0
        self._slot: tuple[Frame, float] | None = None
        self._error: BaseException | None = None
        self._begun = self._ended = False
        self._changed = threading.Condition()

    def _read(self) -> None:
        with self._changed:
            if self._ended:
                return
            self._begun = True
        try:
            for item in self.source:
                if not isinstance(item, Frame):
                    continue
                with self._changed:
                    if self._ended:
                        return
                    self.dropped += self._slot is not None
                    self._slot = item, time.monotonic()
                    self._changed.notify()
        except BaseException as error:  # it belongs to who takes the frames
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()

    def __iter__(self) -> Iterator[Frame]:
        thread = threading.Thread(target=self._read, name="capture", daemon=True)
        try:
            thread.start()  # a signal may come while it starts; then it may begin late, or never
            while not self.stop():
                with self._changed:
                    self._changed.wait_for(lambda: self._slot is not None or self._ended, timeout=0.1)
                    held, self._slot = self._slot, None
                    if held is None and self._ended:
                        break
                if held is not None:
                    frame, self.got = held
                    self.taken += 1
                    yield frame
        finally:
            with self._changed:
                self._ended = True
            if self._begun:
                thread.join(timeout=2.0)  # a camera that hangs must not keep the program
        if self._error is not None:
            raise self._error

    @property
    def delay(self) -> float:
        """Seconds since the frame given out last came from the source."""
        return time.monotonic() - self.got


class EveryFrame(Newest):
    """All frames of a file, none before its time: what a window shows of a clip that is not live."""

    def __iter__(self) -> Iterator[Frame]:
        start: float | None = None
        for item in self.source:
            if self.stop():
                return
            if not isinstance(item, Frame):
                continue
            start = time.monotonic() - float(item.time) if start is None else start
            time.sleep(max(0.0, min(start + float(item.time) - time.monotonic(), 1.0)))
            self.got = time.monotonic()
            self.taken += 1
            yield item


class Meter:
    """What a live run says about itself: frames a second, frames dropped, delay from source to sink."""

    def __init__(self, newest: Newest, say: Callable[[str], object]) -> None:
        self.newest, self.say = newest, say
        self.largest = 0.0  # delay
        self._start = self._reported = time.monotonic()
        self._frames = 0

    def __call__(self, written: int) -> None:
        """Call after each frame has left."""
        now = time.monotonic()
        self.largest = max(self.largest, self.newest.delay)
        if now - self._reported >= REPORT:
            rate = (written - self._frames) / (now - self._reported)
            self.say(f"{rate:.1f} frames/s, {self.newest.dropped} dropped, {1e3 * self.newest.delay:.0f} ms behind")
            self._reported, self._frames = now, written
