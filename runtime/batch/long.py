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
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from cliplit.errors import CliplitError
from cliplit.files import atomic_write

from ..enhancer import Enhancer
from ..video.codecs import Encoding
from ..video.frame_loop import FrameLoop
from ..video.frames import Frame
from ..video.opening import Reading
from ..video.prefetch import prefetch
from ..video.pyav_reader import PyAVReader
from ..video.pyav_writer import PyAVWriter
from ..video.request import Steps
from ..video.segments import Split, encode_segment, join_segments, load_state, save_state
from .job import Job, Options, Outcome, failure
from .places import fetched, filesystem, put, size_of
from .progress import reporter

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
    pieces: list[dict[str, Any]] = []
    start: int | None = None
    with fetched(job.source, folder) as source, PyAVReader(source, reading(options)) as reader:
        loop = FrameLoop(reader.clip, enhancer, Steps())
        split = Split(item for item in reader if isinstance(item, Frame))
        for number, segment in enumerate(split):
            for _ in loop(segment):
                pass
            pieces.append({"start": start, "frames": split.decoded, "damaged": split.damaged})
            start = split.next_pts
            file = folder / state_name(number)
            save_state(file, loop)
            put(file, f"{place}/{file.name}")
    plan = folder / PLAN
    plan.write_text(json.dumps(pieces), encoding="utf-8")
    put(plan, f"{place}/{PLAN}")  # last: it says that all states are there
    return sum(piece["frames"] for piece in pieces)


def segment(job: Job, options: Options, enhancer: Enhancer, folder: Path) -> int:
    """Encode one piece into `NNNNN.packets` of the work folder. Returns frames."""
    place = work_folder(job, options)
    piece = read_plan(job, options)[job.number]
    file = folder / packets_name(job.number)
    if size_of(f"{place}/{file.name}") is not None:
        return int(piece["frames"])
    with fetched(job.source, folder) as source, PyAVReader(source, reading(options)) as reader:
        loop = FrameLoop(reader.clip, enhancer, Steps())
        if job.number:
            with fetched(f"{place}/{state_name(job.number - 1)}", folder) as state:
                load_state(state, loop)
            reader.skip_to(piece["start"])
        unused = folder / f"unused{Path(job.target).suffix}"
        with PyAVWriter(unused, reader.clip, encoding(options), reader) as writer, closing(prefetch(reader)) as items:
            frames = islice((item for item in items if isinstance(item, Frame)), piece["frames"])
            report = reporter(job.name)
            written = encode_segment(file, loop(frames), writer, lambda n: report(n, piece["frames"]))
    if written != piece["frames"]:
        raise CliplitError(f"{job.source}: {written} frames decoded where {piece['frames']} were before")
    put(file, f"{place}/{file.name}")
    return written


def join(job: Job, options: Options, target: Path, folder: Path) -> tuple[int, tuple[str, ...]]:
    """All pieces and the source's other streams into `target`. Returns frames and notes."""
    place, pieces = work_folder(job, options), read_plan(job, options)
    files = [folder / packets_name(number) for number in range(len(pieces))]
    for file in files:
        system, path = filesystem(f"{place}/{file.name}")
        system.get_file(path, str(file))
    frames, damaged = (sum(piece[name] for piece in pieces) for name in ("frames", "damaged"))
    limits = reading(options)
    with (
        fetched(job.source, folder) as source,
        PyAVReader(source, limits) as reader,
        atomic_write(target) as unfinished,
    ):
        encoded = PyAVWriter(unfinished, reader.clip, encoding(options), reader)
        with encoded as writer, PyAVReader(source, limits) as others:
            join_segments(files, others, writer)
        problems = reader.problems_of(frames, damaged, others.absent)
    return frames, (*reader.notes, *writer.notes, *writer.problems, *([problems] if problems else []))


def clear(job: Job, options: Options) -> None:
    """Remove the pieces of a clip that is done."""
    system, path = filesystem(work_folder(job, options))
    if system.exists(path):
        system.rm(path, recursive=True)


def state_name(number: int) -> str:
    return f"{number:05}.npz"


def packets_name(number: int) -> str:
    return f"{number:05}.packets"


def encoding(options: Options) -> Encoding:
    return Encoding(**options.encoding)


def reading(options: Options) -> Reading:
    return Reading(max_pixels=options.max_pixels)
