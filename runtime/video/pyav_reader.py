"""Video files, pipes and network addresses as a `Source`.

PyAV, because it gives what a relighted clip must keep and OpenCV's VideoCapture hides: the decoder's own time
stamps and time base, the Y'CbCr planes without a trip through RGB, colour tags, and the packets of the other
streams, to be copied as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.video.frame import VideoFrame

from cliplit.errors import InputError

from ..light.colour import UNSPECIFIED, assumed_matrix
from .changes import Changes
from .clock import JUMPING, PICTURES_AHEAD, UNSEARCHABLE, Clock, common_start, in_order, start_of_untimed
from .cropping import Crop, cropping_asked
from .decoder import Decoder
from .description import chroma_location, coding_of, colour_of, expected_frames, is_steady, matrix_of, rate_of
from .endings import cut_off
from .fields import PEEKED, TAGGED, TELLING, FieldOrder, Order
from .frames import Clip, Frame
from .mastering import mastering_of
from .opening import ENCRYPTED, Reading, opened, reason, too_large
from .packet_times import hidden, move
from .pixels import CONVERTED, layout_of
from .pyav import PIPE_IN, CountedInput, exact, side_data_of, texts
from .pyav_frame import Uniform, frame_of
from .streams import is_cover, tags_of

PEEK_LIMIT = 64 << 20  # bytes of pictures that are looked at ahead
RAW_FRAMES = "yuv4mpegpipe"  # FFmpeg drops a last frame that is cut, without a word
DYNAMIC_HDR = {
    "DOVI_METADATA": "Dolby Vision", "DOVI_RPU_BUFFER": "Dolby Vision", "DYNAMIC_HDR_PLUS": "HDR10+",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
}  # fmt: skip


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
        self.decoded = self.damaged = 0
        self.broken_off = ""
        self._last_is_cut = self._failed = False
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
        self._untimed: Fraction | None = None
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
        self._crop = Crop()
        if isinstance(self.source, Path):
            size = self.video.width, self.video.height
            self._crop = cropping_asked(self.source, self.container.format.name, number, size)
        self._decoder = self._new_decoder()
        self._start: int | None = None
        self._read_until = Fraction(0)  # seconds
        self._end_of_packets = 0  # bytes from the start
        self.length = Fraction(self.container.duration or 0, av.time_base)  # as the file says; 0 if it does not
        self._looked = False
        self._fields = FieldOrder()
        self._location: str | None = None
        self._begin()
        self._held: list[Any] = []  # what comes before the first picture
        first = self._first_picture()
        if self._encrypted:
            raise InputError(ENCRYPTED.format(self.source))
        self._settle(first)
        self._held.append(first)
        self.clip = self._describe(first)
        self._uniform = Uniform(self.clip, self.reading.input_color is not None, self._say)

    def _find_start(self) -> None:
        """Find the time that becomes 0, and shift the chapters by it."""
        streams = [s for s in self.container.streams if s.type in ("video", "audio", "subtitle") and not is_cover(s)]
        starts = [(s.type == "audio", start_of(s)) for s in streams]
        pictures = [start for sound, start in starts if not sound]
        self._zero = common_start(pictures, [start for sound, start in starts if sound])
        self._later = Fraction(0)  # seconds by which all is given later than its clock says, see `_settle`
        self._unknown = all(start is None for _, start in starts)

    def chapters(self) -> list[Any]:
        """Return the chapters, at the times of this clip."""
        moved = []
        for chapter in self.container.chapters():
            ticks = round((self._zero - self._later) / (exact(chapter["time_base"]) or Fraction(1)))
            moved.append({**chapter, "start": max(chapter["start"] - ticks, 0), "end": max(chapter["end"] - ticks, 0)})
        return moved

    def _begin(self) -> None:
        """Set up the way of a packet, anew after a search."""
        remote = not isinstance(self.source, Path) and self.source != PIPE_IN
        at_once = remote or self.container.format.name == RAW_FRAMES
        leading = [s.index for s in self.container.streams if s.type in ("video", "audio") and not is_cover(s)]
        jumps = any(name in JUMPING for name in self.container.format.name.split(","))
        self._clock = Clock(self._zero, jumps, self._say, leading, self.video.index)
        self._demuxed = self._packets()
        self._source = self._moved(in_order(
            self._items(), lambda item: isinstance(item, VideoFrame), self._step, self._say,
            ahead=0 if at_once else PICTURES_AHEAD, begin=self._begin_of_untimed,
        ))  # fmt: skip

    def _step(self) -> int:
        """Ticks from one picture to the next, as far as is known."""
        return max(1, round(1 / ((rate_of(self.video, self._time_base) or 25) * self._time_base)))

    def _begin_of_untimed(self) -> int:
        """Ticks at which a first picture without a time is shown."""
        return 0 if self._untimed is None else round((self._untimed - self._zero) / self._time_base)

    def _settle(self, first: VideoFrame) -> None:
        """Have the first picture at 0 where it would be before that, and hidden, or where no stream says its start."""
        time = (first.pts or 0) * self._time_base
        if time < 0 or (time and self._unknown):
            self._later = -time
            for item in (*self._held, first):
                move(item, -time)

    def _moved(self, items: Iterator[Any]) -> Iterator[Any]:
        for item in items:
            yield move(item, self._later)

    def _new_decoder(self, undecodable: int = 0) -> Decoder:
        return Decoder(
            self.video, self.source, self.reading, self._time_base, self._crop, self._say, undecodable,
        )  # fmt: skip

    @property
    def undecodable(self) -> int:
        return self._decoder.undecodable

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
        colour = colour_of(first, context, self._location, self.reading, self.source, self._say)
        coding = coding_of(colour, layout, first.height, self._say)
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
            self._time_base, rate_of(self.video, self._time_base),
            self._expected_frames(), exact(self.video.sample_aspect_ratio), order,
            matrix_of(data.get("DISPLAYMATRIX")), codec, tags_of(self.video.metadata),
            mastering_of(data.get("MASTERING_DISPLAY_METADATA"), data.get("CONTENT_LIGHT_LEVEL")),
            is_steady(self.video, self._time_base),
        )  # fmt: skip

    def _expected_frames(self) -> int | None:
        shown = self.announced and self.announced - self._hidden
        return expected_frames(self.container, self.video, self._time_base, shown)

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
                    self.changes(item, scan, self._decoder.context, side_data_of(item))
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
            yield from self._decoder.pictures(packet)
        if self._failed or self._decoder.apart:
            yield from self._decoder.pictures(None)  # what the decoder still holds when no packet marks the end

    def _say(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

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
                    before = pts + round((self._zero - self._later) / self._time_base) - 1
                    self.container.seek(before, stream=self.video)
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
        self._decoder = self._new_decoder(self._decoder.undecodable)
        self.others, self._held = [], []
        self._begin()

    def other_packets(self) -> Iterator[av.Packet[Any]]:
        """Yield the packets of other streams, without decoding the pictures."""
        yield from (item for item in self._held if not isinstance(item, VideoFrame))
        for packet in self._demuxed:
            if packet.stream is not self.video and (packet.dts is not None or packet.size):
                yield move(packet, self._later)

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
        doubtful = bool(found) or self._whole_index or self._clock.jumped  # or what is missing is told already
        early = not doubtful and unread > max(Fraction(1, 2), self.length / 50)
        where = f" at {float(self._read_until):.1f} of {float(self.length):.1f} s" if early else ""
        why = f" ({self.broken_off})" if self.broken_off else ""
        if where or why:
            found.append(f"the file breaks off{where}{why}")
        return ", ".join(found)

    def _packets(self) -> Iterator[Any]:
        streams = [self.video, *(s for s in self.others if s.type not in ("attachment", "unknown"))]
        try:
            packets, self._untimed = self._counted(streams), None
            if "matroska" in self.container.format.name:
                self._untimed, packets = start_of_untimed(packets, self.video.index, self._step() * self._time_base)
            for packet in self._clock(packets):
                if packet.pts is not None:
                    end = (packet.pts + (packet.duration or 0)) * (exact(packet.time_base) or Fraction(0))
                    self._read_until = max(self._read_until, end)
                if packet.size and packet.pos is not None:
                    self._end_of_packets = packet.pos + packet.size
                if packet.stream is self.video or not hidden(packet):
                    yield packet
            if self._is_cut_off():
                self.broken_off = "inside a frame"
        except (av.FFmpegError, OSError) as error:
            self.broken_off, self._failed = reason(error), True

    def _is_cut_off(self) -> bool:
        """Tell whether the file, read to its end, ends inside of a packet, for which nothing need have been raised."""
        form = self.container.format.name
        if form == RAW_FRAMES:
            return self._bytes_given() > self._end_of_packets
        return self._last_is_cut or (isinstance(self.source, Path) and cut_off(self.source, form))

    def _bytes_given(self) -> int:
        """Return the size of the file, or of what came through standard input; 0 if unknown."""
        if self._input:
            return self._input.count
        return self.source.stat().st_size if isinstance(self.source, Path) else 0

    def _counted(self, streams: list[Any]) -> Iterator[Any]:
        for packet in self.container.demux(streams):
            if packet.size:
                self._last_is_cut = packet.is_corrupt
            if packet.stream is self.video and packet.size:
                self.packets_read += 1
                self._encrypted = self._encrypted or packet.has_sidedata("encryption_info")
            yield packet

    def __enter__(self) -> PyAVReader:
        return self

    def __exit__(self, *exception: object) -> None:
        for container in (*self._earlier, self.container):
            container.close()  # and with it the memory of its streams: nothing of them is asked afterwards


def start_of(stream: Any) -> Fraction | None:
    """Return when a stream begins by its file, in seconds."""
    base = exact(stream.time_base)
    return None if stream.start_time is None or base is None else stream.start_time * base
