"""What comes along with the pictures: sound, subtitles, attachments, cover art, data, second video streams.

Each stream is copied where the container can hold it, which a trial decides: an empty file of that format with that
stream alone. If it cannot, sound becomes AAC or Opus and text subtitles the container's own kind. What is lost is
said by name.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.stream import Disposition, Stream

from .pyav import open_to_read, text, texts

# Tags that describe the file or the codec they were read from, not the clip.
STALE = {
    "major_brand", "minor_version", "compatible_brands", "encoder", "duration", "bps", "number_of_frames",
    "number_of_bytes", "_statistics_writing_app", "_statistics_writing_date_utc", "_statistics_tags", "vendor_id",
}  # fmt: skip
SOUND = {"webm": "libopus", "ogg": "libopus", "avi": "libmp3lame", "flv": "aac"}  # AAC otherwise
TEXT = {"mp4": "mov_text", "mov": "mov_text", "ipod": "mov_text", "webm": "webvtt", "matroska": "ass"}
TEXT_CODECS = {"subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text"}
RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)  # that AAC knows
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 8: "7.1"}  # of AAC and Opus both
COVER_NAMES = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}


def describe(stream: Stream) -> str:
    """Describe a stream, such as: stream 3 (audio, ac3, jpn, "Commentary")."""
    tags = texts(stream.metadata)
    words = [stream.type, codec_of(stream), tags.get("language", ""), tags.get("filename", "")]
    title = tags.get("title")
    if title:
        words.append(f'"{title}"')
    return f"stream {stream.index} ({', '.join(word for word in words if word and word != 'und')})"


def codec_of(stream: Stream) -> str:
    if stream.codec_context is not None:
        return stream.codec_context.codec.canonical_name
    return (stream.name or "") if stream.type == "data" else ""


def is_cover(stream: Stream) -> bool:
    return stream.type == "video" and bool(stream.disposition & Disposition.attached_pic)


def tags_of(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that do not describe the old file; language codes for "undetermined" stay."""
    return {name: value for name, value in texts(metadata).items() if name.lower() not in STALE}


@dataclass
class Copy:
    """A stream whose packets go over as they are."""

    target: Stream

    def packets(self, packet: av.Packet[Any] | None) -> Iterator[av.Packet[Any]]:
        if packet is not None:
            packet.stream = self.target
            yield packet


class SoundTranscoder:
    """A stream of sound that the container does not hold as it is."""

    def __init__(self, container: OutputContainer, source: Any, codec: str) -> None:
        self.target: Any = container.add_stream(
            codec, rate=source.rate if source.rate in RATES and codec == "aac" else 48000
        )
        channels = source.layout.nb_channels
        context: Any = self.target.codec_context
        context.layout = LAYOUTS.get(channels, "stereo")
        context.bit_rate = 96_000 * min(channels, 8)
        self.source = source

    def packets(self, packet: av.Packet[Any] | None) -> Iterator[av.Packet[Any]]:
        try:
            frames = self.source.codec_context.decode(packet)
        except av.FFmpegError:  # a damaged packet is a hole in the sound
            frames = []
        for frame in frames:
            yield from self.target.encode(frame)
        if packet is None:
            yield from self.target.encode(None)


class TextTranscoder:
    """Text subtitles in another container's kind."""

    def __init__(self, container: OutputContainer, source: Any, codec: str) -> None:
        self.target: Any = container.add_stream(codec)
        self.target.time_base = self.target.codec_context.time_base = Fraction(1, 1000)
        self.source = source
        source.codec_context.open(strict=False)
        context: Any = self.target.codec_context
        context.subtitle_header = source.codec_context.subtitle_header

    def packets(self, packet: av.Packet[Any] | None) -> Iterator[av.Packet[Any]]:
        if packet is None or packet.pts is None:
            return
        subtitle = self.source.codec_context.decode2(packet)
        if subtitle is None:
            return
        encoded = self.target.codec_context.encode_subtitle(subtitle)
        encoded.time_base = Fraction(1, 1000)
        encoded.pts = encoded.dts = round(packet.pts * packet.time_base * 1000)
        encoded.duration = round((packet.duration or 0) * packet.time_base * 1000)
        encoded.stream = self.target
        yield encoded


Carrier = Copy | SoundTranscoder | TextTranscoder


def carry(source: Stream, container: OutputContainer, form: str, notes: list[str]) -> Carrier | None:
    """Add a stream of the source to `container`, of the format named `form`; None if it cannot be kept."""
    if source.type == "attachment":
        _attach(source, container, form, notes)
        return None
    if is_cover(source) and form in ("matroska", "webm"):
        return None  # becomes an attachment, see `cover_attachments`
    if source.type == "data" and _rewritten_by_muxer(source, form):
        return None
    if accepts(form, source):
        target = container.add_stream_from_template(source, opaque=True)
        carrier: Carrier = Copy(target)
    else:
        made = _transcoded(source, container, form)
        if made is None:
            notes.append(f"{describe(source)} is left out: {form} cannot hold it; .mkv holds nearly every stream")
            return None
        carrier, codec = made
        notes.append(f"{describe(source)} becomes {codec}: {form} cannot hold it as it is")
    carrier.target.metadata.update(tags_of(source.metadata))
    carrier.target.disposition = source.disposition
    return carrier


def accepts(form: str, source: Stream) -> bool:
    """Test whether a file of this format can begin with this stream."""
    try:
        with av.logging.Capture(), av.open(io.BytesIO(), "w", format=form) as trial:
            trial.add_stream_from_template(source, opaque=True)
            trial.start_encoding()
            return True
    except (av.FFmpegError, ValueError, RuntimeError):
        return False


def _transcoded(source: Stream, container: OutputContainer, form: str) -> tuple[Carrier, str] | None:
    """Add the stream in another codec, after a test as in `accepts`; None if that fails too."""
    make: type[SoundTranscoder | TextTranscoder]
    if source.type == "audio" and source.codec_context is not None:
        make, codec = SoundTranscoder, SOUND.get(form, "aac")
    elif source.type == "subtitle" and codec_of(source) in TEXT_CODECS and form in TEXT:
        make, codec = TextTranscoder, TEXT[form]
    else:
        return None
    try:
        with av.logging.Capture(), av.open(io.BytesIO(), "w", format=form) as trial:
            make(trial, source, codec)
            trial.start_encoding()
        return make(container, source, codec), codec.removeprefix("lib")
    except (av.FFmpegError, ValueError, RuntimeError):
        return None


def _attach(source: Any, container: OutputContainer, form: str, notes: list[str]) -> None:
    if form == "matroska":
        kind = source.mimetype or "application/octet-stream"
        container.add_attachment(text(source.name or "attachment"), kind, source.data)
    else:
        notes.append(f"{describe(source)} is left out: {form} cannot hold attachments; .mkv does")


def cover_attachments(source: InputContainer, container: OutputContainer, form: str, notes: list[str]) -> None:
    """Add cover art to Matroska as attachments named cover.jpg or cover.png."""
    covers = [stream for stream in source.streams.video if is_cover(stream)]
    if form not in ("matroska", "webm") or not covers:
        return
    if form == "webm":
        notes.extend(f"{describe(cover)}, cover art, is left out: {form} cannot hold it" for cover in covers)
        return
    for cover in covers:
        data = cover_picture(source, cover)
        name, kind = COVER_NAMES.get(codec_of(cover), ("cover", "application/octet-stream"))
        if data:
            tags = texts(cover.metadata)
            container.add_attachment(tags.get("filename", name), tags.get("mimetype", kind), data)


def cover_picture(source: InputContainer, cover: Stream) -> bytes:
    """Read the bytes of the picture, which is a packet, so the file is opened once more."""
    try:
        with open_to_read(source.name) as again:
            for packet in again.demux(again.streams[cover.index]):
                if packet.size:
                    return bytes(packet)
    except (av.FFmpegError, OSError):
        pass
    return b""


def _rewritten_by_muxer(source: Stream, form: str) -> bool:
    """Return whether muxers rewrite the stream: timecode and chapter tracks made from tags and chapters."""
    timecode = "timecode" in source.metadata
    chapters = (
        source.container.format.name.startswith("mov")
        and codec_of(source) == "bin_data"
        and bool(
            source.container.chapters()  # type: ignore[attr-defined]
        )
    )
    return timecode or chapters
