"""What Pillow reads and writes with its metadata: WebP, AVIF, BMP.

AVIF needs Pillow 11.3; its 10 and 12 bits, which Pillow would cut to 8, are decoded by imagecodecs (extra `pictures`).
"""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image, features

from cliplit.arrays import Array
from cliplit.errors import BackendError, InputError

from . import boxes, exif, icc
from .extra import needs
from .picture import Belongings, Cicp, Picture

METRE = Fraction(10000, 254)  # inches


def read_avif(data: bytes, where: str) -> Picture:
    """Decode AVIF of 8, 10 or 12 bits."""
    code = boxes.nclx(data)
    found = dict(boxes.boxes(data))
    depth = avif_depth(found.get(b"av1C", b""))
    if not features.check("avif"):
        raise BackendError(f"{where}: AVIF needs Pillow 11.3 or later, built with libavif")
    with Image.open(io.BytesIO(data), formats=["AVIF"]) as image:
        if getattr(image, "n_frames", 1) > 1:
            raise InputError(
                f"{where}: holds {getattr(image, 'n_frames', 0)} pictures (animated); only one is supported"
            )
        # Pillow makes an orientation of irot and imir, and a new block with it: the one in the file is taken.
        block = exif.with_orientation(boxes.exif_item(data).removeprefix(exif.PREFIX), boxes.orientation(found))
        belongings = replace(from_pillow(image, code), exif=block)
        alpha = "A" in image.mode
        if depth == 8:
            pixels = np.asarray(image.convert("RGBA" if alpha else "RGB"))
    if depth > 8:
        if b"irot" in found or b"imir" in found:
            raise InputError(f"{where}: a turned AVIF of {depth} bits, which is not supported")
        pixels = _avif_deep(data, where, depth)
    gray = bool(found.get(b"av1C", b"\0\0\0")[2] & 0x10)
    return Picture(pixels, gray, belongings, bits=depth)


def avif_depth(configuration: bytes) -> int:
    """Bits a sample, by the AV1 codec configuration box."""
    flags = configuration[2] if len(configuration) > 2 else 0
    return (12 if flags & 0x20 else 10) if flags & 0x40 else 8


def _avif_deep(data: bytes, where: str, depth: int) -> Array:
    try:
        import imagecodecs
    except ImportError as error:
        raise needs("imagecodecs", f"{where}: AVIF of {depth} bits") from error
    pixels = imagecodecs.avif_decode(data)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    if pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise InputError(f"{where}: AVIF of {pixels.dtype}, shape {pixels.shape}, is not supported")
    return to_16(pixels, depth)


def to_16(pixels: Array, depth: int) -> Array:
    """Stretch codes of fewer bits over 16."""
    top = (1 << depth) - 1
    return ((pixels.astype(np.uint32) * 65535 + top // 2) // top).astype(np.uint16)


def to_8(pixels: Array) -> Array:
    """Round uint16 to the nearest uint8."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def from_pillow(image: Image.Image, code: tuple[int, int, int, bool] | None = None) -> Belongings:
    """Take what a plug-in of Pillow returns as bytes: AVIF's and WebP's."""
    block = image.info.get("exif") or b""
    block = bytes(block).removeprefix(exif.PREFIX)
    return Belongings(
        exif=block, resolution=exif.resolution_of(block), icc=image.info.get("icc_profile") or b"",
        xmp=image.info.get("xmp") or b"", cicp=None if image.info.get("icc_profile") else cicp(code),
    )  # fmt: skip


def cicp(code: tuple[int, int, int, bool] | None) -> Cicp | None:
    """Return code points for RGB; None where they say sRGB, which needs no saying."""
    if code is None or (code[0] in (1, 2) and code[1] in (1, 2, 6, 13)):
        return None
    return Cicp(code[0], code[1])


def encode_avif(pixels: Array, gray: bool, belongings: Belongings, quality: int) -> tuple[bytes, list[str]]:
    """Encode 8 bits, 4:4:4."""
    if not features.check("avif"):
        raise BackendError("AVIF needs Pillow 11.3 or later, built with libavif")
    block, notes = exif.sound(belongings.exif)
    belongings = replace(belongings, exif=exif.without_orientation(block))  # with one, Pillow writes the block anew
    data, lost = by_pillow(pixels, gray, belongings, "AVIF", {"quality": quality, "subsampling": "4:4:4"})
    return data, notes + lost


def by_pillow(
    pixels: Array, gray: bool, belongings: Belongings, form: str, options: dict[str, Any]
) -> tuple[bytes, list[str]]:
    """Encode by a plug-in of Pillow that takes EXIF, XMP and a profile as bytes."""
    image = Image.fromarray(pixels)
    if gray and pixels.shape[2] == 3 and form != "WEBP":
        image = image.convert("L")
    block = exif.completed(belongings.exif, belongings.texts, belongings.resolution)
    metadata = {"exif": block, "xmp": belongings.xmp, "icc_profile": belongings.icc}
    buffer = io.BytesIO()
    image.save(buffer, form, **options, **{name: data for name, data in metadata.items() if data})
    return buffer.getvalue(), lost(belongings)


def lost(belongings: Belongings) -> list[str]:
    """Name what only JPEG, PNG and TIFF have a place for."""
    notes = exif.unkept_texts(belongings.texts)
    if belongings.iptc or belongings.photoshop:
        notes.append("this format has no place for IPTC and Photoshop's resources; .jpg, .png and .tif have")
    return notes


def encode_webp(pixels: Array, gray: bool, belongings: Belongings, quality: int) -> tuple[bytes, list[str]]:
    """Encode 8 bits, colours under transparency kept."""
    return by_pillow(pixels, gray, belongings, "WEBP", {"quality": quality, "exact": True})


def read_webp(data: bytes, where: str) -> Picture:
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
        if getattr(image, "n_frames", 1) > 1:
            raise InputError(
                f"{where}: holds {getattr(image, 'n_frames', 0)} pictures (animated); only one is supported"
            )
        return Picture(np.asarray(image.convert("RGBA" if "A" in image.mode else "RGB")), False, from_pillow(image))


def read_bmp(data: bytes, where: str) -> Picture:
    with Image.open(io.BytesIO(data), formats=["BMP"]) as image:
        gray = image.mode in ("1", "L")
        belongings, notes = bmp_belongings(data)
        return Picture(np.asarray(image.convert("RGBA" if image.mode == "RGBA" else "RGB")), gray, belongings, notes)


def bmp_belongings(data: bytes) -> tuple[Belongings, tuple[str, ...]]:
    """Read resolution and profile of a BMP header (Windows GDI: BITMAPINFOHEADER, BITMAPV5HEADER)."""
    (header,) = struct.unpack_from("<I", data, 14)
    if header < 40:
        return Belongings(), ()
    across, down = struct.unpack_from("<ii", data, 14 + 24)
    resolution = (across / METRE, down / METRE) if across > 0 and down > 0 else None
    notes: tuple[str, ...] = ()
    profile = b""
    if header >= 108:
        colours = data[14 + 56 : 14 + 60][::-1]  # a number that spells
        if header >= 124 and colours == b"MBED":
            at, length = struct.unpack_from("<II", data, 14 + 112)
            profile = data[14 + at : 14 + at + length]
        elif colours in (b"LINK", b"\0\0\0\0") and any(data[14 + 60 : 14 + 108]):
            notes = ("a profile that is named by a path, or end points and gamma, are left out; sRGB is assumed",)
    return Belongings(resolution=resolution, icc=profile), notes


def encode_bmp(pixels: Array, gray: bool, belongings: Belongings) -> tuple[bytes, list[str]]:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels).convert("L" if gray else "RGB")
    across, down = belongings.resolution or (Fraction(0), Fraction(0))
    image.save(buffer, "BMP")
    data = bytearray(buffer.getvalue())
    struct.pack_into("<ii", data, 14 + 24, round(across * METRE), round(down * METRE))
    held = {"EXIF": belongings.exif, "the ICC profile": belongings.icc, "XMP": belongings.xmp,
            "IPTC": belongings.iptc or belongings.photoshop, "texts": belongings.texts}  # fmt: skip
    left = [name for name, value in held.items() if value]
    if belongings.icc and not icc.is_srgb(belongings.icc):
        raise InputError("BMP holds no colour profile, and this picture's is not sRGB; use .png or .tif")
    return bytes(data), [f"BMP has no place for {', '.join(left)}"] if left else []
