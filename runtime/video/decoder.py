"""Pictures out of packets, in spite of damage: one stream's decoder, and what keeps it from losing pictures."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
from av.video.frame import VideoFrame

from .clock import NO_TIMES
from .cropping import Crop
from .ffmpeg_log import logged
from .fields import Filter
from .opening import REFUSED_SIZE, Reading, limits, too_large
from .pixels import layout_of
from .pyav import texts

ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders drop the second picture
RECENT_LIMIT = 64 << 20  # bytes of packets kept for the end of a damaged file


class Decoder:
    """Decodes the packets of one stream; refuses pictures that are too large before it makes room for them.

    Args:
        stream: whose packets come.
        source, reading: for the limit of the size, and its message.
        time_base: of pictures whose decoder gives none.
        crop: rows and columns that the container wants hidden.
        say: takes a note.
        undecodable: packets that gave no picture before.

    Attributes:
        undecodable: packets that gave no picture.
        apart: the decoder is not the stream's own, which FFmpeg empties itself.
        context: the decoder.
    """

    def __init__(
        self,
        stream: Any,
        source: object,
        reading: Reading,
        time_base: Fraction,
        crop: Crop,
        say: Callable[[str], None],
        undecodable: int = 0,
    ) -> None:
        self.stream, self.source, self.reading, self.time_base = stream, source, reading, time_base
        self.say, self.undecodable = say, undecodable
        stream.thread_type = "AUTO"
        with_alpha = self._with_alpha()
        self.apart = with_alpha is not None
        self.context = with_alpha or stream.codec_context
        self.context.options = {**self.context.options, **limits(reading)}
        self._crop, self._stored = crop, (stream.width, stream.height)
        self._cut: Filter | None = None
        self._newest: int | None = None
        self._recent: list[av.Packet[Any]] = []
        self._recent_size = 0
        # AVI numbers packets in the order they are decoded; the pictures are shown at the same ticks in theirs.
        in_avi = stream.container.format.name == "avi"
        reordered = in_avi and stream.codec_context.codec.canonical_name in ("h264", "hevc")
        self._slots: list[int] | None = [] if reordered else None

    def _with_alpha(self) -> Any:
        """Return the decoder that keeps the transparency, where FFmpeg's own does not."""
        name = ALPHA_DECODERS.get(self.stream.codec_context.codec.canonical_name)
        tags = {key.lower(): value for key, value in texts(self.stream.metadata).items()}
        if name is None or tags.get("alpha_mode") != "1":
            return None
        try:
            return av.CodecContext.create(name, "r")
        except (ValueError, av.FFmpegError):
            self.say(f"its transparency is lost: the decoder {name} is not installed here")
            return None

    def pictures(self, packet: av.Packet[Any] | None) -> Iterator[VideoFrame]:
        """Yield the pictures that a packet completes; those left after an empty one, or after None."""
        last, failed = packet is None or not packet.size, False
        try:
            if last and packet is not None and self.apart:
                return
            self._remember(packet)
            if self._slots is not None and packet is not None and packet.size and packet.dts is not None:
                heapq.heappush(self._slots, packet.dts)
            pictures = self.context.decode(packet)
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

    def _single(self) -> Any:
        """Return a decoder with a single thread."""
        single: Any = av.CodecContext.create(self.context.codec.name, "r")
        single.thread_count, single.extradata = 1, self.stream.codec_context.extradata
        return single

    def _again(self) -> list[VideoFrame]:
        """Yield the last pictures of a file that breaks off.

        A decoder with several threads that meets damage while it is emptied keeps what it has decoded behind it. One
        with a single thread fails at the damaged packet and goes on.
        """
        single = self._single()
        pictures: list[VideoFrame] = []
        for packet in [*self._recent, None]:
            with contextlib.suppress(av.FFmpegError, ValueError):  # raw pictures have no decoder of their own
                pictures += single.decode(packet)
        return [p for p in pictures if self._newest is None or p.pts is None or p.pts > self._newest]

    def _check_size(self, packets: list[av.Packet[Any] | None]) -> None:
        """Raise InputError if these packets were refused for the size of their pictures."""
        single = self._single()
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
            picture.time_base = self.time_base
        if any(self._crop) and (picture.width, picture.height) == self._stored:
            picture = self._cropped(picture)
        if self._slots:
            picture.pts = heapq.heappop(self._slots)
            self.say(NO_TIMES)
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
            self.say(
                f"the container's cropping is applied: {width}x{height} of {picture.width}x{picture.height} are shown"
            )
        cut = self._cut(picture)
        assert cut is not None
        return cut
