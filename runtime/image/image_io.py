"""Reading and writing of picture files of all formats of the table, with everything that belongs to them.

Gains are applied to the stored values in the picture's own colour space, whose profile is kept; nothing is converted
but CMYK and Lab, which have no red, green and blue, and what a format written cannot hold.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from cliplit.arrays import Array
from cliplit.errors import CliplitError, InputError, first_line
from cliplit.files import atomic_write
from cliplit.srgb import to_coded, to_linear

from ..folders import CLIPS
from . import exif, icc, linear
from .by_pillow import to_8
from .formats import BY_SUFFIX, PICTURES, WRITTEN, Format, recognised
from .picture import TURNS, Belongings, FloatSamples, Picture, names, stored, upright
from .png import only_png, png_chunks

MAX_PIXELS = 1 << 28  # 16384 x 16384; a small file can ask for all memory
LARGEST = 1 << 30  # that any option allows
Image.MAX_IMAGE_PIXELS = LARGEST  # Pillow's own limit, which warns at a fifth of a panorama

__all__ = [
    "MAX_PIXELS", "PICTURES", "TURNS", "WRITTEN", "Belongings", "Picture", "png_chunks", "read_picture", "stored",
    "upright", "write_picture",
]  # fmt: skip


def read_picture(path: Path | str, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode a file. Raises InputError for anything but a still picture of the table, and for too many pixels."""
    path = Path(path)
    check_file(path)
    return decode(path.read_bytes(), str(path), max_pixels)


def check_file(path: Path) -> None:
    """Raise InputError where no file of this name can be read."""
    if not path.is_file():
        raise InputError(f"{path}: is a folder" if path.is_dir() else f"{path}: no such file")


def decode(data: bytes, where: str, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode a file's content; `where` names it in messages. Raises as `read_picture`."""
    form = recognised(data, where)
    try:
        height, width = form.size(data, where)
        if height * width > max_pixels:
            raise InputError(
                f"{where}: {width}x{height} is more than {max_pixels} pixels; --max-pixels raises the limit"
            )
        picture = form.read(data, where)
    except CliplitError as error:
        raise error if where in str(error) else type(error)(f"{where}: {error}") from error
    except MemoryError as error:
        raise InputError(f"{where}: not enough memory for its {width}x{height} pixels") from error
    except Exception as error:  # decoders raise many types, and one file never ends a folder
        reason = re.sub(r" <_io\.BytesIO[^>]*>", "", first_line(error))  # Pillow's word for a file without a name
        raise InputError(f"{where}: a damaged or unsupported {form.name} picture ({reason})") from error
    if 0 in picture.pixels.shape:
        raise InputError(f"{where}: an empty picture")
    return picture


def format_of(path: Path) -> Format:
    """Return the format that a suffix names. Raises InputError for another suffix, and for what is only read."""
    form = BY_SUFFIX.get(path.suffix.lower())
    if path.suffix.lower() in CLIPS.suffixes:
        raise InputError(f"{path}: clips are written by cliplit-video")
    if form is None or form.write is None:
        raise InputError(
            f"{path}: suffix {path.suffix or '(none)'} is not one that can be written: {', '.join(WRITTEN)}"
        )
    return form


def write_picture(path: Path, picture: Picture, pixels: Array, jpeg_quality: int = 95) -> list[str]:
    """Encode `pixels`, with the belongings of `picture`, in the format the suffix names; returns what was not kept.

    The file appears under its name only when complete. Raises InputError for an unknown suffix, or for alpha or colours
    that the format cannot hold.
    """
    data, notes = encode(format_of(path), str(path), picture, pixels, jpeg_quality)
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)
    return notes


def encode(form: Format, where: str, picture: Picture, pixels: Array, quality: int = 95) -> tuple[bytes, list[str]]:
    """Encode `pixels` as `write_picture` does; return the file's content and what was not kept."""
    assert form.write is not None
    notes = list(picture.notes)
    try:
        pixels, belongings = fitted(form, picture, pixels, notes)
        data, lost = form.write(np.ascontiguousarray(pixels), picture.gray, belongings, quality)
    except CliplitError as error:
        raise error if where in str(error) else type(error)(f"{where}: {error}") from error
    except MemoryError as error:
        raise InputError(f"{where}: not enough memory to encode {pixels.shape[1]}x{pixels.shape[0]} pixels") from error
    except Exception as error:  # encoders raise many types
        raise InputError(f"{where}: cannot be encoded as {form.name} ({first_line(error)})") from error
    return data, list(dict.fromkeys(notes + lost))


def fitted(form: Format, picture: Picture, pixels: Array, notes: list[str]) -> tuple[Array, Belongings]:
    """Change pixels and belongings into what a format holds; add to `notes` what that loses. Raises InputError."""
    belongings = picture.belongings
    if form.name != "PNG" and (only := only_png(belongings)):
        notes.append(f"this format has no place for PNG's chunk {names(only)}")
    if max(pixels.shape[:2]) > form.longest:
        raise InputError(f"{form.name} holds {form.longest} pixels a side, not {pixels.shape[1]}x{pixels.shape[0]}")
    if pixels.shape[2] == 4 and not form.alpha:
        if (pixels[..., 3] != (1 if pixels.dtype == np.float32 else np.iinfo(pixels.dtype).max)).any():
            raise InputError(f"{form.name} cannot hold the transparency of this picture; use .png, .webp or .tif")
        notes.append(f"{form.name} holds no alpha; it was opaque everywhere")
        pixels = pixels[..., :3]
    if not form.turns:
        pixels = np.ascontiguousarray(upright(pixels, belongings.orientation))
        belongings = belongings.turned_upright()
    if pixels.dtype == np.float32 and form.name == "TIFF" and isinstance(belongings.attributes, FloatSamples):
        return pixels, belongings
    if form.linear:
        pixels, belongings = _linear(pixels, belongings, notes)
    else:
        pixels, belongings = _coded(form, picture.bits, pixels, belongings, notes)
        belongings = _coloured(form, picture.gray, belongings)
        block, note = exif.with_thumbnail_of(belongings.exif, to_8(pixels)) if belongings.exif else (b"", "")
        belongings = replace(belongings, exif=block)
        notes += [note] if note else []
    return pixels, belongings


def _linear(pixels: Array, belongings: Belongings, notes: list[str]) -> tuple[Array, Belongings]:
    if pixels.dtype == np.float32:
        if isinstance(belongings.attributes, FloatSamples):
            if linear.coded_profile(belongings):
                raise InputError(
                    "linear formats are written with BT.709's colours, and this picture's profile has others"
                )
            belongings = replace(belongings, icc=b"")
        return pixels, belongings
    try:
        profile = icc.profile_for(belongings)
    except ValueError as error:
        raise InputError(f"linear formats are written from sRGB alone, and this picture has {error}") from error
    if not icc.is_srgb(profile):
        raise InputError("linear formats are written from sRGB alone, and this picture has another profile")
    top = np.float32(np.iinfo(pixels.dtype).max)
    scaled = pixels.astype(np.float32) / top
    colour = to_linear(scaled[..., :3])
    return np.concatenate([colour, scaled[..., 3:]], axis=2), replace(belongings, icc=b"")


def _coded(
    form: Format, bits: int, pixels: Array, belongings: Belongings, notes: list[str]
) -> tuple[Array, Belongings]:
    """Bring float and 16 bits to what the format holds."""
    if pixels.dtype == np.float32:
        held = "TIFF of 16 bits, which is written," if form.name == "TIFF" else form.name
        notes.append(f"{held} holds light from 0 to 1 alone: what was brighter is white now")
        colour = np.nan_to_num(to_coded(pixels[..., :3]), nan=0.0, posinf=1.0, neginf=0.0)
        scaled = np.concatenate([colour, np.nan_to_num(pixels[..., 3:])], axis=2)
        pixels = np.rint(np.clip(scaled, 0, 1) * 65535).astype(np.uint16)
        notes += linear.unkept(belongings)
        belongings = replace(belongings, icc=linear.coded_profile(belongings), attributes=None)
        return (pixels if form.deep else to_8(pixels)), belongings
    if pixels.dtype == np.uint16 and bits > form.bits:
        notes.append(f"{form.name} is written with {form.bits} bits; the picture had {bits}")
    if pixels.dtype == np.uint16 and not form.deep:
        pixels = to_8(pixels)
    return pixels, belongings


def _coloured(form: Format, gray: bool, belongings: Belongings) -> Belongings:
    """Say the colours as the format can. Raises InputError where it cannot."""
    if form.name == "PNG":
        return belongings
    try:
        belongings = icc.with_profile(belongings)
    except ValueError as error:
        raise InputError(f"{form.name} cannot say these colours: {error}; use .png") from error
    if gray and icc.channels(belongings.icc) == "GRAY" and form.name in ("WEBP", "AVIF", "HEIC"):
        raise InputError(f"{form.name} holds no gray, and this picture has a profile of gray; use .png, .jpg or .tif")
    return belongings
