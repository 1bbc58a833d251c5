"""What `cliplit-video` does before a long job: `--at` and `--sheet` write a picture, `--dry-run` estimates."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import click

from cliplit.command import check_output
from cliplit.errors import InputError

from ..enhancer import Enhancer
from ..folders import RELIT, plan
from ..image.image_io import WRITTEN, write_picture
from ..image.picture import Picture
from .clip import output_clip
from .containers import format_for
from .frame_loop import FrameLoop
from .frames import Frame
from .jobs import Session, clock_time, megabytes
from .moments import Moment, clock, length_of, pairs_at, rows, sheet, spread
from .names import origin_of
from .pyav import open_to_read
from .pyav_reader import PyAVReader
from .pyav_writer import PyAVWriter
from .request import Request
from .streams import Copy, describe

PLACES, FRAMES = 3, 16  # measured by --dry-run, and frames at each
SELDOM = 250  # frames between key frames that encoders are taken to set


def moments_job(session: Session, source: str, target: str | None, moments: Sequence[Moment], whole: bool) -> None:
    """Write the moments of a clip, or a contact sheet of all of it, as one picture."""
    if origin_of(source) != "file":
        raise click.UsageError(f"{source}: --at and --sheet look into files")
    clip = Path(source)
    path = Path(target) if target else clip.with_name(f"{clip.stem}{RELIT}.{'sheet' if whole else 'at'}.png")
    if path.suffix.lower() not in WRITTEN:
        raise click.UsageError(f"{path}: --at and --sheet write a picture: {', '.join(WRITTEN)}")
    check_output(clip, path, session.overwrite)
    steps = session.request.steps
    kind = "split" if steps.compare in ("split", "wipe") else "side"
    wanted = spread() if whole else moments
    with PyAVReader(clip, session.request.reading) as reader:  # a wrong moment is said before the network is loaded
        for moment in wanted:
            moment.within(length_of(reader))
    pairs = list(pairs_at(clip, wanted, session.enhancer(), steps, session.request.reading))
    picture = sheet(pairs, kind) if whole else rows(pairs, kind)
    write_picture(path, Picture(picture), picture)
    if not session.quiet:
        click.echo(f"{path}: before and after at {', '.join(clock(pair.time) for pair in pairs)}")


@dataclass(frozen=True)
class Sample:
    """What a few frames cost: seconds of work, and bytes of key frames and of the others."""

    seconds: float
    key: tuple[int, ...]
    other: tuple[int, ...]


def dry_run_job(session: Session, sources: Sequence[str], target: str) -> None:
    """Say of each clip what would be written, and estimate time and size; write nothing."""
    if any(origin_of(source) == "address" or source == "-" for source in sources) or target == "-":
        raise click.UsageError("--dry-run works on files")
    jobs = plan(sources, Path(target))
    enhancer = session.enhancer()
    total = 0.0
    for source, file in jobs:
        format_for(file)
        if len(jobs) == 1:
            check_output(source, file, session.overwrite)
        total += estimated(session, replace(session.request, source=source, target=file, resume=None), enhancer)
    if len(jobs) > 1:
        click.echo(f"{len(jobs)} clips, about {duration(total)} in all")
    click.echo("nothing was written")


def estimated(session: Session, request: Request, enhancer: Enhancer) -> float:
    """Print what would become of a clip, and return the seconds it would take."""
    assert isinstance(request.source, Path) and isinstance(request.target, Path)
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory(prefix="cliplit") as folder:
        for number in range(PLACES):
            file = Path(folder) / f"{number}{request.target.suffix}"
            with PyAVReader(request.source, request.reading) as reader:
                expected, length = reader.clip.expected_frames, length_of(reader)
                short = (expected or 0) <= PLACES * FRAMES
                if not short and number:
                    start = Fraction(length * number / PLACES)
                    reader.skip_to(math.floor(start / reader.clip.time_base))
                with PyAVWriter(file, output_clip(reader.clip, request), request.encoding, reader) as writer:
                    if not number:
                        describe_clip(session, request, reader, writer)
                    begun = give(reader, writer, request, enhancer, PLACES * FRAMES if short else FRAMES)
                samples.append(sizes(file, writer.video_index, time.monotonic() - begun))
                others = sum(stream.bit_rate or 0 for stream in reader.container.streams.audio) / 8
            if short:
                break
    count = sum(len(sample.key) + len(sample.other) for sample in samples)
    frames = expected or count
    took = sum(sample.seconds for sample in samples) / count * frames
    large = megabytes(bytes_of(samples, frames) + others * length)
    said = f"about {duration(took)} and {large}, by {count} of {frames} frames"
    click.echo(said if expected else f"{said}; the file does not tell how many it has")
    return took


def give(reader: PyAVReader, writer: PyAVWriter, request: Request, enhancer: Enhancer, most: int) -> float:
    """Relight and encode a few frames; return when the first one came, as `time.monotonic` counts."""
    begun = 0.0

    def first() -> Iterator[Frame]:
        nonlocal begun
        for frame in islice((item for item in reader if isinstance(item, Frame)), most):
            begun = begun or time.monotonic()
            yield frame

    for item in FrameLoop(reader.clip, enhancer, request.steps)(first()):
        writer.write(item)
    return begun


def sizes(file: Path, index: int, seconds: float) -> Sample:
    """Read back how large the packets of the pictures are."""
    with open_to_read(file) as container:
        packets = [(packet.is_keyframe, packet.size) for packet in container.demux(container.streams[index])
                   if packet.size]  # fmt: skip
    return Sample(seconds, tuple(size for key, size in packets if key), tuple(size for key, size in packets if not key))


def bytes_of(samples: Sequence[Sample], frames: int) -> float:
    """Estimate the bytes of so many pictures, a key frame among `SELDOM`; of all where there are no others."""
    key = [size for sample in samples for size in sample.key]
    other = [size for sample in samples for size in sample.other]
    if not other:
        return frames * sum(key) / len(key)
    keys = -(-frames // SELDOM)
    return keys * sum(key) / len(key) + (frames - keys) * sum(other) / len(other)


def describe_clip(session: Session, request: Request, reader: PyAVReader, writer: PyAVWriter) -> None:
    """Print the streams, and what becomes of each."""
    clip, out = reader.clip, writer.clip
    rate = f", {float(clip.rate):g} frames/s" if clip.rate else ""
    click.echo(f"{request.source}: {clip.width}x{clip.height} {clip.codec} {clip.pixel_format}{rate}, "
               f"{clock(length_of(reader))}, {clip.expected_frames or 'unknown'} frames")  # fmt: skip
    settings = " ".join(f"{name}={value}" for name, value in writer.options.items())
    click.echo(f"{request.target}: {out.width}x{out.height} {writer.choice.encoder.name} {settings}".rstrip())
    for stream in reader.container.streams:
        carrier = writer.carrier_of(stream.index)
        if carrier is not None:
            click.echo(f"  {describe(stream)}: {'copied' if isinstance(carrier, Copy) else 'converted'}")
    for note in (*reader.notes, *writer.notes):
        session.say(f"note: {note}")


def duration(seconds: float) -> str:
    """Write seconds, or from a minute and a half on minutes and hours."""
    return clock_time(seconds) if seconds >= 90 else f"{max(round(seconds), 1)} s"


def check_moment(context: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> list[Moment]:
    """Read the values of `--at`, also several with commas between them."""
    try:
        return [Moment.parse(part) for text in texts for part in text.split(",")]
    except InputError as error:
        raise click.BadParameter(str(error)) from error
