"""A window with the enhanced frames: space toggles the original, q or Esc quits.

The window must be opened before PyAV is imported: both wheels bring X11 libraries, and OpenCV's window waits forever
once PyAV's are loaded. So nothing here imports PyAV at the top.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import cv2

from cliplit.errors import BackendError

from .frames import Clip, Frame

TITLE = "cliplit: space original / enhanced, q quit"
QUIT = (ord("q"), 27)


def check_window() -> None:
    """Check that a window can be shown. Raises BackendError with the reason if not."""
    lines = [line.strip() for line in cv2.getBuildInformation().splitlines()]
    if not any(line.startswith("GUI:") and "NONE" not in line for line in lines):
        raise BackendError(
            "--preview needs an OpenCV with windows, and opencv-python-headless has none; replace it: "
            "pip uninstall -y opencv-python-headless && pip install opencv-python"
        )
    # Without a display, the window library ends the whole program.
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise BackendError("--preview needs a display, and neither DISPLAY nor WAYLAND_DISPLAY is set")


def open_window() -> None:
    """Open the window, before anything imports PyAV. Raises BackendError if none can be shown."""
    check_window()
    cv2.namedWindow(TITLE, cv2.WINDOW_AUTOSIZE)
    cv2.waitKey(1)


class Preview:
    """The window as a `Sink`.

    Attributes:
        original: the user wants to see the original frames; `strength` then returns 0.
        closed: the user wants to stop.
    """

    def __init__(self, clip: Clip) -> None:
        from .opencv_io import bgr_of

        self._bgr_of = bgr_of
        self.clip = clip
        self.notes: list[str] = []
        self.written = 0
        self.original = self.closed = False

    @property
    def strength(self) -> float:
        """A factor on the strength: 0 while the original is shown."""
        return 0.0 if self.original else 1.0

    def write(self, item: Any) -> None:
        if not isinstance(item, Frame):
            return
        cv2.imshow(TITLE, self._bgr_of(item, self.clip))
        self.written += 1
        self.press(cv2.waitKey(1) & 0xFF)
        if cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
            self.closed = True

    def press(self, key: int) -> None:
        if key == ord(" "):
            self.original = not self.original
        elif key in QUIT:
            self.closed = True

    def __enter__(self) -> Preview:
        return self

    def __exit__(self, *exception: object) -> None:
        cv2.destroyAllWindows()
