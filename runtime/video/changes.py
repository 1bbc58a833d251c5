"""What changes within a clip, or hangs on its pictures and cannot be written again: said once, with the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from av.video.frame import VideoFrame

LOST = {
    "SPHERICAL": "the tag of 360-degree video", "STEREO3D": "the tag of stereo (3D) video",
    "ICC_PROFILE": "the ICC profile", "AMBIENT_VIEWING_ENVIRONMENT": "the ambient viewing environment",
    "S12M_TIMECODE": "the time code of single pictures", "AFD": "the active format description",
    "PANSCAN": "pan and scan",
    "DOVI_METADATA": "Dolby Vision metadata", "DOVI_RPU_BUFFER": "Dolby Vision metadata",
    "DYNAMIC_HDR_PLUS": "HDR10+ metadata", "DYNAMIC_HDR_VIVID": "HDR Vivid metadata",
}  # fmt: skip
CAPTIONS = "A53_CC"


class Changes:
    """Watches the pictures of a clip.

    Args:
        say: takes a note.
        known: kinds of side data that were told of already.

    Attributes:
        captions: whether a picture carried closed captions.
    """

    def __init__(self, say: Callable[[str], None], known: set[str]) -> None:
        self.say, self.captions = say, False
        self._told = set(known)
        self._first: dict[str, Any] | None = None

    def __call__(self, picture: VideoFrame, context: Any, kinds: set[str]) -> None:
        """Look at a picture, its decoder, and the kinds of its side data."""
        at = f"{float(picture.pts * picture.time_base):.2f} s" if picture.pts is not None and picture.time_base else "?"
        self.captions |= CAPTIONS in kinds
        for what in sorted({LOST[kind] for kind in kinds & set(LOST) if kind not in self._told}):
            self.say(f"{what} is left out, from {at} on: it cannot be written again")
        self._told |= kinds
        now = {
            "scan": "interlaced" if picture.interlaced_frame else "progressive",
            "pixel format": picture.format.name,
            "range": {1: "limited", 2: "full"}.get(int(picture.color_range), "untagged"),
            "matrix": int(picture.colorspace),
            "primaries": int(picture.color_primaries),
            "transfer": int(picture.color_trc),
            "sample aspect": str(context.sample_aspect_ratio),
        }
        if self._first is None:
            self._first = now
            return
        for what, value in now.items():
            if value != self._first[what] and what not in self._told:
                self._told.add(what)
                follows = "is converted" if what in ("pixel format", "range") else "is tagged as it begins"
                self.say(f"the {what} changes from {self._first[what]} to {value} at {at}: the clip {follows}")
