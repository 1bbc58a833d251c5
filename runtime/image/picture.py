"""A decoded picture and its belongings: one model for all formats, from which each writer takes what it can hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from cliplit.arrays import Array

from . import exif

# EXIF orientation -> (quarter turns counter-clockwise, then mirrored) that show the stored pixels upright.
TURNS = {
    1: (0, False), 2: (0, True), 3: (2, False), 4: (2, True),
    5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False),
}  # fmt: skip


@dataclass(frozen=True)
class Cicp:
    """Code points of ITU-T H.273, as PNG's cICP chunk and the nclx box of AVIF and HEIC hold them."""

    primaries: int
    transfer: int
    matrix: int = 0
    full_range: bool = True


@dataclass(frozen=True)
class FloatSamples:
    """What only float TIFF holds: the type of its samples, "float16" or "float32"."""

    kind: str = "float32"


@dataclass(frozen=True)
class Belongings:
    """All of a picture that is not pixels. Blocks are carried as bytes.

    Attributes:
        exif: a TIFF structure, without JPEG's "Exif" before it; holds the orientation, too.
        icc, xmp, iptc: profile; XMP packet; datasets of IPTC-IIM.
        photoshop: image resource blocks, without the IPTC one.
        resolution: pixels an inch across and down.
        texts: (keyword, text) of PNG; a JPEG's comment is ("Comment", text).
        cicp, gamma, chromaticities, intent: what PNG says of colours: code points, gAMA, cHRM and sRGB as stored.
        chunks: what only PNG holds, whole.
        attributes: what only OpenEXR, Radiance and float TIFF hold, as their readers return it.
    """

    exif: bytes = b""
    icc: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    photoshop: bytes = b""
    resolution: tuple[Fraction, Fraction] | None = None
    texts: tuple[tuple[str, str], ...] = ()
    cicp: Cicp | None = None
    gamma: int | None = None
    chromaticities: tuple[int, ...] = ()
    intent: int | None = None
    chunks: tuple[bytes, ...] = ()
    attributes: object = None

    @property
    def orientation(self) -> int:
        """EXIF orientation, 1 to 8."""
        found = exif.orientation(self.exif)
        return found if found in TURNS else 1

    def turned_upright(self) -> Belongings:
        """Return the belongings of pixels that were turned upright."""
        return replace(self, exif=exif.with_orientation_1(self.exif))


@dataclass(frozen=True)
class Picture:
    """A decoded file.

    Attributes:
        pixels: (H, W, 3 or 4) uint8, uint16 or float32, RGB(A) with alpha not multiplied in, as stored (not turned
            upright). Integers are gamma-coded, in the colour space of the profile or of `belongings.cicp`; float is
            linear with 1 for white, of BT.709 primaries unless `belongings.attributes` or a linear profile say
            otherwise.
        gray: the file is grayscale; the three channels are equal.
        belongings: what else the file holds.
        notes: what cannot be kept, whatever is written.
        bits: of a sample in the file, where `pixels` are uint16.
    """

    pixels: Array
    gray: bool = False
    belongings: Belongings = field(default_factory=Belongings)
    notes: tuple[str, ...] = ()
    bits: int = 16

    @property
    def orientation(self) -> int:
        """EXIF orientation of the pixels, 1 to 8."""
        return self.belongings.orientation

    @property
    def linear(self) -> bool:
        return bool(self.pixels.dtype == np.float32)


def upright(pixels: Array, orientation: int) -> Array:
    """Rotate stored pixels to the way they are displayed."""
    turns, mirrored = TURNS[orientation]
    turned = np.rot90(pixels, turns)
    return turned[:, ::-1] if mirrored else turned


def stored(pixels: Array, orientation: int) -> Array:
    """Invert `upright`."""
    turns, mirrored = TURNS[orientation]
    return np.rot90(pixels[:, ::-1] if mirrored else pixels, -turns)


def names(words: Iterable[str]) -> str:
    """Join words for a message: `a, b and c`."""
    found = list(words)
    return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)
