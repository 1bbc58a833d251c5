"""HEIC, the format of iPhones, by libheif (pillow-heif, of the extra `pictures`)."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from cliplit.arrays import Array
from cliplit.errors import InputError

from . import exif
from .by_pillow import cicp, lost, to_16
from .extra import needs
from .picture import Belongings, Picture


def library() -> Any:
    try:
        import pillow_heif
    except ImportError as error:
        raise needs("pillow-heif", "HEIC") from error
    return pillow_heif


def open_heic(data: bytes) -> Any:
    """Open a file without decoding its pixels; at their own depth, turned upright when they are."""
    return library().open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)


def size_of(data: bytes, where: str) -> tuple[int, int]:
    """(H, W) as shown."""
    width, height = open_heic(data).size
    return int(height), int(width)


def read_heic(data: bytes, where: str) -> Picture:
    """Decode the primary picture; libheif turns it upright."""
    file = open_heic(data)
    info = file.info
    pixels, depth = np.asarray(file), int(info.get("bit_depth") or 8)
    if pixels.dtype == np.uint16:  # libheif's binding moves codes up to 16 bits
        pixels = to_16(pixels >> (16 - depth), depth)
    gray = pixels.ndim == 2
    pixels = np.repeat(pixels[..., None], 3, axis=2) if gray else pixels
    if "a" in str(file.mode):
        raise InputError(f"{where}: HEIC with colours multiplied by alpha is not supported")
    profile = info.get("nclx_profile")
    code = (profile["color_primaries"], profile["transfer_characteristics"], 0, True) if profile else None
    block = bytes(info.get("exif") or b"")
    start = block.find(exif.PREFIX)
    block = block[start + len(exif.PREFIX) :] if start >= 0 else block
    belongings = Belongings(
        exif=exif.with_orientation_1(block),
        resolution=exif.resolution_of(block), icc=info.get("icc_profile") or b"", xmp=info.get("xmp") or b"",
        cicp=None if info.get("icc_profile") else cicp(code),
    )  # fmt: skip
    notes = []
    if len(file) > 1:
        notes.append(f"holds {len(file)} pictures; the primary one is taken")
    if info.get("depth_images"):
        notes.append("the depth map is left out")
    if info.get("aux"):
        notes.append("auxiliary pictures, such as a gain map (HDR), are left out")
    return Picture(np.ascontiguousarray(pixels), gray, belongings, tuple(notes), depth)


def encode_heic(pixels: Array, gray: bool, belongings: Belongings, quality: int) -> tuple[bytes, list[str]]:
    """Encode 8 bits, or 10 of 16, 4:4:4, upright."""
    deep = pixels.dtype == np.uint16
    height, width, samples = pixels.shape
    mode = ("RGBA" if samples == 4 else "RGB") + (";16" if deep else "")
    file = library().from_bytes(mode=mode, size=(width, height), data=pixels.tobytes())
    block = exif.completed(belongings.exif, belongings.texts, belongings.resolution)
    options = {"exif": exif.PREFIX + block if block else None, "xmp": belongings.xmp or None}
    if belongings.icc:
        file.info["icc_profile"] = belongings.icc
    buffer = io.BytesIO()
    file.save(buffer, quality=quality, chroma=444, **{name: data for name, data in options.items() if data})
    return buffer.getvalue(), lost(belongings)
