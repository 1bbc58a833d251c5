"""The cropping that a container asks for, which FFmpeg's libraries read and PyAV does not give: from the headers.

Matroska: PixelCropBottom, -Top, -Left, -Right (RFC 9559, 5.1.4.1.28.8 to .11). MP4 and MOV: the clean aperture, `clap`
(ISO/IEC 14496-12, 12.1.4). It is applied, as players and ffmpeg (since 7.1) do: the rest is not meant to be seen.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

HEAD = 4 << 20  # bytes of a Matroska file in which its tracks are looked for
MOST = 64 << 20  # bytes of a moov box
TRACKS = bytes.fromhex("1654AE6B")
SEEK_ID = bytes.fromhex("53AB84")
TRACK, TYPE, VIDEO = b"\xae", b"\x83", b"\xe0"  # TrackEntry, TrackType, Video
CROPS = [bytes.fromhex(code) for code in ("54CC", "54BB", "54DD", "54AA")]  # in the order of `Crop`


class Crop(NamedTuple):
    """Columns and rows to take away at each side."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def rounded(self, columns: int, rows: int) -> Crop:
        """Return what begins at a chroma sample: a little less is taken away."""
        return self._replace(left=self.left // columns * columns, top=self.top // rows * rows)


def cropping_asked(path: Path, form: str, number: int, size: tuple[int, int]) -> Crop:
    """Return what the container wants hidden of the video track `number`, counted from 0, of (width, height)."""
    tracks: list[Crop] = []
    try:
        if "matroska" in form:
            with path.open("rb") as file:
                tracks = list(matroska_crops(file.read(HEAD)))
        elif "mov" in form:
            tracks = list(aperture_crops(movie_box(path), size))
    except (OSError, struct.error, IndexError):
        pass
    crop = tracks[number] if number < len(tracks) else Crop()
    inside = min(crop) >= 0 and crop.left + crop.right < size[0] and crop.top + crop.bottom < size[1]
    return crop if inside else Crop()


def matroska_crops(data: bytes) -> Iterator[Crop]:
    """Yield the crop of each video track."""
    at = data.find(TRACKS)
    while at >= 0 and data[at - 3 : at] == SEEK_ID:  # the table of contents names it, too
        at = data.find(TRACKS, at + 1)
    if at < 0:
        return
    for name, track in elements(data[at:]):
        for kind, entry in elements(track) if name == TRACKS else ():
            inside = dict(elements(entry)) if kind == TRACK else {}
            if inside.get(TYPE) == b"\x01":
                named = dict(elements(inside.get(VIDEO, b"")))
                yield Crop(*(int.from_bytes(named.get(code, b""), "big") for code in CROPS))
        return


def elements(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield EBML elements: (name, content)."""
    at = 0
    while at < len(data) and data[at]:
        width = 9 - data[at].bit_length()
        length, body = number(data, at + width)
        yield data[at : at + width], data[body : body + length]
        at = body + length


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


def aperture_crops(data: bytes, size: tuple[int, int]) -> Iterator[Crop]:
    """Yield the crop of each video track of (width, height); editors write an aperture of the whole picture, too."""
    for track in data.split(b"trak")[1:]:
        if b"vide" not in track or b"hdlr" not in track:
            continue
        at = track.find(b"\0\0\0\x28clap")
        yield crop_of(struct.unpack(">8i", track[at + 8 : at + 40]), size) if at >= 0 else Crop()


def crop_of(aperture: tuple[int, ...], size: tuple[int, int]) -> Crop:
    """Convert a clean aperture: width, height, and the distance of its centre from the picture's, as fractions."""
    if not all(aperture[1::2]):
        return Crop()
    width, height, right, down = (Fraction(n, d) for n, d in zip(aperture[::2], aperture[1::2], strict=True))
    left, top = (size[0] - width) / 2 + right, (size[1] - height) / 2 + down
    return Crop(round(left), round(top), size[0] - round(left) - round(width), size[1] - round(top) - round(height))
