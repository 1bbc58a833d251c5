"""The cropping that a container asks for, which FFmpeg's libraries read and PyAV does not give: from the headers.

Matroska: PixelCropBottom, -Top, -Left, -Right (RFC 9559, 5.1.4.1.28.8 to .11). MP4 and MOV: the clean aperture, `clap`
(ISO/IEC 14496-12, 12.1.4).
"""

from __future__ import annotations

import struct
from pathlib import Path

HEAD = 4 << 20  # bytes of a Matroska file in which its tracks are looked for
MOST = 64 << 20  # bytes of a moov box
TRACKS = bytes.fromhex("1654AE6B")
SEEK_ID = bytes.fromhex("53AB84")
CROPS = {bytes.fromhex(code) for code in ("54AA", "54BB", "54CC", "54DD")}


def cropping_asked(path: Path, form: str, size: tuple[int, int]) -> bool:
    """Tell whether the container of a clip of (width, height) wants rows or columns hidden."""
    try:
        with path.open("rb") as file:
            if "matroska" in form:
                return matroska_crops(file.read(HEAD))
            if "mov" in form:
                return aperture_crops(movie_box(path), size)
    except (OSError, struct.error, IndexError):
        pass
    return False


def matroska_crops(data: bytes) -> bool:
    """Look for a crop that is not 0 among the tracks."""
    at = data.find(TRACKS)
    while at >= 0 and data[at - 3 : at] == SEEK_ID:  # the table of contents names it, too
        at = data.find(TRACKS, at + 1)
    if at < 0:
        return False
    length, body = number(data, at + 4)
    return crops_in(data[body : body + length])


def crops_in(data: bytes) -> bool:
    """Walk through EBML elements; enter the two that hold others (TrackEntry, Video)."""
    at = 0
    while at < len(data):
        width = 9 - data[at].bit_length()
        name = data[at : at + width]
        length, body = number(data, at + width)
        content = data[body : body + length]
        if name in CROPS and any(content):
            return True
        if name in (b"\xae", b"\xe0") and crops_in(content):
            return True
        at = body + length
    return False


def number(data: bytes, at: int) -> tuple[int, int]:
    """Read an EBML number of variable length; return it and where what follows begins."""
    width = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    return value, at + width


def movie_box(path: Path) -> bytes:
    """Read the moov box; empty if there is none."""
    with path.open("rb") as file:
        while len(head := file.read(8)) == 8:
            size, name = struct.unpack(">I4s", head)
            skipped = 8
            if size == 1:
                size, skipped = struct.unpack(">Q", file.read(8))[0], 16
            if name == b"moov":
                return file.read(min(size - skipped, MOST))
            if size < skipped:
                break
            file.seek(size - skipped, 1)
    return b""


def aperture_crops(data: bytes, size: tuple[int, int]) -> bool:
    """Look for a clean aperture that is smaller than the picture; editors write one of its size."""
    at = -1
    while (at := data.find(b"\0\0\0\x28clap", at + 1)) >= 0:
        width, of_width, height, of_height = struct.unpack(">4I", data[at + 8 : at + 24])
        if of_width and of_height and (width < size[0] * of_width or height < size[1] * of_height):
            return True
    return False
