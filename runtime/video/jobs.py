"""What `cliplit-video` does with its arguments: clips one after the other, a stream through pipes, a live source, a
benchmark. Results go to standard output, all else to standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import click
from tqdm import tqdm

from cliplit.command import check_output
from cliplit.errors import CliplitError, InputError
from cliplit.interrupt import interruption_after_step

from ..enhancer import Enhancer
from ..folders import FileResult, plan, table
from .clip import PIPE_IN, PIPE_OUT, BackEnd, Summary, enhance_video, enhanced, open_source, whole
from .codecs import Encoding
from .compare import compared_clip
from .frames import Frame, Source
from .live import EveryFrame, Meter, Newest
from .pyav_reader import Reading
from .pyav_writer import PyAVWriter
from .relighting import Steps

CONTAINERS = {"matroska": "matroska", "y4m": "yuv4mpegpipe"}


@dataclass(frozen=True)
class Job:
    """What the options ask for. `steps` and `enhancer` make new ones: steps for each clip, the enhancer once."""

    encoding: Encoding
    reading: Reading
    steps: Callable[[], Steps]
    enhancer: Callable[[], Enhancer]
    cfr: Fraction | None
    resume: Mapping[str, object] | None
    back_end: Literal["auto", "pyav", "opencv"]
    pipe_format: str
    overwrite: bool
    quiet: bool

    @property
    def file_back_end(self) -> BackEnd:
        return "opencv" if self.back_end == "opencv" else "pyav"

    def say(self, text: str) -> None:
        if not self.quiet:
            click.echo(text, err=True)


def run_jobs(job: Job, sources: Sequence[str], target: Path) -> None:
    """One clip, or many with a table at the end. Raises InputError if one failed or was damaged."""
    jobs = plan(sources, target)
    single = len(jobs) == 1 and jobs[0][1] == target
    if single:
        check_output(*jobs[0], job.overwrite)
    enhancer = job.enhancer()
    if single:
        summary = run_clip(job, enhancer, *jobs[0])
        if summary.problems:
            raise InputError(f"{jobs[0][0]}: {summary.problems}; what could be decoded is in {target}")
        return
    outcomes = [attempt(job, enhancer, source, file) for source, file in jobs]
    if not job.quiet:
        click.echo(table(outcomes))
    failed = [outcome for outcome in outcomes if outcome.problem]
    if failed:
        raise InputError(f"{len(failed)} of {len(outcomes)} clips failed or are damaged, see above")


def attempt(job: Job, enhancer: Enhancer, source: Path, target: Path) -> FileResult:
    """One of many: what goes wrong is told, and the rest goes on."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        check_output(source, target, job.overwrite)
        summary = run_clip(job, enhancer, source, target)
    except (CliplitError, OSError) as error:
        click.echo(f"cliplit-video: {error}", err=True)
        return FileResult(source, target, problem="failed: " + " ".join(str(error).split()))
    if summary.problems:
        click.echo(f"cliplit-video: {source}: {summary.problems}", err=True)
    return FileResult(
        source, target, summary.frames, summary.seconds, summary.problems and f"damaged: {summary.problems}"
    )


def run_clip(job: Job, enhancer: Enhancer, source: Path, target: Path) -> Summary:
    """One file to one file, with a progress bar."""
    with tqdm(unit=" frames", desc=source.name, disable=True if job.quiet else None) as bar:

        def show(written: int, expected: int | None) -> None:
            bar.total = expected
            bar.update(written - bar.n)

        summary = enhance_video(
            source, target, enhancer, job.encoding, show, job.steps(), job.reading, job.cfr, job.resume,
            job.file_back_end,
        )  # fmt: skip
    for note in summary.notes:
        job.say(f"note: {note}")
    if not job.quiet:
        click.echo(f"{target}: {described(summary, enhancer)}")
    return summary


def stream_job(job: Job, source: str, target: str) -> None:
    """From or to a pipe, or from an address: no seeking, no name of its own; messages go to standard error."""
    file: Path | str = PIPE_OUT if target == "-" else Path(target)
    if isinstance(file, Path):
        check_output(Path(source) if source != "-" else None, file, job.overwrite)
    origin: Path | str = PIPE_IN if source == "-" else source if "://" in source else Path(source)
    container = CONTAINERS[job.pipe_format] if target == "-" else None
    enhancer = job.enhancer()
    summary = enhance_video(
        origin, file, enhancer, job.encoding, lambda written, expected: None, job.steps(), job.reading, job.cfr, None,
        "pyav" if source == "-" else job.file_back_end, container,
    )  # fmt: skip
    for note in summary.notes:
        job.say(f"note: {note}")
    job.say(f"{target}: {described(summary, enhancer)}")
    if summary.problems:
        raise InputError(f"{source}: {summary.problems}")


def live_job(job: Job, source: str, target: str | None, preview: bool, live: bool) -> None:
    """The newest frames of a live source, or all of a file, until it ends, the window is closed, or Ctrl-C; what is
    written is completed."""
    if target not in (None, "-"):
        check_output(None, Path(target), job.overwrite)  # type: ignore[arg-type]
    enhancer = job.enhancer()
    with interruption_after_step() as stop, ExitStack() as stack:
        reader = stack.enter_context(open_live(job, source, live))
        newest = (Newest if live else EveryFrame)(reader, lambda: stop.asked)
        written = relight_live(job, enhancer, newest, reader, target, preview, stack)
    for note in reader.notes:
        job.say(f"note: {note}")
    job.say(f"{written[0]} frames, {newest.dropped} dropped, at most {1e3 * written[1]:.0f} ms behind the source")


def open_live(job: Job, source: str, live: bool) -> Source:
    if job.back_end == "pyav" or (not live and job.back_end == "auto"):
        return open_source(source if "://" in source else Path(source), job.reading, "pyav")
    from .opencv_io import OpenCVReader

    return OpenCVReader(source, live=live)


def relight_live(
    job: Job, enhancer: Enhancer, newest: Newest, reader: Source, target: str | None, preview: bool, stack: ExitStack
) -> tuple[int, float]:
    """Returns the frames that left and the largest delay."""
    steps = job.steps()
    clip = compared_clip(reader.clip, steps.compare)
    sinks = []
    window = None
    if preview:
        from .preview import Preview

        window = stack.enter_context(Preview(clip))
        own = steps.strength
        steps.strength = lambda time: window.strength(time) * (own(time) if own else 1.0)
        sinks.append(window)
    if target is not None:
        file = stack.enter_context(whole(PIPE_OUT if target == "-" else Path(target)))
        container = CONTAINERS[job.pipe_format] if target == "-" else None
        sinks.append(stack.enter_context(PyAVWriter(file, clip, job.encoding, None, container)))  # type: ignore[arg-type]
    meter = Meter(newest, job.say)
    written = 0
    for item in enhanced(reader.clip, newest, enhancer, steps, live=True):
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


def benchmark_job(job: Job, source: str) -> None:
    """Prints what each stage costs."""
    from .stage_times import measure, stage_table

    start = time.monotonic()
    stages = measure(Path(source), job.enhancer(), job.steps(), job.encoding, job.reading)
    click.echo(stage_table(stages))
    job.say(f"{time.monotonic() - start:.1f} s")


def described(summary: Summary, enhancer: Enhancer) -> str:
    return (
        f"{summary.counted} of {summary.width}x{summary.height} in {summary.seconds:.1f} s "
        f"({summary.frames / summary.seconds:.1f} frames/s, {enhancer.network.device})"
    )
