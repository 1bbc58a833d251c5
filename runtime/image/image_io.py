"""Reading and writing of picture files, with bit depth, alpha, orientation, ICC profile and EXIF kept.

Pillow for 8 bits, because it reads every mode and carries the metadata. It cannot hold 16 bits a channel, so those
go through OpenCV (PNG) and tifffile (TIFF), with PNG's metadata chunks copied as they are. Paths are opened here,
never in OpenCV, whose file names are not Unicode everywhere.

Gains are applied to the stored values in the picture's own colour space, whose profile is kept; nothing is converted.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from cliplit.arrays import Array
from cliplit.errors import InputError
from cliplit.files import atomic_write

from ..folders import FileKind

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP"}
PICTURES = FileKind("pictures", tuple(SUFFIXES))
DEEP = {"PNG", "TIFF"}  # formats that hold 16 bits
OPAQUE = {"JPEG"}  # formats without alpha
Image.MAX_IMAGE_PIXELS = 1 << 30  # lets 8K panoramas through; larger files count as decompression bombs

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_METADATA = {b"iCCP", b"eXIf", b"cHRM", b"gAMA", b"sRGB", b"pHYs", b"tEXt", b"iTXt", b"zTXt", b"tIME", b"cICP"}
TIFF_METADATA = (270, 271, 272, 282, 283, 296, 305, 306, 315, 33432, 34675, 700)  # baseline texts, ICC, XMP
ORIENTATION = 274
BITS_PER_SAMPLE = 258
TIFF_STRUCTURE = (*range(254, 260), 262, 266, 273, *range(277, 280), 284, 317, *range(320, 326), 338, 339)  # others
RESOLUTION = (282, 283, 296)  # pixels per unit across and down, and the unit
EXIF_BLOCKS = (34665, 34853)  # EXIF proper and GPS; Pillow writes those it was asked for

# EXIF orientation -> (quarter turns counter-clockwise, then mirrored) that show the stored pixels upright.
TURNS = {
    1: (0, False), 2: (0, True), 3: (2, False), 4: (2, True),
    5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False),
}  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A decoded file.

    Attributes:
        pixels: (H, W, 3 or 4) uint8 or uint16, RGB(A), as stored (not turned upright).
        gray: the file is grayscale; the three channels are equal.
        orientation: EXIF orientation, 1 to 8.
        save_options: metadata for Pillow's `save`.
        png_chunks, tiff_tags: metadata for 16-bit files.
        notes: what cannot be kept.
    """

    pixels: Array
    gray: bool = False
    orientation: int = 1
    save_options: dict[str, Any] = field(default_factory=dict)
    png_chunks: tuple[bytes, ...] = ()
    tiff_tags: tuple[Any, ...] = ()
    notes: tuple[str, ...] = ()


def read_picture(path: Path) -> Picture:
    """Decode a file. Raises InputError for anything but a still picture of 8 or 16 bits per channel."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    data = path.read_bytes()
    try:
        with Image.open(io.BytesIO(data)) as image:
            pictures = getattr(image, "n_frames", 1)
            if pictures > 1:
                raise InputError(f"{path}: holds {pictures} pictures (animated or multi-page); only one is supported")
            form, deep = str(image.format), is_deep(image, data)
            if not deep:
                return read_8bit(image)
    except UnidentifiedImageError:
        form, deep = ("TIFF", True) if data[:4] in (b"II*\0", b"MM\0*") else ("", False)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: a damaged or unsupported picture ({error})") from error
    if form == "PNG":
        return read_deep_png(path, data)
    if form == "TIFF":
        return read_deep_tiff(path, data)
    raise InputError(f"{path}: not a picture that can be read ({', '.join(sorted(set(SUFFIXES.values())))})")


def is_deep(image: Image.Image, data: bytes) -> bool:
    """Return whether a file has more than 8 bits per channel; Pillow silently reads deep colour as 8 bits."""
    if image.format == "PNG":
        return data[24] == 16  # bit depth in the IHDR chunk
    if image.format == "TIFF":
        return max(image.tag_v2.get(BITS_PER_SAMPLE, (1,))) > 8  # type: ignore[attr-defined]
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def read_8bit(image: Image.Image) -> Picture:
    exif = image.getexif()
    for block in EXIF_BLOCKS:
        if block in exif:
            exif.get_ifd(block)
    for tag in TIFF_STRUCTURE:
        exif.pop(tag, None)
    options = {"icc_profile": image.info.get("icc_profile"), "dpi": image.info.get("dpi")}
    options |= {"exif": exif.tobytes() if len(exif) else None, "xmp": image.info.get("xmp")}
    gray = image.mode in ("1", "L", "LA", "La")
    transparent = "transparency" in image.info or image.mode in ("LA", "La", "RGBA", "RGBa", "PA")
    pixels = np.asarray(image.convert("RGBA" if transparent else "RGB"))
    orientation = exif.get(ORIENTATION, 1)
    return Picture(
        pixels,
        gray,
        orientation if orientation in TURNS else 1,
        {key: value for key, value in options.items() if value},
    )


def read_deep_png(path: Path, data: bytes) -> Picture:
    pixels, gray = as_rgb(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), path)
    chunks = tuple(chunk for kind, chunk in png_chunks(data) if kind in PNG_METADATA)
    with Image.open(io.BytesIO(data)) as image:
        orientation = image.getexif().get(ORIENTATION, 1)
    return Picture(pixels, gray, orientation if orientation in TURNS else 1, png_chunks=chunks)


def as_rgb(pixels: Array | None, path: Path) -> tuple[Array, bool]:
    """Convert OpenCV's gray, BGR or BGRA to RGB(A), and return whether it was gray."""
    if pixels is None or pixels.dtype != np.uint16:
        raise InputError(f"{path}: a damaged picture, or not 16 bits a channel")
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), True
    if pixels.shape[2] == 4:
        return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA), False
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), False


def read_deep_tiff(path: Path, data: bytes) -> Picture:
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            if len(file.pages) != 1:
                raise InputError(f"{path}: holds {len(file.pages)} pages; only one is supported")
            page: Any = file.pages[0]
            pixels = page.asarray()
            tags = {tag.code: tag for tag in page.tags}
            planar = page.planarconfig == 2 and pixels.ndim == 3
    except InputError:
        raise
    except Exception as error:  # tifffile and its codecs raise many types
        raise InputError(f"{path}: a damaged or unsupported TIFF ({error})") from error
    pixels = np.moveaxis(pixels, 0, -1) if planar else pixels
    if pixels.dtype != np.uint16 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise InputError(
            f"{path}: TIFF of {pixels.dtype}, shape {pixels.shape}; expected 8 or 16 bit gray, RGB or RGBA"
        )
    gray = pixels.ndim == 2
    kept = tuple((t.code, t.dtype, t.count, t.value, True) for code, t in tags.items() if code in TIFF_METADATA)
    orientation = int(tags[ORIENTATION].value) if ORIENTATION in tags else 1
    if ORIENTATION in tags:
        kept += ((ORIENTATION, 3, 1, orientation, True),)
    notes = ("the EXIF block of a 16-bit TIFF is not copied",) if EXIF_BLOCKS[0] in tags else ()
    rgb = np.ascontiguousarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if gray else pixels)
    return Picture(rgb, gray, orientation if orientation in TURNS else 1, tiff_tags=kept, notes=notes)


def upright(pixels: Array, orientation: int) -> Array:
    """Rotate stored pixels to the way they are displayed."""
    turns, mirrored = TURNS[orientation]
    turned = np.rot90(pixels, turns)
    return turned[:, ::-1] if mirrored else turned


def stored(pixels: Array, orientation: int) -> Array:
    """Invert `upright`."""
    turns, mirrored = TURNS[orientation]
    return np.rot90(pixels[:, ::-1] if mirrored else pixels, -turns)


def write_picture(path: Path, picture: Picture, pixels: Array, jpeg_quality: int = 95) -> list[str]:
    """Encode `pixels`, with the metadata of `picture`, in the format the suffix names; returns what was not kept.

    The file appears under its name only when complete. Raises InputError for an unknown suffix, or alpha in a format
    that cannot hold it.
    """
    form = SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise InputError(f"{path}: suffix {path.suffix or '(none)'} is not one of {', '.join(SUFFIXES)}")
    if pixels.shape[2] == 4 and form in OPAQUE:
        raise InputError(f"{path}: {form} cannot hold the transparency of this picture; use .png, .webp or .tif")
    notes = list(picture.notes)
    if pixels.dtype == np.uint16 and form not in DEEP:
        notes.append(f"{form} holds 8 bits; the picture had 16")
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    data = encode(form, picture, np.ascontiguousarray(pixels), jpeg_quality)
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)
    return notes


def encode(form: str, picture: Picture, pixels: Array, jpeg_quality: int) -> bytes:
    if pixels.dtype == np.uint16:
        return encode_deep_png(picture, pixels) if form == "PNG" else encode_deep_tiff(picture, pixels)
    options = dict(picture.save_options)
    if form == "JPEG":
        options |= {"quality": jpeg_quality, "subsampling": 0}
    elif form == "WEBP":
        options |= {"quality": jpeg_quality, "exact": True}
    elif form == "TIFF":
        options.pop("xmp", None)  # inside exif; no compression, for libtiff's writer cannot hold an EXIF block
    image = Image.fromarray(pixels)
    if picture.gray and pixels.shape[2] == 3:
        image = image.convert("L")
    elif picture.gray and form != "WEBP":
        image = image.convert("LA")
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def encode_deep_png(picture: Picture, pixels: Array) -> bytes:
    if pixels.shape[2] == 4:
        ordered = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA)
    else:
        ordered = pixels[..., 0] if picture.gray else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".png", ordered)
    data = encoded.tobytes()
    header = len(PNG_SIGNATURE) + 25  # signature and IHDR; metadata goes before the pixels
    return data[:header] + b"".join(picture.png_chunks) + data[header:]


def encode_deep_tiff(picture: Picture, pixels: Array) -> bytes:
    buffer = io.BytesIO()
    gray = picture.gray and pixels.shape[2] == 3
    tifffile.imwrite(
        buffer,
        pixels[..., 0] if gray else pixels,
        photometric="minisblack" if gray else "rgb",
        extrasamples=["unassalpha"] if pixels.shape[2] == 4 else None,
        compression="zlib",
        metadata=None,
        software=False,
        extratags=[tag for tag in picture.tiff_tags if tag[0] not in RESOLUTION],
        **resolution_of(picture.tiff_tags),
    )
    return buffer.getvalue()


def resolution_of(tags: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """Return tifffile's arguments for the pixels per inch or centimetre; it takes them no other way."""
    found = {code: value for code, _, _, value, _ in tags if code in RESOLUTION}
    if not {282, 283} <= set(found):
        return {}
    return {"resolution": (found[282], found[283]), "resolutionunit": int(found.get(296, 2))}  # an inch by default


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (type, whole chunk) of each chunk of a PNG file."""
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        yield data[at + 4 : at + 8], data[at : at + 12 + length]
        at += 12 + length
