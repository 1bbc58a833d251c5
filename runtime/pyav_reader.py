"""Video files as a `Source`.

PyAV, because it gives what a relighted clip must keep and OpenCV's VideoCapture hides: the decoder's own time
stamps and time base, the Y'CbCr planes without a trip through RGB, colour tags, and the packets of the other
streams, to be copied as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from cliplit.runtime.colour import HDR_NAMES, MATRICES, MATRIX_NAMES, Colour, assumed_matrix
from cliplit.runtime.gain import Coding, Planes
from cliplit.runtime.source import Clip, Frame

from cliplit.arrays import Array
from cliplit.errors import InputError

# Pixel formats whose planes can be relighted; the j ones are full range by definition.
PLANAR_8BIT = ("yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p")


@dataclass
class PyAVFrame(Frame):
    """A frame whose planes are views of FFmpeg's memory, without a copy."""

    picture: VideoFrame = field(kw_only=True)

    def writable(self) -> Frame:
        # Copies what the decoder still needs, and keeps all that hangs on the frame: captions, field order, tags.
        self.picture.make_writable()
        return frame_of(self.picture, self.coding)


def frame_of(picture: VideoFrame, coding: Coding) -> PyAVFrame:
    """A decoded picture in a planar format as a frame of the contract."""
    assert picture.pts is not None and picture.time_base is not None
    return PyAVFrame(
        planes_of(picture), coding, picture.format.name, picture.pts, picture.time_base,
        picture.key_frame, picture.interlaced_frame, picture=picture,
    )  # fmt: skip


def planes_of(picture: VideoFrame) -> Planes:
    """The picture's Y', Cb and Cr planes as (h, w) uint8 views of its memory."""
    y, u, v = (_view(plane) for plane in picture.planes)
    return y, u, v


def _view(plane: Any) -> Array:
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]


class PyAVReader:
    """Decodes one video stream and passes the packets of the others along. Use as a context manager.

    Raises:
        InputError: not a video, no video stream, or a pixel format that cannot be relighted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.decoded = self.damaged = 0
        self.notes: list[str] = []
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        try:
            self.container = av.open(str(path), metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            raise InputError(f"{path}: not a video file that can be read ({reason(error)})") from error
        try:
            self._examine()
        except BaseException:
            self.container.close()
            raise

    def _examine(self) -> None:
        pictures = [s for s in self.container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not pictures:
            raise InputError(f"{self.path}: holds no video stream")
        self.video = pictures[0]
        self.audio = list(self.container.streams.audio)
        for stream in self.container.streams:
            if stream is not self.video and stream not in self.audio:
                self.notes.append(f"stream {stream.index} ({stream.type}) is not copied")
        self.video.thread_type = "AUTO"
        context = self.video.codec_context
        pixel_format = context.pix_fmt
        if context.color_trc in HDR_NAMES:
            raise InputError(f"{self.path}: {HDR_NAMES[context.color_trc]} video; only 8-bit SDR is supported so far")
        if pixel_format not in PLANAR_8BIT:
            raise InputError(
                f"{self.path}: pixel format {pixel_format or 'unknown'}; only 8-bit Y'CbCr is supported so far "
                f"({', '.join(PLANAR_8BIT[:3])}); convert it first, e.g.: ffmpeg -i IN -pix_fmt yuv420p OUT"
            )
        full = pixel_format.startswith("yuvj")
        colour = Colour(
            context.colorspace, context.color_primaries, context.color_trc, 2 if full else context.color_range
        )
        matrix = colour.matrix
        if matrix not in MATRICES:
            matrix = assumed_matrix(context.height)
            self.notes.append(f"the colour matrix is not tagged; taken as {MATRIX_NAMES[matrix]} by its height")
        self.clip = Clip(
            context.width, context.height, pixel_format.replace("yuvj", "yuv"),
            Coding(*MATRICES[matrix], colour.full_range), colour,
            self.video.time_base or Fraction(1, 90_000), self.video.average_rate or self.video.guessed_rate,
            sample_aspect_ratio=context.sample_aspect_ratio, codec=context.codec.canonical_name,
            display_matrix=display_matrix(self.path, self.video.index), metadata=dict(self.video.metadata),
        )  # fmt: skip
        self.clip = self.clip.expecting(self._expected_frames())

    def _expected_frames(self) -> int | None:
        rate = self.clip.rate
        if self.video.frames:
            return self.video.frames
        if self.video.duration and self.video.time_base and rate:
            return round(self.video.duration * self.video.time_base * rate)
        if self.container.duration and rate:
            return round(Fraction(self.container.duration, av.time_base) * rate)
        return None

    def __iter__(self) -> Iterator[Frame | av.Packet[Any]]:
        for packet in self._packets():
            if packet.stream is not self.video:
                if packet.dts is not None:  # None marks the end of a stream
                    yield packet
                continue
            try:
                pictures = packet.decode()
            except av.FFmpegError:
                self.damaged += 1
                continue
            yield from self._frames(pictures)
        with contextlib.suppress(av.FFmpegError):  # what the decoder still holds when a file breaks off
            yield from self._frames(self.video.decode(None))

    def _frames(self, pictures: list[VideoFrame]) -> Iterator[Frame]:
        for picture in pictures:
            self.decoded += 1
            yield frame_of(self._uniform(picture), self.clip.coding)

    def _uniform(self, picture: VideoFrame) -> VideoFrame:
        """The picture itself, or converted where a stream changes its size or format on the way."""
        shape = picture.width, picture.height, picture.format.name.replace("yuvj", "yuv")
        if shape == (self.clip.width, self.clip.height, self.clip.pixel_format):
            return picture
        return picture.reformat(self.clip.width, self.clip.height, self.clip.pixel_format)

    @property
    def problems(self) -> str:
        found = []
        if self.damaged:
            found.append(f"{self.damaged} damaged packets")
        if self.missing:
            found.append(f"{self.missing} of {self.video.frames} frames missing")
        return ", ".join(found)

    @property
    def missing(self) -> int:
        """Frames that the file announces and does not hold, once it is read; a few are trimmed by edit lists."""
        absent = self.video.frames - self.decoded
        return absent if absent > max(2, self.video.frames // 50) else 0

    def _packets(self) -> Iterator[Any]:
        try:
            yield from self.container.demux([self.video, *self.audio])
        except av.FFmpegError:  # the file breaks off
            self.damaged += 1

    def __enter__(self) -> PyAVReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.container.close()


def display_matrix(path: Path, index: int) -> tuple[int, ...] | None:
    """How a player turns or mirrors the pictures; it comes with the first frame only."""
    with av.open(str(path), metadata_errors="replace") as container, contextlib.suppress(av.FFmpegError):
        for frame in container.decode(container.streams[index]):
            data = frame.side_data.get("DISPLAYMATRIX")
            return None if data is None else tuple(np.frombuffer(data, np.int32).tolist())
    return None


def reason(error: BaseException) -> str:
    """The part of an FFmpeg error a user can act on."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
