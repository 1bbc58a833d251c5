"""TIFF (TIFF 6.0, BigTIFF): Pillow decodes 8 bits, tifffile more (`tiff_deep`).

tifffile writes the pixels; the belongings are entries that are added to its directory as bytes (`ifd.with_entries`).
"""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from cliplit.arrays import Array
from cliplit.errors import CliplitError, InputError, first_line

from . import exif, icc, ifd, photoshop, tiff_deep
from .picture import Belongings, FloatSamples, Picture
from .tiff_deep import SEPARATED, UNSPECIFIED

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
MOSAIC = (32803, 34892)  # colour filter array; linear raw
REDUCED, MASK = 1, 4  # bits of NewSubfileType


def read(data: bytes, where: str) -> Picture:
    """Decode a file of 8 or 16 bits, or float. Raises InputError for others, and for several pages."""
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page, notes = chosen_page(file, where)
            tree = ifd.parse(data, page.offset)
            if tree is None:
                raise InputError(f"{where}: a damaged picture (no TIFF directory)")
            belongings = belongings_of(tree)
            if tree.lost:
                notes.append(f"entries {', '.join(map(str, sorted(set(tree.lost))))} lie outside the file and are lost")
            if page.bitspersample > 8:
                found = tiff_deep.read(page, data, where, belongings.icc)
                pixels, gray, converted = found.pixels, found.gray, found.converted
                notes += found.notes
                belongings = replace(belongings, attributes=found.attributes)
            else:
                pixels, gray = _eight(page, data, where, belongings.icc)
                converted = {SEPARATED: "CMYK", 8: "Lab", 9: "Lab"}.get(int(page.photometric), "")
                count = {2: 3, SEPARATED: 4, 6: 3, 8: 3, 9: 3}.get(int(page.photometric), 1) + (pixels.shape[2] == 4)
                notes += tiff_deep.left_out(int(page.samplesperpixel) - count)
    except CliplitError:
        raise
    except Exception as error:  # tifffile, its codecs and Pillow raise many types
        raise InputError(f"{where}: a damaged or unsupported TIFF ({first_line(error)})") from error
    if converted:
        guess = converted == "CMYK" and icc.channels(belongings.icc) != "CMYK"
        by = "by the plain formula, without a profile; its colours are a guess" if guess else "by their profile"
        notes.append(f"{converted} colours were converted to sRGB {by if converted == 'CMYK' else ''}".strip())
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
        extra = tuple(int(kind) for kind in page.extrasamples[:1])
        gray = image.mode in ("1", "L", "LA", "La")
        if image.mode not in ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr"):
            raise InputError(f"{where}: TIFF with pixels of mode {image.mode}; expected gray, RGB or RGBA of 8 bits")
        alpha = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") and extra not in ((), (UNSPECIFIED,))
        shown = image.convert("LA") if image.mode == "La" else image
        pixels = np.asarray(shown.convert("RGBA" if alpha else "RGB"))
    return pixels, gray


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
    """Encode (H, W, 3 or 4) uint8, uint16 or float32 (linear), with all belongings that TIFF holds."""
    sound, notes = exif.sound(belongings.exif)
    block = exif.completed(sound, belongings.texts, belongings.resolution)
    tree = ifd.parse(block) or ifd.Tree()
    alpha = pixels.shape[2] == 4
    if isinstance(belongings.attributes, FloatSamples):
        with np.errstate(over="ignore"):
            pixels = pixels.astype(belongings.attributes.kind)
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
