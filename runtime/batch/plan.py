"""From SRC and DST to jobs, without those already done."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cliplit.errors import InputError

from ..backends.model_file import BUNDLED, find_model
from ..folders import CLIPS, reason_for
from ..image.image_io import PICTURES
from .job import Job, JobKind, Model, Options
from .manifest import Past
from .places import filesystem, identity


def find_jobs(source: str, target: str) -> list[Job]:
    """List every picture and clip below `source`. Raises InputError for none, or two with one target."""
    system, root = filesystem(source)
    found = system.find(root, detail=True)
    if not found and not system.exists(root):
        raise InputError(f"{source}: no such file or folder")
    jobs = []
    root_of_target = target.rstrip("/")
    for path, info in sorted(found.items()):
        name = PurePosixPath(path).name if path == root else path.removeprefix(root).lstrip("/")
        kind = kind_of(name)
        if kind is None or any(part.startswith(".") for part in PurePosixPath(name).parts):
            continue
        url, to = system.unstrip_protocol(path), f"{root_of_target}/{CLIPS.target_name(PurePosixPath(name))}"
        jobs.append(Job(name, url, to, root_of_target, kind, identity(info), int(info.get("size") or 0)))
    if not jobs:
        raise InputError(f"{source}: no pictures or clips ({' '.join(PICTURES.suffixes + CLIPS.suffixes)})")
    seen: dict[str, Job] = {}
    for job in jobs:
        if other := seen.get(job.target):
            raise InputError(f"{other.name} and {job.name} would both be written to {job.target}; rename one")
        seen[job.target] = job
    return jobs


def passed_over(source: str) -> list[str]:
    """List the files below `source` that no job is made for, each with the reason."""
    system, root = filesystem(source)
    names = [path.removeprefix(root).lstrip("/") for path in sorted(system.find(root)) if path != root]
    reasons = ((name, reason_for(PurePosixPath(name), PICTURES, CLIPS)) for name in names)
    return [f"{name} is passed over: {reason}" for name, reason in reasons if reason]


def kind_of(name: str) -> JobKind | None:
    suffix = PurePosixPath(name).suffix.lower()
    return "picture" if suffix in PICTURES.suffixes else "video" if suffix in CLIPS.suffixes else None


@dataclass(frozen=True)
class Left:
    """The remaining work: `jobs`, and `foreign` ones, whose results would replace files that no run has made."""

    jobs: list[Job]
    foreign: list[Job]


def remaining(jobs: Iterable[Job], target: str, past: Past, options: Options, overwrite: bool) -> Left:
    """List the jobs not done yet, largest first: a long clip that starts last would delay the end.

    A job is done where the manifest has the same input with the same options and model, and the result is there with
    the size it had. A result without such a line is ours if a run had claimed its name: that run was killed.
    """
    system, root = filesystem(target)
    there = {path: info.get("size") for path, info in system.find(root, detail=True).items()}
    left = Left([], [])
    for job in jobs:
        before, size = past.done.get(job.name), there.get(filesystem(job.target)[1])
        if before and (before.identity, before.digest, before.size) == (job.identity, options.digest, size):
            continue
        ours = overwrite or size is None or before is not None or job.name in past.claimed
        (left.jobs if ours else left.foreign).append(job)
    left.jobs.sort(key=lambda job: -job.size)
    return left


def travelling_model(model: str) -> Model:
    """Load a model in a form that can be sent to workers. Raises InputError if there is no such model."""
    path = find_model(model, checkpoints=True)
    data = path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    return Model(model, sha256) if path.parent == BUNDLED else Model(Path(model).name, sha256, data, path.suffix)
