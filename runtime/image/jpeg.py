"""JPEG's segments (ITU-T T.81 B.1.1, EXIF 2.32, JFIF, XMP part 3, ICC.1 B.4), read and written as bytes.

Pillow decodes and encodes the pixels and sees no metadata: what is damaged there cannot stop it.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from PIL import Image

from . import exif, photoshop, xmp
from .picture import Belongings, names

SOI, EOI, SOS = b"\xff\xd8", 0xD9, 0xDA
APP0, APP1, APP2, APP11, APP13, APP14, COM = 0xE0, 0xE1, 0xE2, 0xEB, 0xED, 0xEE, 0xFE
STANDALONE = {0x01, *range(0xD0, 0xD9)}
JFIF, ADOBE, ICC, MPF = b"JFIF\0", b"Adobe", b"ICC_PROFILE\0", b"MPF\0"
XMP, XMP_REST = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
PHOTOSHOP = b"Photoshop 3.0\0"
ISO_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1\0"
UNIMPORTANT = (b"JFXX\0", b"Ducky")  # a thumbnail of before; the quality of an encoder
ROOM = 65533  # bytes in a segment


@dataclass
class Parts:
    """A file taken apart: what a decoder needs, each other segment as (marker, content), what follows the picture."""

    codestream: bytes = b""
    segments: list[tuple[int, bytes]] = field(default_factory=list)
    rest: bytes = b""
    ended: bool = True


def take_apart(data: bytes) -> Parts:
    """Split a file. The codestream ends with the first picture; `ended` says whether its last marker is there."""
    parts, kept, at = Parts(), [SOI], 2
    scanning = False
    while True:
        if scanning:
            at = _next_marker(data, at)
        elif data[at : at + 1] != b"\xff":
            at = data.find(b"\xff", at) if data.find(b"\xff", at) >= 0 else len(data)
        while data[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        if at + 2 > len(data):
            parts.ended = False
            break
        marker = data[at + 1]
        if marker == EOI:
            kept.append(data[at : at + 2])
            parts.rest = data[at + 2 :]
            break
        if marker in STANDALONE or at + 4 > len(data):
            at += 2
            continue
        length = 2 + struct.unpack_from(">H", data, at + 2)[0]
        content = data[at + 4 : at + length]
        foreign = 0xE0 <= marker <= 0xEF or marker == COM
        if foreign and not (marker == APP14 and content.startswith(ADOBE)):
            parts.segments.append((marker, content))
        else:
            kept.append(data[at : at + length])
        at += length
        if marker == SOS:
            end = _next_marker(data, at)
            kept.append(data[at:end])
            at, scanning = end, True
        else:
            scanning = False
    parts.codestream = b"".join(kept)
    return parts


def _next_marker(data: bytes, at: int) -> int:
    """Return where entropy-coded data ends."""
    while 0 <= (found := data.find(b"\xff", at)) < len(data) - 1:
        if data[found + 1] not in (0x00, 0xFF, *range(0xD0, 0xD8)):
            return found
        at = found + (1 if data[found + 1] == 0xFF else 2)
    return len(data)


def depth_of(codestream: bytes) -> int:
    """Bits a sample, by the frame header (T.81 B.2.2); 0 without one."""
    at = 2
    while at + 5 <= len(codestream) and codestream[at] == 0xFF:
        marker = codestream[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return codestream[at + 4]
        if marker == SOS:
            break
        at += 2 + struct.unpack_from(">H", codestream, at + 2)[0]
    return 0


def damage(codestream: bytes) -> list[str]:
    """Return a note where entropy-coded data are broken or end early, which Pillow and libjpeg pass over in silence.

    FFmpeg's decoder tells. What it does not know (arithmetic coding, unusual sampling) it says otherwise.
    """
    import av  # FFmpeg's libraries take a tenth of a second to load, which other pictures need not wait for

    decoder: Any = av.CodecContext.create("mjpeg", "r")
    decoder.options = {"err_detect": "explode", "lowres": "3"}
    decoder.thread_count = 1
    try:
        decoder.decode(av.Packet(codestream))
        decoder.decode(None)
    except av.error.InvalidDataError:
        return ["the file is damaged inside: a part of the picture is missing or wrong, as any viewer shows it"]
    except av.error.FFmpegError:
        pass
    return []


def belongings_of(parts: Parts) -> tuple[Belongings, list[str]]:
    """Sort the segments; return them with notes on what is left out."""
    found, notes, profile, rest, resources = Belongings(), [], [], [], b""
    strange, gain_map, density = [], False, None
    for marker, content in parts.segments:
        if marker == APP0 and content.startswith(JFIF):
            density = density_of(content)
        elif marker == APP1 and content.startswith(exif.PREFIX) and not found.exif:
            found = replace(found, exif=content[len(exif.PREFIX) :])
        elif marker == APP1 and content.startswith(XMP):
            found = replace(found, xmp=content[len(XMP) :])
        elif marker == APP1 and content.startswith(XMP_REST):
            rest.append(content[len(XMP_REST) :])
        elif marker == APP2 and content.startswith(ICC):
            profile.append((content[len(ICC)], content[len(ICC) + 2 :]))
        elif marker == APP2 and content.startswith(ISO_GAIN_MAP):
            gain_map = True
        elif marker == APP13 and content.startswith(PHOTOSHOP):
            resources += content[len(PHOTOSHOP) :]
        elif marker == COM:
            text = content.rstrip(b"\0").decode("utf-8", "replace")
            found = replace(found, texts=(*found.texts, ("Comment", text)))
        elif marker == APP11 and content.startswith(b"JP"):
            strange.append("content credentials (C2PA), which are of the picture before")
        elif not content.startswith((MPF, *UNIMPORTANT)):
            word = content[:16].split(b"\0")[0].decode("ascii", "replace")
            strange.append(f"segment APP{marker - APP0} {word!r}")
    iptc, others = photoshop.split(resources)
    per_inch = density or exif.resolution_of(found.exif)
    found = replace(
        found, icc=b"".join(data for _, data in sorted(profile)), iptc=iptc, photoshop=others, resolution=per_inch
    )
    try:
        if rest:
            found = replace(found, xmp=xmp.merged(found.xmp, _assembled(rest)))
        packet, spoken_of = xmp.without_gain_map(found.xmp)
        found, gain_map = replace(found, xmp=packet), gain_map or spoken_of
    except ValueError as error:
        strange.append(f"part of the XMP: {error}")
    if gain_map and parts.rest:
        notes.append("the gain map (HDR) is left out; the picture is its SDR rendition")
    elif parts.rest.startswith(SOI):
        notes.append("holds several pictures; the first is taken")
    elif parts.rest.strip(b"\0"):
        clip = ", a clip by the look of it," if b"ftyp" in parts.rest[:4096] else ""
        notes.append(f"{len(parts.rest)} bytes after the picture{clip} are left out")
    if strange:
        notes.append(f"left out: {names(dict.fromkeys(strange))}")
    return found, notes


def density_of(content: bytes) -> tuple[Fraction, Fraction] | None:
    """Return pixels an inch of a JFIF segment, None where it gives an aspect ratio alone."""
    if len(content) < 12:
        return None
    unit, across, down = struct.unpack_from(">BHH", content, 7)
    if unit not in (1, 2) or not across or not down:
        return None
    scale = Fraction(254, 100) if unit == 2 else Fraction(1)
    return across * scale, down * scale


def _assembled(parts: list[bytes]) -> bytes:
    """Join the parts of an extended XMP packet: digest, full length, offset, content each."""
    placed = sorted((struct.unpack_from(">I", part, 36)[0], part[40:]) for part in parts if len(part) > 40)
    return b"".join(content for _, content in placed)


def encode(image: Image.Image, belongings: Belongings, quality: int) -> tuple[bytes, list[str]]:
    """Encode 8-bit pixels, 4:4:4, with all belongings that JPEG holds; return the file and what it does not hold."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    parts = take_apart(buffer.getvalue())
    segments, notes = segments_of(belongings)
    head = b"".join(b"\xff" + struct.pack(">BH", marker, len(data) + 2) + data for marker, data in segments)
    return SOI + head + parts.codestream[2:], notes


def segments_of(belongings: Belongings) -> tuple[list[tuple[int, bytes]], list[str]]:
    notes = []
    segments = [(APP0, jfif(belongings.resolution))]
    texts = [text for keyword, text in belongings.texts if keyword == "Comment"]
    others = [pair for pair in belongings.texts if pair[0] != "Comment"]
    block = exif.completed(belongings.exif, others, None)
    if len(block) + len(exif.PREFIX) > ROOM:
        block = exif.without_maker_note(block)
        fits = len(block) + len(exif.PREFIX) <= ROOM
        notes.append(f"the {'maker note of the ' if fits else ''}EXIF block is too large for JPEG and left out")
        block = block if fits else b""
    if block:
        segments.append((APP1, exif.PREFIX + block))
    segments += _xmp_segments(belongings.xmp)
    pieces = _pieces(belongings.icc, ROOM - len(ICC) - 2)
    if len(pieces) > 255:
        notes.append("the ICC profile is too large for JPEG and left out")
        pieces = []
    segments += [(APP2, ICC + bytes([n + 1, len(pieces)]) + piece) for n, piece in enumerate(pieces)]
    resources = photoshop.joined(belongings.iptc, belongings.photoshop)
    segments += [(APP13, PHOTOSHOP + piece) for piece in _pieces(resources, ROOM - len(PHOTOSHOP))]
    segments += [(COM, piece) for text in texts for piece in _pieces(text.encode(), ROOM)]
    return segments, notes + exif.unkept_texts(others)


def jfif(per_inch: tuple[Fraction, Fraction] | None) -> bytes:
    """Build the JFIF segment; whole pixels an inch or a centimetre, whichever is nearer, an aspect of 1 without."""
    if per_inch is None:
        return JFIF + struct.pack(">HBHHBB", 0x0101, 0, 1, 1, 0, 0)
    metric = tuple(side / Fraction(254, 100) for side in per_inch)
    unit, sides = min(((1, per_inch), (2, metric)), key=lambda u: sum(abs(s - round(s)) / s for s in u[1]))
    across, down = (min(65535, max(1, round(side))) for side in sides)
    return JFIF + struct.pack(">HBHHBB", 0x0101, unit, across, down, 0, 0)


def _xmp_segments(packet: bytes) -> Iterator[tuple[int, bytes]]:
    if not packet:
        return
    if len(packet) + len(XMP) <= ROOM:
        yield APP1, XMP + packet
        return
    short, rest, guid = xmp.halves(packet)
    yield APP1, XMP + short
    at = 0
    for piece in _pieces(rest, ROOM - len(XMP_REST) - 40):
        yield APP1, XMP_REST + guid + struct.pack(">II", len(rest), at) + piece
        at += len(piece)


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]
