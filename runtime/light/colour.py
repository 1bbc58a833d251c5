"""The meaning of a picture's numbers as colours: code points of ITU-T H.273, as in FFmpeg and all containers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from cliplit.arrays import Array
from cliplit.errors import InputError

LIMITED_RANGE, FULL_RANGE = 1, 2  # as libavutil numbers them
UNSPECIFIED = 2  # of matrix, primaries and transfer

# Matrix code point -> luma weights of red and blue (H.273 table 4).
MATRICES = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
RGB_MATRIX = 0
MATRIX_NAMES = {1: "BT.709", 5: "BT.601", 6: "BT.601", 9: "BT.2020"}

PQ, HLG = 16, 18  # transfer code points
HDR_NAMES = {PQ: "PQ (HDR10)", HLG: "HLG"}

# What `--input-color` accepts: (matrix, primaries, transfer).
NAMED = {
    "bt601": (6, 6, 6),
    "bt601-625": (5, 5, 6),
    "bt709": (1, 1, 1),
    "bt2020": (9, 9, 14),
    "pq": (9, 9, PQ),
    "hlg": (9, 9, HLG),
}


@dataclass(frozen=True)
class Colour:
    """The tags of a stream, as found or as stated by the user.

    Attributes:
        matrix, primaries, transfer: H.273 code points.
        color_range: 0 unspecified, 1 limited, 2 full.
        chroma_location: FFmpeg's name of where chroma samples lie ("left", "topleft"...), None if not known.
    """

    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    color_range: int = 0
    chroma_location: str | None = None

    @property
    def full_range(self) -> bool:
        return self.color_range == FULL_RANGE

    @property
    def hdr(self) -> str:
        """Name of the HDR transfer, empty for SDR."""
        return HDR_NAMES.get(self.transfer, "")


def assumed_matrix(height: int) -> int:
    """Guess the matrix of untagged pictures from their size, as broadcast practice does (R2.2)."""
    return 1 if height >= 720 else 6


def stated(text: str, found: Colour) -> Colour:
    """Parse the user's tags: a name of `NAMED`, a range ("full", "limited"), or both as NAME:RANGE.

    Raises:
        InputError: neither.
    """
    ranges = {"limited": LIMITED_RANGE, "full": FULL_RANGE}
    name, _, span = text.partition(":")
    if name in ranges and not span:
        name, span = "", name
    if (name and name not in NAMED) or (span and span not in ranges) or not (name or span):
        raise InputError(f"--input-color {text}: expected {', '.join(NAMED)}, each with :full or :limited if needed")
    if name:
        matrix, primaries, transfer = NAMED[name]
        found = replace(found, matrix=matrix, primaries=primaries, transfer=transfer)
    return replace(found, color_range=ranges[span]) if span else found


Planes = tuple[Array, Array, Array]


class CodeNumbers(NamedTuple):
    """The conversion of Y'CbCr codes to R'G'B', in the order `_relight.planes` takes.

    With y = (Y' - y_offset) y_scale and cb, cr = (code - c_offset) c_scale: R' = y + r_cr cr,
    G' = y + g_cb cb + g_cr cr, B' = y + b_cb cb; `top` is the largest code.
    """

    y_offset: float
    y_scale: float
    c_offset: float
    c_scale: float
    r_cr: float
    g_cb: float
    g_cr: float
    b_cb: float
    top: float


@dataclass(frozen=True)
class Coding:
    """How Y'CbCr codes map to R'G'B': ITU-R BT.601 / BT.709 / BT.2020 (ITU-T H.273), limited or full range.

    Attributes:
        kr, kb: luma weights of red and blue.
        full_range: codes 0..255 instead of 16..235 (at 8 bits).
        depth: bits per sample.
        rgb: the planes hold R', G' and B' themselves, at full range; the weights do not matter.
        white: the signal, in (0, 1], that counts as white: nothing is raised above it, and brighter values stay. Below
            1 for HDR, where most of the signal range is for lights.
    """

    kr: float = 0.2126
    kb: float = 0.0722
    full_range: bool = False
    depth: int = 8
    rgb: bool = False
    white: float = 1.0

    @property
    def numbers(self) -> CodeNumbers:
        unit, top = float(1 << (self.depth - 8)), float((1 << self.depth) - 1)
        kg = 1.0 - self.kr - self.kb
        luma = (0.0, 1 / top) if self.full_range else (16 * unit, 1 / (219 * unit))
        luma = (luma[0], luma[1] / self.white)
        chroma = (128 * unit, (1 / top if self.full_range else 1 / (224 * unit)) / self.white)
        matrix = (
            2 * (1 - self.kr),
            -2 * self.kb * (1 - self.kb) / kg,
            -2 * self.kr * (1 - self.kr) / kg,
            2 * (1 - self.kb),
        )
        return CodeNumbers(*luma, *chroma, *matrix, top)
