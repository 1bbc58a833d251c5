"""What `cliplit-video` does with its arguments: clips one by one, a stream through pipes, a live source, a benchmark.

Results go to standard output, all else to standard error.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import click
from tqdm import tqdm

from cliplit.command import check_output, echo
from cliplit.errors import CliplitError, InputError, printable, worded
from cliplit.interrupt import interruption_after_step

from ..enhancer import Enhancer
from ..folders import FileResult, interrupted, passed_over, plan, table
from .clip import Summary, open_source, run, whole
from .compare import compared_clip
from .containers import PATTERN, format_for, several_in
from .frame_loop import FrameLoop
from .frames import Frame, Sink, Source
from .live import EveryFrame, Meter, Newest
from .names import exists, origin_of
from .numbered import check_numbered, numbered
from .opencv_io import OpenCVReader
from .pyav import PIPE_IN, PIPE_OUT
from .pyav_writer import PyAVWriter
from .request import Request

CONTAINERS = {"matroska": "matroska", "y4m": "yuv4mpegpipe"}


@dataclass(frozen=True)
class Session:
    """What the options ask for.

    Attributes:
        request: of each clip; source and target are filled in.
        enhancer: opens the network, once.
        io: the library that was asked for; "auto" takes PyAV for files and pipes, OpenCV for live sources.
    """

    request: Request
    enhancer: Callable[[], Enhancer]
    io: Literal["auto", "pyav", "opencv"] = "auto"
    pipe_format: str = "matroska"
    overwrite: bool = False
    quiet: bool = False
    as_json: bool = False  # a line for programs on standard output for each clip, in place of words

    def say(self, text: str) -> None:
        if not self.quiet:
            echo(text, err=True)


def run_jobs(session: Session, sources: Sequence[str], target: Path) -> None:
    """One clip, or many with a table at the end. Raises InputError if one failed or was damaged."""
    for name in sources:
        if PATTERN.search(name) and not exists(name) and numbered(name) is None:
            raise InputError(f"{name}: {several_in(Path(name))}")
    one = [(Path(sources[0]), target)]
    in_pictures = any(map(numbered, (*map(Path, sources), target)))
    if in_pictures and (len(sources) > 1 or target.is_dir() or Path(sources[0]).is_dir()):
        raise InputError(f"{', '.join(sources)}: numbered pictures are one IN, and go to or come from one OUT")
    jobs = one if in_pictures else plan(sources, target)
    single = len(jobs) == 1 and jobs[0][1] == target
    if single:
        with reported(session, *jobs[0]):
            check_target(*jobs[0], session.overwrite)
            summary = run_clip(session, session.enhancer(), *jobs[0])
        if summary.problems:
            there = f"in {target.parent} as {target.name}" if numbered(target) else f"in {target}"
            raise InputError(f"{jobs[0][0]}: {summary.problems}; what could be decoded is {there}")
        return
    enhancer = session.enhancer()
    for line in passed_over(sources, target):
        session.say(f"note: {line}")
    outcomes: list[FileResult] = []
    try:
        for source, file in jobs:
            outcomes.append(attempt(session, enhancer, source, file))
    except KeyboardInterrupt as error:
        finished = sum(1 for outcome in outcomes if not outcome.problem.startswith("failed"))
        error.args = (interrupted(finished, len(jobs), target),)
        raise
    if not session.quiet and not session.as_json:
        click.echo(table(outcomes))
    failed = [outcome for outcome in outcomes if outcome.problem]
    if failed:
        raise InputError(f"{len(failed)} of {len(outcomes)} clips failed or are damaged, see above")


def check_target(source: Path | None, target: Path, overwrite: bool) -> None:
    """Check that writing a clip, or numbered pictures, destroys nothing and can work. Raises InputError if not."""
    pictures = numbered(target)
    if pictures:
        check_numbered(pictures, source, overwrite)
    else:
        check_output(source, target, overwrite)
        format_for(target)


def attempt(session: Session, enhancer: Enhancer, source: Path, target: Path) -> FileResult:
    """One of many: what goes wrong is told, and the rest goes on."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        check_output(source, target, session.overwrite)
        summary = run_clip(session, enhancer, source, target)
    except (CliplitError, OSError) as error:
        echo(f"{click.get_current_context().command_path}: {in_a_line(error)}", err=True)
        if session.as_json:
            report(source, target, problems=f"failed: {in_a_line(error)}")
        return FileResult(source, target, problem=f"failed: {in_a_line(error)}")
    if summary.problems:
        echo(f"{click.get_current_context().command_path}: {source}: {summary.problems}", err=True)
    return FileResult(
        source, target, summary.frames, summary.seconds, summary.problems and f"damaged: {summary.problems}"
    )


def in_a_line(error: Exception) -> str:
    """Word an error of a clip."""
    return " ".join(worded(error).split())


@contextlib.contextmanager
def reported(session: Session, source: Path, target: Path) -> Iterator[None]:
    """Say for programs, too, that the only clip failed."""
    try:
        yield
    except (CliplitError, OSError) as error:
        if session.as_json:
            report(source, target, problems=f"failed: {in_a_line(error)}")
        raise


def run_clip(session: Session, enhancer: Enhancer, source: Path, target: Path) -> Summary:
    """One file to one file, with a progress bar."""
    with tqdm(unit=" frames", desc=printable(source.name), disable=True if session.quiet else None) as bar:
        estimate = Estimate(session.say)

        def show(written: int, expected: int | None) -> None:
            bar.total = expected
            bar.update(written - bar.n)
            estimate(written, expected)

        summary = run(replace(session.request, source=source, target=target), enhancer, show, estimate.watch)
    for note in summary.notes:
        session.say(f"note: {note}")
    if session.as_json:
        report(source, target, summary.frames, summary.seconds, summary.problems, summary.notes)
    elif not session.quiet:
        echo(f"{target}: {described(summary, enhancer)}")
    return summary


def report(
    source: Path, target: Path, frames: int = 0, seconds: float = 0.0, problems: str = "", notes: Sequence[str] = ()
) -> None:
    """Print what became of a clip as a line of JSON."""
    line = {"file": str(source), "output": str(target), "frames": frames, "seconds": round(seconds, 3),
            "problems": problems, "notes": list(notes)}  # fmt: skip
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class Estimate:
    """Says once how long a clip will take and how large it will be, by its first frames, if it takes long."""

    LEAST = 3.0  # seconds of work, and of the clip's frames ...
    FRAMES = 12  # ... that are measured
    LONG = 30.0  # seconds that are worth a word

    def __init__(self, say: Callable[[str], object]) -> None:
        self.say = say
        self._sink: Sink | None = None
        self._begun: tuple[float, int] | None = None
        self._said = False

    def watch(self, sink: Sink) -> None:
        """Take what knows how many bytes were written."""
        self._sink = sink

    def __call__(self, written: int, expected: int | None) -> None:
        """Look at the progress."""
        now = time.monotonic()
        if self._begun is None:
            self._begun = now, written
        passed, frames = now - self._begun[0], written - self._begun[1]
        if self._said or not expected or passed < self.LEAST or frames < self.FRAMES:
            return
        self._said = True
        left = passed / frames * (expected - written)
        if left > self.LONG:
            size = self._sink.bytes_for(expected) if isinstance(self._sink, PyAVWriter) else 0
            large = f", and the pictures about {megabytes(size)}" if size else ""
            self.say(f"about {clock_time(left)} to go{large}, by the first {written} of {expected} frames")


def megabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size / 1e6, 0.1):.1f} MB"


def clock_time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(minutes, 1)} min"


def stream_job(session: Session, source: str, target: str) -> None:
    """From or to a pipe, or from an address: no seeking, no name of its own; messages go to standard error."""
    file: Path | str = PIPE_OUT if target == "-" else Path(target)
    if isinstance(file, Path):
        check_target(Path(source) if source != "-" else None, file, session.overwrite)
    origin: Path | str = PIPE_IN if source == "-" else address_or_file(source)
    request = replace(
        session.request,
        source=origin,
        target=file,
        io="pyav" if source == "-" else session.request.io,
        container=CONTAINERS[session.pipe_format] if target == "-" else None,
    )
    enhancer = session.enhancer()
    summary = run(request, enhancer)
    for note in summary.notes:
        session.say(f"note: {note}")
    session.say(f"{target}: {described(summary, enhancer)}")
    if summary.problems:
        raise InputError(f"{source}: {summary.problems}")


def live_job(
    session: Session, source: str, target: str | None, preview: bool, live: bool, virtual_camera: bool = False
) -> None:
    """Relight the newest frames of a live source, or all of a file, until it ends, the window is closed, or Ctrl-C.

    What is written is completed.
    """
    if target not in (None, "-"):
        check_output(None, Path(target), session.overwrite)  # type: ignore[arg-type]
        format_for(Path(target))  # type: ignore[arg-type]
    enhancer = session.enhancer()
    with interruption_after_step() as stop, ExitStack() as stack:
        reader = stack.enter_context(open_live(session, source, live))
        newest = (Newest if live else EveryFrame)(reader, lambda: stop.asked)
        written = relight_live(session, enhancer, newest, reader, target, preview, stack, virtual_camera)
    for note in reader.notes:
        session.say(f"note: {note}")
    session.say(f"{written[0]} frames, {newest.dropped} dropped, at most {1e3 * written[1]:.0f} ms behind the source")


def open_live(session: Session, source: str, live: bool) -> Source:
    if session.io == "pyav" or (not live and session.io == "auto"):
        return open_source(address_or_file(source), session.request.reading, "pyav")
    return OpenCVReader(source, live=live)


def address_or_file(source: str) -> Path | str:
    """Return the name of what PyAV opens as the type that says which it is."""
    return source if origin_of(source) == "address" else Path(source)


def relight_live(
    session: Session,
    enhancer: Enhancer,
    newest: Newest,
    reader: Source,
    target: str | None,
    preview: bool,
    stack: ExitStack,
    virtual_camera: bool = False,
) -> tuple[int, float]:
    """Return the frames that left and the largest delay."""
    steps = session.request.steps
    clip = compared_clip(reader.clip, steps.compare)
    sinks: list[Sink] = []
    window = None
    if preview:
        from .preview import Preview

        window = stack.enter_context(Preview(clip))
        own = steps.strength
        steps = replace(steps, strength=lambda second: window.strength * (own(second) if own else 1.0))
        sinks.append(window)
    if virtual_camera:
        from .virtual_camera import VirtualCamera

        camera = stack.enter_context(VirtualCamera(clip))
        session.say(f"virtual camera: {camera.device}")
        sinks.append(camera)
    if target is not None:
        file = stack.enter_context(whole(PIPE_OUT if target == "-" else Path(target)))
        container = CONTAINERS[session.pipe_format] if target == "-" else None
        sinks.append(stack.enter_context(PyAVWriter(file, clip, session.request.encoding, None, container)))  # type: ignore[arg-type]
    meter = Meter(newest, session.say)
    written = 0
    for item in FrameLoop(reader.clip, enhancer, steps, live=True)(newest):
        assert isinstance(item, Frame)
        for sink in sinks:
            sink.write(item)
        written += 1
        meter(written)
        if window is not None and window.closed:
            break
    if not written:
        raise InputError("the source ended before its first frame")
    return written, meter.largest


def benchmark_job(session: Session, source: str) -> None:
    """Print what each stage costs."""
    from .stage_times import measure, stage_table

    start = time.monotonic()
    stages = measure(Path(source), session.enhancer(), session.request)
    click.echo(stage_table(stages))
    session.say(f"{time.monotonic() - start:.1f} s")


def described(summary: Summary, enhancer: Enhancer) -> str:
    return (
        f"{summary.counted} of {summary.width}x{summary.height} in {summary.seconds:.1f} s "
        f"({summary.frames / summary.seconds:.1f} frames/s, {enhancer.network.device})"
    )
