"""Video files as a `Sink`: encodes the frames, carries the other streams along, tags what comes out."""

from __future__ import annotations

import contextlib
import errno
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.codec.context import Flags
from av.video.stream import VideoStream

from cliplit.errors import InputError

from .codecs import Encoding, choose, option_names, options_of
from .containers import format_for
from .edit_units import EditUnits
from .encoder import PictureEncoder
from .frames import Clip, Frame
from .names import opened_by
from .opening import reason
from .packet_times import sensible_dts, to_ticks
from .pyav import exact, open_to_read, open_to_write
from .pyav_reader import PyAVReader
from .rate import CONSTANT, MPEG4_MOST, MPEG4_TICKS, RATES_ALONE, WITHOUT_GAPS, Slots
from .sound import SoundTranscoder
from .streams import QUICKTIME, Carrier, Copy, carry, codec_of, cover_attachments, describe, is_cover, tags_of

WITH_CHAPTERS = ("mp4", "mov", "ipod", "matroska", "webm", "ogg", "ogv", "nut")
FINEST = 240  # frames a second that are taken from a clip without a steady rate
MOST_REFUSED = 100  # packets of other streams, after which an output is given up
MOST_DELAY = 600  # seconds before the first picture that an encoder may ask for
LAYERS = dict.fromkeys(("mp1", "mp2", "mp3"), "mp3")  # MP4 has one number for the three (ISO/IEC 14496-1, 7.2.6.6.2)
NO_ROOM = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EPIPE, errno.EIO, errno.EROFS}


class PyAVWriter:
    """Encodes frames and carries other streams along. Use as a context manager, which flushes the encoder.

    Args:
        path: the file to write, or `PIPE_OUT`.
        clip: the size, layout, colours and time base of the frames to come.
        encoding: how.
        reader: whose other streams are carried along; None for none.
        container: FFmpeg's name of the format, by the suffix of `path` otherwise.

    Attributes:
        notes: what is not kept, or not as it was.
        problems: what was lost altogether.

    Raises:
        InputError: a container or an encoder that does not exist, or that cannot hold these streams.
    """

    def __init__(
        self, path: Path | str, clip: Clip, encoding: Encoding, reader: PyAVReader | None = None,
        container: str | None = None,
    ) -> None:  # fmt: skip
        suffix = self._suffix = Path(path).suffix.lower() if isinstance(path, Path) else ""
        self.clip = clip
        self.notes: list[str] = []
        self.problems: list[str] = []
        self.written = self.encoded = self.bytes = 0
        self._carriers: dict[int, Carrier] = {}
        self._refused: Counter[str] = Counter()
        self._written: dict[int, tuple[str, str, str]] = {}  # type, codec and words of streams beside the pictures
        self._doubt: Exception | None = None
        self._last_dts: dict[int, int] = {}
        self._shifts: dict[int, int] = {}
        self._joining = self._begun = False
        self._video_dts: int | None = None
        self._first_pts: int | None = None
        try:
            options = _container_options(reader, container)
            if container is None:
                container = format_for(Path(path))
            self.container = open_to_write(path, container, options)
        except (av.FFmpegError, ValueError) as error:
            raise InputError(f"{suffix or 'no suffix'} names no container format; try .mp4 or .mkv") from error
        try:
            self._add_streams(encoding, reader)
        except (av.FFmpegError, ValueError) as error:
            self._abandon()
            raise InputError(f"{suffix} cannot hold these streams ({reason(error)}); .mkv holds nearly all") from error
        except BaseException:
            self._abandon()
            raise

    def _add_streams(self, encoding: Encoding, reader: PyAVReader | None) -> None:
        form = self.container.format.name
        self.choice = choose(self.clip, encoding, form)
        encoder = self.choice.encoder.name
        steady = form in CONSTANT or encoder in RATES_ALONE
        self.slots = Slots(self._rate_of(reader, form), form not in WITHOUT_GAPS) if steady else None
        self.units = EditUnits(self.slots.rate) if form == "mxf" and self.slots else None
        if self.slots:
            self.clip = replace(self.clip, rate=self.slots.rate, time_base=1 / self.slots.rate)
        elif encoder == "mpeg4" and self.clip.time_base.denominator > MPEG4_MOST:
            self.slots = Slots(MPEG4_TICKS)
            self.clip = replace(self.clip, time_base=1 / MPEG4_TICKS)
        self.notes.extend(self.choice.notes)
        self.options = options_of(self.choice, encoding)
        if form == "avi" and "bf" in option_names(self.choice.encoder.name):
            self.options.setdefault("bf", "0")  # it has no times by which pictures could change their order
        if reader is None:
            self._add_video()
            return
        source = reader.container
        self.container.metadata.update(tags_of(source.metadata))
        for stream in source.streams:  # in the source's order
            if stream is reader.video:
                self._add_video()
                self.video.disposition = stream.disposition
                continue
            carrier = carry(stream, self.container, form, self.notes, self._suffix)
            if carrier is not None:
                self._carriers[stream.index] = carrier
        cover_attachments(source, self.container, form, self.notes)
        chapters = reader.chapters()
        if chapters and form in WITH_CHAPTERS:
            self.container.set_chapters(chapters)
        elif chapters:
            self.notes.append(f"{len(chapters)} chapters are left out: {form} cannot hold them")

    def _rate_of(self, reader: PyAVReader | None, form: str) -> Fraction:
        """Return a rate for a container without times, at whose ticks a clip of no steady rate can be shown, too."""
        rate = self.clip.rate or Fraction(25)
        finest = exact(reader.video.base_rate) if reader is not None and not self.clip.steady else None
        return finest if finest and form in ("avi", "mxf") and rate <= finest <= FINEST else rate

    def _add_video(self) -> None:
        stream = self.container.add_stream(self.choice.encoder.name, rate=self.clip.rate or 25)
        assert isinstance(stream, VideoStream)
        self.video, self.video_index = stream, stream.index
        self._encoder = PictureEncoder(stream.codec_context, self.clip, self.choice, self.options)
        self.notes.extend(self._encoder.notes)
        stream.time_base = self.clip.time_base
        if self.choice.encoder.family == "hevc" and self.container.format.name in QUICKTIME:
            stream.codec_context.codec_tag = "hvc1"  # the one Apple's players open
        stream.metadata.update(self.clip.metadata)
        if self.clip.display_matrix:
            stream.set_display_matrix(self.clip.display_matrix)

    def _begin(self) -> None:
        """Write the container's headers, once: FFmpeg crashes if it is asked again. Then the streams have its ticks."""
        self._begun = True
        try:
            self.container.start_encoding()
        except (av.FFmpegError, ValueError) as error:
            raise cannot_write(error) from error

    def write(self, item: Frame | av.Packet[Any]) -> None:
        """Encode a frame, whose pts is in the clip's time base, or carry a packet of the reader's along."""
        if not self._begun and not isinstance(item, Frame):
            self._begin()
        if isinstance(item, Frame):
            placed = self.placed(item)
            for frame in self.units.pictures(placed) if self.units else (placed,):
                self._add_encoded(self._encoder.packets(frame))
            self.written += 1
        else:
            self._carry(item)

    def placed(self, frame: Frame) -> Frame:
        """Return a frame at a time that the container can hold."""
        return self.slots(frame) if self.slots else frame

    def join(self, packet: av.Packet[Any]) -> None:
        """Write a packet of the video stream from another encoder, configured alike (`configure`)."""
        self._joining = True
        self._add_encoded([packet])
        self.written += 1

    @property
    def to_arrive(self) -> int:
        """Pictures that the file must hold."""
        return self.written + (self.units.repeated if self.units else 0)

    @property
    def global_header(self) -> bool:
        """Whether the container wants the encoder's headers apart from its packets."""
        return bool(self.video.codec_context.flags & Flags.global_header)

    def _add_encoded(self, packets: Iterable[av.Packet[Any]]) -> None:
        for packet in packets:
            packet.stream = self.video
            if self._first_pts is None:
                self._first_pts = packet.pts or 0
            floor = self._first_pts - round(MOST_DELAY / packet.time_base)
            if self.container.format.name == "avi" and not self.encoded:
                self._show_nothing_until(packet)
            packet.dts = self._video_dts = sensible_dts(packet.pts or 0, packet.dts, self._video_dts, floor)
            self.encoded += 1
            self.bytes += packet.size
            self._mux(packet)

    def _show_nothing_until(self, first: av.Packet[Any]) -> None:
        """Begin an AVI with an empty chunk, where its first picture comes later: it would be shown at 0."""
        if (first.pts or 0) > 0:
            empty = av.Packet()
            empty.stream, empty.pts, empty.dts, empty.time_base = self.video, 0, 0, first.time_base
            self._mux(empty)

    def bytes_for(self, frames: int) -> float:
        """Return how many bytes so many frames will take, by those encoded so far; 0 if there are none yet."""
        return self.bytes / self.encoded * frames if self.encoded else 0.0

    def carrier_of(self, index: int) -> Carrier | None:
        """Return what carries a stream of the reader's along, None if nothing does."""
        return self._carriers.get(index)

    def _carry(self, packet: av.Packet[Any]) -> None:
        carrier = self._carriers.get(packet.stream.index)
        if carrier is None:
            return
        source = packet.stream
        try:
            for out in self._with_silence(carrier, packet):
                if self.container.format.name == "avi":
                    self._from_zero(out)
                self._in_order(out)
                self.container.mux(out)
                if source.type in ("audio", "subtitle", "video") and out.stream.index not in self._written:
                    copied = isinstance(carrier, Copy)
                    self._written[out.stream.index] = (
                        source.type, codec_of(source if copied else carrier.target), describe(source)
                    )  # fmt: skip
        except (av.FFmpegError, ValueError) as error:
            if getattr(error, "errno", None) in NO_ROOM:
                raise cannot_write(error) from error
            self._refused[describe(source)] += 1  # a damaged packet is a hole in its stream

    def _with_silence(self, carrier: Carrier, packet: av.Packet[Any] | None) -> Iterable[av.Packet[Any]]:
        """Return what a carrier makes of a packet, with what MXF needs before it, and behind the last one."""
        if self.units is None:
            return carrier.packets(packet)
        given = [piece for out in carrier.packets(packet) for piece in self.units.sound(out, carrier.target)]
        return given if packet is not None else [*given, *self.units.rest(carrier.target)]

    def _from_zero(self, packet: av.Packet[Any]) -> None:
        """Shift a stream that begins before 0 with the priming of its sound: AVI has no negative times.

        FFmpeg would shift all streams by that, the pictures by whole ticks of their rate: up to 79 ms at 10 frames/s.
        """
        if packet.pts is None:
            return
        shift = self._shifts.setdefault(packet.stream.index, max(0, -packet.pts))
        packet.pts += shift
        if packet.dts is not None:
            packet.dts += shift

    def _in_order(self, packet: av.Packet[Any]) -> None:
        """Keep times increasing, as containers require; damaged and badly joined files violate it.

        They are compared in the container's ticks, which may be longer than the packets.
        """
        if packet.dts is None and packet.stream.type != "video":
            packet.dts = packet.pts
        to_ticks(packet, exact(packet.stream.time_base))
        last = self._last_dts.get(packet.stream.index)
        if packet.dts is not None:
            if last is not None and packet.dts <= last:
                packet.dts = last + 1
                packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
            self._last_dts[packet.stream.index] = packet.dts

    def _mux(self, packet: av.Packet[Any]) -> None:
        if not self._begun:
            self._begin()
        try:
            self.container.mux(packet)
        except (av.FFmpegError, ValueError) as error:
            # FFmpeg keeps packets back to interleave them: the one that was refused may be another stream's.
            self._refused["the other streams"] += 1
            self._doubt = error
            no_room = getattr(error, "errno", None) in NO_ROOM
            if no_room or not self._carriers or self._refused["the other streams"] > MOST_REFUSED:
                raise cannot_write(error) from error

    def _check_pictures(self) -> None:
        """Check, after packets were refused and in MXF, which may drop them, that all pictures arrived in the file."""
        if self._doubt is None and self.units is None:
            return
        file = opened_by(self.container.name)
        arrived = self.arrived(file) if isinstance(file, Path) and file.is_file() else None
        if self._doubt is not None and arrived != self.to_arrive:
            raise cannot_write(self._doubt) from self._doubt
        if arrived not in (None, self.to_arrive):
            raise InputError(f"{arrived} of {self.to_arrive} pictures are in the {self._suffix} file; use .mov or .mkv")

    def _check_streams(self) -> None:
        """Read the file's headers back: what was written must be found there by its own name."""
        path = opened_by(self.container.name)
        if not isinstance(path, Path) or not path.is_file():  # a pipe, a device
            return
        with open_to_read(path) as file:
            streams = [(str(s.type), codec_of(s)) for s in file.streams if not is_cover(s)]
        found = Counter((kind, LAYERS.get(name, name)) for kind, name in streams)
        for index, (kind, name, said) in self._written.items():
            codec = LAYERS.get(name, name)
            if found[kind, codec]:
                found[kind, codec] -= 1
            elif index != self.video_index:
                self.notes.append(f"{said} cannot be read back as {name} from {self._suffix}; .mkv holds it")

    def arrived(self, path: Path | str) -> int:
        """Count the pictures of the file that was written."""
        with open_to_read(path) as file:
            return sum(1 for packet in file.demux(file.streams[self.video_index]) if packet.size)

    def __enter__(self) -> PyAVWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            self._abandon()
            return
        try:
            self.finish()
        except BaseException:
            self._abandon()
            raise

    def finish(self) -> None:
        if self.video.codec_context.is_open and not self._joining:
            self._add_encoded(self._encoder.packets(None))
        if self.encoded != self.to_arrive:
            raise InputError(f"{self.choice.encoder.name} returned {self.encoded} of {self.to_arrive} frames")
        if self.units and self.units.repeated:
            self.notes.append(f"{self.units.repeated} pictures are repeated: mxf has one at every tick and no gaps")
        if self.slots and self.slots.moved:
            rate, moved, form = float(self.slots.rate), self.slots.moved, self.container.format.name
            what = form if form in CONSTANT else self.choice.encoder.name
            self.notes.append(
                f"{moved} pictures are not at their own times: {what} has a constant rate, {rate:g} frames/s; "
                "--cfr repeats and drops pictures instead, .mkv and .mp4 keep times with other encoders"
            )
        self.notes.extend(
            f"{number} packets of {stream} could not be copied" for stream, number in self._refused.items()
        )
        for index, carrier in self._carriers.items():
            for packet in self._with_silence(carrier, None):
                self._mux(packet)
            if self.units and (longer := self.units.left_over(carrier.target)) > 1 / self.units.rate:
                said = f"the last {float(longer):.2f} s of stream {index}, which outlasts the pictures, are left out"
                self.notes.append(f"{said}: mxf ends with them; .mov and .mkv do not")
            if isinstance(carrier, SoundTranscoder) and carrier.undecodable:
                said = f"{carrier.undecodable} of {carrier.taken} packets of {describe(carrier.source)}"
                (self.notes if carrier.given else self.problems).append(f"{said} could not be decoded: they are silent")
        try:
            self.container.close()
            if self.written:  # else there is no file: only its encoder's settings were wanted
                self._check_pictures()
                self._check_streams()
        except (av.FFmpegError, ValueError) as error:
            raise cannot_write(error) from error

    def _abandon(self) -> None:
        with contextlib.suppress(Exception):  # closing writes a trailer, which may fail as the rest did
            self.container.close()


def _container_options(reader: PyAVReader | None, container: str | None) -> dict[str, str]:
    """Return the container's options: MP4 and MOV write all tags by name, as some are not standard atoms.

    YUV4MPEG2 with more than 8 bits is an extension of FFmpeg's.
    """
    if container == "yuv4mpegpipe":
        return {"strict": "-1"}
    tags = reader.container.metadata if reader is not None else {}
    return {"movflags": "use_metadata_tags"} if any("." in name for name in tags) else {}


class CannotWrite(InputError):
    """The output cannot be written."""


def cannot_write(error: Exception) -> CannotWrite:
    hint = "" if getattr(error, "errno", None) in NO_ROOM else "; a .mkv file holds nearly every stream"
    return CannotWrite(f"cannot write the output ({reason(error)}){hint}")
