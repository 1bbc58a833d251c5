"""A clip from end to end: read, relighted frame by frame, written; with `resume` in segments."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cliplit.errors import InputError
from cliplit.files import atomic_write, flush, room

from ..enhancer import Enhancer
from .codecs import Encoding, option_names
from .compare import compared_clip
from .containers import format_for
from .denoise import denoised
from .frame_loop import FrameLoop
from .frames import Clip, Frame, Sink, Source
from .names import origin_of
from .numbered import numbered
from .numbered_reader import NumberedReader
from .numbered_writer import NumberedWriter
from .opencv_io import OpenCVReader, OpenCVWriter
from .opening import Reading
from .prefetch import prefetch
from .pyav import PIPE_IN, PIPE_OUT
from .pyav_reader import PyAVReader
from .pyav_writer import CannotWrite, PyAVWriter
from .rate import at_rate, constant_rate
from .request import Request, VideoIO
from .segments import Split, encode_segment, join_segments, load_state, save_state
from .work_folder import Segment, Work, work_on

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


def no_progress(written: int, expected: int | None) -> None:
    """Ignore the progress."""


def enhance_video(
    source: Path | str,
    target: Path | str,
    enhancer: Enhancer | None = None,
    encoding: Encoding | None = None,
    progress: Progress = no_progress,
    **request: Any,
) -> Summary:
    """Relight the clip `source` into `target`, which appears only when it is complete.

    Every decoded frame is written with its own time stamp, and every other stream comes along where the container can
    hold it.

    Args:
        source: a file, or an address.
        target: a file; its suffix names the container.
        enhancer: by default `Enhancer()`.
        encoding: by default the source's codec at good quality.
        progress: called after each frame.
        request: further fields of `Request`: steps, reading, cfr, resume, io, container.

    Raises:
        InputError: `source` is not a clip that can be relighted, or `target` cannot be written.
    """
    if isinstance(source, str) and source != PIPE_IN and origin_of(source) != "address":
        source = Path(source)
    if target != PIPE_OUT:
        target = Path(target)
    whole_request = Request(source, target, Encoding() if encoding is None else encoding, **request)
    return run(whole_request, Enhancer() if enhancer is None else enhancer, progress)


def run(
    request: Request,
    enhancer: Enhancer,
    progress: Progress = no_progress,
    watch: Callable[[Sink], object] = lambda sink: None,
) -> Summary:
    """Do what `request` asks for; see `enhance_video`. `watch` is given what takes the frames, once it is open."""
    pictures = numbered(request.target) if isinstance(request.target, Path) else None
    if isinstance(request.target, Path) and request.container is None and pictures is None:
        format_for(request.target)  # before any work begins
    if request.resume is not None:
        if pictures or (isinstance(request.source, Path) and numbered(request.source)):
            raise InputError(f"{request.source}: --resume is for clips; numbered pictures are made in one run")
        return run_in_segments(request, enhancer, progress)
    start = time.monotonic()
    cfr = request.cfr
    with open_source(request.source, request.reading, request.io) as reader, whole(request.target) as file:
        clip = output_clip(reader.clip, request)
        loop = FrameLoop(reader.clip, enhancer, request.steps)
        with open_sink(file, clip, request, reader) as writer, closing(prefetch(reader)) as items:
            watch(writer)
            relighted = loop(items)
            shown = relighted if cfr is None else constant_rate(relighted, cfr)
            transfer(shown, writer, lambda n: progress(n, clip.expected_frames))
    if cfr is None and writer.written != reader.decoded:
        raise InputError(
            f"{request.source}: {reader.decoded} frames decoded, {writer.written} written; please report this"
        )
    seconds = time.monotonic() - start
    notes = (*reader.notes, *writer.notes, *not_kept(reader, writer, request), *untouched(loop))
    problems = in_words(reader.problems, writer)
    return Summary(writer.written, reader.decoded, clip.width, clip.height, seconds, problems, notes)


def in_words(of_source: str, sink: Sink) -> str:
    """Return what could not be read of a clip, with the sound that was to be converted."""
    return ", ".join(filter(None, (of_source, *(sink.problems if isinstance(sink, PyAVWriter) else ()))))


def untouched(loop: FrameLoop) -> list[str]:
    """Say that nothing was relighted, where a span of time lies outside the clip."""
    if loop.steps.strength is None or not loop.enhancer.strength or loop.touched:
        return []
    return [f"no frame was relighted: --range or --strength leaves all until its end, {loop.last:.2f} s"]


def not_kept(source: Source, sink: Sink, request: Request) -> list[str]:
    """Name what hangs on the pictures and did not come along: few encoders write it, a comparison cannot."""
    if isinstance(source, NumberedReader) and not isinstance(sink, NumberedWriter) and source.profile:
        return ["the colour profile of the pictures is left out: clips hold none"]
    if isinstance(source, PyAVReader) and isinstance(sink, NumberedWriter) and source.changes.captions:
        return ["the closed captions in the pictures are left out: pictures hold none"]
    if not (isinstance(source, PyAVReader) and isinstance(sink, PyAVWriter)):
        return []
    encoder, lost = sink.choice.encoder.name, []
    beside = request.steps.compare == "side"
    if source.changes.captions and (beside or "a53cc" not in option_names(encoder)):
        why = "--compare side" if beside else encoder
        lost.append(f"the closed captions in the pictures are left out: {why} cannot keep them; H.264 and HEVC do")
    tagged = sink.container.format.name in ("matroska", "webm") and "stereo_mode" in sink.clip.metadata
    if source.changes.stereo and (beside or not (tagged or encoder == "libx264")):
        why = "--compare side" if beside else encoder
        lost.append(f"the tag of stereo (3D) video is left out: {why} cannot keep it; H.264 does")
    return lost


def output_clip(clip: Clip, request: Request) -> Clip:
    """Describe what is written."""
    return compared_clip(clip if request.cfr is None else at_rate(clip, request.cfr), request.steps.compare)


def open_source(source: Path | str, reading: Reading | None, io: VideoIO) -> Source:
    """Open a clip with one of the libraries, or numbered pictures."""
    names = numbered(source) if isinstance(source, Path) else None
    if names and io == "opencv":
        raise InputError(f"{source}: --io opencv is for clips; leave it out for numbered pictures")
    if names:
        return NumberedReader(names, reading or Reading())
    return OpenCVReader(source) if io == "opencv" else PyAVReader(source, reading)


def open_sink(file: Path | str, clip: Clip, request: Request, source: Source) -> Sink:
    """Open where the frames go; the other streams of a clip come along if PyAV reads and writes."""
    names = numbered(file) if isinstance(file, Path) else None
    if names:
        return NumberedWriter(names, clip, request.encoding, source)
    if request.io == "opencv" and isinstance(file, Path):
        return OpenCVWriter(file, clip)
    reader = source if isinstance(source, PyAVReader) and request.container != "yuv4mpegpipe" else None
    return PyAVWriter(file, clip, request.encoding, reader, request.container)


def whole(target: Path | str) -> AbstractContextManager[Path | str]:
    """Open a file that appears when it is complete, or a pipe, which cannot."""
    atomic = isinstance(target, Path) and not numbered(target)  # numbered pictures see to it themselves
    return _file(target) if isinstance(target, Path) and atomic else nullcontext(target)


@contextmanager
def _file(target: Path) -> Iterator[Path]:
    """Open the file, and have errors of writing name it."""
    try:
        with atomic_write(target, swept=True) as file:
            yield file
    except CannotWrite as error:
        cause = error.__cause__
        raise InputError(f"{target}: {error}{room(target, cause) if isinstance(cause, OSError) else ''}") from error


def transfer(items: Iterable[Any], sink: Sink, progress: Callable[[int], object]) -> None:
    """Write all items, reporting after each frame how many were written."""
    for item in items:
        sink.write(item)
        if isinstance(item, Frame):
            progress(sink.written)


# ---------------------------------------------------------------- in segments


def run_in_segments(request: Request, enhancer: Enhancer, progress: Progress) -> Summary:
    """Do what `request` asks for in segments, behind those that an earlier run finished; see `segments`."""
    source, target = request.source, request.target
    assert isinstance(source, Path) and isinstance(target, Path) and request.resume is not None
    assert enhancer.network.path is not None  # only a back end that came opened has none
    if target.suffix.lower() == ".mxf":
        raise InputError(f"{target}: --resume cannot write .mxf, whose pictures depend on all before; use .mov or .mkv")
    start = time.monotonic()
    with (
        work_on(source, target, enhancer.network.path, request.resume) as work,
        PyAVReader(source, request.reading) as reader,
    ):
        unfinished = work.folder / f"joined{target.suffix}"
        clip = output_clip(reader.clip, request)
        with PyAVWriter(unfinished, clip, request.encoding, reader) as writer:
            make_again(work, request, writer, enhancer)
            if not work.complete:
                add_segments(work, len(work.segments), request, reader, writer, enhancer, progress)
            files = [work.packets_file(number) for number in range(len(work.segments))]
            with PyAVReader(source, request.reading) as others:
                join_segments(files, others, writer)
        check_joined(unfinished, writer, work, request)
        flush(unfinished)
        unfinished.replace(target)
        notes = (*reader.notes, *writer.notes, *not_kept(reader, writer, request))
        problems = in_words(reader.problems_of(work.decoded, work.damaged, others.absent), writer)
    notes = (*work.notes, *notes)  # with what closing the folder says
    return Summary(work.frames, work.decoded, clip.width, clip.height, time.monotonic() - start, problems, notes)


def add_segments(
    work: Work, first: int, request: Request, reader: PyAVReader, writer: PyAVWriter, enhancer: Enhancer,
    progress: Progress = no_progress, most: int | None = None,
) -> None:  # fmt: skip
    """Encode the segments from number `first`, all or the first so many."""
    loop = FrameLoop(reader.clip, enhancer, request.steps)
    start = work.start_of(first)
    if first:
        load_state(work.state_file(first - 1), loop)
        assert start is not None  # there is more to do
        reader.skip_to(loop.memory.start if loop.memory else start)
    with closing(prefetch(reader)) as items:
        pictures = (item for item in items if isinstance(item, Frame))
        clean = denoised(pictures, request.steps.denoise, loop.memory, start, resumable=True)
        segments = Split(clean, lambda item: item[0])
        for number, segment in enumerate(segments, first):
            relighted = loop.relighted(segment)
            shown = (
                relighted if request.cfr is None else constant_rate(relighted, request.cfr, lambda: segments.next_time)
            )
            done = work.frames
            frames = encode_segment(
                work.packets_file(number),
                shown,
                writer,
                lambda n, done=done: progress(done + n, writer.clip.expected_frames),  # type: ignore[misc]
            )
            loop.memory = segments.next_item[2] if segments.next_item else None
            save_state(work.state_file(number), loop)
            work.add(number, Segment(frames, segments.decoded, segments.damaged, segments.next_pts))
            if most is not None and number - first + 1 == most:
                return


def make_again(work: Work, request: Request, writer: PyAVWriter, enhancer: Enhancer) -> None:
    """Encode the segments anew whose files are not what they were."""
    while work.broken:
        with PyAVReader(request.source, request.reading) as reader:
            add_segments(work, work.broken[0], request, reader, writer, enhancer, most=1)


def check_joined(file: Path, writer: PyAVWriter, work: Work, request: Request) -> None:
    """Compare what can be read back with what was decoded."""
    arrived = writer.arrived(file)
    expected = work.frames if request.cfr is not None else work.decoded
    if arrived != expected:
        raise InputError(f"{request.source}: {expected} frames to write, and {arrived} are in the joined file")
