"""One job from its source to its target, in any process. Every engine calls `do`."""

from __future__ import annotations

import hashlib
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from cliplit.errors import CliplitError
from cliplit.files import atomic_write

from ..backends.home import cache
from ..backends.model_file import CHECKPOINT_SUFFIXES
from ..enhancer import Enhancer
from ..image.enhance import enhance_picture
from ..video.clip import Progress, enhance_video
from . import long
from .job import Job, Model, Options, Outcome, failure
from .leftovers import work_folder
from .places import fetched, filesystem, is_local, put, size_of
from .progress import reporter

PAUSE = 0.5  # seconds before the second attempt, doubled for each one after


def do(job: Job, options: Options, threads: int = 1) -> Outcome:
    """Relight one file; a failure is an outcome, too. Temporary errors (I/O, memory) are retried."""
    start = time.monotonic()
    for attempt in range(1, options.retries + 2):
        try:
            frames, notes = run_job(job, options, enhancer_for(options, threads))
        except (CliplitError, FileNotFoundError, PermissionError) as error:  # the same next time
            return failure(job, options, str(error), attempt)
        except Exception as error:  # file systems of other packages raise types of their own
            if attempt > options.retries:
                return failure(job, options, f"{type(error).__name__}: {error}", attempt)
            time.sleep(PAUSE * 2 ** (attempt - 1))
            continue
        seconds = round(time.monotonic() - start, 3)
        size = size_of(job.target) or 0
        return Outcome(job.name, "done", job.identity, options.digest, size, seconds, frames, attempt, notes=notes)
    raise AssertionError("unreachable")


def run_job(job: Job, options: Options, enhancer: Enhancer) -> tuple[int, tuple[str, ...]]:
    """Relight a file; return (frames, notes). The target is written atomically."""
    with work_folder() as folder:
        if job.kind == "states":
            return long.states(job, options, enhancer, folder), ()
        if job.kind == "segment":
            return long.segment(job, options, enhancer, folder), ()
        system, path = filesystem(job.target)
        target = Path(path) if is_local(system) else folder / f"result{Path(path).suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        if job.kind == "join":
            result = long.join(job, options, target, folder)
        else:
            with fetched(job.source, folder) as source:
                result = WHOLE[job.kind](source, target, options, enhancer, reporter(job.name))
        if not is_local(system):
            put(target, job.target)
        if job.kind == "join":
            long.clear(job, options)
    return result


def picture(
    source: Path, target: Path, options: Options, enhancer: Enhancer, report: Progress
) -> tuple[int, tuple[str, ...]]:

    return 1, tuple(enhance_picture(source, target, enhancer, options.jpeg_quality, True, options.max_pixels))


def video(
    source: Path, target: Path, options: Options, enhancer: Enhancer, report: Progress
) -> tuple[int, tuple[str, ...]]:

    summary = enhance_video(source, target, enhancer, long.encoding(options), report, reading=long.reading(options))
    problems = (summary.problems,) if summary.problems else ()
    return summary.frames, (*summary.notes, *problems)


WHOLE = {"picture": picture, "video": video}


def enhancer_for(options: Options, threads: int) -> Enhancer:
    """Return the enhancer, loaded once per process and model."""
    return _enhancer(options.model, tuple(sorted(options.enhancer.items())), threads)


@lru_cache(maxsize=2)
def _enhancer(model: Model, settings: tuple[tuple[str, Any], ...], threads: int) -> Enhancer:

    return Enhancer(model_here(model), threads=threads, **dict(settings))


def model_here(model: Model) -> str:
    """Return a bundled model's name, or the path of its file, written once per machine into a folder of the user's.

    What lies there counts by its content alone.
    """
    if model.data is None:
        return model.name
    digest = hashlib.sha256(model.data).hexdigest()
    path = cache("models") / f"{digest}{'.pt' if model.suffix in CHECKPOINT_SUFFIXES else '.onnx'}"
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        with atomic_write(path) as temporary:
            temporary.write_bytes(model.data)
    return str(path)
