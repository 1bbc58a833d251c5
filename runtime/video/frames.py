"""The contract between what gives frames, what changes them and what takes them.

A `Source` gives `Frame`s (and the packets of the other streams, which nobody but its own kind of `Sink` looks into);
a `Sink` takes them. The steps in between see planes, exact times and how codes map to colours, and no library's types.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from cliplit.arrays import Array

from ..light.colour import Coding, Colour, Planes
from .fields import Order
from .mastering import Mastering

# Signs of a display matrix (a, b, c, d of ISO/IEC 14496-12 section 8.2.2) -> EXIF orientation of the same turn.
SMALL = 32  # of 65536: rounding
ORIENTATIONS = {
    (1, 0, 0, 1): 1, (-1, 0, 0, 1): 2, (-1, 0, 0, -1): 3, (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5, (0, 1, -1, 0): 6, (0, -1, -1, 0): 7, (0, -1, 1, 0): 8,
}  # fmt: skip
Matrix = tuple[int, ...]  # a display matrix: nine integers, ISO/IEC 14496-12 section 8.2.2


@dataclass
class Frame:
    """One picture and the moment it is shown.

    Attributes:
        planes: Y', Cb, Cr as (h, w) uint8 or uint16 views; R, G, B where `coding.rgb`. A frame from a source is read
            only (a decoder predicts later frames from it): ask `writable()`. Of a gray picture, Cb and Cr hold no
            colour and are not written.
        coding: what the codes mean.
        pixel_format: FFmpeg's name of the layout, native byte order.
        pts, time_base: the time is exactly ``pts * time_base`` seconds.
        key_frame: decoding can start here.
        scan: "progressive", or the order of its two woven fields, "tff" or "bff".
        alpha: (H, W) of the planes' type, or None.
        damaged: parts of it could not be decoded.
    """

    planes: Planes
    coding: Coding
    pixel_format: str
    pts: int
    time_base: Fraction
    key_frame: bool = False
    scan: Order = "progressive"
    alpha: Array | None = None
    damaged: bool = False

    @property
    def interlaced(self) -> bool:
        return self.scan != "progressive"

    @property
    def time(self) -> Fraction:
        return self.pts * self.time_base

    def writable(self) -> Frame:
        """Return the same picture in memory that may be changed. The frame it is asked of must not be used any more."""
        return self

    def copy(self) -> Frame:
        """Return the same picture in memory of its own, independent of any library."""
        y, u, v = (plane.copy() for plane in self.planes)
        return Frame(
            (y, u, v), self.coding, self.pixel_format, self.pts, self.time_base, self.key_frame, self.scan,
            None if self.alpha is None else self.alpha.copy(),
        )  # fmt: skip


@dataclass(frozen=True)
class Clip:
    """What holds for every frame of a source, and what a sink tags its output with.

    Attributes:
        rate: frames a second as far as is known: for progress and rate control, never for timing.
        steady: whether all pictures follow each other at `rate`, as far as the file says.
        expected_frames: an estimate for the progress bar.
        field_order: "progressive", "tff" or "bff".
        codec: FFmpeg's name of the source's codec, empty if it has none.
        mastering: static metadata of HDR10.
    """

    width: int
    height: int
    pixel_format: str
    coding: Coding
    colour: Colour
    time_base: Fraction
    rate: Fraction | None = None
    expected_frames: int | None = None
    sample_aspect_ratio: Fraction | None = None
    field_order: Order = "progressive"
    display_matrix: Matrix | None = None
    codec: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    mastering: Mastering | None = None
    steady: bool = False

    @property
    def orientation(self) -> int:
        """EXIF orientation that turns as the display matrix does; 1 for none, and for angles between."""
        if self.display_matrix is None:
            return 1
        numbers = (self.display_matrix[place] for place in (0, 1, 3, 4))
        signs = [0 if abs(number) <= SMALL else 1 if number > 0 else -1 for number in numbers]
        return ORIENTATIONS.get((signs[0], signs[1], signs[2], signs[3]), 1)

    def with_size(self, width: int, height: int) -> Clip:
        """Describe the clip after a step that changes the size of every frame, such as a comparison side by side."""
        return replace(self, width=width, height=height)


class Source(Protocol):
    """Gives the items of one clip, in file order. A context manager.

    Attributes:
        notes: what a user should know, such as a guessed colour matrix; grows while reading.
        decoded, damaged: frames given so far, and packets that could not be decoded.
    """

    clip: Clip
    notes: list[str]
    decoded: int
    damaged: int

    @property
    def problems(self) -> str:
        """What of the clip could not be read, empty if nothing; complete once everything is read."""

    def __iter__(self) -> Iterator[Any]:
        """`Frame`s of one size and layout, and packets for the sink."""

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Sink(Protocol):
    """Takes the items of a clip. A context manager: leaving it completes the output, or abandons it on an exception.

    Attributes:
        notes: what could not be kept, by name.
        written: frames taken so far.
    """

    notes: list[str]
    written: int

    def write(self, item: Any) -> None:
        """Encode a `Frame`, whose time base is the clip's, or copy a packet."""

    def __enter__(self) -> Sink: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class Stateful(Protocol):
    """A step that remembers earlier frames. A resumed run continues with the state it was killed in."""

    def state(self) -> dict[str, Any]:
        """Arrays and numbers by name, as `numpy.savez` stores them."""

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
