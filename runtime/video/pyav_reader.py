"""Video files, pipes and network addresses as a `Source`.

PyAV, because it gives what a relighted clip must keep and OpenCV's VideoCapture hides: the decoder's own time
stamps and time base, the Y'CbCr planes without a trip through RGB, colour tags, and the packets of the other
streams, to be copied as they are.
"""

from __future__ import annotations

import contextlib
import heapq
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from cliplit.errors import InputError

from ..light.colour import (
    FULL_RANGE,
    MATRICES,
    MATRIX_NAMES,
    RGB_MATRIX,
    UNSPECIFIED,
    Coding,
    Colour,
    assumed_matrix,
    stated,
)
from ..light.hdr import TRANSFERS
from .changes import Changes
from .clock import JUMPING, NO_TIMES, PICTURES_AHEAD, UNSEARCHABLE, Clock, common_start, in_order
from .containers import PATTERN, SEVERAL_IN
from .cropping import Crop, cropping_asked
from .ffmpeg_log import logged
from .fields import PEEKED, TAGGED, TELLING, FieldOrder, Filter, Order
from .frames import Clip, Frame, Matrix
from .mastering import mastering_of
from .names import exists, origin_of
from .pixels import CONVERTED, alpha_of, layout_of, planes_of
from .pyav import PIPE_IN, CountedInput, exact, open_to_read, side_data_of, texts
from .streams import is_cover, tags_of

ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders drop the second picture
CHROMA_LOCATIONS: dict[str, list[str | None]] = {
    "chroma_sample_loc_type_top_field": ["left", "center", "topleft", "top", "bottomleft", "bottom"],  # H.264, HEVC
    "chroma_sample_position": [None, "left", "topleft", None],  # AV1
}
ENCRYPTED = "{}: is encrypted (CENC); decrypt it first, with its key"
MAX_PIXELS = 1 << 28  # 16384x16384; 8K is an eighth of it
REFUSED_SIZE = re.compile(r"[Pp]icture size (\d+)x(\d+)")  # in FFmpeg's messages
NOT_LISTED = "Format not on whitelist"
OTHER_KIND = "is no clip but a playlist, a list of files or another text (--playlist reads the files a playlist names)"
PRIMING = Fraction(1, 10)  # seconds; Opus asks for 80 ms
RECENT_LIMIT = 64 << 20  # bytes of packets kept for the end of a damaged file
PEEK_LIMIT = 64 << 20  # bytes of pictures that are looked at ahead
RAW_FRAMES = "yuv4mpegpipe"  # FFmpeg drops a last frame that is cut, without a word
DYNAMIC_HDR = {
    "DOVI_METADATA": "Dolby Vision", "DOVI_RPU_BUFFER": "Dolby Vision", "DYNAMIC_HDR_PLUS": "HDR10+",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
}  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """How a clip is read.

    Attributes:
        video_stream: which of several, cover art not counted.
        input_color: see `colour.stated`; overrides the tags of the file.
        hdr: "refuse" stops at PQ and HLG.
        timeout: seconds without an answer after which a network address is given up.
        max_pixels: a larger picture is refused: a small file can ask for all memory.
        playlist: whether a file may be a playlist (HLS, DASH, ffconcat): the files it names are read.
    """

    video_stream: int = 0
    input_color: str | None = None
    hdr: Literal["keep", "refuse"] = "keep"
    timeout: float = 20.0
    max_pixels: int = MAX_PIXELS
    playlist: bool = False


@dataclass
class PyAVFrame(Frame):
    """A frame whose planes are views of FFmpeg's memory, without a copy."""

    picture: VideoFrame = field(kw_only=True)

    def writable(self) -> Frame:
        # Copies what the decoder still needs, and keeps all that hangs on the frame: captions, field order, tags.
        self.picture.make_writable()
        return frame_of(self.picture, self.coding, self.scan)


def frame_of(picture: VideoFrame, coding: Coding, scan: Order = "progressive") -> PyAVFrame:
    """Convert a decoded picture in a planar layout to a frame."""
    base = exact(picture.time_base)
    assert picture.pts is not None and base is not None
    return PyAVFrame(
        planes_of(picture), coding, layout_of(picture.format.name).name, picture.pts, base,
        picture.key_frame, scan, alpha_of(picture), picture.is_corrupt, picture=picture,
    )  # fmt: skip


class PyAVReader:
    """Decodes one video stream and passes the packets of the others along. Use as a context manager.

    Args:
        source: a file, an address FFmpeg knows ("rtsp://..."), or `PIPE_IN`.
        reading: how.

    Attributes:
        others: the streams beside the pictures whose packets are given.
        damaged: frames given of which parts could not be decoded.
        undecodable: packets that gave no picture.

    Raises:
        InputError: not a video, no video stream, or a pixel format that cannot be relighted.
    """

    def __init__(self, source: Path | str, reading: Reading | None = None) -> None:
        self.source, self.reading = source, reading or Reading()
        self.decoded = self.damaged = self.undecodable = 0
        self.broken_off = ""
        self.notes: list[str] = []
        self._input = CountedInput() if source == PIPE_IN else None
        self.container = opened(self._input or source, self.reading)
        self._earlier: list[av.container.InputContainer] = []
        try:
            self._examine()
        except BaseException:
            self.container.close()
            raise

    def _examine(self) -> None:
        pictures = [stream for stream in self.container.streams.video if not is_cover(stream)]
        number = self.reading.video_stream
        if not pictures:
            raise InputError(f"{self.source}: holds no video stream")
        if not 0 <= number < len(pictures):
            raise InputError(f"{self.source}: has no video stream {number}; it holds {len(pictures)}, counted from 0")
        self.video = pictures[number]
        entries: Any = self.video.index_entries if self.video.frames else ()
        indexed = sum(1 for entry in entries if entry.size)  # without what an AVI names and does not hold
        self.announced = indexed or self.video.frames  # packets, by the file; 0 if it does not say
        self._whole_index = bool(indexed)
        self._hidden = sum(1 for entry in entries if entry.is_discard)  # by an edit list
        self.packets_read = 0
        self._encrypted = any(name.startswith("enc_") for name in texts(self.video.metadata))  # of Matroska and WebM
        self._find_start()
        if self.video.codec_context and self.video.width * self.video.height > self.reading.max_pixels:
            raise too_large(self.source, self.video.width, self.video.height, self.reading)
        if self.video.codec_context is None:
            raise InputError(f"{self.source}: its video codec is not known here")
        self._time_base = exact(self.video.time_base) or Fraction(1, 90_000)
        self.others = [s for s in self.container.streams if s is not self.video]
        if len(pictures) > 1:
            self.notes.append(f"video stream {number} of {len(pictures)} is enhanced (--video-stream), the rest copied")
        self._stored = self.video.width, self.video.height
        self._crop = Crop()
        if isinstance(self.source, Path):
            self._crop = cropping_asked(self.source, self.container.format.name, number, self._stored)
        self._cut: Filter | None = None
        self._decoder = self._decoder_of()
        self._newest: int | None = None
        self._start: int | None = None
        self._read_until = Fraction(0)  # seconds
        self._end_of_packets = 0  # bytes from the start
        self.length = Fraction(self.container.duration or 0, av.time_base)  # as the file says; 0 if it does not
        self._recent: list[av.Packet[Any]] = []
        self._recent_size = 0
        self._looked = False
        self._fields = FieldOrder()
        self._scaled = False
        self._span: int | None = None
        self._location: str | None = None
        self._begin()
        self._held: list[Any] = []  # what comes before the first picture
        first = self._first_picture()
        if self._encrypted:
            raise InputError(ENCRYPTED.format(self.source))
        self._held.append(first)
        self.clip = self._describe(first)

    def _find_start(self) -> None:
        """Find the time that becomes 0, and shift the chapters by it."""
        streams = [s for s in self.container.streams if s.type in ("video", "audio", "subtitle") and not is_cover(s)]
        bases = [(s.start_time, exact(s.time_base) or Fraction(0)) for s in streams]
        self._zero = common_start(None if start is None else start * base for start, base in bases)

    def chapters(self) -> list[Any]:
        """Return the chapters, at the times of this clip."""
        moved = []
        for chapter in self.container.chapters():
            ticks = round(self._zero / (exact(chapter["time_base"]) or Fraction(1)))
            moved.append({**chapter, "start": max(chapter["start"] - ticks, 0), "end": max(chapter["end"] - ticks, 0)})
        return moved

    def _begin(self) -> None:
        """Set up the way of a packet, anew after a search."""
        remote = not isinstance(self.source, Path) and self.source != PIPE_IN
        at_once = remote or self.container.format.name == RAW_FRAMES
        leading = [s.index for s in self.container.streams if s.type in ("video", "audio") and not is_cover(s)]
        jumps = any(name in JUMPING for name in self.container.format.name.split(","))
        # AVI numbers packets in the order they are decoded; the pictures are shown at the same ticks in theirs.
        self._slots: list[int] | None = None
        if self.container.format.name == "avi" and self.video.codec_context.codec.canonical_name in ("h264", "hevc"):
            self._slots = []
        self._clock = Clock(self._zero, jumps, self._say, leading, self.video.index)
        self._demuxed = self._packets()
        self._source = in_order(
            self._items(), lambda item: isinstance(item, VideoFrame), self._step, self._say,
            ahead=0 if at_once else PICTURES_AHEAD,
        )  # fmt: skip

    def _step(self) -> int:
        """Ticks from one picture to the next, as far as is known."""
        return max(1, round(1 / ((self._rate() or 25) * self._time_base)))

    def _decoder_of(self) -> Any:
        """Return the decoder, which refuses pictures that are too large before it makes room for them."""
        self.video.thread_type = "AUTO"
        decoder = self._alpha_decoder() or self.video.codec_context
        decoder.options = {**decoder.options, **limits(self.reading)}
        return decoder

    def _alpha_decoder(self) -> Any:
        name = ALPHA_DECODERS.get(self.video.codec_context.codec.canonical_name)
        tags = {key.lower(): value for key, value in texts(self.video.metadata).items()}
        if name is None or tags.get("alpha_mode") != "1":
            return None
        try:
            return av.CodecContext.create(name, "r")
        except (ValueError, av.FFmpegError):
            self.notes.append(f"its transparency is lost: the decoder {name} is not installed here")
            return None

    def _first_picture(self) -> VideoFrame:
        for item in self._source:
            if isinstance(item, VideoFrame):
                return item
            self._held.append(item)
        if self._encrypted:
            raise InputError(ENCRYPTED.format(self.source))
        why = self.broken_off or f"{self.undecodable} damaged packets"
        raise InputError(f"{self.source}: not one frame could be decoded ({why})")

    def _peek(self, count: int) -> list[VideoFrame]:
        """Return the next pictures, which are given later."""
        pictures: list[VideoFrame] = []
        for item in self._source:
            self._held.append(item)
            if isinstance(item, VideoFrame):
                pictures.append(item)
                if len(pictures) == count or len(pictures) * sum(p.buffer_size for p in item.planes) > PEEK_LIMIT:
                    break
        return pictures

    def _describe(self, first: VideoFrame) -> Clip:
        """Describe the clip from the stream, its decoder and the first picture, which takes precedence."""
        context = self.video.codec_context
        name = first.format.name
        try:
            layout = layout_of(name)
        except InputError as error:
            raise InputError(f"{self.source}: {error}") from error
        if name in CONVERTED:
            self.notes.append(f"pixel format {name} is converted to {layout.name}")
        data = side_data_of(first)
        colour = self._colour(first, context)
        coding = self._coding(colour, layout.depth, layout.rgb, first.height)
        self.changes = Changes(
            self._say,
            set(DYNAMIC_HDR) & set(data),
            assumed_matrix(first.height) if colour.matrix == UNSPECIFIED else colour.matrix,
        )
        self.dynamic_hdr = sorted({DYNAMIC_HDR[kind] for kind in data if kind in DYNAMIC_HDR})
        for kind in self.dynamic_hdr:
            self.notes.append(f"{kind} metadata is left out: it describes the pictures before they were relighted")
        if self.dynamic_hdr and colour.matrix in (0, 2, 15) and not layout.rgb and not colour.hdr:
            raise InputError(f"{self.source}: Dolby Vision without a base layer (profile 5) cannot be relighted")
        tag, codec = context.field_order, context.codec.canonical_name
        pictures = [first]
        if tag in TAGGED and codec in TELLING and not first.interlaced_frame:
            pictures += self._peek(PEEKED)
        order = self._fields.decided(pictures, tag, codec)
        return Clip(
            first.width, first.height, layout.name, coding, colour,
            self._time_base, self._rate(),
            self._expected_frames(), exact(self.video.sample_aspect_ratio), order,
            _matrix(data.get("DISPLAYMATRIX")), codec, tags_of(self.video.metadata),
            mastering_of(data.get("MASTERING_DISPLAY_METADATA"), data.get("CONTENT_LIGHT_LEVEL")),
            self._steady(),
        )  # fmt: skip

    def _colour(self, first: VideoFrame, context: Any) -> Colour:
        tags = [
            int(of_picture) if of_picture != UNSPECIFIED else int(of_stream)
            for of_picture, of_stream in (
                (first.colorspace, context.colorspace),
                (first.color_primaries, context.color_primaries),
                (first.color_trc, context.color_trc),
            )
        ]
        full = first.format.name.startswith("yuvj")
        span = FULL_RANGE if full else int(first.color_range) or int(context.color_range)
        colour = Colour(tags[0], tags[1], tags[2], span, self._location)
        if self.reading.input_color is not None:
            colour = stated(self.reading.input_color, colour)
        if colour.hdr and self.reading.hdr == "refuse":
            raise InputError(f"{self.source}: {colour.hdr} video, and --hdr refuse was given")
        if colour.hdr:
            self.notes.append(f"{colour.hdr} stays HDR: the network sees it tone-mapped, lights keep their level")
        return colour

    def _coding(self, colour: Colour, depth: int, rgb: bool, height: int) -> Coding:
        if rgb:
            return Coding(full_range=True, depth=depth, rgb=True)
        matrix = colour.matrix
        if matrix not in MATRICES:
            matrix = 9 if colour.hdr else assumed_matrix(height)
            what = "is not tagged" if colour.matrix in (2, RGB_MATRIX) else f"{colour.matrix} is not known"
            self.notes.append(f"the colour matrix {what}; taken as {MATRIX_NAMES[matrix]} (--input-color overrides)")
        white = TRANSFERS[colour.transfer].white if colour.hdr else 1.0
        return Coding(*MATRICES[matrix], colour.full_range, depth, white=white)

    def _rate(self) -> Fraction | None:
        rates = map(exact, (self.video.average_rate, self.video.guessed_rate, self.video.base_rate))
        ticks = 1 / self._time_base  # which some files give as frames, as those of one picture
        return next((rate for rate in rates if rate and rate <= 1000 and (rate != ticks or rate <= 240)), None)

    def _steady(self) -> bool:
        rates = {exact(rate) for rate in (self.video.average_rate, self.video.base_rate)}
        return len(rates) == 1 and rates == {self._rate()}

    def _expected_frames(self) -> int | None:
        rate = self._rate()
        if self.announced:
            return self.announced - self._hidden
        if self.video.duration and self.video.time_base and rate:
            return round(self.video.duration * self._time_base * rate)
        if self.container.duration and rate:
            return round(Fraction(self.container.duration, av.time_base) * rate)
        return None

    def __iter__(self) -> Iterator[Frame | av.Packet[Any]]:
        held, self._held = self._held, []
        for items in (held, self._source):
            for item in items:
                if isinstance(item, VideoFrame):
                    if self._start is not None and (item.pts or 0) < self._start:
                        continue
                    self.decoded += 1
                    self.damaged += item.is_corrupt
                    scan = self._fields.of(item)
                    self.changes(item, scan, self._decoder, side_data_of(item))
                    yield frame_of(self._uniform(item), self.clip.coding, self._scan_of(scan))
                else:
                    yield item

    def _scan_of(self, scan: Order) -> Order:
        """Return a picture's scan; the clip's where its codec's pictures do not tell."""
        telling = scan != "progressive" or self.clip.codec in TELLING
        return scan if telling else self.clip.field_order

    def _items(self) -> Iterator[Any]:
        """Yield decoded pictures and the packets of other streams, in file order, in spite of damage."""
        for packet in self._demuxed:
            if packet.stream is not self.video:
                if packet.dts is not None or packet.size:  # a packet with neither marks the end of a stream
                    yield packet
                continue
            if not self._looked and packet.size:  # once, before the decoder's threads run
                self._looked, self._location = True, chroma_location(self.video, packet)
            yield from self._pictures(packet)
        if self.broken_off or self._decoder is not self.video.codec_context:
            yield from self._pictures(None)  # what the decoder still holds when a file breaks off

    def _pictures(self, packet: av.Packet[Any] | None) -> Iterator[VideoFrame]:
        last, failed = packet is None or not packet.size, False
        try:
            if last and packet is not None and self._decoder is not self.video.codec_context:
                return
            self._remember(packet)
            if self._slots is not None and packet is not None and packet.size and packet.dts is not None:
                heapq.heappush(self._slots, packet.dts)
            pictures = self._decoder.decode(packet)
        except av.FFmpegError:
            if not self.undecodable:
                self._check_size([*self._recent[:1], packet])
            self.undecodable += 1
            pictures, failed = [], True
        for picture in pictures:
            yield self._decoded(picture)
        if last and (failed or any(recent.is_corrupt for recent in self._recent)):
            for picture in self._again():
                yield self._decoded(picture)

    def _remember(self, packet: av.Packet[Any] | None) -> None:
        """Keep the packets since the last key frame, for `_again`."""
        if packet is None or not packet.size:
            return
        if packet.is_keyframe:
            self._recent, self._recent_size = [], 0
        self._recent.append(packet)
        self._recent_size += packet.size
        if self._recent_size > RECENT_LIMIT:
            self._recent, self._recent_size = [], 0

    def _again(self) -> list[VideoFrame]:
        """Yield the last pictures of a file that breaks off.

        A decoder with several threads that meets damage while it is emptied keeps what it has decoded behind it. One
        with a single thread fails at the damaged packet and goes on.
        """
        single: Any = av.CodecContext.create(self._decoder.codec.name, "r")
        single.thread_count, single.extradata = 1, self.video.codec_context.extradata
        pictures: list[VideoFrame] = []
        for packet in [*self._recent, None]:
            with contextlib.suppress(av.FFmpegError, ValueError):  # raw pictures have no decoder of their own
                pictures += single.decode(packet)
        return [p for p in pictures if self._newest is None or p.pts is None or p.pts > self._newest]

    def _check_size(self, packets: list[av.Packet[Any] | None]) -> None:
        """Raise InputError if these packets were refused for the size of their pictures."""
        single: Any = av.CodecContext.create(self._decoder.codec.name, "r")
        single.thread_count, single.extradata = 1, self.video.codec_context.extradata
        single.options = limits(self.reading)
        with logged(av.logging.ERROR, everywhere=True) as lines:
            for packet in packets:
                with contextlib.suppress(av.FFmpegError, ValueError):
                    single.decode(packet)
        for _, _, line in lines:
            if found := REFUSED_SIZE.search(line):
                raise too_large(self.source, int(found[1]), int(found[2]), self.reading)

    def _decoded(self, picture: VideoFrame) -> VideoFrame:
        """Note what was seen, for `_again`; a few decoders give no time base."""
        if picture.width * picture.height > self.reading.max_pixels:
            raise too_large(self.source, picture.width, picture.height, self.reading)
        if not picture.time_base:
            picture.time_base = self._time_base
        if any(self._crop) and (picture.width, picture.height) == self._stored:
            picture = self._cropped(picture)
        if self._slots:
            picture.pts = heapq.heappop(self._slots)
            self._say(NO_TIMES)
        if picture.pts is not None:
            self._newest = picture.pts if self._newest is None else max(self._newest, picture.pts)
        return picture

    def _cropped(self, picture: VideoFrame) -> VideoFrame:
        """Cut off what the container wants hidden, as near as chroma samples and fields allow."""
        if self._cut is None:
            columns, rows = layout_of(picture.format.name).steps
            crop = self._crop.rounded(columns, 2 * rows if picture.interlaced_frame else rows)
            width, height = picture.width - crop.left - crop.right, picture.height - crop.top - crop.bottom
            self._cut = Filter("crop", f"{width}:{height}:{crop.left}:{crop.top}:exact=1")
            self._say(
                f"the container's cropping is applied: {width}x{height} of {picture.width}x{picture.height} are shown"
            )
        cut = self._cut(picture)
        assert cut is not None
        return cut

    def _say(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _uniform(self, picture: VideoFrame) -> VideoFrame:
        """Return the picture, rearranged into planes or scaled if the stream changes its size."""
        clip, name = self.clip, picture.format.name
        if (picture.width, picture.height) != (clip.width, clip.height):
            if not self._scaled:
                self._scaled, at = True, float(picture.pts * clip.time_base)  # type: ignore[operator]
                size = f"{clip.width}x{clip.height} to {picture.width}x{picture.height}"
                self._say(f"the size changes from {size} at {at:.2f} s: the clip is scaled to its first size")
            return picture.reformat(clip.width, clip.height, clip.pixel_format)
        if picture.key_frame or self._span is None:  # FFmpeg tags the last pictures before a change with what comes
            self._span = FULL_RANGE if name.startswith("yuvj") else int(picture.color_range)
        span = self._span
        turned = span in (1, 2) and (span == FULL_RANGE) != clip.colour.full_range and not self.reading.input_color
        if turned and not clip.coding.rgb:
            spans = {"src_color_range": span, "dst_color_range": 3 - span}
            return picture.reformat(format=clip.pixel_format, **spans)
        if name.replace("yuvj", "yuv") == clip.pixel_format:
            return picture
        if name == "pal8":
            picture = picture.reformat(format="bgra")
        return picture.reformat(format=clip.pixel_format)

    def skip_to(self, pts: int) -> None:
        """Give nothing before the frame of this pts.

        Decoding begins at the last key frame but one before it, so that no frame depends on what was skipped; at the
        beginning where a file cannot be searched or its pictures carry no times.
        """
        self._start = pts
        for search in (True, False):
            self._reopen()
            if search:
                try:
                    self.container.seek(pts + round(self._zero / self._time_base) - 1, stream=self.video)
                except (av.FFmpegError, OSError):
                    continue
            self._held = [self._first_picture()]
            if self._held[0].pts <= pts and not any(note.startswith(UNSEARCHABLE) for note in self.notes):
                return

    def _reopen(self) -> None:
        number = self.video.index
        self._earlier.append(self.container)  # stays open: a writer may hold its streams
        self.container = opened(self.source, self.reading)
        video: Any = self.container.streams[number]
        self.video = video
        self._decoder = self._decoder_of()
        self.others, self._newest, self._held = [], None, []
        self._recent, self._recent_size = [], 0
        self._begin()

    def other_packets(self) -> Iterator[av.Packet[Any]]:
        """Yield the packets of other streams, without decoding the pictures."""
        yield from (item for item in self._held if not isinstance(item, VideoFrame))
        for packet in self._demuxed:
            if packet.stream is not self.video and (packet.dts is not None or packet.size):
                yield packet

    @property
    def problems(self) -> str:
        return self.problems_of(self.decoded, self.damaged, self.absent)

    @property
    def absent(self) -> int:
        """Pictures that the file announces and does not hold, once it was read from its beginning to its end.

        What it holds and does not show (an edit list hides it, as a cut without encoding does) is not absent.
        """
        absent = self.announced - self.packets_read
        return absent if absent > max(2, self.announced // 50) else 0  # headers are a little off at times

    def problems_of(self, decoded: int, damaged: int, absent: int) -> str:
        """Describe what could not be read of a clip that gave so many frames, perhaps in earlier runs."""
        found = []
        if damaged:
            found.append(f"{damaged} of {decoded} frames damaged")
        if self.undecodable:
            found.append(f"{self.undecodable} packets could not be decoded")
        if absent:
            found.append(f"{absent} of {self.announced} frames missing")
        unread = self.length - self._read_until
        if self.broken_off:
            found.append(f"the file breaks off ({self.broken_off})")
        elif found or self._whole_index or self._clock.jumped:
            pass  # what the file says of its length is told already, or not to be trusted
        elif unread > max(Fraction(1, 2), self.length / 50):
            found.append(f"the file breaks off at {float(self._read_until):.1f} of {float(self.length):.1f} s")
        return ", ".join(found)

    def _packets(self) -> Iterator[Any]:
        streams = [self.video, *(s for s in self.others if s.type not in ("attachment", "unknown"))]
        try:
            for packet in self._clock(self._counted(streams)):
                if packet.pts is not None:
                    end = (packet.pts + (packet.duration or 0)) * (exact(packet.time_base) or Fraction(0))
                    self._read_until = max(self._read_until, end)
                if packet.size and packet.pos is not None:
                    self._end_of_packets = packet.pos + packet.size
                if packet.stream is self.video or not hidden(packet):
                    yield packet
            if self.container.format.name == RAW_FRAMES and self._bytes_given() > self._end_of_packets:
                self.broken_off = "inside a frame"
        except (av.FFmpegError, OSError) as error:
            self.broken_off = reason(error)

    def _bytes_given(self) -> int:
        """Return the size of the file, or of what came through standard input; 0 if unknown."""
        if self._input:
            return self._input.count
        return self.source.stat().st_size if isinstance(self.source, Path) else 0

    def _counted(self, streams: list[Any]) -> Iterator[Any]:
        for packet in self.container.demux(streams):
            if packet.stream is self.video and packet.size:
                self.packets_read += 1
                self._encrypted = self._encrypted or packet.has_sidedata("encryption_info")
            yield packet

    def __enter__(self) -> PyAVReader:
        return self

    def __exit__(self, *exception: object) -> None:
        for container in (*self._earlier, self.container):
            container.close()  # and with it the memory of its streams: nothing of them is asked afterwards


def opened(source: Path | str | CountedInput, reading: Reading) -> av.container.InputContainer:
    """Open a source. Raises InputError with one line if it is missing, empty, no video or does not answer."""
    remote = isinstance(source, str) and origin_of(source) == "address"
    if not remote and not isinstance(source, CountedInput):
        source = Path(source)
        if not exists(source):
            if PATTERN.search(source.name):
                raise InputError(f"{source}: {SEVERAL_IN}")
            raise InputError(f"{source}: no such file")
        if source.is_dir():
            raise InputError(f"{source}: is a folder")
    try:
        with logged(av.logging.ERROR) if isinstance(source, Path) else av.logging.Capture() as lines:
            return open_to_read(source, reading.timeout, limits(reading), playlist=reading.playlist)
    except (av.FFmpegError, OSError, ValueError) as error:
        if found := next((f for _, _, line in lines if (f := REFUSED_SIZE.search(line))), None):
            raise too_large(source, int(found[1]), int(found[2]), reading) from error
        if any(NOT_LISTED in line for _, _, line in lines):
            raise InputError(f"{source}: {OTHER_KIND}") from error
        raise InputError(f"{source}: not a video that can be read ({reason(error)})") from error


def limits(reading: Reading) -> dict[str, str]:
    """Return the options of FFmpeg's decoders that keep a small file from asking for all memory.

    They count the pixels as coded, in whole blocks and with a margin; what comes out is held to the limit itself.
    """
    return {"max_pixels": str(reading.max_pixels * 5 // 4 + (1 << 18))}


def too_large(source: object, width: int, height: int, reading: Reading) -> InputError:
    return InputError(
        f"{source}: pictures of {width}x{height} are more than {reading.max_pixels} pixels; "
        "--max-pixels raises the limit"
    )


def hidden(packet: av.Packet[Any]) -> bool:
    """Tell whether an edit list hides a packet, and not as the priming of sound, which its decoder needs."""
    if not packet.is_discard or packet.pts is None:
        return False
    return (packet.pts + (packet.duration or 0)) * (exact(packet.time_base) or Fraction(0)) < -PRIMING


def chroma_location(stream: VideoStream, packet: av.Packet[Any]) -> str | None:
    """Return the location of chroma samples by the stream's headers.

    PyAV has no attribute for it, so FFmpeg's bitstream filter that prints headers is asked, before any decoder runs.
    """
    lines: list[tuple[int, str, str]] = []
    try:
        with logged(av.logging.TRACE) as lines:
            printer = av.BitStreamFilterContext("trace_headers", in_stream=stream)
            printer.filter(av.Packet(bytes(packet)))  # it takes what it is given
    except (av.FFmpegError, ValueError):  # a codec it does not know
        return None
    for _, _, line in lines:
        words = line.split()
        if len(words) > 2 and words[1] in CHROMA_LOCATIONS:
            names: list[str | None] = CHROMA_LOCATIONS[words[1]]
            return names[int(words[-1])] if int(words[-1]) < len(names) else None
    return None


def _matrix(data: bytes | None) -> Matrix | None:
    return None if data is None else tuple(np.frombuffer(data, np.int32).tolist())


def reason(error: BaseException) -> str:
    """Return the part of an FFmpeg error that a user can act on."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
