"""Numbered pictures as a `Sink`: 8 bits a channel, or 16 where the clip has more than 8; all appear at once.

The pictures are made in a hidden folder beside them and get their names when the last one is complete: an interrupted
run leaves nothing, and pictures that exist stay until then.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame

from cliplit.arrays import Array
from cliplit.errors import CliplitError, InputError
from cliplit.files import beside
from cliplit.interrupt import interruption_after_step

from ..image.image_io import write_picture
from ..image.picture import Cicp, Picture, stored, upright
from ..light.colour import MATRICES, Coding
from .codecs import Encoding
from .encoder import picture_of
from .frames import Clip, Frame, Source
from .numbered import Numbered, ranges
from .numbered_reader import NumberedReader, PictureFrame
from .pixels import layout_of
from .pyav_frame import PyAVFrame
from .pyav_reader import PyAVReader
from .rate import SLACK
from .streams import describe, tags_of

# FFmpeg's names of matrices, by the weights of red and blue.
SWSCALE = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020nc", 10: "bt2020nc"}
EXACT = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
# Primaries and transfers that pictures without tags are taken for, or that are next to them.
USUAL_PRIMARIES, USUAL_TRANSFERS = {1, 2, 5, 6}, {1, 2, 6, 13, 14, 15}


class NumberedWriter:
    """Writes each frame as a picture. Use as a context manager, which gives the pictures their names.

    Numbers are those of the source if it is numbered, and begin at 1 otherwise.

    Args:
        names: of the pictures; the suffix names the format.
        clip: of the frames to come.
        encoding: only its pixel format is used, for depth, transparency and gray.
        source: what the frames come from; what pictures cannot hold of it is named.

    Raises:
        InputError: options for codecs.
    """

    def __init__(self, names: Numbered, clip: Clip, encoding: Encoding, source: Source) -> None:
        if encoding.codec != "auto" or encoding.crf is not None or encoding.preset or encoding.options:
            raise InputError(f"{names.pattern}: --codec, --crf, --preset and --enc-opt are for clips, not for pictures")
        self.names, self.clip, self.written = names, clip, 0
        self.notes: list[str] = []
        self._source = source if isinstance(source, NumberedReader) else None
        self._layout = layout_of(encoding.pixel_format or clip.pixel_format)
        self._orientation = clip.orientation
        self._tag = tag_of(clip, names.after)
        self._rate = clip.rate or Fraction(25)
        self._convert = Conversion(clip)
        self._first_time: Fraction | None = None
        self._moved = 0
        self._numbers: list[int] = []
        if isinstance(source, PyAVReader):
            self._name_losses(source)
        self._made = Path(tempfile.mkdtemp(prefix=beside(names.pattern.name, "."), dir=names.folder))

    def _name_losses(self, source: PyAVReader) -> None:
        clip = self.clip
        attached = [describe(stream) for stream in source.container.streams if stream is not source.video]
        self.notes += [f"{stream} is left out: pictures hold no other streams" for stream in attached]
        if chapters := source.chapters():
            self.notes.append(f"{len(chapters)} chapters are left out: pictures hold none")
        if tags_of(source.container.metadata) or clip.metadata:
            self.notes.append("the tags of the clip are left out: pictures hold none of them")
        if self._orientation != 1:
            self.notes.append("the pictures are turned upright, as players show the clip")
        if clip.sample_aspect_ratio and clip.sample_aspect_ratio != 1:
            self.notes.append(
                f"the shape of the pixels, {clip.sample_aspect_ratio}, is left out: pictures are as stored"
            )
        if clip.field_order != "progressive":
            self.notes.append("each picture holds both of its fields, line by line; pictures do not say so")
        if clip.mastering:
            self.notes.append("the mastering display and light levels are left out: pictures cannot hold them")
        if clip.colour.hdr and not self._tag:
            self.notes.append(f"{clip.colour.hdr} is not named in {self.names.after}; .png names it")

    def write(self, item: Any) -> None:
        """Write a `Frame`; packets are passed over."""
        if not isinstance(item, Frame):
            return
        number = self._number_of(item)
        pixels = self._pixels(item)
        if isinstance(item, PictureFrame):
            file = item.file
        else:
            file = self._source.file if self._source else Picture(np.empty(0), self._layout.gray)
        if file.orientation != 1:
            pixels = stored(pixels, file.orientation)
        if self._tag and file.belongings.cicp is None:
            file = replace(file, belongings=replace(file.belongings, cicp=self._tag))
        path = self._made / self.names.name(number)
        try:
            notes = write_picture(path, file, np.ascontiguousarray(pixels))
        except OSError as error:
            raise InputError(f"{self.names.folder / path.name}: {error.strerror or error}") from error
        self.notes += [note for note in notes if note not in self.notes]
        self._numbers.append(number)
        self.written += 1

    def _number_of(self, frame: Frame) -> int:
        if self._source:
            return self._source.first + round(frame.time * self._rate)
        if self._first_time is None:
            self._first_time = frame.time
        self._moved += abs((frame.time - self._first_time) * self._rate - self.written) > SLACK
        return 1 + self.written

    def _pixels(self, frame: Frame) -> Array:
        """Return a frame as (H, W, 3 or 4) uint8 or uint16."""
        wanted = self._layout
        pixels = self._convert(frame, deep=wanted.depth > 8, alpha=wanted.alpha)
        return upright(pixels, self._orientation)

    def __enter__(self) -> NumberedWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            shutil.rmtree(self._made, ignore_errors=True)
            return
        earlier = set(self.names.numbers()) - set(self._numbers)
        with interruption_after_step():
            self._give_names()
        if self._moved:
            self.notes.append(
                f"{self._moved} pictures are not at their own times: numbered pictures have a constant rate, "
                f"{float(self._rate):g} frames/s; --cfr repeats and drops pictures instead"
            )
        if earlier:
            self.notes.append(f"older pictures of these names stay: {ranges(earlier)}")

    def _give_names(self) -> None:
        for number in self._numbers:
            name = self.names.name(number)
            try:
                (self._made / name).replace(self.names.folder / name)
            except OSError as error:
                raise CliplitError(
                    f"{self.names.folder / name}: cannot be given this name ({error.strerror}); the finished pictures "
                    f"are in {self._made}"
                ) from error
        self._made.rmdir()


class Conversion:
    """Turns the frames of a clip into RGB(A) or gray pixels, with swscale's exact arithmetic."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self._graphs: dict[str, Graph] = {}

    def __call__(self, frame: Frame, deep: bool, alpha: bool) -> Array:
        """Return (H, W, 3 or 4), uint16 if `deep`, else uint8."""
        if layout_of(frame.pixel_format).gray:
            pixels = np.dstack([gray_to_depth(frame.planes[0], frame.coding, deep)] * 3)
        elif frame.coding.rgb:
            channels = [*frame.planes, *([frame.alpha] if alpha and frame.alpha is not None else [])]
            pixels = np.dstack([to_depth(channel, frame.coding.depth, deep) for channel in channels])
        else:
            form = f"rgb{'a' if alpha else ''}{'64le' if alpha else '48le'}" if deep else "rgba" if alpha else "rgb24"
            pixels = self._scaled(frame, form)
        if alpha and pixels.shape[2] == 3:
            opaque = np.full(pixels.shape[:2], np.iinfo(pixels.dtype).max, pixels.dtype)
            pixels = np.dstack([pixels, opaque])
        return pixels

    def _scaled(self, frame: Frame, form: str) -> Array:
        picture = frame.picture if isinstance(frame, PyAVFrame) else picture_of(frame)
        key = f"{picture.width} {picture.height} {picture.format.name} {form}"
        if key not in self._graphs:
            self._graphs[key] = self._graph(picture, frame, form)
        graph = self._graphs[key]
        graph.push(picture)
        out = graph.pull()
        assert isinstance(out, VideoFrame)
        return out.to_ndarray()

    def _graph(self, picture: VideoFrame, frame: Frame, form: str) -> Graph:
        weights = frame.coding.kr, frame.coding.kb
        matrix = self.clip.colour.matrix
        matrix = matrix if matrix in MATRICES else next(point for point, pair in MATRICES.items() if pair == weights)
        span = "full" if frame.coding.full_range else "limited"
        graph = Graph()
        form_in: Any = picture.format.name
        source = graph.add_buffer(
            width=picture.width, height=picture.height, format=form_in, time_base=Fraction(1, 1000)
        )
        colours = f"in_color_matrix={SWSCALE[matrix]}:in_range={span}:out_range=full:{EXACT}"
        scale, layout = graph.add("scale", colours), graph.add("format", f"pix_fmts={form}")
        source.link_to(scale)
        scale.link_to(layout)
        layout.link_to(graph.add("buffersink"))
        graph.configure()
        return graph


def to_depth(plane: Array, depth: int, deep: bool) -> Array:
    """Return full-range codes of `depth` bits at 8 bits, or at 16 if `deep`."""
    if depth == (16 if deep else 8):
        return plane
    top, most = (65535 if deep else 255), (1 << depth) - 1
    return ((plane.astype(np.uint64) * top + most // 2) // most).astype(np.uint16 if deep else np.uint8)


def gray_to_depth(plane: Array, coding: Coding, deep: bool) -> Array:
    """Return codes of luma, of either range, at full range; swscale takes those of gray pictures for full range."""
    if coding.full_range:
        return to_depth(plane, coding.depth, deep)
    top, unit = (65535 if deep else 255), 1 << (coding.depth - 8)
    light = (plane.astype(np.float64) - 16 * unit) / (219 * unit)  # ITU-R BT.709 part 4
    return np.rint(np.clip(light, 0, 1) * top).astype(np.uint16 if deep else np.uint8)


def tag_of(clip: Clip, after: str) -> Cicp | None:
    """Return the code points of colours that a PNG is not taken for without them; None otherwise."""
    colour = clip.colour
    usual = colour.primaries in USUAL_PRIMARIES and colour.transfer in USUAL_TRANSFERS
    return None if usual or not after.lower().endswith(".png") else Cicp(colour.primaries, colour.transfer)
