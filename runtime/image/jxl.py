"""JPEG XL by libjxl (imagecodecs, of the extra `pictures`): pixels, EXIF and XMP; written as sRGB alone.

imagecodecs tells nothing of a file's colours, and returns the numbers that the file says, so the header is read here
(ISO 18181-1, annex A and D). What it says by an ICC profile, which is compressed in a way of its own, is refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from cliplit.arrays import Array
from cliplit.errors import InputError, first_line

from . import boxes, exif, icc
from .by_pillow import cicp, lost, to_8, to_16
from .extra import needs
from .picture import Belongings, Cicp, Picture

CODESTREAM, CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
GRAY, XYB = 1, 2  # ColourSpace
D65, WHITE_DCI = 1, 11
PRIMARIES = {(1, D65): 1, (9, D65): 9, (11, D65): 12, (11, WHITE_DCI): 11}  # with the white -> ITU-T H.273
TRANSFERS = (1, 8, 13, 16, 18)  # the numbers of H.273; 8 is linear, 13 sRGB
LINEAR = 8
HELP = "make a PNG of it with: djxl IN.jxl OUT.png"


@dataclass(frozen=True)
class Header:
    """What the header says: why the file is not supported or "", bits a sample, floating point, H.273 code points."""

    problem: str = ""
    bits: int = 8
    floats: bool = False
    code: Cicp | None = None


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


def header(data: bytes) -> Header:
    """Read depth and colours of a file."""
    bits = Bits(codestream(data)[2:])
    _size(bits)
    if bits.u(1):  # all as by default: 8 bits, sRGB
        return Header()
    if bits.u(1):  # extra fields
        bits.u(3)
        if bits.u(1):
            _size(bits)
        if bits.u(1):
            return Header("with a preview")
        if bits.u(1):
            return Header("animated")
    floats, depth = _depth(bits)
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
                return Header("with colours multiplied by alpha")
        else:
            return Header("with channels besides colour and alpha")
    bits.u(1)
    if bits.u(1):
        return Header("", depth, floats)
    if bits.u(1):
        return Header("with an ICC profile")
    space = bits.enum()
    white = bits.enum() if space != XYB else D65
    named = bits.enum() if space not in (GRAY, XYB) and white != 2 else 1  # numbers follow a white of one's own
    primaries = PRIMARIES.get((named, white))
    gamma = bits.u(1) if space != XYB else 1
    transfer = 0 if gamma else bits.enum()
    if space not in (0, GRAY) or primaries is None or transfer not in TRANSFERS:
        return Header("of colours by numbers of its own")
    return Header("", depth, floats, cicp((primaries, transfer, 0, True)))


def _depth(bits: Bits) -> tuple[bool, int]:
    floats = bool(bits.u(1))
    if floats:
        depth = bits.u32((32, 0), (16, 0), (24, 0), (1, 6))
        bits.u(4)
    else:
        depth = bits.u32((8, 0), (10, 0), (12, 0), (1, 6))
    return floats, depth


def read(data: bytes, where: str) -> Picture:
    """Decode 8 to 16 bits, or linear float; libjxl turns the picture upright."""
    imagecodecs = library()
    said = header(data)
    if said.problem:
        raise InputError(f"{where}: JPEG XL {said.problem} is not supported; {HELP}")
    try:
        pixels = imagecodecs.jpegxl_decode(data)
    except Exception as error:  # types of its own
        raise InputError(f"{where}: a damaged JPEG XL picture ({first_line(error)})") from error
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    code = said.code
    if said.floats:
        if code is None or (code.primaries, code.transfer) != (1, LINEAR):
            raise InputError(f"{where}: JPEG XL of floating point that is not linear is not supported; {HELP}")
        pixels, code = pixels.astype(np.float32), None
    if pixels.ndim != 3 or pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise InputError(f"{where}: JPEG XL of {pixels.dtype}, shape {pixels.shape}, is not supported")
    if pixels.dtype == np.uint16:  # imagecodecs returns codes as they are stored
        pixels = to_16(pixels, said.bits)
    elif pixels.dtype == np.uint8 and said.bits < 8:
        pixels = to_8(to_16(pixels, said.bits))
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
        exif=exif.with_orientation_1(block),
        resolution=exif.resolution_of(block),
        xmp=found.get(b"xml ", b""),
        cicp=code,
    )
    return Picture(np.ascontiguousarray(pixels), gray, belongings, notes, said.bits)


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
