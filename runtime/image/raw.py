"""Camera raw, developed by LibRaw (rawpy, of the extra `pictures`); the thumbnail in it is never taken instead."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from cliplit.errors import InputError, first_line

from . import ifd, tiff
from .extra import needs
from .picture import Belongings, Picture

SUFFIXES = (".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".kdc", ".mos", ".nef", ".nrw", ".orf", ".pef",
            ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f")  # fmt: skip
MAGIC = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb")
# Entries that describe the picture; all others of a raw file's first directory are about its raw data.
KEPT = (270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 33432)


def library() -> Any:
    try:
        import rawpy
    except ImportError as error:
        raise needs("rawpy", "camera raw") from error
    return rawpy


def size_of(data: bytes, where: str) -> tuple[int, int]:
    """(H, W) of the developed picture, before it is."""
    with _opened(data, where) as raw:
        return int(raw.sizes.height), int(raw.sizes.width)


def _opened(data: bytes, where: str) -> Any:
    rawpy = library()
    try:
        return rawpy.imread(io.BytesIO(data))
    except rawpy.LibRawError as error:
        raise InputError(f"{where}: a camera raw file that LibRaw cannot develop ({first_line(error)})") from error


def read(data: bytes, where: str) -> Picture:
    """Develop to 16-bit sRGB, upright, with the camera's white balance and without brightening or clipping by guess."""
    rawpy = library()
    with _opened(data, where) as raw:
        try:
            pixels = raw.postprocess(
                use_camera_wb=True, output_bps=16, no_auto_bright=True, output_color=rawpy.ColorSpace.sRGB,
                gamma=(2.4, 12.92),
            )  # fmt: skip
        except rawpy.LibRawError as error:
            raise InputError(f"{where}: a camera raw file that LibRaw cannot develop ({first_line(error)})") from error
    tree = ifd.parse(data)
    if tree is None:
        return Picture(np.ascontiguousarray(pixels), notes=("the EXIF block of this kind of raw file is not copied",))
    root = ifd.Ifd({tag: entry for tag, entry in tree.root.entries.items() if tag in KEPT}, tree.root.children)
    found = tiff.belongings_of(ifd.Tree(tree.order, root))
    belongings = Belongings(
        exif=found.exif, resolution=found.resolution,
        xmp=tree.root.entries[tiff.XMP].data if tiff.XMP in tree.root.entries else b"",
    ).turned_upright()  # fmt: skip
    return Picture(np.ascontiguousarray(pixels), belongings=belongings)
