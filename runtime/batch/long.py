"""A long clip on many workers: split at key frames, encoded in pieces, joined with its other streams.

The temporal filter makes each frame depend on earlier ones, so pieces need its state to start from. Three rounds give
the same frames as a single process:

1. `states`, one job per clip: relight it without encoding, and save the filter's state at each cut. Encoding is nearly
   all of the work, so this round is short.
2. `segment`, one job per piece: restore the state, relight and encode. These jobs run in parallel.
3. `join`, one job per clip: join the packets, with sound and all other streams unchanged.

Pieces are kept in DST/.cliplit-batch/work and not made again, so a killed batch can continue.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from cliplit.errors import CliplitError
from cliplit.files import atomic_write

from ..enhancer import Enhancer
from ..light.temporal import TemporalFilter
from ..video.clip import enhanced
from ..video.codecs import Encoding
from ..video.frames import Frame
from ..video.prefetch import ahead
from ..video.pyav_reader import PyAVReader
from ..video.pyav_writer import PyAVWriter
from ..video.relighting import Steps
from ..video.segments import Segment, SegmentWriter, Split, Work, joined, load_state, merged, save_state
from .job import Job, Options, Outcome, failure
from .places import fetched, filesystem, put, size_of

MEGABYTE = 1 << 20
PLAN = "plan.json"

Engine = Callable[[Sequence[Job], Options], Iterator[Outcome]]


def rounds(engine: Engine, jobs: Sequence[Job], options: Options, split_over: float) -> Iterator[Outcome]:
    """Yield outcomes of all jobs; clips larger than `split_over` megabytes go through three rounds of the engine."""
    long = {job.name: job for job in jobs if job.kind == "video" and job.size > split_over * MEGABYTE}
    seconds: dict[str, float] = dict.fromkeys(long, 0.0)
    whole = [job for job in jobs if job.name not in long]
    ready: list[Job] = []
    for outcome in engine([*(part(job, "states", options) for job in long.values()), *whole], options):
        name = name_of(outcome)
        if name not in long:
            yield outcome
        elif outcome.status == "failed":
            yield replace(outcome, name=name)
        else:
            seconds[name] += outcome.seconds
            ready.append(long[name])
    pieces = [part(job, "segment", options, n) for job in ready for n in range(len(read_plan(job, options)))]
    broken: set[str] = set()
    for outcome in engine(pieces, options) if pieces else ():
        name = name_of(outcome)
        seconds[name] += outcome.seconds
        if outcome.status == "failed" and name not in broken:
            broken.add(name)
            yield replace(outcome, name=name, error=f"piece {outcome.name.rpartition('#')[2]}: {outcome.error}")
    joins = [part(job, "join", options) for job in ready if job.name not in broken]
    for outcome in engine(joins, options) if joins else ():
        name = name_of(outcome)
        yield replace(outcome, name=name, seconds=round(seconds[name] + outcome.seconds, 3))


def part(job: Job, kind: Any, options: Options, number: int = 0) -> Job:
    """Return a step of a clip as a job with a name of its own."""
    return replace(job, name=f"{job.name}#{kind}{number if kind == 'segment' else ''}", kind=kind, number=number)


def name_of(outcome: Outcome) -> str:
    return outcome.name.rpartition("#")[0] or outcome.name


def work_folder(job: Job, options: Options) -> str:
    """Return the folder for the pieces of a clip; it changes with input, options and model."""
    name = name_of(failure(job, options, ""))
    what = hashlib.sha256(json.dumps([name, job.identity, options.digest]).encode()).hexdigest()[:20]
    return f"{job.root}/.cliplit-batch/work/{what}"


def read_plan(job: Job, options: Options) -> list[dict[str, Any]]:
    """Read the pieces: `start` (pts of the first frame, None for the beginning), `frames`, `damaged`."""
    system, path = filesystem(f"{work_folder(job, options)}/{PLAN}")
    pieces: list[dict[str, Any]] = json.loads(system.cat_file(path))
    return pieces


# ---------------------------------------------------------------- the three kinds of jobs


def states(job: Job, options: Options, enhancer: Enhancer, folder: Path) -> int:
    """Relight without encoding; leaves `00000.npz`, ... and the plan in the work folder. Returns frames."""
    place = work_folder(job, options)
    if size_of(f"{place}/{PLAN}") is not None:
        return 0
    steps = new_steps()
    pieces: list[dict[str, Any]] = []
    start: int | None = None
    with fetched(job.source, folder) as source, PyAVReader(source) as reader:
        split = Split(item for item in reader if isinstance(item, Frame))
        for number, segment in enumerate(split):
            for _ in enhanced(reader.clip, segment, enhancer, steps):
                pass
            pieces.append({"start": start, "frames": split.decoded, "damaged": split.damaged})
            start = split.next_pts
            file = folder / f"{number:05}.npz"
            save_state(file, steps.stateful())
            put(file, f"{place}/{file.name}")
    plan = folder / PLAN
    plan.write_text(json.dumps(pieces), encoding="utf-8")
    put(plan, f"{place}/{PLAN}")  # last: it says that all states are there
    return sum(piece["frames"] for piece in pieces)


def segment(job: Job, options: Options, enhancer: Enhancer, folder: Path) -> int:
    """Encode one piece into `NNNNN.packets` of the work folder. Returns frames."""
    place = work_folder(job, options)
    piece = read_plan(job, options)[job.number]
    work = work_of(folder, job, options, job.number)
    file = work.packets_file(job.number)
    if size_of(f"{place}/{file.name}") is not None:
        return int(piece["frames"])
    steps = new_steps()
    with fetched(job.source, folder) as source, PyAVReader(source) as reader:
        if job.number:
            with fetched(f"{place}/{work.state_file(job.number - 1).name}", folder) as state:
                load_state(state, steps.stateful())
            reader.skip_to(piece["start"])
        with PyAVWriter(folder / f"unused{Path(job.target).suffix}", reader.clip, encoding(options), reader) as writer:
            form = reader.clip, writer.choice, writer.options, writer.global_header
            with closing(ahead(reader)) as items, SegmentWriter(work, *form) as output:
                frames = islice((item for item in items if isinstance(item, Frame)), piece["frames"])
                for frame in enhanced(reader.clip, frames, enhancer, steps):
                    output.write(frame)
    if output.frames != piece["frames"]:
        raise CliplitError(f"{job.source}: {output.frames} frames decoded where {piece['frames']} were before")
    put(file, f"{place}/{file.name}")
    return output.frames


def join(job: Job, options: Options, target: Path, folder: Path) -> tuple[int, tuple[str, ...]]:
    """Join all pieces and the source's other streams into `target`. Returns frames and notes."""
    place, pieces = work_folder(job, options), read_plan(job, options)
    work = work_of(folder, job, options, len(pieces))
    for number in range(len(pieces)):
        system, path = filesystem(f"{place}/{work.packets_file(number).name}")
        system.get_file(path, str(work.packets_file(number)))
    frames, damaged = (sum(piece[name] for piece in pieces) for name in ("frames", "damaged"))
    with fetched(job.source, folder) as source, PyAVReader(source) as reader, atomic_write(target) as unfinished:
        with PyAVWriter(unfinished, reader.clip, encoding(options), reader) as writer, PyAVReader(source) as again:
            for is_video, packet in merged(joined(work, reader.clip), again.other_packets()):
                (writer.join if is_video else writer.write)(packet)
        problems = reader.problems_of(frames, damaged)
    return frames, (*reader.notes, *writer.notes, *([problems] if problems else []))


def clear(job: Job, options: Options) -> None:
    """Remove the pieces of a clip that is done."""
    system, path = filesystem(work_folder(job, options))
    if system.exists(path):
        system.rm(path, recursive=True)


def work_of(folder: Path, job: Job, options: Options, done: int) -> Work:
    """Create the `segments` work in a temporary folder, as if `done` pieces were finished."""
    pieces: Iterable[dict[str, Any]] = read_plan(job, options)[:done]
    return Work(folder, {}, [Segment(piece["frames"], piece["frames"], piece["damaged"], None) for piece in pieces])


def new_steps() -> Steps:
    """Create the steps that `enhance_video` uses by default."""
    return Steps(smooth=TemporalFilter())


def encoding(options: Options) -> Encoding:

    return Encoding(**options.encoding)
