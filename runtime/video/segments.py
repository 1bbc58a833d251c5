"""`--resume`: a long clip is written in segments, so that a killed run costs one of them.

A folder beside the output holds the encoded packets of each finished segment, the state of the steps behind it (the
temporal filter's light), and a manifest with what all of it was made from. A segment begins at a key frame of the
source, with an encoder of its own: what it holds depends on nothing that a crash could change, so a resumed run and an
uninterrupted one give the same pictures. The end joins the packets as they are, with the other streams of the source.

The packets are kept in files of our own, because no container keeps the time stamps of every codec exactly: Matroska
rounds to milliseconds, MP4 and MOV hold some codecs only, NUT no negative times.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from cliplit import __version__
from cliplit.errors import CliplitError, InputError

from .frames import Frame, Stateful
from .pixels import layout_of
from .pyav_reader import PyAVReader
from .pyav_writer import PyAVWriter, configure, encoded, prepared

SECONDS = Fraction(10)  # shortest segment; three times that where no key frame comes
SAMPLE = 1 << 20  # bytes hashed of both ends of the source
HEAD = struct.Struct("<qqq?I")  # pts, dts, duration, whether a key frame, size


@dataclass
class Segment:
    """A finished segment: frames written, decoded, and decoded with damage, and where the next one begins."""

    frames: int
    decoded: int
    damaged: int
    next_pts: int | None  # None behind the last one


@dataclass
class Work:
    """The folder of a run, with the manifest read or begun. `notes` says what became of earlier work."""

    folder: Path
    identity: dict[str, Any]
    segments: list[Segment] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def start(self) -> int | None:
        """Pts of the first frame still to be done; None for the beginning."""
        return self.segments[-1].next_pts if self.segments else None

    @property
    def complete(self) -> bool:
        return bool(self.segments) and self.segments[-1].next_pts is None

    @property
    def frames(self) -> int:
        return sum(segment.frames for segment in self.segments)

    @property
    def decoded(self) -> int:
        return sum(segment.decoded for segment in self.segments)

    @property
    def damaged(self) -> int:
        return sum(segment.damaged for segment in self.segments)

    def packets_file(self, number: int) -> Path:
        return self.folder / f"{number:05}.packets"

    def state_file(self, number: int) -> Path:
        return self.folder / f"{number:05}.npz"

    def add(self, segment: Segment) -> None:
        """Add a finished segment to the manifest, which counts: a segment it does not name was never finished."""
        self.segments.append(segment)
        text = json.dumps({"identity": self.identity, "segments": [asdict(s) for s in self.segments]}, indent=1)
        temporary = self.folder / "manifest.part"
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / "manifest.json")

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def work_for(source: Path, target: Path, model: Path, options: Mapping[str, object]) -> Work:
    """Earlier work on `target` if it was made from the same source, model and options; a new folder otherwise."""
    folder = target.with_name(f".{target.name}.resume")
    made_from = {
        "source": fingerprint(source),
        "model": hashlib.sha256(model.read_bytes()).hexdigest(),
        "options": {name: str(value) for name, value in sorted(options.items())},
        "versions": [__version__, av.__version__],
    }
    work = Work(folder, made_from)
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        manifest = {}
    if manifest.get("identity") == made_from:
        work.segments = [Segment(**segment) for segment in manifest["segments"]]
        work.notes.append(f"resumed behind frame {work.frames} ({len(work.segments)} segments were finished)")
        return work
    if manifest:
        changed = [name for name in made_from if manifest.get("identity", {}).get(name) != made_from[name]]
        work.notes.append(f"earlier work was made with other {' and '.join(changed)}; everything is done anew")
    work.remove()
    folder.mkdir(parents=True)
    return work


def fingerprint(path: Path) -> dict[str, Any]:
    """Compute what tells a file from another one without reading all of it."""
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(SAMPLE))
        file.seek(max(0, size - SAMPLE))
        digest.update(file.read(SAMPLE))
    return {"size": size, "modified": path.stat().st_mtime_ns, "ends": digest.hexdigest()}


class Split:
    """Iterates over segments, each an iterator of frames to be used up before the next.

    Attributes:
        decoded, damaged: frames of this segment so far.
        next_pts, next_time: behind a segment, where the next one begins; None behind the last.
    """

    def __init__(self, frames: Iterable[Frame]) -> None:
        self.decoded = self.damaged = 0
        self.next_pts: int | None = None
        self.next_time: Fraction | None = None
        self._frames = frames
        self._number = 0
        self._begun: Fraction | None = None

    def __iter__(self) -> Iterator[Iterator[Frame]]:
        for _, segment in groupby(self._watched(), self._segment_of):
            self.decoded = self.damaged = 0
            yield self._counted(segment)

    def _counted(self, segment: Iterable[Frame]) -> Iterator[Frame]:
        for frame in segment:
            self.decoded += 1
            self.damaged += frame.damaged
            yield frame

    def _watched(self) -> Iterator[Frame]:
        for frame in self._frames:
            self.next_pts, self.next_time = frame.pts, frame.time
            yield frame
        self.next_pts = self.next_time = None

    def _segment_of(self, frame: Frame) -> int:
        if self._begun is None:
            self._begun = frame.time
        if frame.time - self._begun >= SECONDS * (1 if frame.key_frame else 3):
            self._number, self._begun = self._number + 1, frame.time
        return self._number


class SegmentWriter:
    """Encodes one segment, as `writer` would, into a file of packets, which has its name once it is complete."""

    def __init__(self, path: Path, writer: PyAVWriter) -> None:
        choice = writer.choice
        if layout_of(choice.pixel_format).alpha and choice.encoder.family in ("vp8", "vp9"):
            raise InputError("--resume cannot keep the transparency of VP9; leave it out or use --codec ffv1")
        self.path, self.clip, self.choice = path, writer.clip, choice
        self.frames = self.packets = 0
        context: Any = av.CodecContext.create(choice.encoder.name, "w")
        self.context: VideoCodecContext = context
        if writer.global_header:
            self.context.flags |= av.codec.context.Flags.global_header
        configure(self.context, writer.clip, choice, writer.options)
        self.file = self.path.with_suffix(".part").open("wb")

    def write(self, frame: Frame) -> None:
        self._keep(encoded(self.context, prepared(frame, self.clip, self.choice)))
        self.frames += 1

    def _keep(self, packets: list[av.Packet[Any]]) -> None:
        for packet in packets:
            data = bytes(packet)
            dts = packet.pts if packet.dts is None else packet.dts
            self.file.write(HEAD.pack(packet.pts, dts, packet.duration or 0, packet.is_keyframe, len(data)))
            self.file.write(data)
            self.packets += 1

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        with self.file:
            if kind is None:
                if self.frames:
                    self._keep(encoded(self.context, None))
                self.file.flush()
                os.fsync(self.file.fileno())
        if kind is None:
            if self.packets != self.frames:
                raise InputError(f"{self.choice.encoder.name} returned {self.packets} of {self.frames} frames")
            self.path.with_suffix(".part").replace(self.path)


def encode_segment(
    path: Path, frames: Iterable[Any], writer: PyAVWriter, progress: Callable[[int], object] = lambda frames: None
) -> int:
    """Encode the frames, as `writer` would, into the file of packets `path`. Returns how many there are."""
    with SegmentWriter(path, writer) as segment:
        for frame in frames:
            segment.write(frame)
            progress(segment.frames)
    return segment.frames


def join_segments(files: Iterable[Path], source: PyAVReader, writer: PyAVWriter) -> None:
    """Write the packets of all segments in order, with their own times, and the other streams of `source`."""
    packets = (packet for file in files for packet in packets_of(file, writer.clip.time_base))
    for is_video, packet in merged(packets, source.other_packets()):
        (writer.join if is_video else writer.write)(packet)


def packets_of(path: Path, time_base: Fraction) -> Iterator[av.Packet[Any]]:
    """Read the packets of a segment."""
    for pts, dts, duration, key, data in stored(path):
        packet = av.Packet(data)
        packet.pts, packet.dts, packet.duration = pts, dts, duration
        packet.time_base, packet.is_keyframe = time_base, key
        yield packet


def stored(path: Path) -> Iterator[tuple[int, int, int, bool, bytes]]:
    with path.open("rb") as file:
        while head := file.read(HEAD.size):
            *times, size = HEAD.unpack(head)
            yield times[0], times[1], times[2], bool(times[3]), file.read(size)


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
    with path.open("wb") as file:
        np.savez(file, **step.state())


def load_state(path: Path, step: Stateful) -> None:
    """Make a step remember what `save_state` wrote."""
    with np.load(path, allow_pickle=False) as stored_state:
        step.restore(dict(stored_state))


@contextlib.contextmanager
def kept_on_failure(work: Work) -> Iterator[None]:
    """Make a run that fails say where its work waits; without a finished segment nothing stays behind."""
    try:
        yield
    except BaseException as error:
        if not work.segments:
            work.remove()
            raise
        if isinstance(error, (CliplitError, OSError, KeyboardInterrupt)):
            what = str(error) or "interrupted"
            raise InputError(
                f"{what}; {work.frames} finished frames are kept in {work.folder}: the same command continues there"
            ) from error
        raise
