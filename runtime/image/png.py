"""PNG's chunks (PNG specification, third edition), read and written as bytes.

Pillow decodes 8 bits and OpenCV 16, which Pillow cannot hold; both see no metadata: a text that unpacks to gigabytes or
a damaged profile cannot stop them.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
from PIL import Image

from cliplit.arrays import Array
from cliplit.errors import InputError

from . import exif, photoshop
from .picture import Belongings, Cicp, Picture, names

SIGNATURE = b"\x89PNG\r\n\x1a\n"
NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
COPIED = (*TEXTS, b"tIME", b"mDCV", b"mDCv", b"cLLI", b"cLLi")
OF_THE_PIXELS = (b"bKGD", b"hIST", b"sBIT", b"sPLT")  # which are others now
XMP = "XML:com.adobe.xmp"
RAW = "Raw profile type "  # ImageMagick's way, which exiftool reads and writes
METRE = Fraction(10000, 254)  # inches
LARGEST = 1 << 26  # bytes that a compressed text or profile may unpack to


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (type, whole chunk) of each chunk of a PNG file."""
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at : at + 12 + length]
        at += 12 + length


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def size_of(data: bytes) -> tuple[int, int]:
    """(H, W) by the header."""
    width, height = struct.unpack_from(">II", data, 16)
    return height, width


def read(data: bytes, where: str) -> Picture:
    """Decode a file of any colour type and depth. Raises InputError for a damaged or animated one."""
    chunks = list(png_chunks(data))
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 25:
        raise InputError(f"{where}: a damaged picture (no PNG header)")
    for kind, whole in chunks:
        if kind in NEEDED and zlib.crc32(whole[4:-4]) != struct.unpack(">I", whole[-4:])[0]:
            raise InputError(f"{where}: a damaged picture (wrong check sum)")
    if chunks[-1][0] != b"IEND" and b"IEND" not in (kind for kind, _ in chunks):
        raise InputError(f"{where}: a damaged picture (it is cut off)")
    frames = next((struct.unpack_from(">I", whole, 8)[0] for kind, whole in chunks if kind == b"acTL"), 1)
    if frames > 1:
        raise InputError(f"{where}: holds {frames} pictures (animated); only one is supported")
    belongings, notes = belongings_of(chunks)
    bare = SIGNATURE + b"".join(whole for kind, whole in chunks if kind in NEEDED)
    header = chunks[0][1]
    if header[16] == 16:
        pixels, gray = _deep(bare, where, chunks)
    else:
        with Image.open(io.BytesIO(bare), formats=["PNG"]) as image:
            gray = image.mode in ("1", "L", "LA", "La")
            transparent = "transparency" in image.info or image.mode in ("LA", "RGBA", "PA")
            pixels = np.asarray(image.convert("RGBA" if transparent else "RGB"))
    return Picture(pixels, gray, belongings, tuple(notes))


def _deep(bare: bytes, where: str, chunks: list[tuple[bytes, bytes]]) -> tuple[Array, bool]:
    """Decode 16 bits; (pixels, whether they are gray)."""
    colour = chunks[0][1][17]
    key = next((whole[8:-4] for kind, whole in chunks if kind == b"tRNS"), b"")
    if key:  # a colour that is transparent, which OpenCV knows for 8 bits alone
        bare = SIGNATURE + b"".join(whole for kind, whole in chunks if kind in NEEDED and kind != b"tRNS")
    pixels = cv2.imdecode(np.frombuffer(bare, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise InputError(f"{where}: a damaged picture, or not 16 bits a channel")
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        rgb = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    elif pixels.shape[2] == 2:
        rgb = np.dstack([pixels[..., :1]] * 3 + [pixels[..., 1:]])
    else:
        rgb = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    if key and rgb.shape[2] == 3:
        transparent = struct.unpack(">" + "H" * (len(key) // 2), key)
        hidden = (rgb == np.array(transparent if len(transparent) == 3 else transparent * 3)).all(axis=2)
        rgb = np.dstack([rgb, np.where(hidden, 0, 65535).astype(np.uint16)])
    return rgb, colour in (0, 4)


def belongings_of(chunks: list[tuple[bytes, bytes]]) -> tuple[Belongings, list[str]]:
    """Sort the chunks; return them with notes on what is left out."""
    found, strange, copied = Belongings(), [], []
    for kind, whole in chunks:
        data = whole[8:-4]
        try:
            if kind == b"iCCP":
                found = replace(found, icc=unpacked(data.split(b"\0", 1)[1][1:]))
            elif kind == b"eXIf":
                found = replace(found, exif=data.removeprefix(exif.PREFIX))
            elif kind == b"pHYs" and len(data) == 9 and data[8] == 1:
                across, down = struct.unpack_from(">II", data)
                found = replace(found, resolution=(across / METRE, down / METRE))
            elif kind == b"cICP" and len(data) == 4:
                found = replace(found, cicp=Cicp(data[0], data[1], data[2], bool(data[3])))
            elif kind == b"gAMA" and len(data) == 4:
                found = replace(found, gamma=struct.unpack(">I", data)[0])
            elif kind == b"cHRM" and len(data) == 32:
                found = replace(found, chromaticities=struct.unpack(">8I", data))
            elif kind == b"sRGB" and len(data) == 1:
                found = replace(found, intent=data[0])
            elif kind in TEXTS:
                keyword, text = text_of(kind, data)
                moved = with_profile(found, keyword, text)
                if moved is None:
                    copied.append(whole)
                    found = replace(found, texts=(*found.texts, (keyword, text)))
                else:
                    found = moved
            elif kind in COPIED:
                copied.append(whole)
            elif kind not in (*NEEDED, *OF_THE_PIXELS, b"pHYs", b"acTL", b"fcTL"):
                strange.append(repr(kind.decode("latin-1")))
        except (ValueError, IndexError, zlib.error) as error:
            strange.append(f"{kind.decode('latin-1')} ({error or 'damaged'})")
    notes = [f"left out: PNG's chunk {names(dict.fromkeys(strange))}"] if strange else []
    return replace(found, chunks=tuple(copied)), notes


def only_png(belongings: Belongings) -> list[str]:
    """Name the chunks, besides texts, that no other format has a place for."""
    kinds = (whole[4:8] for whole in belongings.chunks)
    return list(dict.fromkeys(kind.decode("latin-1") for kind in kinds if kind not in TEXTS))


def unpacked(data: bytes) -> bytes:
    """Unpack zlib data. Raises ValueError for what is damaged, or larger than any profile or text."""
    unpacker = zlib.decompressobj()
    result = unpacker.decompress(data, LARGEST)
    if not unpacker.eof:
        raise ValueError("cut off, or larger than any should be")
    return result


def text_of(kind: bytes, data: bytes) -> tuple[str, str]:
    """(keyword, text) of a chunk of text."""
    word, _, rest = data.partition(b"\0")
    keyword = word.decode("latin-1")
    if kind == b"tEXt":
        return keyword, rest.decode("latin-1")
    if kind == b"zTXt":
        return keyword, unpacked(rest[1:]).decode("latin-1")
    packed, _, text = rest[0], rest[1], rest[2:].split(b"\0", 2)[2]
    return keyword, (unpacked(text) if packed else text).decode("utf-8", "replace")


def with_profile(found: Belongings, keyword: str, text: str) -> Belongings | None:
    """Move a text that holds XMP, EXIF or IPTC to where it belongs; None for an ordinary text."""
    if keyword == XMP:
        return replace(found, xmp=text.encode())
    if not keyword.startswith(RAW):
        return None
    content = bytes.fromhex("".join(re.sub(r"^\s*\S+\s+\d+\s", "", text, count=1).split()))
    kind = keyword.removeprefix(RAW)
    if kind in ("exif", "APP1") and content.startswith(exif.PREFIX):
        return replace(found, exif=found.exif or content[len(exif.PREFIX) :])
    if kind == "xmp":
        return replace(found, xmp=found.xmp or content)
    if kind in ("iptc", "8bim"):
        iptc, others = photoshop.split(content)
        return replace(found, iptc=iptc or (b"" if others else content), photoshop=others)
    if kind in ("icc", "icm"):
        return replace(found, icc=found.icc or content)
    return None


def encode(pixels: Array, gray: bool, belongings: Belongings) -> tuple[bytes, list[str]]:
    """Encode (H, W, 3 or 4) uint8 or uint16 with all belongings; PNG has a place for each."""
    if pixels.dtype == np.uint16:
        data = _encode_deep(pixels, gray)
    else:
        image = Image.fromarray(pixels)
        if gray:
            image = image.convert("LA" if pixels.shape[2] == 4 else "L")
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        data = buffer.getvalue()
    header = len(SIGNATURE) + 25  # signature and IHDR; metadata goes before the pixels
    return data[:header] + b"".join(chunks_of(belongings)) + data[header:], []


def _encode_deep(pixels: Array, gray: bool) -> bytes:
    if pixels.shape[2] == 4:
        ordered = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA)
    else:
        ordered = np.ascontiguousarray(pixels[..., 0]) if gray else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".png", ordered)[1].tobytes())


def chunks_of(belongings: Belongings) -> Iterator[bytes]:
    """Yield the chunks in the order that the specification asks for: those of colours before all others."""
    if belongings.cicp:
        code = belongings.cicp
        yield chunk(b"cICP", bytes([code.primaries, code.transfer, code.matrix, code.full_range]))
    if belongings.icc:
        yield chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(belongings.icc))
    if belongings.intent is not None:
        yield chunk(b"sRGB", bytes([belongings.intent]))
    if belongings.gamma is not None:
        yield chunk(b"gAMA", struct.pack(">I", belongings.gamma))
    if belongings.chromaticities:
        yield chunk(b"cHRM", struct.pack(">8I", *belongings.chromaticities))
    if belongings.resolution:
        across, down = (min(2**31 - 1, round(side * METRE)) for side in belongings.resolution)
        yield chunk(b"pHYs", struct.pack(">IIB", across, down, 1))
    if belongings.exif:
        yield chunk(b"eXIf", belongings.exif)
    if belongings.xmp:
        yield chunk(b"iTXt", XMP.encode() + b"\0\0\0\0\0" + belongings.xmp)
    resources = photoshop.joined(belongings.iptc, belongings.photoshop)
    if resources:
        lines = "\n".join(re.findall(".{1,72}", resources.hex()))
        yield chunk(
            b"zTXt", f"{RAW}iptc\0\0".encode() + zlib.compress(f"\niptc\n{len(resources):8}\n{lines}\n".encode())
        )
    yield from belongings.chunks
    if not any(whole[4:8] in TEXTS for whole in belongings.chunks):
        for keyword, text in belongings.texts:
            yield text_chunk(keyword, text)


def text_chunk(keyword: str, text: str) -> bytes:
    word = keyword.encode("latin-1", "replace")[:79] or b"Comment"
    try:
        return chunk(b"tEXt", word + b"\0" + text.encode("latin-1"))
    except UnicodeEncodeError:
        return chunk(b"iTXt", word + b"\0\0\0\0\0" + text.encode())
