"""`--resume`: a long clip is written in segments, so that a killed run costs one of them.

A folder beside the output (`work_folder`) holds the encoded packets of each finished segment and the state of the steps
behind it (the temporal filter's light). A segment begins at a key frame of the
source, with an encoder of its own: what it holds depends on nothing that a crash could change, so a resumed run and an
uninterrupted one give the same pictures. The end joins the packets as they are, with the other streams of the source.

The packets are kept in files of our own, because no container keeps the time stamps of every codec exactly: Matroska
rounds to milliseconds, MP4 and MOV hold some codecs only, NUT no negative times.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import IO, Any

import av
import numpy as np
from av.packet import PacketSideData, packet_sidedata_type_from_literal

from cliplit.errors import InputError, first_line
from cliplit.files import atomic_write

from .encoder import PictureEncoder
from .frames import Frame, Stateful
from .pyav_reader import PyAVReader
from .pyav_writer import PyAVWriter

SECONDS = Fraction(10)  # shortest segment; three times that where no key frame comes
HEAD = struct.Struct("<qqq?II")  # pts, dts, duration, whether a key frame, size of the data and of what is beside it
BESIDE: Any = "matroska_block_additional"  # where VP8 and VP9 have their transparency


class Split:
    """Iterates over segments, each an iterator of items to be used up before the next.

    Args:
        items: frames, or what `frame_of` finds a frame in.

    Attributes:
        decoded, damaged: frames of this segment so far.
        next_pts, next_time, next_item: behind a segment, where the next one begins; None behind the last.
    """

    def __init__(self, items: Iterable[Any], frame_of: Callable[[Any], Frame] = lambda item: item) -> None:
        self.decoded = self.damaged = 0
        self.next_pts: int | None = None
        self.next_time: Fraction | None = None
        self.next_item: Any = None
        self._items, self._frame_of = items, frame_of
        self._number = 0
        self._begun: Fraction | None = None

    def __iter__(self) -> Iterator[Iterator[Any]]:
        for _, segment in groupby(self._watched(), self._segment_of):
            self.decoded = self.damaged = 0
            yield self._counted(segment)

    def _counted(self, segment: Iterable[Any]) -> Iterator[Any]:
        for item in segment:
            self.decoded += 1
            self.damaged += self._frame_of(item).damaged
            yield item

    def _watched(self) -> Iterator[Any]:
        for item in self._items:
            frame = self._frame_of(item)
            self.next_pts, self.next_time, self.next_item = frame.pts, frame.time, item
            yield item
        self.next_pts = self.next_time = self.next_item = None

    def _segment_of(self, item: Any) -> int:
        frame = self._frame_of(item)
        if self._begun is None:
            self._begun = frame.time
        if frame.time - self._begun >= SECONDS * (1 if frame.key_frame else 3):
            self._number, self._begun = self._number + 1, frame.time
        return self._number


class SegmentEncoder:
    """Encodes one segment, as `writer` would, into an open file of packets."""

    def __init__(self, file: IO[bytes], writer: PyAVWriter) -> None:
        choice = writer.choice
        self.file, self.choice, self.placed = file, choice, writer.placed
        self.frames = self.packets = 0
        context: Any = av.CodecContext.create(choice.encoder.name, "w")
        if writer.global_header:
            context.flags |= av.codec.context.Flags.global_header
        self._encoder = PictureEncoder(context, writer.clip, choice, writer.options)

    def write(self, frame: Frame) -> None:
        self._keep(self._encoder.packets(self.placed(frame)))
        self.frames += 1

    def finish(self) -> None:
        """Write what the encoder still holds. Raises InputError if a frame is missing."""
        if self.frames:
            self._keep(self._encoder.packets(None))
        if self.packets != self.frames:
            raise InputError(f"{self.choice.encoder.name} returned {self.packets} of {self.frames} frames")

    def _keep(self, packets: list[av.Packet[Any]]) -> None:
        for packet in packets:
            data = bytes(packet)
            dts = packet.pts if packet.dts is None else packet.dts
            beside = bytes(packet.get_sidedata(BESIDE)) if packet.has_sidedata(BESIDE) else b""
            head = packet.pts, dts, packet.duration or 0, packet.is_keyframe, len(data), len(beside)
            self.file.write(HEAD.pack(*head) + data + beside)
            self.packets += 1


def encode_segment(
    path: Path, frames: Iterable[Any], writer: PyAVWriter, progress: Callable[[int], object] = lambda frames: None
) -> int:
    """Encode the frames, as `writer` would, into the file of packets `path`. Returns how many there are."""
    with atomic_write(path, fsync=True) as temporary, temporary.open("wb") as file:
        segment = SegmentEncoder(file, writer)
        for frame in frames:
            segment.write(frame)
            progress(segment.frames)
        segment.finish()
    return segment.frames


def join_segments(files: Iterable[Path], source: PyAVReader, writer: PyAVWriter) -> None:
    """Write the packets of all segments in order, with their own times, and the other streams of `source`."""
    packets = (packet for file in files for packet in packets_of(file, writer.clip.time_base))
    for is_video, packet in merged(packets, source.other_packets()):
        (writer.join if is_video else writer.write)(packet)


def packets_of(path: Path, time_base: Fraction) -> Iterator[av.Packet[Any]]:
    """Read the packets of a segment."""
    for pts, dts, duration, key, data, beside in stored(path):
        packet = av.Packet(data)
        packet.pts, packet.dts, packet.duration = pts, dts, duration
        packet.time_base, packet.is_keyframe = time_base, key
        if beside:
            make: Any = PacketSideData
            side_data = make(packet_sidedata_type_from_literal(BESIDE), len(beside))
            side_data.update(beside)
            packet.set_sidedata(side_data)
        yield packet


def stored(path: Path) -> Iterator[tuple[int, int, int, bool, bytes, bytes]]:
    with path.open("rb") as file:
        while head := file.read(HEAD.size):
            *times, size, more = HEAD.unpack(head.ljust(HEAD.size, b"\0"))
            data, beside = file.read(size), file.read(more)
            if len(head) < HEAD.size or len(data) < size or len(beside) < more:
                raise InputError(f"{path}: is cut off; remove it, and the same command makes it again")
            yield times[0], times[1], times[2], bool(times[3]), data, beside


def merged(video: Iterator[av.Packet[Any]], others: Iterator[av.Packet[Any]]) -> Iterator[tuple[bool, av.Packet[Any]]]:
    """(whether it is video, packet) by decoding time, as a muxer wants to be fed."""
    picture, other = next(video, None), next(others, None)
    while picture is not None or other is not None:
        if other is None or (picture is not None and _seconds(picture) <= _seconds(other)):
            assert picture is not None
            yield True, picture
            picture = next(video, None)
        else:
            yield False, other
            other = next(others, None)


def _seconds(packet: av.Packet[Any]) -> Fraction:
    time = packet.dts if packet.dts is not None else packet.pts
    return (time or 0) * packet.time_base


def save_state(path: Path, step: Stateful) -> None:
    """Write what a step remembers of earlier frames."""
    with atomic_write(path, fsync=True) as temporary, temporary.open("wb") as file:
        np.savez(file, **step.state())


def load_state(path: Path, step: Stateful) -> None:
    """Make a step remember what `save_state` wrote. Raises InputError if it is no such file."""
    try:
        with np.load(path, allow_pickle=False) as stored_state:
            step.restore(dict(stored_state))
    except (ValueError, TypeError, LookupError, EOFError, ArithmeticError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: no state of this clip ({first_line(error)}); remove its folder to begin anew"
        ) from error
