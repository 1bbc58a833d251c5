"""Video files in and out.

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
from av.video.stream import VideoStream
from cliplit.runtime.gain import Coding, Planes

from cliplit.arrays import Array
from cliplit.errors import InputError

# Pixel formats whose planes can be relighted; the j ones are full range by definition.
PLANAR_8BIT = ("yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p")

# ITU-T H.273 codes, as libavutil numbers them.
FULL_RANGE = 2
MATRICES = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087)}
MATRIX_NAMES = {1: "BT.709", 6: "BT.601"}
HDR_TRANSFERS = {16: "PQ (HDR10)", 18: "HLG"}

DEFAULT_CODECS = {".webm": "libvpx-vp9"}  # what cannot hold H.264
CONSTANT_QUALITY = {"libvpx-vp9": {"b:v": "0"}, "libaom-av1": {"b:v": "0"}}  # for crf to mean what it says
EVEN_SIDES = ("libx264", "libx265")  # these refuse subsampled chroma that does not divide the size
WITHOUT_PRESET = ("libvpx-vp9", "libaom-av1", "libsvtav1")  # their presets are numbers, if any


class VideoReader:
    """Decodes one video stream and passes the audio packets along. Use as a context manager.

    Iterating gives `VideoFrame`s of the video stream, all of one size and format, and `av.Packet`s of the audio
    streams, in file order.

    Attributes:
        decoded: frames so far.
        damaged: packets that could not be decoded so far.
        notes: what a user should know, such as a guessed colour matrix.

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
        if context.color_trc in HDR_TRANSFERS:
            raise InputError(
                f"{self.path}: {HDR_TRANSFERS[context.color_trc]} video; only 8-bit SDR is supported so far"
            )
        if pixel_format not in PLANAR_8BIT:
            raise InputError(
                f"{self.path}: pixel format {pixel_format or 'unknown'}; only 8-bit Y'CbCr is supported so far "
                f"({', '.join(PLANAR_8BIT[:3])}); convert it first, e.g.: ffmpeg -i IN -pix_fmt yuv420p OUT"
            )
        self.width, self.height = context.width, context.height
        self.pixel_format = pixel_format.replace("yuvj", "yuv")
        self.full_range = pixel_format.startswith("yuvj") or context.color_range == FULL_RANGE
        matrix = context.colorspace
        if matrix not in MATRICES:
            # The usual rule (R2.2): broadcast practice ties the matrix to the size.
            matrix = 1 if self.height >= 720 else 6
            self.notes.append(f"the colour matrix is not tagged; taken as {MATRIX_NAMES[matrix]} by its height")
        kr, kb = MATRICES[matrix]
        self.rotation = display_rotation(self.path, self.video.index)
        self.coding = Coding(kr, kb, self.full_range)

    @property
    def rate(self) -> Fraction | None:
        """Frames a second as far as the file tells: for progress and the encoder's rate control, never for timing."""
        return self.video.average_rate or self.video.guessed_rate

    @property
    def expected_frames(self) -> int | None:
        """An estimate for the progress bar."""
        if self.video.frames:
            return self.video.frames
        if self.video.duration and self.video.time_base and self.rate:
            return round(self.video.duration * self.video.time_base * self.rate)
        if self.container.duration and self.rate:
            return round(Fraction(self.container.duration, av.time_base) * self.rate)
        return None

    def __iter__(self) -> Iterator[VideoFrame | av.Packet[Any]]:
        for packet in self._packets():
            if packet.stream is not self.video:
                if packet.dts is not None:  # None marks the end of a stream
                    yield packet
                continue
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self.damaged += 1
                continue
            yield from self._counted(frames)
        with contextlib.suppress(av.FFmpegError):  # what the decoder still holds when a file breaks off
            yield from self._counted(self.video.decode(None))

    def _counted(self, frames: list[VideoFrame]) -> Iterator[VideoFrame]:
        for frame in frames:
            self.decoded += 1
            yield self._uniform(frame)

    def _uniform(self, frame: VideoFrame) -> VideoFrame:
        """The frame itself, or converted where a stream changes its size or format on the way."""
        shape = frame.width, frame.height, frame.format.name.replace("yuvj", "yuv")
        if shape == (self.width, self.height, self.pixel_format):
            return frame
        return frame.reformat(self.width, self.height, self.pixel_format)

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

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.container.close()


@dataclass(frozen=True)
class Encoding:
    """How the video stream is encoded; None takes the encoder's own default."""

    codec: str | None = None  # libx264 where the container holds it
    crf: int | None = 18
    preset: str | None = "medium"
    options: dict[str, str] = field(default_factory=dict)


class VideoWriter:
    """Encodes frames and copies audio packets. Use as a context manager, which flushes the encoder.

    Args:
        path: the file to write.
        reader: what the streams, their tags and time bases are taken from.
        encoding: how.

    Raises:
        InputError: a container or an encoder that does not exist, or that cannot hold these streams.
    """

    def __init__(self, path: Path, reader: VideoReader, encoding: Encoding) -> None:
        suffix = path.suffix.lower()
        try:
            self.container = av.open(str(path), "w")
        except (av.FFmpegError, ValueError) as error:
            raise InputError(f"{suffix or 'no suffix'} names no container format; try .mp4 or .mkv") from error
        try:
            self._add_streams(reader, encoding, suffix)
        except (av.FFmpegError, ValueError) as error:
            self._abandon()
            raise InputError(f"{suffix} cannot hold these streams ({reason(error)}); .mkv holds nearly all") from error
        except BaseException:
            self._abandon()
            raise

    def _add_streams(self, reader: VideoReader, encoding: Encoding, suffix: str) -> None:
        self.container.metadata.update(reader.container.metadata)
        codec = encoding.codec or DEFAULT_CODECS.get(suffix, "libx264")
        try:
            stream = self.container.add_stream(codec, rate=reader.rate or 25)
        except (av.FFmpegError, ValueError) as error:
            raise InputError(f"{codec}: no such video encoder here, or {suffix} cannot hold it") from error
        if not isinstance(stream, VideoStream):
            raise InputError(f"{codec}: not a video encoder")
        self.video = stream
        self._configure(reader, encoding, codec)
        self._copies = {}
        for stream in reader.audio:
            copy = self.container.add_stream_from_template(stream)
            copy.metadata.update(stream.metadata)
            copy.disposition = stream.disposition
            self._copies[stream.index] = copy

    def _configure(self, reader: VideoReader, encoding: Encoding, codec: str) -> None:
        source, target = reader.video.codec_context, self.video.codec_context
        target.width, target.height = reader.width, reader.height
        self.pixel_format = reader.pixel_format
        if codec.startswith(EVEN_SIDES) and not fits_sampling(reader.width, reader.height, reader.pixel_format):
            self.pixel_format = "yuv444p"
            reader.notes.append(
                f"{reader.width}x{reader.height} is odd: written as 4:4:4, so that no row or column is lost"
            )
        target.pix_fmt = self.pixel_format
        target.time_base = self.video.time_base = reader.video.time_base or Fraction(1, 90_000)
        if source.sample_aspect_ratio:
            target.sample_aspect_ratio = source.sample_aspect_ratio
        target.colorspace, target.color_primaries = source.colorspace, source.color_primaries
        target.color_trc = source.color_trc
        target.color_range = FULL_RANGE if reader.full_range else source.color_range
        self.video.metadata.update(reader.video.metadata)
        if reader.rotation:
            self.video.set_display_rotation(reader.rotation)
        options = dict(CONSTANT_QUALITY.get(codec, {}))
        if encoding.crf is not None:
            options["crf"] = str(encoding.crf)
        if encoding.preset is not None and codec not in WITHOUT_PRESET:
            options["preset"] = encoding.preset
        target.options = {**options, **encoding.options}

    def write(self, frame: VideoFrame) -> None:
        """Encode one frame; its pts is in the reader's time base."""
        if frame.format.name != self.pixel_format:
            frame = frame.reformat(format=self.pixel_format)
        self._mux(self._encoded(frame))

    def _encoded(self, frame: VideoFrame | None) -> list[av.Packet[Any]]:
        try:
            return self.video.encode(frame)
        except (av.FFmpegError, ValueError) as error:
            raise InputError(
                f"the encoder {self.video.codec_context.codec.name} refuses this video or its options ({reason(error)})"
            ) from error

    def copy(self, packet: av.Packet[Any]) -> None:
        packet.stream = self._copies[packet.stream.index]
        self._mux([packet])

    def _mux(self, packets: list[av.Packet[Any]]) -> None:
        try:
            self.container.mux(packets)
        except (av.FFmpegError, ValueError) as error:
            raise InputError(
                f"cannot write the output ({reason(error)}); a .mkv file holds nearly every stream"
            ) from error

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is not None:
            self._abandon()
            return
        self._mux(self._encoded(None))
        self.container.close()

    def _abandon(self) -> None:
        with contextlib.suppress(Exception):  # closing writes a trailer, which may fail as the rest did
            self.container.close()


def fits_sampling(width: int, height: int, pixel_format: str) -> bool:
    """Whether the sides are divisible by what the chroma sampling halves."""
    halves_rows, halves_columns = "420" in pixel_format, "444" not in pixel_format
    return not (halves_rows and height % 2) and not (halves_columns and width % 2)


def display_rotation(path: Path, index: int) -> int:
    """Degrees by which a player turns the pictures; it comes with the first frame only."""
    with av.open(str(path), metadata_errors="replace") as container, contextlib.suppress(av.FFmpegError):
        for frame in container.decode(container.streams[index]):
            return int(frame.rotation)
    return 0


def planes_of(frame: VideoFrame) -> Planes:
    """The frame's Y', Cb and Cr planes as (h, w) uint8 views of its memory."""
    y, u, v = (_view(plane) for plane in frame.planes)
    return y, u, v


def _view(plane: Any) -> Array:
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]


def reason(error: Exception) -> str:
    """The part of an FFmpeg error a user can act on."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
