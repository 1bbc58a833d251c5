"""The TIFF structure, byte for byte: where EXIF blocks and TIFF files keep their entries (TIFF 6.0, BigTIFF).

Values are carried, never interpreted: a library that reads "© 2026 Jürgen" as ASCII and writes it again loses it, and
one that meets a value of another type than it expects raises. Byte order stays that of the source, because some values
(maker notes, comments in UTF-16) depend on it without saying so.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from typing import Literal

EXIF_IFD, GPS_IFD, INTEROP_IFD = 34665, 34853, 40965
CHILDREN = (EXIF_IFD, GPS_IFD, INTEROP_IFD)  # entries that hold the place of another directory
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, LONG8 = 1, 2, 3, 4, 5, 7, 16
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
CLASSIC, BIG = 42, 43
Order = Literal["<", ">"]
DEEPEST = 8  # directories within directories


@dataclass(frozen=True)
class Entry:
    """A value: its TIFF type, its bytes in the block's order, and where in the block they were."""

    kind: int
    data: bytes
    at: int = 0


@dataclass(frozen=True)
class Ifd:
    """A directory: entries by tag, and the directories that entries point to."""

    entries: dict[int, Entry] = field(default_factory=dict)
    children: dict[int, Ifd] = field(default_factory=dict)


@dataclass(frozen=True)
class Tree:
    """A whole block.

    Attributes:
        order: "<" or ">", as of `struct`.
        root: the first directory.
        second: the one after it: the thumbnail of an EXIF block, the next page of a TIFF.
        next_at: where the place of `second` is written.
        lost: tags whose values lie outside the block.
    """

    order: Order = "<"
    root: Ifd = field(default_factory=Ifd)
    second: Ifd | None = None
    next_at: int = 0
    lost: tuple[int, ...] = ()


def parse(data: bytes, at: int | None = None) -> Tree | None:
    """Read a block; None if it is none. What lies outside of it is left out and named in `lost`.

    `at` is the place of the first directory, where not the one that the header names.
    """
    order: Order = "<" if data[:2] == b"II" else ">"
    if data[:2] not in (b"II", b"MM") or len(data) < 8:
        return None
    magic = struct.unpack_from(order + "H", data, 2)[0]
    if magic not in (CLASSIC, BIG) or (magic == BIG and len(data) < 16):
        return None
    big = magic == BIG
    lost: list[int] = []
    first = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0] if at is None else at
    root, next_at = _read(data, order, big, first, lost, 0)
    if root is None:
        return None
    place = _number(data, order, big, next_at)
    second = _read(data, order, big, place, [], 0)[0] if place else None
    return Tree(order, root, second, next_at, tuple(lost))


def _number(data: bytes, order: str, big: bool, at: int) -> int:
    width = 8 if big else 4
    if at <= 0 or at + width > len(data):
        return 0
    return int(struct.unpack_from(order + ("Q" if big else "I"), data, at)[0])


def _read(data: bytes, order: str, big: bool, at: int, lost: list[int], depth: int) -> tuple[Ifd | None, int]:
    """Read the directory at a place, and return it with the place of the pointer to the next one."""
    head, row, inline = (8, 20, 8) if big else (2, 12, 4)
    if depth > DEEPEST or at < 8 or at + head > len(data):
        return None, 0
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
    if at + head + count * row > len(data):
        return None, 0
    ifd = Ifd()
    for start in range(at + head, at + head + count * row, row):
        tag, kind, length = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, start)
        value_at = start + row - inline
        size = SIZES.get(kind, 0) * length
        if size > inline:
            value_at = _number(data, order, big, value_at)
        if not size or value_at + size > len(data):
            if length:
                lost.append(tag)
            continue
        if tag in CHILDREN:
            child = _read(data, order, big, _number(data, order, big and size == 8, value_at), lost, depth + 1)[0]
            if child is None:
                lost.append(tag)
            else:
                ifd.children[tag] = child
        else:
            ifd.entries[tag] = Entry(kind, data[value_at : value_at + size], value_at)
    return ifd, at + head + count * row


def directory(ifd: Ifd, order: str, at: int, big: bool = False) -> bytes:
    """Write a directory with all below it, to stand at the place `at`; no other follows it."""
    head, row, inline = (8, 20, 8) if big else (2, 12, 4)
    tags = sorted({*ifd.entries, *ifd.children})
    start = at + head + row * len(tags) + inline
    table, tail = bytearray(struct.pack(order + ("Q" if big else "H"), len(tags))), bytearray()
    for tag in tags:
        tail += b"\0" * (len(tail) % 2)
        place = struct.pack(order + ("Q" if big else "I"), start + len(tail))
        if tag in ifd.children:
            kind, count = (LONG8 if big else LONG), 1
            tail += directory(ifd.children[tag], order, start + len(tail), big)
            value = place
        else:
            entry = ifd.entries[tag]
            kind, count = entry.kind, len(entry.data) // SIZES[entry.kind]
            if len(entry.data) <= inline:
                value = entry.data.ljust(inline, b"\0")
            else:
                value = place
                tail += entry.data
        table += struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, count) + value
    return bytes(table + bytes(inline) + tail)


def block(tree: Tree) -> bytes:
    """Write an EXIF block of the first directory."""
    header = (b"II" if tree.order == "<" else b"MM") + struct.pack(tree.order + "HI", CLASSIC, 8)
    return header + directory(tree.root, tree.order, 8)


def with_entries(file: bytes, more: Ifd) -> bytes:
    """Return a TIFF file whose first directory has more entries; it is written again, at the end.

    `more` is in the file's byte order; its entries come before those of the same tags that are there.
    """
    tree = parse(file)
    if tree is None:
        raise ValueError("not a TIFF file")
    big = struct.unpack_from(tree.order + "H", file, 2)[0] == BIG
    merged = Ifd({**tree.root.entries, **more.entries}, {**tree.root.children, **more.children})
    file += b"\0" * (len(file) % 2)
    place = struct.pack(tree.order + ("Q" if big else "I"), len(file))
    at = 8 if big else 4
    return file[:at] + place + file[at + len(place) :] + directory(merged, tree.order, len(file), big)


def number(tree: Tree, entry: Entry | None) -> int | None:
    """Return the first number of an entry of whole numbers of any width, None if it is none."""
    code = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q"}.get(entry.kind) if entry else None
    return int(struct.unpack_from(tree.order + code, entry.data)[0]) if entry and code else None


def ascii_entry(text: str) -> Entry:
    """Make an entry of a text in UTF-8, which readers take where ASCII was meant (Metadata Working Group 2.0)."""
    return Entry(ASCII, text.encode() + b"\0")


def without(ifd: Ifd, tags: tuple[int, ...]) -> Ifd:
    return replace(ifd, entries={tag: entry for tag, entry in ifd.entries.items() if tag not in tags})
