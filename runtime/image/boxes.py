"""Boxes of ISO 14496-12, as AVIF, HEIC and JPEG XL files are made of."""

from __future__ import annotations

import struct
from collections.abc import Iterator

INSIDE = {b"meta": 4, b"iprp": 0, b"ipco": 0}  # boxes that hold boxes, and the bytes before those
BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIF", b"heix": "HEIF", b"heim": "HEIF", b"heis": "HEIF",
          b"hevc": "HEIF", b"hevx": "HEIF", b"crx ": "raw"}  # fmt: skip


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, bytes]]:
    """Yield (type, content) of each box, and of those inside that hold properties of pictures."""
    end = len(data) if end is None else end
    at = start
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1 and at + 16 <= end:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        stop = end if size == 0 else at + size
        if stop > end or stop < at + head:
            return
        if kind in INSIDE:
            yield from boxes(data, at + head + INSIDE[kind], stop)
        else:
            yield kind, data[at + head : stop]
        at = stop


def brand(data: bytes) -> str:
    """Name the format by the brands of the first box, empty for another."""
    if data[4:8] != b"ftyp":
        return ""
    size = min(struct.unpack_from(">I", data)[0], 256)
    brands = [data[at : at + 4] for at in (8, *range(16, size, 4))]
    return next((BRANDS[each] for each in brands if each in BRANDS), "")


def exif_item(data: bytes) -> bytes:
    """Return the EXIF block of an AVIF or HEIC file, empty without one (ISO 23008-12, annex A)."""
    found = dict(boxes(data))
    places, kinds = found.get(b"iloc", b""), found.get(b"iinf", b"")
    if len(places) < 8 or len(kinds) < 6:
        return b""
    start = 4 + (2 if kinds[0] == 0 else 4)
    wanted = {
        int.from_bytes(info[4 : 6 if info[0] == 2 else 8], "big")
        for kind, info in boxes(kinds, start)
        if kind == b"infe" and info[0] in (2, 3) and info[(8 if info[0] == 2 else 10) :][:4] == b"Exif"
    }
    for item, at, length in _places(places):
        if item in wanted and at + length <= len(data) and length > 4:
            return data[at + 4 + struct.unpack_from(">I", data, at)[0] : at + length]
    return b""


def _places(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (item, place in the file, length) of items in one piece (ISO 14496-12, 8.11.3)."""
    version, widths = content[0], struct.unpack_from(">H", content, 4)[0]
    offset, length, base, index = (widths >> shift & 15 for shift in (12, 8, 4, 0))
    at = 6

    def number(width: int) -> int:
        nonlocal at
        at += width
        return int.from_bytes(content[at - width : at], "big")

    for _ in range(number(2 if version < 2 else 4)):
        item = number(2 if version < 2 else 4)
        method = number(2) & 15 if version else 0
        number(2)
        start = number(base)
        extents = [(number(index if version else 0), number(offset), number(length)) for _ in range(number(2))]
        if method == 0 and len(extents) == 1:
            yield item, start + extents[0][1], extents[0][2]


# (quarter turns counter-clockwise, mirror axis or None) of irot and imir -> EXIF orientation (ISO 23008-12, 6.5.10).
TURNED = {
    (0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6,
    (0, 0): 4, (1, 0): 5, (2, 0): 2, (3, 0): 7, (0, 1): 2, (1, 1): 7, (2, 1): 4, (3, 1): 5,
}  # fmt: skip


def orientation(found: dict[bytes, bytes]) -> int:
    """Return the EXIF orientation that the boxes irot and imir say, 1 without them."""
    turns = found[b"irot"][0] & 3 if found.get(b"irot") else 0
    return TURNED[turns, found[b"imir"][0] & 1 if found.get(b"imir") else None]


def nclx(data: bytes) -> tuple[int, int, int, bool] | None:
    """Return the first colour code points (primaries, transfer, matrix, full range), None without any."""
    for kind, content in boxes(data):
        if kind == b"colr" and content[:4] == b"nclx" and len(content) >= 11:
            return (*struct.unpack_from(">HHH", content, 4), bool(content[10] & 0x80))
    return None
