"""What changes within a clip, or hangs on its pictures and cannot be written again: said once, with the time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from av.video.frame import VideoFrame

from ..light.colour import UNSPECIFIED
from .fields import Order

PAN, OFFSETS = "PANSCAN", 12  # AVPanScan: three numbers, then offsets that are all 0 where MPEG-2 says nothing
LOST = {
    "SPHERICAL": "the tag of 360-degree video",
    "ICC_PROFILE": "the ICC profile", "AMBIENT_VIEWING_ENVIRONMENT": "the ambient viewing environment",
    "S12M_TIMECODE": "the time code of single pictures", "AFD": "the active format description",
    PAN: "pan and scan",
    "DOVI_METADATA": "Dolby Vision metadata", "DOVI_RPU_BUFFER": "Dolby Vision metadata",
    "DYNAMIC_HDR_PLUS": "HDR10+ metadata", "DYNAMIC_HDR_VIVID": "HDR Vivid metadata",
}  # fmt: skip
CAPTIONS, STEREO = "A53_CC", "STEREO3D"  # which some encoders write again


SPANS = {1: "limited", 2: "full"}
KEPT_AS_IT_BEGINS = "the clip is tagged as it begins"
STATIC = {
    "DISPLAYMATRIX": "the rotation", "MASTERING_DISPLAY_METADATA": "the mastering display",
    "CONTENT_LIGHT_LEVEL": "the light level",
}  # fmt: skip


class Changes:
    """Watches the pictures of a clip.

    Args:
        say: takes a note.
        known: kinds of side data that were told of already.
        matrix: the code point that stands for untagged pictures.

    Attributes:
        captions, stereo: whether a picture carried closed captions, and the tag of stereo video.
    """

    def __init__(self, say: Callable[[str], None], known: set[str], matrix: int) -> None:
        self.say, self.matrix = say, matrix
        self.captions = self.stereo = False
        self._told = set(known)
        self._first: dict[str, Any] | None = None

    def __call__(self, picture: VideoFrame, scan: Order, context: Any, data: Mapping[str, bytes]) -> None:
        """Look at a picture, its scan, its decoder, and its side data."""
        at = f"{float(picture.pts * picture.time_base):.2f} s" if picture.pts is not None and picture.time_base else "?"
        kinds = {kind for kind in data if kind != PAN or any(data[PAN][OFFSETS:])}
        self.captions |= CAPTIONS in kinds
        self.stereo |= STEREO in kinds
        for what in sorted({LOST[kind] for kind in kinds & set(LOST) if kind not in self._told}):
            self.say(f"{what} is left out, from {at} on: it cannot be written again")
        self._told |= kinds & set(LOST)
        now: dict[str, Any] = {
            "the scan": "progressive" if scan == "progressive" else "interlaced",
            "the pixel format": picture.format.name.replace("yuvj", "yuv"),
            **{name: data.get(kind) for kind, name in STATIC.items()},
        }
        if picture.key_frame:  # FFmpeg gives the last pictures before a change the tags of what comes
            now |= {
                "the range": "full" if picture.format.name.startswith("yuvj") else SPANS.get(int(picture.color_range)),
                "the matrix": tagged(picture.colorspace) or self.matrix,
                "the primaries": tagged(picture.color_primaries),
                "the transfer": tagged(picture.color_trc),
                "the sample aspect": str(context.sample_aspect_ratio),
            }
        if self._first is None:
            self._first = {
                **now,
                "the range": now.get("the range") or "limited",
            }  # which untagged pictures are taken for
            return
        for what, value in now.items():
            before = self._first.get(what)
            if value is None or value == before or what in self._told:
                continue  # what is not said goes on as it was
            self._told.add(what)
            self.say(said(what, before, value, at))


def tagged(code: int) -> int | None:
    """Return a code point of ITU-T H.273; None for "unspecified"."""
    return None if code == UNSPECIFIED else int(code)


def said(what: str, before: Any, value: Any, at: str) -> str:
    """Word a change."""
    if what in STATIC.values():
        return f"{what} changes at {at}: {KEPT_AS_IT_BEGINS}"
    follows = KEPT_AS_IT_BEGINS
    if what in ("the pixel format", "the range"):
        follows = "the clip is converted"
    elif what == "the scan":
        follows = "all of it is written as it begins"
    verb = "change" if what == "the primaries" else "changes"
    return f"{what} {verb} from {before or 'untagged'} to {value} at {at}: {follows}"
