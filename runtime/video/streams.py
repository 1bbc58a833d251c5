"""What comes along with the pictures: sound, subtitles, attachments, cover art, data, second video streams.

Each stream is copied where the container can hold it, which the table of `containers` decides and, for what it leaves
open, a trial: an empty file of that format with that stream alone. If it cannot, sound becomes what `sound` says and
text subtitles the container's own kind. What is lost is said by name.
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

from cliplit.errors import InputError

from .containers import facts_of
from .names import opened_by
from .pyav import open_to_read, text, texts
from .sound import SoundTranscoder, instead_of

# Tags that describe the file or the codec they were read from, not the clip.
STALE = {
    "major_brand", "minor_version", "compatible_brands", "encoder", "duration", "bps", "number_of_frames",
    "number_of_bytes", "_statistics_writing_app", "_statistics_writing_date_utc", "_statistics_tags", "vendor_id",
}  # fmt: skip
QUICKTIME = ("mp4", "mov", "ipod")
NEEDS_PICTURES = ("mxf",)  # a trial with sound alone proves nothing
TEXT = {"mp4": "mov_text", "mov": "mov_text", "ipod": "mov_text", "webm": "webvtt", "matroska": "ass"}
TEXT_CODECS = {"subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text"}
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
    _last: int | None = None
    _step: int = 0

    def packets(self, packet: av.Packet[Any] | None) -> Iterator[av.Packet[Any]]:
        if packet is not None:
            if packet.stream.type == "audio" and packet.pts is not None:
                self._set_duration(packet)
            packet.stream = self.target
            yield packet

    def _set_duration(self, packet: av.Packet[Any]) -> None:
        """Matroska may not say it, and MP4 would hide the last packet, as one of no length."""
        assert packet.pts is not None
        if self._last is not None:
            self._step = max(packet.pts - self._last, 0)
        self._last = packet.pts
        if not packet.duration:
            packet.duration = self._step


class TextTranscoder:
    """Text subtitles in another container's kind."""

    def __init__(self, container: OutputContainer, source: Any, codec: str) -> None:
        self.target: Any = container.add_stream(codec)
        self.target.time_base = self.target.codec_context.time_base = Fraction(1, 1000)
        self.source = source
        source.codec_context.open(strict=False)
        context: Any = self.target.codec_context
        context.subtitle_header = source.codec_context.subtitle_header
        self._alone = codec == "mov_text"  # shows one cue at a time (ISO/IEC 14496-17)
        self._held: av.Packet[Any] | None = None

    def packets(self, packet: av.Packet[Any] | None) -> Iterator[av.Packet[Any]]:
        if packet is None:
            yield from self._one_at_a_time(None)
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
        yield from self._one_at_a_time(encoded)

    def _one_at_a_time(self, cue: av.Packet[Any] | None) -> Iterator[av.Packet[Any]]:
        """End a cue where the next one begins; FFmpeg would move the next one."""
        held, self._held = self._held, cue
        if held is not None:
            if cue is not None and self._alone and cue.pts is not None and held.pts is not None:
                cue.pts = cue.dts = max(cue.pts, held.pts + 2)  # room for the empty sample that ends a cue
                held.duration = max(min(held.duration or 1, cue.pts - held.pts - 1), 1)
            yield held


Carrier = Copy | SoundTranscoder | TextTranscoder


def carry(source: Stream, container: OutputContainer, form: str, notes: list[str], suffix: str = "") -> Carrier | None:
    """Add a stream of the source to `container`, of the format named `form`; None where it cannot come along."""
    if source.type == "attachment":
        _attach(source, container, form, notes)
        return None
    if is_cover(source) and form in ("matroska", "webm"):
        return None  # becomes an attachment, see `cover_attachments`
    if source.type == "data" and _rewritten_by_muxer(source, form):
        return None
    if holds(form, suffix, source):
        target: Any = container.add_stream_from_template(source, opaque=True)
        if codec_of(source) == "hevc" and form in QUICKTIME and target.codec_context is not None:
            target.codec_context.codec_tag = "hvc1"  # the one Apple's players open
        carrier: Carrier = Copy(target)
    else:
        made = _transcoded(source, container, form)
        if made is None:
            what = f"{describe(source)}{', cover art,' if is_cover(source) else ''}"
            notes.append(f"{what} is left out: {suffix or form} cannot hold it; .mkv holds nearly every stream")
            return None
        carrier, codec = made
        notes.append(f"{describe(source)} becomes {codec}: {suffix or form} cannot hold it as it is")
    carrier.target.metadata.update(tags_of(source.metadata))
    carrier.target.disposition = source.disposition
    return carrier


def holds(form: str, suffix: str, source: Any) -> bool:
    """Tell whether a container holds a stream as it is, by the table and by FFmpeg's own check."""
    facts, codec = facts_of(form, suffix), codec_of(source)
    if is_cover(source):
        return facts.cover and accepts(form, source)
    known = {"audio": facts.sound, "subtitle": facts.subtitles, "data": facts.data, "video": facts.videos}.get(
        source.type
    )
    if known is not None and codec not in known:
        return False
    if source.type == "audio" and facts.rates and source.codec_context.sample_rate not in facts.rates:
        return False
    return (known is not None and form in NEEDS_PICTURES) or accepts(form, source)


def accepts(form: str, source: Stream) -> bool:
    """Test whether a file of this format can begin with this stream."""
    try:
        with av.logging.Capture(), av.open(io.BytesIO(), "w", format=form) as trial:
            trial.add_stream_from_template(source, opaque=True)
            trial.start_encoding()
            return True
    except (av.FFmpegError, ValueError, RuntimeError):
        return False


def _transcoded(source: Any, container: OutputContainer, form: str) -> tuple[Carrier, str] | None:
    """Add it in another codec, after a trial as in `accepts`; None where that fails too."""
    make: type[SoundTranscoder | TextTranscoder]
    if source.type == "audio" and source.codec_context is not None and facts_of(form).sound != frozenset():
        make, codecs = SoundTranscoder, instead_of(source, form)
    elif source.type == "subtitle" and codec_of(source) in TEXT_CODECS and form in TEXT:
        make, codecs = TextTranscoder, [TEXT[form]]
    else:
        return None
    for codec in codecs:
        try:
            if form not in NEEDS_PICTURES:
                with av.logging.Capture(), av.open(io.BytesIO(), "w", format=form) as trial:
                    make(trial, source, codec)
                    trial.start_encoding()
            return make(container, source, codec), codec.removeprefix("lib")
        except (av.FFmpegError, ValueError, RuntimeError):
            continue
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
        with open_to_read(opened_by(source.name)) as again:
            for packet in again.demux(again.streams[cover.index]):
                if packet.size:
                    return bytes(packet)
    except (av.FFmpegError, OSError, InputError):  # a pipe comes once
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
