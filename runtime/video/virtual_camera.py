"""A camera that other programs can choose, through pyvirtualcam: v4l2loopback on Linux, OBS on macOS and Windows.

Tested with a stand-in for the library; it was never run on a real device.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyvirtualcam

from cliplit.errors import BackendError, first_line

from .frames import Clip, Frame
from .opencv_io import bgr_of

RATE = 30.0  # frames a second where the source tells none


class VirtualCamera:
    """The camera as a `Sink`. Raises BackendError where there is no device for it.

    Attributes:
        device: its name for other programs.
    """

    def __init__(self, clip: Clip) -> None:
        self.clip, self.written = clip, 0
        self.notes: list[str] = []
        try:
            self._camera = pyvirtualcam.Camera(clip.width, clip.height, float(clip.rate or RATE))
        except RuntimeError as error:
            raise BackendError(
                f"no virtual camera ({first_line(error)}); Linux needs the kernel module v4l2loopback, macOS and "
                "Windows need OBS Studio"
            ) from error
        self.device = str(self._camera.device)

    def write(self, item: Any) -> None:
        """Show a frame; what is not a frame has no place in a camera."""
        if isinstance(item, Frame):
            self._camera.send(np.ascontiguousarray(bgr_of(item, self.clip)[..., ::-1]))
            self.written += 1

    def __enter__(self) -> VirtualCamera:
        return self

    def __exit__(self, *exception: object) -> None:
        self._camera.close()
