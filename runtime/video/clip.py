"""A clip from end to end. The way of a frame is the loop in `enhanced`, its steps are in `relighting`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from cliplit.errors import InputError
from cliplit.files import atomic_write

from ..enhancer import Enhancer
from ..light.hdr import TRANSFERS
from ..light.temporal import TemporalFilter
from .codecs import Encoding
from .compare import compared_clip, comparison
from .denoise import denoised
from .frames import Clip, Frame, Sink, Source
from .prefetch import ahead
from .pyav_reader import PyAVReader, Reading
from .pyav_writer import PyAVWriter
from .rate import at_rate, constant_rate
from .relighting import Lap, Moment, OnProcessor, Steps, Way, lit
from .segments import (
    Segment,
    SegmentWriter,
    Split,
    Work,
    joined,
    kept_on_failure,
    load_state,
    merged,
    save_state,
    work_for,
)

BackEnd = Literal["pyav", "opencv"]
PIPE_IN, PIPE_OUT = "pipe:0", "pipe:1"  # standard input and output, as FFmpeg calls them

Progress = Callable[[int, "int | None"], object]  # called with frames written so far and frames expected, if known


@dataclass(frozen=True)
class Summary:
    """What was done to a clip: frames written and decoded; `problems` says what of the source could not be read."""

    frames: int
    decoded: int
    width: int
    height: int
    seconds: float
    problems: str
    notes: tuple[str, ...]

    @property
    def counted(self) -> str:
        """Frames in words: none is lost without being said."""
        written = f"{self.frames} frame{'s' * (self.frames != 1)}"
        return written if self.frames == self.decoded else f"{written} from {self.decoded}"


def enhance_video(
    source: Path | str,
    target: Path | str,
    enhancer: Enhancer,
    encoding: Encoding,
    progress: Progress = lambda written, expected: None,
    steps: Steps | None = None,
    reading: Reading | None = None,
    cfr: Fraction | None = None,
    resume: Mapping[str, object] | None = None,
    back_end: BackEnd = "pyav",
    container: str | None = None,
) -> Summary:
    """Relight `source`, a file or an address, into `target`, which appears only when complete.

    Every decoded frame is written with its own time stamp (at a constant rate of `cfr` frames a second if given), and
    every other stream comes along where the container can hold it. With `resume`, the options that were given, the
    work is done in segments that a later call with the same options continues after a crash. `target` may be PIPE, with
    the name of the container that goes there.

    Raises:
        InputError: `source` is not a clip that can be relighted, or `target` cannot be written.
    """
    if resume is not None:
        assert isinstance(source, Path) and isinstance(target, Path)
        return resumable(source, target, enhancer, encoding, progress, steps, reading, cfr, resume)
    start = time.monotonic()
    steps = Steps(smooth=TemporalFilter()) if steps is None else steps
    with open_source(source, reading, back_end) as reader, whole(target) as file:
        clip = reader.clip if cfr is None else at_rate(reader.clip, cfr)
        clip = compared_clip(clip, steps.compare)
        with (
            open_sink(file, clip, encoding, reader, container, back_end) as writer,
            closing(ahead(reader)) as frames,
        ):
            relighted = enhanced(reader.clip, frames, enhancer, steps)
            items = relighted if cfr is None else constant_rate(relighted, cfr)
            transfer(items, writer, lambda n: progress(n, clip.expected_frames))
    if cfr is None and writer.written != reader.decoded:
        raise InputError(f"{source}: {reader.decoded} frames decoded, {writer.written} written; please report this")
    seconds = time.monotonic() - start
    notes = (*reader.notes, *writer.notes)
    return Summary(writer.written, reader.decoded, clip.width, clip.height, seconds, reader.problems, notes)


def open_source(source: Path | str, reading: Reading | None, back_end: BackEnd) -> Source:
    """A clip by one of the back ends."""
    if back_end == "opencv":
        from .opencv_io import OpenCVReader

        return OpenCVReader(source)
    return PyAVReader(source, reading)


def open_sink(
    file: Path | str, clip: Clip, encoding: Encoding, source: Source, container: str | None, back_end: BackEnd
) -> Sink:
    """Where its frames go; the other streams of a clip come along if both ends are PyAV's."""
    if back_end == "opencv" and isinstance(file, Path):
        from .opencv_io import OpenCVWriter

        return OpenCVWriter(file, clip)
    reader = source if isinstance(source, PyAVReader) and container != "yuv4mpegpipe" else None
    return PyAVWriter(file, clip, encoding, reader, container)


def whole(target: Path | str) -> AbstractContextManager[Path | str]:
    """A file that appears when it is complete, or a pipe, which cannot."""
    return atomic_write(target) if isinstance(target, Path) else nullcontext(target)


def resumable(
    source: Path,
    target: Path,
    enhancer: Enhancer,
    encoding: Encoding,
    progress: Progress,
    steps: Steps | None,
    reading: Reading | None,
    cfr: Fraction | None,
    options: Mapping[str, object],
) -> Summary:
    """`enhance_video` in segments; see `segments`."""
    start = time.monotonic()
    steps = Steps(smooth=TemporalFilter()) if steps is None else steps
    if steps.denoise:
        raise InputError("--resume and --denoise do not go together: the filters' memory cannot be saved")
    assert enhancer.network.path is not None  # only a back end that came opened has none
    work = work_for(source, target, enhancer.network.path, options)
    with kept_on_failure(work), PyAVReader(source, reading) as reader:
        unfinished = work.folder / f"joined{target.suffix}"
        clip = compared_clip(reader.clip if cfr is None else at_rate(reader.clip, cfr), steps.compare)
        with PyAVWriter(unfinished, clip, encoding, reader) as writer:
            if not work.complete:
                add_segments(work, reader, writer, enhancer, steps, cfr, progress)
            with PyAVReader(source, reading) as again:
                for is_video, packet in merged(joined(work, writer.clip), again.other_packets()):
                    (writer.join if is_video else writer.write)(packet)
        unfinished.replace(target)
    work.remove()
    notes = (*work.notes, *reader.notes, *writer.notes)
    problems = reader.problems_of(work.decoded, work.damaged)
    return Summary(work.frames, work.decoded, clip.width, clip.height, time.monotonic() - start, problems, notes)


def add_segments(
    work: Work,
    reader: PyAVReader,
    writer: PyAVWriter,
    enhancer: Enhancer,
    steps: Steps,
    cfr: Fraction | None,
    progress: Progress,
) -> None:
    """Encode the segments that are not done yet."""
    memories = steps.stateful()
    if work.segments:
        load_state(work.state_file(len(work.segments) - 1), memories)
        assert work.start is not None  # there is more to do
        reader.skip_to(work.start)
    with closing(ahead(reader)) as items:
        segments = Split(item for item in items if isinstance(item, Frame))
        for segment in segments:
            relighted = enhanced(reader.clip, segment, enhancer, steps)
            shown = relighted if cfr is None else constant_rate(relighted, cfr, lambda: segments.next_time)
            with SegmentWriter(work, writer.clip, writer.choice, writer.options, writer.global_header) as file:
                for frame in shown:
                    file.write(frame)
                    progress(work.frames + file.frames, writer.clip.expected_frames)
            save_state(work.state_file(len(work.segments)), memories)
            work.add(Segment(file.frames, segments.decoded, segments.damaged, segments.next_pts))


def transfer(items: Iterable[Any], sink: Sink, progress: Callable[[int], object]) -> None:
    """Write all items, reporting after each frame how many were written."""
    for item in items:
        sink.write(item)
        if isinstance(item, Frame):
            progress(sink.written)


def enhanced(
    clip: Clip,
    items: Iterable[Any],
    enhancer: Enhancer,
    steps: Steps,
    lap: Lap = lambda stage: None,
    live: bool = False,
) -> Iterator[Any]:
    """The items of a source, each frame relighted; packets pass through.

    `lap` is called behind the stages with their names, for who measures them. With `live`, each frame is given before
    the next one is asked for.
    """
    way = way_of(clip, enhancer, steps, lap, live)
    combine = comparison(steps.compare) if steps.compare else None
    for (original, item, strength), light in lit(moments(items, enhancer.strength, steps, lap), way):
        if not isinstance(item, Frame):
            yield item
            continue
        if not strength and not combine:
            yield original
            continue
        kept = original.copy() if combine else None
        relighted = way.relight(item, light, strength) if strength else original.writable()
        result = combine(kept, relighted) if combine and kept else relighted
        lap("apply")
        yield result


def way_of(clip: Clip, enhancer: Enhancer, steps: Steps, lap: Lap, live: bool = False) -> Way:
    """The way that this clip goes. `live`: no frame waits for the next.

    Raises InputError for a region outside the picture, and where full size would exhaust this machine's memory.
    """
    if steps.region:
        steps.region.check(clip.width, clip.height)
    card = enhancer.network.exact if enhancer.quality == "exact" else None
    if card is None or clip.colour.transfer in TRANSFERS:  # HDR is tone-mapped by the processor
        return OnProcessor(clip, enhancer, steps, lap)
    from .on_card import OnCard

    return OnCard(card, clip, enhancer, steps, lap, live)


def moments(items: Iterable[Any], strength: float, steps: Steps, lap: Lap) -> Iterator[Moment]:
    """Each item as it came, denoised, and how strongly it is to be relighted: not at all if it is a packet."""
    for original, item in denoised(items, steps.denoise):
        if not isinstance(item, Frame):
            yield original, item, 0.0
            continue
        if steps.denoise:
            lap("denoise")
        yield original, item, strength * (steps.strength(item.time) if steps.strength else 1.0)
