"""Whether a file ends in the middle of what it holds, where FFmpeg says nothing of it.

Decoders give no picture for a packet that is cut, or a wrong one, and demuxers drop it; nothing raises.
"""

from __future__ import annotations

from pathlib import Path

SEGMENT = bytes.fromhex("18538067")  # the element that holds all of a Matroska file but its header (RFC 9559)
HEAD = 4096  # bytes in which it begins
PAGE = 27 + 255 + 255 * 255  # bytes of the longest page of Ogg (RFC 3533, section 6)
PARTITION = bytes.fromhex("060e2b34020501010d01020101")  # a partition of MXF (SMPTE ST 377-1)
RUN_IN = 65536  # bytes that may stand in front of MXF's header


def cut_off(path: Path, form: str) -> bool:
    """Tell whether a file of FFmpeg's demuxer `form` is shorter than its own sizes say."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if "matroska" in form:
            return end_of_segment(file.read(HEAD)) > size
        if form == "mxf":
            return footer(file.read(RUN_IN + HEAD)) >= size
        if form == "ogg":
            file.seek(max(0, size - 2 * PAGE))
            return ends_inside_page(file.read())
    return False


def end_of_segment(head: bytes) -> int:
    """Return where the segment of a Matroska file should end; 0 where that was not known when it was written."""
    at = 0
    while at + 12 <= len(head):
        identity = head[at : at + _length(head[at])]
        at += len(identity)
        length = _length(head[at])
        content = int.from_bytes(head[at : at + length], "big") & ((1 << 7 * length) - 1)  # EBML: RFC 8794, section 4
        at += length
        if identity == SEGMENT:
            return 0 if content == (1 << 7 * length) - 1 else at + content
        at += content
    return 0


def _length(first: int) -> int:
    """Return the bytes of a number of EBML from its first one: a bit more each for every 0 it begins with."""
    return 9 - first.bit_length()


def footer(head: bytes) -> int:
    """Return where the last partition of an MXF file should begin; -1 where its header does not say.

    SMPTE ST 377-1, section 7: key of 16 bytes, length in BER, two versions of 2 bytes, the grid of 4, and in 8 bytes
    each where this partition, the one before it and the last one begin, counted from the end of the run-in.
    """
    at = head.find(PARTITION)
    if at < 0 or at + 17 > len(head):
        return -1
    length = head[at + 16]
    field = at + 17 + (length & 0x7F if length & 0x80 else 0) + 2 + 2 + 4 + 8 + 8
    begins = int.from_bytes(head[field : field + 8], "big")
    return at + begins if begins else -1


def ends_inside_page(tail: bytes) -> bool:
    """Tell whether the last page of Ogg in the end of a file is incomplete."""
    at = tail.rfind(b"OggS")
    if at < 0:
        return False
    lengths = tail[at + 27 : at + 27 + tail[at + 26]] if at + 27 <= len(tail) else b""
    whole = at + 27 <= len(tail) and len(lengths) == tail[at + 26]
    return not whole or at + 27 + len(lengths) + sum(lengths) > len(tail)
