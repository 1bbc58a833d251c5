"""TIFF (TIFF 6.0, BigTIFF): Pillow decodes 8 bits, tifffile 16, OpenCV where tifffile lacks a codec.

tifffile writes the pixels; the belongings are entries that are added to its directory as bytes (`ifd.with_entries`).
"""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image

from cliplit.arrays import Array
from cliplit.errors import InputError, first_line

from . import exif, icc, ifd, photoshop
from .picture import Belongings, Picture

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, PREDICTOR, SUBIFDS, EXTRA, FORMAT = (
    254, 256, 257, 258, 259, 262, 317, 330, 338, 339,
)  # fmt: skip
XMP, IPTC, PHOTOSHOP, ICC = 700, 33723, 34377, 34675
DNG = 50706
# What describes the pixels of a file and not the picture; and what is kept beside the EXIF block.
STRUCTURE = (
    *range(254, 260), 262, 263, 264, 265, 266, *range(273, 274), *range(277, 282), 284, *range(288, 294), 301, 317, 318,
    319, *range(320, 331), *range(332, 348), *range(512, 522), 529, 530, 531, 532, 559, 34675, XMP, IPTC, PHOTOSHOP,
    34676, 37724, 50215, 50216, 50217, 50218, *range(65420, 65450),
)  # fmt: skip
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, SEPARATED = 0, 1, 2, 5
MOSAIC = (32803, 34892)  # colour filter array; linear raw
REDUCED, MASK = 1, 4  # bits of NewSubfileType
UNSPECIFIED, ASSOCIATED = 0, 1


def read(data: bytes, where: str) -> Picture:
    """Decode a file of 8 or 16 bits. Raises InputError for others, and for several pages."""
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page, notes = chosen_page(file, where)
            tree = ifd.parse(data, page.offset)
            if tree is None:
                raise InputError(f"{where}: a damaged picture (no TIFF directory)")
            belongings = belongings_of(tree)
            if tree.lost:
                notes.append(f"entries {', '.join(map(str, sorted(set(tree.lost))))} lie outside the file and are lost")
            deep = page.bitspersample > 8
            pixels, gray = _deep(page, data, where) if deep else _eight(page, data, where, belongings.icc)
            converted = not deep and page.photometric in (5, 8, 9)
            if tuple(page.extrasamples)[:1] == (UNSPECIFIED,):
                notes.append("a channel that is neither colour nor alpha is left out")
                pixels = pixels[..., :3]
    except InputError:
        raise
    except Exception as error:  # tifffile, its codecs and Pillow raise many types
        raise InputError(f"{where}: a damaged or unsupported TIFF ({first_line(error)})") from error
    if converted:
        guess = page.photometric == SEPARATED and not belongings.icc
        by = "by the plain formula, without a profile; its colours are a guess" if guess else "by their profile"
        notes.append(f"CMYK or Lab colours were converted to sRGB {by}")
        belongings = replace(belongings, icc=b"")
    return Picture(pixels, gray, belongings, tuple(notes))


def size_of(data: bytes, where: str) -> tuple[int, int]:
    """(H, W) of the page that is read."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page, _ = chosen_page(file, where)
        return int(page.imagelength), int(page.imagewidth)


def chosen_page(file: tifffile.TiffFile, where: str) -> tuple[Any, list[str]]:
    """Return the only page that is a picture of full size, with notes on the others: thumbnails, masks."""
    pages: list[Any] = list(file.pages)
    full = [page for page in pages if not int(page.subfiletype or 0) & (REDUCED | MASK)] or pages[:1]
    if len(full) > 1:
        raise InputError(f"{where}: holds {len(full)} pages; only one is supported")
    small = len(pages) - 1 + sum(len(page.pages or ()) for page in full)
    return full[0], [f"{small} smaller or masking pages beside the picture are left out"] if small else []


def _eight(page: Any, data: bytes, where: str, profile: bytes) -> tuple[Array, bool]:
    data = exif.with_orientation_1(data, page.offset)  # Pillow would turn the pixels by it
    with Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
        image.seek(page.index)
        if image.size != (page.imagewidth, page.imagelength):
            raise InputError(f"{where}: a TIFF whose pages differ; only one is supported")
        if image.mode in ("CMYK", "LAB"):
            return np.asarray(icc.to_srgb(image, profile if image.mode == "CMYK" else b"")
                              if profile or image.mode == "LAB" else image.convert("RGB")), False  # fmt: skip
        extra = page.extrasamples[:1]
        gray = image.mode in ("1", "L", "LA", "La")
        if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr"):
            raise InputError(f"{where}: TIFF with pixels of mode {image.mode}; expected gray, RGB or RGBA of 8 bits")
        alpha = image.mode in ("LA", "PA", "RGBA", "RGBa") and extra != ()
        pixels = np.asarray(image.convert("RGBA" if alpha else "RGB"))
    return pixels, gray


def _deep(page: Any, data: bytes, where: str) -> tuple[Array, bool]:
    """Decode 16 bits; (pixels, whether they are gray)."""
    try:
        pixels = page.asarray()
        if page.planarconfig == 2 and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
    except ValueError as error:
        if "imagecodecs" not in str(error) or page.index or page.photometric not in (BLACK_IS_ZERO, RGB):
            raise
        pixels = _by_opencv(data, page.extrasamples)
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    photometric = int(page.photometric)
    ordinary = {1: (WHITE_IS_ZERO, BLACK_IS_ZERO), 2: (WHITE_IS_ZERO, BLACK_IS_ZERO), 3: (RGB,), 4: (RGB,)}
    if pixels.dtype.kind != "u" or pixels.dtype.itemsize != 2 or photometric not in ordinary.get(samples, ()):
        raise InputError(
            f"{where}: TIFF of {pixels.dtype}, shape {pixels.shape}, {page.photometric!s}; expected 8 or 16 bit gray, "
            "RGB or RGBA"
        )
    if page.bitspersample != 16:
        raise InputError(f"{where}: TIFF of {page.bitspersample} bits a sample; expected 8 or 16")
    pixels = np.ascontiguousarray(pixels.astype(np.uint16))  # in this machine's byte order
    pixels = pixels.reshape(*pixels.shape[:2], samples)
    colour, alpha = (pixels[..., :-1], pixels[..., -1:]) if samples in (2, 4) else (pixels, None)
    if photometric == WHITE_IS_ZERO:
        colour = 65535 - colour
    if alpha is not None and tuple(page.extrasamples)[:1] == (ASSOCIATED,):
        colour = unmultiplied(colour, alpha)
    if colour.shape[2] == 1:
        colour = np.repeat(colour, 3, axis=2)
    return np.ascontiguousarray(colour if alpha is None else np.concatenate([colour, alpha], axis=2)), samples < 3


def _by_opencv(data: bytes, extra: tuple[int, ...]) -> Array:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("neither tifffile nor OpenCV can decode its compression; install imagecodecs")
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    return pixels


def unmultiplied(colour: Array, alpha: Array) -> Array:
    """Divide (H, W, n) uint16 by alpha (H, W, 1); what is transparent keeps its numbers."""
    divisor = np.where(alpha == 0, 65535, alpha).astype(np.float64)
    return np.minimum(np.rint(colour * (65535.0 / divisor)), 65535).astype(np.uint16)


def belongings_of(tree: ifd.Tree) -> Belongings:
    """Sort the entries; those of the picture become an EXIF block, whose first directory is a TIFF's (EXIF 4.6)."""
    entries = tree.root.entries

    def data(tag: int) -> bytes:
        return entries[tag].data if tag in entries else b""

    resources_iptc, others = photoshop.split(data(PHOTOSHOP))
    iptc = data(IPTC)
    if iptc and entries[IPTC].kind == ifd.LONG and tree.order == ">":  # written as words by some
        iptc = iptc.rstrip(b"\0")
    own = ifd.without(tree.root, STRUCTURE)
    block = ifd.block(replace(tree, root=own)) if own.entries or own.children else b""
    return Belongings(
        exif=block, icc=data(ICC), xmp=data(XMP), iptc=iptc or resources_iptc, photoshop=others,
        resolution=exif.resolution(tree),
    )  # fmt: skip


def encode(pixels: Array, gray: bool, belongings: Belongings) -> tuple[bytes, list[str]]:
    """Encode (H, W, 3 or 4) uint8 or uint16, with all belongings that TIFF holds."""
    sound, notes = exif.sound(belongings.exif)
    block = exif.completed(sound, belongings.texts, belongings.resolution)
    tree = ifd.parse(block) or ifd.Tree()
    alpha = pixels.shape[2] == 4
    if gray:
        pixels = pixels[..., [0, 3]] if alpha else pixels[..., 0]
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, pixels, photometric="minisblack" if gray else "rgb",
        planarconfig="contig" if pixels.ndim == 3 else None,
        extrasamples=["unassalpha"] if alpha else None, compression="zlib", metadata=None, software=False,
        byteorder=tree.order,
    )  # fmt: skip
    blobs = {
        XMP: (ifd.BYTE, belongings.xmp), IPTC: (ifd.UNDEFINED, belongings.iptc), ICC: (ifd.UNDEFINED, belongings.icc),
        PHOTOSHOP: (ifd.BYTE, belongings.photoshop),
    }  # fmt: skip
    entries = {tag: ifd.Entry(kind, data) for tag, (kind, data) in blobs.items() if data}
    own = ifd.without(tree.root, STRUCTURE)
    file = ifd.with_entries(buffer.getvalue(), ifd.Ifd({**own.entries, **entries}, own.children))
    return file, notes + exif.unkept_texts(belongings.texts)


def raw_reason(data: bytes) -> str:
    """Say why a file in TIFF structure is a camera's raw file, empty if it is not."""
    if data[8:10] == b"CR" and data[:2] == b"II":
        return "CR2"
    tree = ifd.parse(data)
    if tree is None:
        return ""
    if DNG in tree.root.entries:
        return "DNG"
    directories = [tree.root, *_below(data, tree)]
    for directory in directories:
        if ifd.number(tree, directory.entries.get(PHOTOMETRIC)) in MOSAIC:
            return "camera raw"
    return ""


def _below(data: bytes, tree: ifd.Tree) -> list[ifd.Ifd]:
    """Read the directories that entry 330 points to."""
    entry = tree.root.entries.get(SUBIFDS)
    if entry is None or entry.kind not in (ifd.LONG, 13):
        return []
    places = struct.unpack(tree.order + "I" * (len(entry.data) // 4), entry.data)
    found = [ifd.parse(data, place) for place in places[:16]]
    return [each.root for each in found if each is not None]
