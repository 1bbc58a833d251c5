"""A clip from end to end. The way of a frame is the loop in `enhanced`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from cliplit.runtime.codecs import Encoding
from cliplit.runtime.enhancer import Enhancer
from cliplit.runtime.gain import Planes, apply_channels, apply_planes
from cliplit.runtime.hdr import TRANSFERS, signal_log_light, tone_mapped
from cliplit.runtime.light_map import Coefficients
from cliplit.runtime.pipeline import ahead
from cliplit.runtime.proxy import planes_proxy
from cliplit.runtime.pyav_reader import PyAVReader, Reading
from cliplit.runtime.pyav_writer import PyAVWriter
from cliplit.runtime.rate import at_rate, constant_rate
from cliplit.runtime.segments import (
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
)  # fmt: skip
from cliplit.runtime.source import Clip, Frame, Sink
from cliplit.runtime.temporal import TemporalFilter

from cliplit.errors import InputError
from cliplit.files import appearing

Progress = Callable[[int, "int | None"], object]  # called with frames written so far and frames expected, if known


@dataclass
class Steps:
    """What may be done to a frame besides relighting it; the defaults do nothing.

    Attributes:
        smooth: filter of the light map over time, None for each frame by itself.
        strength: of the moment, as a factor on the enhancer's own; None for 1 throughout.
        before: each takes a frame and returns the one to relight, such as a denoised one.
        after: each takes the original and the relighted frame, the latter to be changed or replaced, such as by a
            comparison of both. The original is kept only if there is such a step.
    """

    smooth: TemporalFilter | None = None
    strength: Callable[[Fraction], float] | None = None
    before: tuple[Callable[[Frame], Frame], ...] = ()
    after: tuple[Callable[[Frame, Frame], Frame], ...] = ()

    def stateful(self) -> list[Any]:
        """The steps that remember earlier frames (`source.Stateful`), in a fixed order."""
        return [step for step in (self.smooth, *self.before, *self.after) if hasattr(step, "restore")]


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
        if self.frames == self.decoded:
            return f"{self.frames} frames"
        return f"{self.frames} frames from {self.decoded}"


def enhance_video(
    source: Path,
    target: Path,
    enhancer: Enhancer,
    encoding: Encoding,
    progress: Progress = lambda written, expected: None,
    steps: Steps | None = None,
    reading: Reading | None = None,
    cfr: Fraction | None = None,
    resume: Mapping[str, object] | None = None,
) -> Summary:
    """Relight `source` into `target`, which appears only when complete.

    Every decoded frame is written with its own time stamp (at a constant rate of `cfr` frames a second if given), and
    every other stream comes along where the container can hold it. With `resume`, the options that were given, the
    work is done in segments that a later call with the same options continues after a crash.

    Raises:
        InputError: `source` is not a clip that can be relighted, or `target` cannot be written.
    """
    if resume is not None:
        return resumable(source, target, enhancer, encoding, progress, steps, reading, resume)
    start = time.monotonic()
    steps = Steps(smooth=TemporalFilter()) if steps is None else steps
    with PyAVReader(source, reading) as reader, appearing(target) as file:
        clip = reader.clip if cfr is None else at_rate(reader.clip, cfr)
        with PyAVWriter(file, clip, encoding, reader) as writer, closing(ahead(reader)) as frames:
            relighted = enhanced(reader.clip, frames, enhancer, steps)
            items = relighted if cfr is None else constant_rate(relighted, cfr)
            transfer(items, writer, lambda n: progress(n, clip.expected_frames))
    if cfr is None and writer.written != reader.decoded:
        raise InputError(f"{source}: {reader.decoded} frames decoded, {writer.written} written; please report this")
    seconds = time.monotonic() - start
    notes = (*reader.notes, *writer.notes)
    return Summary(writer.written, reader.decoded, clip.width, clip.height, seconds, reader.problems, notes)


def resumable(
    source: Path,
    target: Path,
    enhancer: Enhancer,
    encoding: Encoding,
    progress: Progress,
    steps: Steps | None,
    reading: Reading | None,
    options: Mapping[str, object],
) -> Summary:
    """`enhance_video` in segments; see `segments`."""
    start = time.monotonic()
    steps = Steps(smooth=TemporalFilter()) if steps is None else steps
    work = work_for(source, target, enhancer.network.path, options)
    with kept_on_failure(work), PyAVReader(source, reading) as reader:
        unfinished = work.folder / f"joined{target.suffix}"
        with PyAVWriter(unfinished, reader.clip, encoding, reader) as writer:
            if not work.complete:
                add_segments(work, reader, writer, enhancer, steps, progress)
            with PyAVReader(source, reading) as again:
                for is_video, packet in merged(joined(work, reader.clip), again.other_packets()):
                    (writer.join if is_video else writer.write)(packet)
        unfinished.replace(target)
    work.remove()
    clip, notes = reader.clip, (*work.notes, *reader.notes, *writer.notes)
    problems = reader.problems_of(work.frames, work.damaged)
    return Summary(work.frames, work.frames, clip.width, clip.height, time.monotonic() - start, problems, notes)


def add_segments(
    work: Work, reader: PyAVReader, writer: PyAVWriter, enhancer: Enhancer, steps: Steps, progress: Progress
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
            with SegmentWriter(work, reader.clip, writer.choice, writer.options, writer.global_header) as file:
                for frame in enhanced(reader.clip, segment, enhancer, steps):
                    file.write(frame)
                    progress(work.frames + file.frames, reader.clip.expected_frames)
            save_state(work.state_file(len(work.segments)), memories)
            work.add(Segment(file.frames, file.damaged, segments.next_pts))


def transfer(items: Iterable[Any], sink: Sink, progress: Callable[[int], object]) -> None:
    """Write all items, reporting after each frame how many were written."""
    for item in items:
        sink.write(item)
        if isinstance(item, Frame):
            progress(sink.written)


def enhanced(clip: Clip, items: Iterable[Any], enhancer: Enhancer, steps: Steps) -> Iterator[Any]:
    """The items of a source, each frame relighted; packets pass through."""
    size = enhancer.proxy_size(clip.height, clip.width)
    transfer = TRANSFERS.get(clip.colour.transfer)  # HDR
    for item in items:
        if not isinstance(item, Frame) or enhancer.strength == 0.0:
            yield item
            continue
        frame = item
        for step in steps.before:
            frame = step(frame)
        proxy = planes_proxy(frame.planes, frame.coding, size)
        seen = tone_mapped(proxy, transfer) if transfer else proxy
        log_light = enhancer.log_light(seen)
        if steps.smooth is not None:
            log_light = steps.smooth(log_light, seen.luma, float(frame.time))
        strength = enhancer.strength * (steps.strength(frame.time) if steps.strength else 1.0)
        if transfer:
            log_light = signal_log_light(log_light, proxy, transfer)
        coefficients = enhancer.refine(log_light, proxy).scaled(strength)
        original = item.copy() if steps.after else None
        relighted = relight(frame, coefficients)
        for combine in steps.after:
            assert original is not None
            relighted = combine(original, relighted)
        yield relighted


def relight(frame: Frame, coefficients: Coefficients) -> Frame:
    """The frame with the gain applied; the one given must not be used any more."""
    result = frame.writable()
    if frame.coding.rgb:
        apply_channels(result.planes, result.planes, coefficients, frame.coding.depth)
        return result
    for planes in fields(result):
        apply_planes(planes, planes, coefficients, frame.coding)
    return result


def fields(frame: Frame) -> list[Planes]:
    """The planes of a frame, or those of its two fields: their 4:2:0 chroma lines lie between lines of one field.

    Both fields get the light map of the whole frame, so that it cannot flicker between them.
    """
    y, cb, cr = frame.planes
    halved = cb.shape[0] < y.shape[0]
    if not frame.interlaced or not halved or y.shape[0] % 4:
        return [frame.planes]
    return [(y[start::2], cb[start::2], cr[start::2]) for start in (0, 1)]
