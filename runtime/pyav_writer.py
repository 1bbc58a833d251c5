"""Video files as a `Sink`: encodes frames, copies the packets of the other streams."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from cliplit.runtime.pyav_reader import PyAVFrame, PyAVReader, planes_of, reason
from cliplit.runtime.source import Clip, Frame

from cliplit.errors import InputError

DEFAULT_CODECS = {".webm": "libvpx-vp9"}  # what cannot hold H.264
CONSTANT_QUALITY = {"libvpx-vp9": {"b:v": "0"}, "libaom-av1": {"b:v": "0"}}  # for crf to mean what it says
EVEN_SIDES = ("libx264", "libx265")  # these refuse subsampled chroma that does not divide the size
WITHOUT_PRESET = ("libvpx-vp9", "libaom-av1", "libsvtav1")  # their presets are numbers, if any


@dataclass(frozen=True)
class Encoding:
    """How the video stream is encoded; None takes the encoder's own default."""

    codec: str | None = None  # libx264 where the container holds it
    crf: int | None = 18
    preset: str | None = "medium"
    options: dict[str, str] = field(default_factory=dict)


class PyAVWriter:
    """Encodes frames and copies audio packets. Use as a context manager, which flushes the encoder.

    Args:
        path: the file to write.
        clip: the size, layout, colours and time base of the frames to come.
        encoding: how.
        reader: whose other streams are copied; None copies nothing.

    Raises:
        InputError: a container or an encoder that does not exist, or that cannot hold these streams.
    """

    def __init__(self, path: Path, clip: Clip, encoding: Encoding, reader: PyAVReader | None = None) -> None:
        suffix = path.suffix.lower()
        self.notes: list[str] = []
        self.written = 0
        try:
            self.container = av.open(str(path), "w")
        except (av.FFmpegError, ValueError) as error:
            raise InputError(f"{suffix or 'no suffix'} names no container format; try .mp4 or .mkv") from error
        try:
            self._add_streams(clip, encoding, reader, suffix)
        except (av.FFmpegError, ValueError) as error:
            self._abandon()
            raise InputError(f"{suffix} cannot hold these streams ({reason(error)}); .mkv holds nearly all") from error
        except BaseException:
            self._abandon()
            raise

    def _add_streams(self, clip: Clip, encoding: Encoding, reader: PyAVReader | None, suffix: str) -> None:
        codec = encoding.codec or DEFAULT_CODECS.get(suffix, "libx264")
        try:
            stream = self.container.add_stream(codec, rate=clip.rate or 25)
        except (av.FFmpegError, ValueError) as error:
            raise InputError(f"{codec}: no such video encoder here, or {suffix} cannot hold it") from error
        if not isinstance(stream, VideoStream):
            raise InputError(f"{codec}: not a video encoder")
        self.video = stream
        self._configure(clip, encoding, codec)
        self._copies = {}
        if reader is None:
            return
        self.container.metadata.update(reader.container.metadata)
        for source in reader.audio:
            copy = self.container.add_stream_from_template(source)
            copy.metadata.update(source.metadata)
            copy.disposition = source.disposition
            self._copies[source.index] = copy

    def _configure(self, clip: Clip, encoding: Encoding, codec: str) -> None:
        target = self.video.codec_context
        target.width, target.height = clip.width, clip.height
        self.pixel_format = clip.pixel_format
        if codec.startswith(EVEN_SIDES) and not fits_sampling(clip.width, clip.height, clip.pixel_format):
            self.pixel_format = "yuv444p"
            self.notes.append(f"{clip.width}x{clip.height} is odd: written as 4:4:4, so that no row or column is lost")
        target.pix_fmt = self.pixel_format
        target.time_base = self.video.time_base = clip.time_base
        if clip.sample_aspect_ratio:
            target.sample_aspect_ratio = clip.sample_aspect_ratio
        target.colorspace, target.color_primaries = clip.colour.matrix, clip.colour.primaries
        target.color_trc, target.color_range = clip.colour.transfer, clip.colour.color_range
        self.video.metadata.update(clip.metadata)
        if clip.display_matrix:
            self.video.set_display_matrix(clip.display_matrix)
        options = dict(CONSTANT_QUALITY.get(codec, {}))
        if encoding.crf is not None:
            options["crf"] = str(encoding.crf)
        if encoding.preset is not None and codec not in WITHOUT_PRESET:
            options["preset"] = encoding.preset
        target.options = {**options, **encoding.options}

    def write(self, item: Frame | av.Packet[Any]) -> None:
        """Encode a frame, whose pts is in the clip's time base, or copy a packet of the reader's."""
        if isinstance(item, Frame):
            self._mux(self._encoded(self._picture(item)))
            self.written += 1
        else:
            item.stream = self._copies[item.stream.index]
            self._mux([item])

    def _picture(self, frame: Frame) -> VideoFrame:
        picture = frame.picture if isinstance(frame, PyAVFrame) else picture_of(frame)
        if picture.format.name.replace("yuvj", "yuv") != self.pixel_format:
            picture = picture.reformat(format=self.pixel_format)
        return picture

    def _encoded(self, picture: VideoFrame | None) -> list[av.Packet[Any]]:
        try:
            return self.video.encode(picture)
        except (av.FFmpegError, ValueError) as error:
            raise InputError(
                f"the encoder {self.video.codec_context.codec.name} refuses this video or its options ({reason(error)})"
            ) from error

    def _mux(self, packets: list[av.Packet[Any]]) -> None:
        try:
            self.container.mux(packets)
        except (av.FFmpegError, ValueError) as error:
            raise InputError(
                f"cannot write the output ({reason(error)}); a .mkv file holds nearly every stream"
            ) from error

    def __enter__(self) -> PyAVWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            self._abandon()
            return
        self._mux(self._encoded(None))
        self.container.close()

    def _abandon(self) -> None:
        with contextlib.suppress(Exception):  # closing writes a trailer, which may fail as the rest did
            self.container.close()


def picture_of(frame: Frame) -> VideoFrame:
    """A frame that no library owns as a picture of FFmpeg's."""
    y = frame.planes[0]
    picture = VideoFrame(y.shape[1], y.shape[0], frame.pixel_format)
    picture.pts, picture.time_base = frame.pts, frame.time_base
    for target, plane in zip(planes_of(picture), frame.planes, strict=True):
        target[...] = plane
    return picture


def fits_sampling(width: int, height: int, pixel_format: str) -> bool:
    """Whether the sides are divisible by what the chroma sampling halves."""
    halves_rows, halves_columns = "420" in pixel_format, "444" not in pixel_format
    return not (halves_rows and height % 2) and not (halves_columns and width % 2)
