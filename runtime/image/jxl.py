"""JPEG XL by libjxl (imagecodecs, of the extra `pictures`): pixels, EXIF and XMP; colours of sRGB alone.

imagecodecs tells nothing of a file's colours, so the header is read here (ISO 18181-1, annex A and D), and what is not
sRGB is refused.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from cliplit.arrays import Array
from cliplit.errors import InputError, first_line

from . import boxes, exif, icc
from .by_pillow import lost
from .extra import needs
from .picture import Belongings, Picture

CODESTREAM, CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
SRGB, D65, SRGB_PRIMARIES, GRAY = 13, 1, 1, 1


def library() -> Any:
    try:
        import imagecodecs
    except ImportError as error:
        raise needs("imagecodecs", "JPEG XL") from error
    return imagecodecs


class Bits:
    """Fields of a header, least significant bit first."""

    def __init__(self, data: bytes) -> None:
        self._number, self._at = int.from_bytes(data[:4096], "little"), 0

    def u(self, count: int) -> int:
        value = (self._number >> self._at) & ((1 << count) - 1)
        self._at += count
        return value

    def u32(self, *choices: tuple[int, int]) -> int:
        """Read one of four forms: (constant, further bits)."""
        constant, count = choices[self.u(2)]
        return constant + self.u(count)

    def enum(self) -> int:
        return self.u32((0, 0), (1, 0), (2, 4), (18, 6))


def codestream(data: bytes) -> bytes:
    """Return the codestream, out of its container if there is one."""
    if not data.startswith(CONTAINER):
        return data
    start = {b"jxlc": 0, b"jxlp": 4}  # bytes before the codestream, which may come in parts
    return b"".join(content[start[kind] :] for kind, content in boxes.boxes(data) if kind in start)


def size_of(data: bytes) -> tuple[int, int]:
    """(H, W) by the header."""
    return _size(Bits(codestream(data)[2:]))


def _size(bits: Bits) -> tuple[int, int]:
    sides = ((1, 9), (1, 13), (1, 18), (1, 30))
    small = bits.u(1)
    height = 8 * (bits.u(5) + 1) if small else bits.u32(*sides)
    ratio = bits.u(3)
    if ratio:
        across, down = RATIOS[ratio]
        return height, height * across // down
    return height, 8 * (bits.u(5) + 1) if small else bits.u32(*sides)


def problem(data: bytes) -> str:
    """Say why the colours or the form of a file are not supported; empty if they are."""
    bits = Bits(codestream(data)[2:])
    _size(bits)
    if bits.u(1):  # all as by default: 8 bits, sRGB
        return ""
    if bits.u(1):  # extra fields
        bits.u(3)
        if bits.u(1):
            _size(bits)
        if bits.u(1):
            return "with a preview"
        if bits.u(1):
            return "animated"
    _depth(bits)
    bits.u(1)
    for _ in range(bits.u32((0, 0), (1, 0), (2, 4), (1, 12))):
        if bits.u(1):
            continue
        kind = bits.enum()
        _depth(bits)
        bits.u32((0, 0), (3, 0), (4, 0), (1, 3))
        named = bits.u32((0, 0), (0, 4), (16, 5), (48, 10))
        bits.u(8 * named)
        if kind == 0:
            if bits.u(1):
                return "with colours multiplied by alpha"
        else:
            return "with channels besides colour and alpha"
    bits.u(1)
    if bits.u(1):
        return ""
    if bits.u(1):
        return "with an ICC profile"
    space = bits.enum()
    white = bits.enum()
    red = bits.enum() if space != GRAY else SRGB_PRIMARIES
    plain = space in (0, GRAY) and white == D65 and red == SRGB_PRIMARIES and not bits.u(1) and bits.enum() == SRGB
    return "" if plain else "of other colours than sRGB"


def _depth(bits: Bits) -> None:
    if bits.u(1):  # floating point
        bits.u32((32, 0), (16, 0), (24, 0), (1, 6))
        bits.u(4)
    else:
        bits.u32((8, 0), (10, 0), (12, 0), (1, 6))


def read(data: bytes, where: str) -> Picture:
    """Decode 8 to 16 bits of sRGB; libjxl turns the picture upright."""
    imagecodecs = library()
    if reason := problem(data):
        raise InputError(f"{where}: JPEG XL {reason} is not supported")
    try:
        pixels = imagecodecs.jpegxl_decode(data)
    except Exception as error:  # types of its own
        raise InputError(f"{where}: a damaged JPEG XL picture ({first_line(error)})") from error
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{where}: JPEG XL of {pixels.dtype}, shape {pixels.shape}, is not supported")
    samples = pixels.shape[2]
    gray = samples < 3
    if gray:
        pixels = np.dstack([pixels[..., :1]] * 3 + ([pixels[..., 1:]] if samples == 2 else []))
    found: dict[bytes, bytes] = dict(boxes.boxes(data)) if data.startswith(CONTAINER) else {}
    block = found.get(b"Exif", b"")
    if len(block) > 4:
        block = block[4 + struct.unpack_from(">I", block)[0] :]
    notes = ("left out: compressed metadata (a brob box)",) if b"brob" in found else ()
    belongings = Belongings(
        exif=exif.with_orientation_1(block), resolution=exif.resolution_of(block), xmp=found.get(b"xml ", b"")
    )
    return Picture(np.ascontiguousarray(pixels), gray, belongings, notes)


def encode(pixels: Array, gray: bool, belongings: Belongings, quality: int) -> tuple[bytes, list[str]]:
    """Encode 8 bits, upright, at the distance that cjxl takes for a quality; imagecodecs would call 16 bits linear."""
    if belongings.icc and not icc.is_srgb(belongings.icc):
        raise InputError("JPEG XL is written as sRGB alone, and this picture's profile is another; use .png or .tif")
    if gray and pixels.shape[2] == 3:
        pixels = np.ascontiguousarray(pixels[..., 0])
    distance = 0.1 + (100 - quality) * 0.09 if quality < 100 else 0.0
    data = library().jpegxl_encode(pixels, distance=distance, lossless=quality == 100, usecontainer=True)
    block = exif.completed(belongings.exif, belongings.texts, belongings.resolution)
    if block:
        data += struct.pack(">I4sI", 12 + len(block), b"Exif", 0) + block
    if belongings.xmp:
        data += struct.pack(">I4s", 8 + len(belongings.xmp), b"xml ") + belongings.xmp
    notes = lost(belongings)
    if belongings.icc:
        notes.append("JPEG XL is written without the ICC profile, which is that of sRGB")
    return data, notes
