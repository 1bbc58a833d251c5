"""The messages between GIMP or the frei0r filter and the worker.

A client writes a request and, for a picture, its profile, if any, and its pixels; the worker answers with a reply and
as many bytes as it announces. Everything is little-endian and of fixed size; `frei0r.c` declares the same structures.
Pixels follow their header on the same stream, or lie in shared memory, without copies through the kernel: the first
half is the client's, the second the worker's.

The first two fields of a request and the whole reply keep their places in every version, so that each side can always
tell the user which of the two is too old.

Standard library only: the GIMP plug-in takes this file along into GIMP's own Python.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

VERSION = 2
MAGIC = b"CLIT"

_PREFIX = struct.Struct("<4sI")
_REQUEST = struct.Struct("<4sI4I4d16sQ")
_REPLY = struct.Struct("<4sIIIQ")
PREFIX_SIZE, REQUEST_SIZE, REPLY_SIZE = _PREFIX.size, _REQUEST.size, _REPLY.size

LONGEST_SIDE = 1 << 18  # of a picture; GIMP's own limit
LARGEST_PICTURE = 1 << 30  # pixels
LARGEST_PROFILE = 1 << 24  # bytes
LONGEST_MESSAGE = 4096  # bytes
AUTOMATIC = -1.0  # in place of a largest gain: as much as the noise allows
STILL = -1.0  # in place of a time constant: a picture by itself


class ProtocolError(Exception):
    """The other side is not a cliplit program, or has another version; the message is for the user."""


class Pixels(IntEnum):
    """The layout of pixels; NONE asks the worker to get ready and tell its name."""

    NONE = 0
    RGBA8 = 1
    RGB_FLOAT = 2
    RGBA_FLOAT = 3

    @property
    def channels(self) -> int:
        return (0, 4, 3, 4)[self]

    @property
    def sample_bytes(self) -> int:
        return (0, 1, 4, 4)[self]


class Status(IntEnum):
    """The content after a reply: pixels (in the stream or in shared memory), or a message in UTF-8."""

    DONE = 0
    FAILED = 1


@dataclass(frozen=True)
class Request:
    """One picture to relight.

    Attributes:
        pixels: their layout; gamma-coded, float samples nominally in [0, 1].
        width, height: in pixels; rows follow each other without a gap.
        exact: run the network at full size.
        strength, max_gain: as in `Enhancer`; AUTOMATIC for "auto".
        time_constant: of the temporal filter in seconds, 0 for none, STILL for a picture by itself.
        time: of the frame, in seconds; NaN where the host does not tell: one frame after the last.
        model: a bundled model's name, at most 16 bytes; empty for the worker's own choice.
        profile: of the colours (ICC), which follows the header; empty for sRGB.
    """

    pixels: Pixels = Pixels.NONE
    width: int = 0
    height: int = 0
    exact: bool = False
    strength: float = 1.0
    max_gain: float = 16.0
    time_constant: float = STILL
    time: float = 0.0
    model: str = ""
    profile: bytes = b""

    @property
    def size(self) -> int:
        """Bytes of the pixels."""
        return self.width * self.height * self.pixels.channels * self.pixels.sample_bytes

    def pack(self) -> bytes:
        """Return the header and what follows it, but for the pixels."""
        header = _REQUEST.pack(
            MAGIC,
            VERSION,
            self.pixels,
            self.width,
            self.height,
            self.exact,
            self.strength,
            self.max_gain,
            self.time_constant,
            self.time,
            self.model.encode("ascii"),
            len(self.profile),
        )
        return header + self.profile

    @classmethod
    def profile_size(cls, header: bytes | bytearray) -> int:
        """Return how many bytes of profile follow a header. Raises ProtocolError for too many."""
        size = int(_REQUEST.unpack(header)[-1])
        if size > LARGEST_PROFILE:
            raise ProtocolError(f"a profile of {size} bytes; at most {LARGEST_PROFILE} are taken")
        return size

    @classmethod
    def unpack(cls, header: bytes | bytearray, profile: bytes = b"") -> Request:
        """Unpack REQUEST_SIZE bytes. Raises ProtocolError for what this version does not understand."""
        check_prefix(header)
        _, _, pixels, width, height, exact, strength, max_gain, time_constant, time, model, _ = _REQUEST.unpack(header)
        if pixels not in set(Pixels):
            raise ProtocolError(f"unknown pixel layout {pixels}")
        name = model.rstrip(b"\0").decode("ascii", "replace")
        settings = bool(exact), strength, max_gain, time_constant, time, name
        request = cls(Pixels(pixels), width, height, *settings, profile)
        if request.pixels and not (0 < width <= LONGEST_SIDE and 0 < height <= LONGEST_SIDE):
            raise ProtocolError(f"a picture of {width}x{height} pixels; sides go from 1 to {LONGEST_SIDE}")
        if width * height > LARGEST_PICTURE:
            raise ProtocolError(f"a picture of {width}x{height} pixels; at most {LARGEST_PICTURE} are taken")
        return request


@dataclass(frozen=True)
class Reply:
    """The result of a request, and how many bytes follow."""

    status: Status
    length: int

    def pack(self) -> bytes:
        return _REPLY.pack(MAGIC, VERSION, self.status, 0, self.length)

    @classmethod
    def unpack(cls, header: bytes | bytearray) -> Reply:
        """Unpack REPLY_SIZE bytes. Failures of every version are understood, as they may say that versions differ."""
        magic, version, status, _, length = _REPLY.unpack(header)
        if magic != MAGIC or status not in set(Status):
            raise ProtocolError("the worker's answer is not one of cliplit's")
        if status != Status.FAILED:
            check_version(magic, version, "the worker")
        return cls(Status(status), length)


def check_prefix(header: bytes | bytearray) -> None:
    """Check that a request, at least PREFIX_SIZE bytes of it, is of this version. Raises ProtocolError if not."""
    magic, version = _PREFIX.unpack_from(header)
    check_version(magic, version, "the plug-in")


def check_version(magic: bytes, version: int, other: str) -> None:
    """Check that the other side speaks this version. Raises ProtocolError if not."""
    if magic != MAGIC:
        raise ProtocolError(f"{other} does not speak cliplit's protocol")
    if version != VERSION:
        raise ProtocolError(
            f"{other} speaks version {version} of cliplit's protocol and this side version {VERSION}; "
            "install the plug-in again with: cliplit-plugins install gimp (or frei0r)"
        )
