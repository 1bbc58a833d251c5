"""What is read and changed in an EXIF block: orientation, thumbnail, texts, resolution. All else stays as it is."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from PIL import Image, ImageOps

from cliplit.arrays import Array

from . import ifd

ORIENTATION = 274
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
INCH, CENTIMETRE = 2, 3
MAKER_NOTE = 37500
THUMBNAIL_AT, THUMBNAIL_LENGTH = 513, 514
PREFIX = b"Exif\0\0"  # which JPEG puts before the block, and others do at times

# Keywords of PNG's texts (PNG specification, 11.3.3.2), and the entries that mean the same.
TEXT_TAGS = {"Description": 270, "Software": 305, "Author": 315, "Copyright": 33432}


def orientation(block: bytes) -> int:
    """Return the orientation, 0 where the block does not tell."""
    tree = ifd.parse(block)
    return (ifd.number(tree, tree.root.entries.get(ORIENTATION)) or 0) if tree else 0


def sound(block: bytes) -> tuple[bytes, list[str]]:
    """Return what can be read of a block, for writers that parse it, with a note on what is left out."""
    tree = ifd.parse(block)
    if tree is None:
        return b"", ["the EXIF block is damaged and left out"] if block else []
    if tree.lost:
        tags = ", ".join(map(str, sorted(set(tree.lost))))
        return ifd.block(tree), [f"entries {tags} of the EXIF block are damaged and left out"]
    return block, []


def with_orientation_1(block: bytes, at: int | None = None) -> bytes:
    """Say that the pixels stand upright, where the directory (at a place, or the first) says anything of it."""
    tree = ifd.parse(block, at)
    entry = tree.root.entries.get(ORIENTATION) if tree else None
    if tree is None or entry is None or entry.kind not in (ifd.SHORT, ifd.LONG):
        return block
    one = struct.pack(tree.order + {ifd.SHORT: "H", ifd.LONG: "I"}[entry.kind], 1)
    return block[: entry.at] + one + block[entry.at + len(one) :]


def without_orientation(block: bytes) -> bytes:
    """Take the orientation out, and leave all else in its place."""
    tree = ifd.parse(block)
    entry = tree.root.entries.get(ORIENTATION) if tree else None
    if tree is None or entry is None or len(entry.data) > 4:
        return block
    first, row = struct.unpack_from(tree.order + "I", block, 4)[0], entry.at - 8
    (count,) = struct.unpack_from(tree.order + "H", block, first)
    end = first + 2 + 12 * count + 4
    table = struct.pack(tree.order + "H", count - 1) + block[first + 2 : row] + block[row + 12 : end] + bytes(12)
    return block[:first] + table + block[end:]


def with_orientation(block: bytes, value: int) -> bytes:
    """Say how the stored pixels are turned; a block is made if there is none, and it is needed."""
    block = without_orientation(block)
    tree = ifd.parse(block) if block else ifd.Tree()
    if value == 1 or tree is None:
        return block
    entry = ifd.Entry(ifd.SHORT, struct.pack(tree.order + "H", value))
    return ifd.block(replace(tree, root=replace(tree.root, entries={**tree.root.entries, ORIENTATION: entry})))


def resolution(tree: ifd.Tree | None) -> tuple[Fraction, Fraction] | None:
    """Return pixels an inch across and down, None where they are not given."""
    if tree is None:
        return None
    sides = [tree.root.entries.get(tag) for tag in (X_RESOLUTION, Y_RESOLUTION)]
    unit = ifd.number(tree, tree.root.entries.get(RESOLUTION_UNIT)) or INCH
    found = [
        Fraction(*numbers)
        for side in sides
        if side and side.kind == ifd.RATIONAL and all(numbers := struct.unpack_from(tree.order + "II", side.data))
    ]
    if len(found) != 2 or unit not in (INCH, CENTIMETRE):
        return None
    scale = Fraction(254, 100) if unit == CENTIMETRE else Fraction(1)
    return found[0] * scale, found[1] * scale


def completed(block: bytes, texts: Sequence[tuple[str, str]], per_inch: tuple[Fraction, Fraction] | None) -> bytes:
    """Add texts that EXIF has an entry for, and the resolution, to a block that does not have them; also to none."""
    tree = ifd.parse(block) if block else ifd.Tree()
    if tree is None:
        return block
    more: dict[int, ifd.Entry] = {}
    for keyword, text in texts:
        if keyword in TEXT_TAGS:
            more.setdefault(TEXT_TAGS[keyword], ifd.ascii_entry(text))
    if per_inch and X_RESOLUTION not in tree.root.entries:
        more |= resolution_entries(per_inch, tree.order)
    more = {tag: entry for tag, entry in more.items() if tag not in tree.root.entries}
    if not more:
        return block
    return ifd.block(replace(tree, root=replace(tree.root, entries={**tree.root.entries, **more})))


def resolution_entries(per_inch: tuple[Fraction, Fraction], order: str) -> dict[int, ifd.Entry]:
    def rational(value: Fraction) -> ifd.Entry:
        near = value.limit_denominator(10000)
        return ifd.Entry(ifd.RATIONAL, struct.pack(order + "II", near.numerator, near.denominator))

    unit = ifd.Entry(ifd.SHORT, struct.pack(order + "H", INCH))
    return {X_RESOLUTION: rational(per_inch[0]), Y_RESOLUTION: rational(per_inch[1]), RESOLUTION_UNIT: unit}


def resolution_of(block: bytes) -> tuple[Fraction, Fraction] | None:
    """Return pixels an inch across and down of a block."""
    return resolution(ifd.parse(block))


def unkept_texts(texts: Sequence[tuple[str, str]]) -> list[str]:
    """Name the texts that EXIF has no entry for."""
    left = [repr(keyword) for keyword, _ in texts if keyword not in TEXT_TAGS]
    return [f"this format has no place for the text {', '.join(dict.fromkeys(left))}"] if left else []


def without_maker_note(block: bytes) -> bytes:
    """Leave out the one entry that is large, and means nothing to anybody but the camera's maker."""
    tree = ifd.parse(block)
    if tree is None or ifd.EXIF_IFD not in tree.root.children:
        return block
    children = {**tree.root.children}
    children[ifd.EXIF_IFD] = ifd.without(children[ifd.EXIF_IFD], (MAKER_NOTE,))
    return ifd.block(replace(tree, root=replace(tree.root, children=children)))


def with_thumbnail_of(block: bytes, pixels: Array) -> tuple[bytes, str]:
    """Put a thumbnail of the new picture in the place of the old one, which shows how it was before.

    Args:
        pixels: (H, W, 3 or 4) uint8, as stored.

    Returns:
        (block, a note if the thumbnail had to be taken out).
    """
    tree = ifd.parse(block)
    if tree is None or tree.second is None:
        return block, ""
    at, length = (ifd.number(tree, tree.second.entries.get(tag)) for tag in (THUMBNAIL_AT, THUMBNAIL_LENGTH))
    length_entry = tree.second.entries.get(THUMBNAIL_LENGTH)
    if at and length and length_entry and length_entry.kind == ifd.LONG and at + length <= len(block):
        for data in _thumbnails(block[at : at + length], pixels):
            if len(data) <= length:
                changed = bytearray(block)
                changed[at : at + length] = data.ljust(length, b"\0")
                changed[length_entry.at : length_entry.at + 4] = struct.pack(tree.order + "I", len(data))
                return bytes(changed), ""
    cut = bytearray(block)
    cut[tree.next_at : tree.next_at + 4] = bytes(4)
    if at and length and at + length == len(block):
        del cut[at:]
    return bytes(cut), "the thumbnail in the EXIF block, which showed the picture before, is left out"


def _thumbnails(old: bytes, pixels: Array) -> list[bytes]:
    """Encode a thumbnail as large as the old one, in several qualities, best first."""
    try:
        with Image.open(io.BytesIO(old), formats=["JPEG"]) as thumbnail:
            size = thumbnail.size
    except (OSError, ValueError, SyntaxError):
        return []
    image = ImageOps.contain(Image.fromarray(pixels).convert("RGB"), size)
    canvas = Image.new("RGB", size)  # cameras put black beside what has another shape
    canvas.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
    found = []
    for quality in (85, 70, 50, 30, 10):
        buffer = io.BytesIO()
        canvas.save(buffer, "JPEG", quality=quality)
        found.append(buffer.getvalue())
    return found
