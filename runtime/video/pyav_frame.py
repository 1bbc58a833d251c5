"""Decoded pictures as frames: views of FFmpeg's memory, and all of a clip in one size and layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from av.video.frame import VideoFrame

from ..light.colour import FULL_RANGE, Coding
from .fields import Order
from .frames import Clip, Frame
from .pixels import alpha_of, layout_of, planes_of
from .pyav import exact


@dataclass
class PyAVFrame(Frame):
    """A frame whose planes are views of FFmpeg's memory, without a copy."""

    picture: VideoFrame = field(kw_only=True)

    def writable(self) -> Frame:
        # Copies what the decoder still needs, and keeps all that hangs on the frame: captions, field order, tags.
        self.picture.make_writable()
        return frame_of(self.picture, self.coding, self.scan)


def frame_of(picture: VideoFrame, coding: Coding, scan: Order = "progressive") -> PyAVFrame:
    """Convert a decoded picture in a planar layout to a frame."""
    base = exact(picture.time_base)
    assert picture.pts is not None and base is not None
    return PyAVFrame(
        planes_of(picture), coding, layout_of(picture.format.name).name, picture.pts, base,
        picture.key_frame, scan, alpha_of(picture), picture.is_corrupt, picture=picture,
    )  # fmt: skip


class Uniform:
    """Gives the pictures of a clip one size, layout and range, whatever the stream changes; says so once.

    Args:
        clip: what all pictures become.
        keep_range: leave the codes as they are where the range changes, for the user stated it.
        say: takes a note.
    """

    def __init__(self, clip: Clip, keep_range: bool, say: Callable[[str], None]) -> None:
        self.clip, self.keep_range, self.say = clip, keep_range, say
        self._scaled = False
        self._span: int | None = None

    def __call__(self, picture: VideoFrame) -> VideoFrame:
        """Return the picture, rearranged into planes, or scaled."""
        clip, name = self.clip, picture.format.name
        if (picture.width, picture.height) != (clip.width, clip.height):
            if not self._scaled:
                self._scaled, at = True, float(picture.pts * clip.time_base)  # type: ignore[operator]
                size = f"{clip.width}x{clip.height} to {picture.width}x{picture.height}"
                self.say(f"the size changes from {size} at {at:.2f} s: the clip is scaled to its first size")
            return picture.reformat(clip.width, clip.height, clip.pixel_format)
        if picture.key_frame or self._span is None:  # FFmpeg tags the last pictures before a change with what comes
            self._span = FULL_RANGE if name.startswith("yuvj") else int(picture.color_range)
        span = self._span
        turned = span in (1, 2) and (span == FULL_RANGE) != clip.colour.full_range and not self.keep_range
        if turned and not clip.coding.rgb:
            spans = {"src_color_range": span, "dst_color_range": 3 - span}
            return picture.reformat(format=clip.pixel_format, **spans)
        if name.replace("yuvj", "yuv") == clip.pixel_format:
            return picture
        if name == "pal8":
            picture = picture.reformat(format="bgra")
        return picture.reformat(format=clip.pixel_format)
