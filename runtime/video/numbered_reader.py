"""Numbered pictures as a `Source`: PNG, TIFF, JPEG or WebP with 8 or 16 bits, read as `cliplit-image` reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from cliplit.arrays import Array
from cliplit.errors import InputError

from ..image.image_io import read_picture
from ..image.picture import Picture, upright
from ..light.colour import FULL_RANGE, RGB_MATRIX, Coding, Colour, Planes, stated
from ..light.hdr import TRANSFERS
from .frames import Clip, Frame
from .numbered import Numbered, ranges
from .opening import Reading, too_large

BITS_PER_SAMPLE = 258  # of TIFF
RATE = Fraction(25)  # frames a second where the user says none
MOST_NAMED = 3  # pictures that cannot be read are named so many times


@dataclass
class PictureFrame(Frame):
    """A frame with what its file held beside the pixels.

    Attributes:
        file: the picture without its pixels.
    """

    file: Picture = field(kw_only=True)


class NumberedReader:
    """Reads the pictures of a sequence in the order of their numbers. Use as a context manager.

    Depth and transparency are those of the richest picture. A number that is missing leaves its time empty, and
    `problems` names it.

    Args:
        names: of the pictures.
        reading: its `fps` is the rate; `video_stream` must be 0.

    Attributes:
        first: the lowest number, whose picture is shown at 0.

    Raises:
        InputError: no pictures of these names, or none that can be read.
    """

    def __init__(self, names: Numbered, reading: Reading) -> None:
        self.names, self.reading = names, reading
        self.decoded = self.damaged = 0
        self.others: list[Any] = []
        self.notes: list[str] = []
        self.numbers = names.numbers()
        if not self.numbers:
            raise InputError(f"{names.pattern}: no picture of such a name ({names.name(1)} would be one)")
        if reading.video_stream:
            raise InputError(f"{names.pattern}: has no video stream {reading.video_stream}; numbered pictures are one")
        self.first = self.numbers[0]
        self.rate = reading.fps or RATE
        if reading.fps is None:
            self.notes.append(f"numbered pictures do not say their rate; taken as {float(RATE):g} frames/s (--fps)")
        self._unreadable: list[str] = []
        self._deep = self._alpha = False
        for number in self.numbers:
            self._look(names.folder / names.name(number))
        self._resized = False
        self._number, self._held = self._first_picture()
        self.file = replace(self._held, pixels=np.empty(0))
        self.clip = self._describe(self._held.pixels)

    def _look(self, path: Path) -> None:
        """Take the depth and the transparency of a file by its header."""
        header = header_of(path)
        if header is None:
            return  # reading it will say why
        width, height, deep, alpha = header
        if width * height > self.reading.max_pixels:
            raise too_large(path, width, height, self.reading)
        self._deep, self._alpha = self._deep or deep, self._alpha or alpha

    def _first_picture(self) -> tuple[int, Picture]:
        for number in self.numbers:
            picture = self._read(number)
            if picture is not None:
                return number, picture
        raise InputError(f"{self._unreadable[0]}; none of {len(self.numbers)} pictures could be read")

    def _read(self, number: int) -> Picture | None:
        """Return a picture, upright; None, and remember why, if it cannot be read."""
        try:
            picture = read_picture(self.names.folder / self.names.name(number), self.reading.max_pixels)
        except (InputError, OSError) as error:
            self._unreadable.append(" ".join(str(error).split()))
            return None
        return replace(picture, pixels=np.ascontiguousarray(upright(picture.pixels, picture.orientation)))

    def _describe(self, pixels: Array) -> Clip:
        height, width = pixels.shape[:2]
        colour = colour_of(self._held)
        if self.reading.input_color is not None:
            colour = replace(stated(self.reading.input_color, colour), matrix=RGB_MATRIX, color_range=FULL_RANGE)
        if colour.hdr and self.reading.hdr == "refuse":
            raise InputError(f"{self.names.pattern}: {colour.hdr} pictures, and --hdr refuse was given")
        if colour.hdr:
            self.notes.append(f"{colour.hdr} stays HDR: the network sees it tone-mapped, lights keep their level")
        white = TRANSFERS[colour.transfer].white if colour.hdr else 1.0
        depth = 16 if self._deep else 8
        coding = Coding(full_range=True, depth=depth, rgb=True, white=white)
        layout = f"gbr{'a' if self._alpha else ''}p{'16le' if self._deep else ''}"
        whole = len(self.numbers) == self.numbers[-1] - self.first + 1
        return Clip(
            width, height, layout, coding, colour, 1 / self.rate, self.rate, len(self.numbers), steady=whole,
        )  # fmt: skip

    def __iter__(self) -> Iterator[Frame]:
        for number in self.numbers[self.numbers.index(self._number) :]:
            picture = self._held if number == self._number else self._read(number)
            if picture is None:
                continue
            self.decoded += 1
            yield self._frame(number, picture)

    def _frame(self, number: int, picture: Picture) -> PictureFrame:
        pixels = picture.pixels
        size = self.clip.width, self.clip.height
        if (pixels.shape[1], pixels.shape[0]) != size:
            if not self._resized:
                self._resized = True
                changed = f"from {size[0]}x{size[1]} to {pixels.shape[1]}x{pixels.shape[0]}"
                self.notes.append(
                    f"the size changes {changed} at {self.names.name(number)}: pictures are scaled to the first size"
                )
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC)
        if self._deep and pixels.dtype == np.uint8:
            pixels = pixels.astype(np.uint16) * np.uint16(257)
        red, green, blue = (np.ascontiguousarray(pixels[..., channel]) for channel in range(3))
        planes: Planes = red, green, blue
        alpha = None
        if self._alpha:
            top = np.iinfo(pixels.dtype).max
            alpha = np.ascontiguousarray(pixels[..., 3]) if pixels.shape[2] == 4 else np.full_like(red, top)
        return PictureFrame(
            planes, self.clip.coding, self.clip.pixel_format, number - self.first, 1 / self.rate, True, alpha=alpha,
            file=replace(picture, pixels=np.empty(0)),
        )  # fmt: skip

    @property
    def profile(self) -> bool:
        """Whether the first picture has a colour profile."""
        return bool(self.file.belongings.icc)

    @property
    def problems(self) -> str:
        found = []
        missing = sorted(set(range(self.first, self.numbers[-1] + 1)) - set(self.numbers))
        if missing:
            found.append(f"numbers missing of {self.first} to {self.numbers[-1]}: {ranges(missing)}")
        if self._unreadable:
            more = len(self._unreadable) - MOST_NAMED
            named = [*self._unreadable[:MOST_NAMED], *([f"and {more} more"] if more > 0 else [])]
            found.append(f"{len(self._unreadable)} pictures cannot be read ({'; '.join(named)})")
        return ", ".join(found)

    def __enter__(self) -> NumberedReader:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


def header_of(path: Path) -> tuple[int, int, bool, bool] | None:
    """Return (width, height, whether 16 bits, whether transparent) by the header; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            start = file.read(32)
        with Image.open(path) as image:
            deep = is_deep(image, start)
            alpha = start[25] & 4 != 0 if deep and image.format == "PNG" else image.has_transparency_data
            return *image.size, deep, alpha
    except UnidentifiedImageError:  # TIFF with 16 bits a channel
        return header_of_tiff(path)
    except (OSError, SyntaxError, ValueError, IndexError, Image.DecompressionBombError):
        return None


def header_of_tiff(path: Path) -> tuple[int, int, bool, bool] | None:
    try:
        with tifffile.TiffFile(path) as file:
            page: Any = file.pages[0]
            return page.imagewidth, page.imagelength, page.bitspersample > 8, page.samplesperpixel == 4
    except Exception:  # tifffile raises many types
        return None


def colour_of(picture: Picture) -> Colour:
    """Return the colours that a picture names by H.273 code points; unspecified otherwise."""
    code = picture.belongings.cicp
    if code is None:
        return Colour(RGB_MATRIX, color_range=FULL_RANGE)
    return Colour(RGB_MATRIX, code.primaries, code.transfer, FULL_RANGE)


def is_deep(image: Image.Image, data: bytes) -> bool:
    """Return whether a file has more than 8 bits per channel; Pillow silently reads deep colour as 8 bits."""
    if image.format == "PNG":
        return data[24] == 16  # bit depth in the IHDR chunk
    if image.format == "TIFF":
        return max(image.tag_v2.get(BITS_PER_SAMPLE, (1,))) > 8  # type: ignore[attr-defined]
    return image.mode in ("I", "F") or image.mode.startswith("I;16")
