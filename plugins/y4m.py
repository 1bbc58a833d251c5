"""YUV4MPEG2, the format in which video programs pipe raw pictures to each other: headers, planes, frames.

The format is the one of mjpegtools' yuv4mpeg(5), with FFmpeg's tags for more than 8 bits and for the range.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO, Literal

import numpy as np

from cliplit.arrays import Array
from cliplit.errors import InputError

MAGIC, FRAME = b"YUV4MPEG2", b"FRAME"
LONGEST_LINE = 4096
LONGEST_SIDE = 1 << 16
STEPS = {"420": (2, 2), "411": (1, 4), "422": (1, 2), "440": (2, 1), "444": (1, 1)}  # luma rows, columns to a sample
COLOUR_TAG = re.compile(r"(mono|420|411|422|440|444)(jpeg|mpeg2|paldv|alpha)?(?:p?(9|1[0-6]))?")

Scan = Literal["progressive", "interlaced", "mixed"]


@dataclass(frozen=True)
class Layout:
    """The planes of a frame.

    Attributes:
        steps: luma (rows, columns) to a chroma sample; None without chroma.
        depth: bits per sample, 8 to 16; above 8, samples are little-endian words.
        alpha: a fourth plane, of luma's size.
    """

    steps: tuple[int, int] | None
    depth: int
    alpha: bool

    @classmethod
    def from_tag(cls, tag: str) -> Layout:
        """From a header's C parameter without the letter. Raises InputError for an unknown one."""
        found = COLOUR_TAG.fullmatch(tag)
        if not found:
            raise InputError(f"chroma format C{tag}; known are mono, 420, 411, 422, 440, 444, 444alpha, with p9 to p16")
        family, variant, depth = found.groups()
        return cls(STEPS.get(family), int(depth or 8), variant == "alpha")

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        return np.dtype("u1" if self.depth == 8 else "<u2")

    def shapes(self, height: int, width: int) -> list[tuple[int, int]]:
        """(rows, columns) of each plane."""
        planes = [(height, width)]
        if self.steps is not None:
            planes += [(-(-height // self.steps[0]), -(-width // self.steps[1]))] * 2
        return planes + [(height, width)] * self.alpha


@dataclass(frozen=True)
class Header:
    """A stream's first line; `line` is the line itself, to be passed on."""

    line: bytes
    width: int
    height: int
    rate: Fraction
    layout: Layout
    scan: Scan
    full_range: bool

    @classmethod
    def parse(cls, line: bytes) -> Header:
        """Raises InputError for what is not a YUV4MPEG2 header that can be worked with."""
        words = line.decode("ascii", "replace").split()
        if not words or words[0].encode() != MAGIC or not line.endswith(b"\n"):
            raise InputError(
                "the input is not YUV4MPEG2; make it with: ffmpeg -i IN -f yuv4mpegpipe -strict -1 - | cliplit-filter"
            )
        values = {word[0]: word[1:] for word in words[1:] if word[0] != "X"}
        width, height = (_side(values.get(key, "")) for key in "WH")
        return cls(
            line,
            width,
            height,
            _rate(values.get("F", "")),
            Layout.from_tag(values.get("C", "420jpeg")),
            {"t": "interlaced", "b": "interlaced", "m": "mixed"}.get(values.get("I", "p"), "progressive"),  # type: ignore[arg-type]
            "XCOLORRANGE=FULL" in words,
        )

    @property
    def frame_bytes(self) -> int:
        pixels = sum(rows * columns for rows, columns in self.layout.shapes(self.height, self.width))
        return pixels * self.layout.dtype.itemsize

    def planes(self, data: Array) -> list[Array]:
        """A frame's bytes as (rows, columns) views, one a plane."""
        planes, at = [], 0
        for rows, columns in self.layout.shapes(self.height, self.width):
            end = at + rows * columns * self.layout.dtype.itemsize
            planes.append(data[at:end].view(self.layout.dtype).reshape(rows, columns))
            at = end
        return planes


@dataclass(frozen=True)
class Frame:
    """One frame: its own header line, and its bytes as uint8, valid until the next frame is read."""

    line: bytes
    data: Array

    def interlaced(self, scan: Scan) -> bool:
        """Whether its chroma samples belong to fields: the stream's answer, or in mixed streams the frame's."""
        if scan != "mixed":
            return scan == "interlaced"
        flags = next((word[1:] for word in self.line.decode("ascii", "replace").split() if word[0] == "I"), "")
        return flags[2:3] == "i"


class Reader:
    """Reads a stream: `header` at once, frames by iterating.

    Raises:
        InputError: not YUV4MPEG2, or it breaks off inside a frame.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.header = Header.parse(source.readline(LONGEST_LINE))

    def __iter__(self) -> Iterator[Frame]:
        number = 0
        data = np.empty(self.header.frame_bytes, np.uint8)
        while line := self._source.readline(LONGEST_LINE):
            if not line.startswith(FRAME) or not line.endswith(b"\n"):
                raise InputError(f"no frame header where frame {number} should begin")
            count = self._source.readinto(data)  # type: ignore[attr-defined]
            if count != data.nbytes:
                raise InputError(f"the input breaks off in frame {number}: {count} of {data.nbytes} bytes")
            yield Frame(line, data)
            number += 1


def write_all(descriptor: int, *parts: bytes | Array) -> None:
    """Write all of them, in one system call where the pipe takes as much."""
    left = [part.data.cast("B") if isinstance(part, np.ndarray) else memoryview(part) for part in parts]
    while left:
        count = os.writev(descriptor, left) if hasattr(os, "writev") else os.write(descriptor, left[0])
        while left and count >= len(left[0]):
            count -= len(left.pop(0))
        if left:
            left[0] = left[0][count:]


def _side(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= LONGEST_SIDE:
        raise InputError(f"the YUV4MPEG2 header names {text or 'no'} pixels as width or height")
    return int(text)


def _rate(text: str) -> Fraction:
    found = re.fullmatch(r"(\d+):(\d+)", text)
    if not found or not int(found[1]) or not int(found[2]):
        return Fraction(25)  # unknown, "F0:0"; only the temporal filter asks
    return Fraction(int(found[1]), int(found[2]))
