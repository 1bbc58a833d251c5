"""The table of picture formats: how each is recognised, measured before it is decoded, read and written.

Why these libraries. Tried on files with all of it: libvips 8.18 (20 MB) wrote "? 2026 J?rgen" for "© 2026 Jürgen",
dropped EXIF from TIFF and cICP from PNG, and its wheel has no JPEG XL, OpenEXR or raw. Exiv2 is under the GPL. Pillow
holds no 16-bit colour, and re-serialises what it read. So Pillow, OpenCV and tifffile, which a light installation has,
code the pixels; metadata is carried as bytes by small modules here; and the extra `pictures` adds pillow-heif,
imagecodecs, OpenEXR and rawpy, each imported when a file needs it.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from cliplit.arrays import Array
from cliplit.errors import InputError

from ..folders import FileKind
from . import boxes, by_pillow, heif, icc, jpeg, jxl, linear, png, raw, tiff
from .picture import Belongings, Picture

Encoded = tuple[bytes, list[str]]
Writer = Callable[[Array, bool, Belongings, int], Encoded]
BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # bytes of those there are


@dataclass(frozen=True)
class Format:
    """A row of the table.

    Attributes:
        size: of a file's content, (H, W), without decoding it.
        read: decode (content, its name for messages).
        write: encode (pixels, gray, belongings, quality), None for what is only read.
        deep: is written from uint16.
        bits: a sample that are written at most.
        alpha: holds transparency.
        turns: holds an orientation; others are written upright.
        linear: holds linear float.
        longest: side in pixels.
    """

    name: str
    suffixes: tuple[str, ...]
    size: Callable[[bytes, str], tuple[int, int]]
    read: Callable[[bytes, str], Picture]
    write: Writer | None = None
    deep: bool = False
    bits: int = 8
    alpha: bool = True
    turns: bool = True
    linear: bool = False
    longest: int = 1 << 30


def size_by_pillow(name: str) -> Callable[[bytes, str], tuple[int, int]]:
    """Make a function that asks Pillow, which reads no more than the header."""

    def size(data: bytes, where: str) -> tuple[int, int]:
        with Image.open(io.BytesIO(data), formats=[name]) as image:
            return image.height, image.width

    return size


def read_jpeg(data: bytes, where: str) -> Picture:
    """Decode the first picture of a file; CMYK by its profile. Raises InputError where the last marker is missing."""
    parts = jpeg.take_apart(data)
    if not parts.ended:
        raise InputError(f"{where}: a damaged picture (it is cut off: the last marker is missing)")
    belongings, notes = jpeg.belongings_of(parts)
    notes += jpeg.damage(parts.codestream)
    with Image.open(io.BytesIO(parts.codestream), formats=["JPEG"]) as image:
        gray = image.mode == "L"
        if image.mode == "CMYK":
            if belongings.icc and icc.channels(belongings.icc) == "CMYK":
                shown = icc.to_srgb(image, belongings.icc)
                notes.append("CMYK was converted to sRGB by its profile")
            else:
                shown = image.convert("RGB")
                notes.append("CMYK without a profile was converted by the plain formula; its colours are a guess")
            return Picture(np.asarray(shown), False, _without_profile(belongings), tuple(notes))
        if image.mode not in ("L", "RGB"):
            raise InputError(f"{where}: JPEG of {image.mode} colours is not supported")
        return Picture(np.asarray(image.convert("RGB")), gray, belongings, tuple(notes))


def _without_profile(belongings: Belongings) -> Belongings:
    return replace(belongings, icc=b"")


def size_of_jpeg(data: bytes, where: str) -> tuple[int, int]:
    codestream = jpeg.take_apart(data).codestream
    if (depth := jpeg.depth_of(codestream)) not in (0, 8):
        raise InputError(f"{where}: JPEG of {depth} bits is not supported; save it as 16-bit PNG or TIFF in an editor")
    with Image.open(io.BytesIO(codestream), formats=["JPEG"]) as image:
        return image.height, image.width


def write_jpeg(pixels: Array, gray: bool, belongings: Belongings, quality: int) -> Encoded:
    return jpeg.encode(Image.fromarray(pixels).convert("L" if gray else "RGB"), belongings, quality)


def without_quality(encode: Callable[[Array, bool, Belongings], Encoded]) -> Writer:
    """Adapt the writers of formats that lose nothing."""
    return lambda pixels, gray, belongings, quality: encode(pixels, gray, belongings)


FORMATS = (
    Format("PNG", (".png",), lambda data, where: png.size_of(data), png.read, without_quality(png.encode), deep=True,
           bits=16),
    Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), size_of_jpeg, read_jpeg, write_jpeg, alpha=False, longest=65500),
    Format("TIFF", (".tif", ".tiff"), tiff.size_of, tiff.read, without_quality(tiff.encode), deep=True, bits=16),
    Format("WEBP", (".webp",), size_by_pillow("WEBP"), by_pillow.read_webp, by_pillow.encode_webp, longest=16383),
    Format("AVIF", (".avif",), size_by_pillow("AVIF"), by_pillow.read_avif, by_pillow.encode_avif, turns=False,
           longest=65536),
    Format("BMP", (".bmp",), size_by_pillow("BMP"), by_pillow.read_bmp, without_quality(by_pillow.encode_bmp),
           alpha=False, turns=False, longest=65535),
    Format("HEIC", (".heic", ".heif"), heif.size_of, heif.read_heic, heif.encode_heic, deep=True, bits=10, turns=False,
           longest=16384),
    Format("JPEG XL", (".jxl",), lambda data, where: jxl.size_of(data), jxl.read, jxl.encode, turns=False),
    Format("OpenEXR", (".exr",), lambda data, where: linear.exr_size(data), linear.read_exr,
           without_quality(linear.encode_exr), linear=True, turns=False),
    Format("Radiance HDR", (".hdr", ".pic"), lambda data, where: linear.radiance_header(data, where)[1],
           linear.read_radiance, without_quality(linear.encode_radiance), linear=True, alpha=False, turns=False),
    Format("camera raw", raw.SUFFIXES, raw.size_of, raw.read),
)  # fmt: skip
BY_NAME = {form.name: form for form in FORMATS}
BY_SUFFIX = {suffix: form for form in FORMATS for suffix in form.suffixes}
WRITTEN = tuple(suffix for suffix, form in BY_SUFFIX.items() if form.write)
DEVELOPED = ".tif"  # what camera raw becomes: 16 bits
PICTURES = FileKind("pictures", tuple(BY_SUFFIX), dict.fromkeys(raw.SUFFIXES, DEVELOPED))
CLIP_MARKS = ((0, b"\x1aE\xdf\xa3"), (0, b"GIF8"), (0, b"\0\0\x01\xba"), (0, b"FLV\x01"), (4, b"ftyp"), (8, b"AVI "))


def recognised(data: bytes, where: str) -> Format:
    """Name the format by the content, never by the suffix. Raises InputError for what is none of the table."""
    name = ""
    if data.startswith(png.SIGNATURE):
        name = "PNG"
    elif data.startswith(jpeg.SOI + b"\xff"):
        name = "JPEG"
    elif data.startswith(raw.MAGIC):
        name = "camera raw"
    elif data.startswith(tiff.MAGIC):
        name = "camera raw" if tiff.raw_reason(data) else "TIFF"
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        name = "WEBP"
    elif data.startswith((jxl.CODESTREAM, jxl.CONTAINER)):
        name = "JPEG XL"
    elif data.startswith(linear.EXR_MAGIC):
        name = "OpenEXR"
    elif data.startswith(linear.RADIANCE_MAGIC):
        name = "Radiance HDR"
    elif data[:2] == b"BM" and len(data) > 26 and struct.unpack_from("<I", data, 14)[0] in BMP_HEADERS:
        name = "BMP"
    elif found := boxes.brand(data):
        name = {"HEIF": "HEIC", "raw": "camera raw"}.get(found, found)
    if name:
        return BY_NAME[name]
    if not data:
        raise InputError(f"{where}: an empty file")
    if any(data[at : at + len(mark)] == mark for at, mark in CLIP_MARKS):
        raise InputError(f"{where}: a clip or an animation, for cliplit-video")
    raise InputError(f"{where}: not a picture that can be read ({', '.join(form.name for form in FORMATS)})")
