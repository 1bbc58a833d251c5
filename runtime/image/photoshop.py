"""Photoshop's image resource blocks, in which JPEG keeps IPTC (Adobe Photoshop File Formats; IPTC-IIM 4)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

SIGNATURE = b"8BIM"
IPTC = 0x0404
THUMBNAILS = (0x0409, 0x040C)  # of the picture before


def resources(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield (number, content, the whole resource); ends at what is none."""
    at = 0
    while data[at : at + 4] == SIGNATURE and at + 12 <= len(data):
        (number,) = struct.unpack_from(">H", data, at + 4)
        name = 1 + data[at + 6]
        start = at + 6 + name + name % 2
        if start + 4 > len(data):
            return
        (length,) = struct.unpack_from(">I", data, start)
        end = start + 4 + length
        if end > len(data):
            return
        yield number, data[start + 4 : end], data[at : end + length % 2]
        at = end + length % 2


def split(data: bytes) -> tuple[bytes, bytes]:
    """Return (IPTC, all other resources but thumbnails)."""
    iptc, others = b"", b""
    for number, content, whole in resources(data):
        if number == IPTC:
            iptc += content
        elif number not in THUMBNAILS:
            others += whole
    return iptc, others


def joined(iptc: bytes, others: bytes) -> bytes:
    """Invert `split`."""
    if not iptc:
        return others
    return SIGNATURE + struct.pack(">HHI", IPTC, 0, len(iptc)) + iptc + b"\0" * (len(iptc) % 2) + others
