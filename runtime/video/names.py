"""What a name that a user gives stands for, and how FFmpeg is told that a file is a file.

FFmpeg and OpenCV take every name for an address or a device if it looks like one: `10:30.mp4` for a protocol "10",
`a ! b.mp4` for a GStreamer pipeline, `0` for a camera. So what exists as a file is a file, whatever its name, and all
that opens local media gets its name from `local`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

Origin = Literal["pipe", "file", "camera", "pipeline", "address"]

DEVICE = re.compile(r"/dev/video\d+")
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
LIVE_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtp", "udp", "srt", "mms")


def origin_of(name: str) -> Origin:
    """Tell what IN or OUT of a command stands for: "-" is a pipe, what exists is a file (or a folder of them)."""
    if name == "-":
        return "pipe"
    if DEVICE.fullmatch(name):
        return "camera"
    if exists(name):
        return "file"
    if name.isascii() and name.isdecimal():
        return "camera"
    if " ! " in name:
        return "pipeline"
    return "address" if ADDRESS.match(name) else "file"


def is_live(name: str) -> bool:
    """Tell whether a name stands for a camera, a GStreamer pipeline, or an address of a kind that is a live stream."""
    origin = origin_of(name)
    if origin == "address":
        return name.partition("://")[0].lower() in LIVE_SCHEMES
    return origin in ("camera", "pipeline")


def local(path: Path | str) -> str:
    """Return the address by which FFmpeg opens a local file of any name, and nothing but a file."""
    return f"file:{path}"


def exists(name: Path | str) -> bool:
    """Return whether there is something of that name; a name that no file can have is none."""
    try:
        return Path(name).exists()
    except (OSError, ValueError):
        return False
