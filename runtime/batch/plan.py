"""From SRC and DST to jobs, without those already done."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cliplit.errors import InputError

from ..backends.model_file import BUNDLED, find_model
from ..folders import CLIPS, below, not_readable, reason_for
from ..image.formats import PICTURES
from .checks import check_names, check_originals, is_result
from .job import Job, JobKind, Model, Options
from .manifest import FOLDER, Past
from .places import filesystem, identity, is_local


def find_jobs(source: str, target: str) -> list[Job]:
    """List every picture and clip that `source` names: a file, a folder with all below it, or a pattern.

    What lies in `target` are results of earlier runs, and passed over.

    Raises:
        InputError: for none, for two with one target, and where a result would replace what it is made from.
    """
    check_names(source, target)
    system, root, found = listed(source)
    jobs = []
    root_of_target = target.rstrip("/") or "/"
    for path, info in found.items():
        name = name_below(path, root)
        kind = kind_of(name)
        if (
            kind is None
            or any(part.startswith(".") for part in PurePosixPath(name).parts)
            or is_result(path, root, target)
            or (is_local(system) and not_readable(Path(path)))
        ):
            continue
        rewritten = (PICTURES if kind == "picture" else CLIPS).target_name(PurePosixPath(name))
        url, to = system.unstrip_protocol(path), f"{root_of_target}/{rewritten}"
        jobs.append(Job(name, url, to, root_of_target, kind, identity(info), int(info.get("size") or 0)))
    if not jobs:
        raise InputError(f"{source}: no pictures or clips, by their suffixes")
    check_originals(jobs, target)
    seen: dict[str, Job] = {}
    for job in jobs:
        if other := seen.get(job.target):
            raise InputError(f"{other.name} and {job.name} would both be written to {job.target}; rename one")
        seen[job.target] = job
    return jobs


def is_pattern(source: str) -> bool:
    system, path = filesystem(source)
    return glob.has_magic(path) and not system.exists(path)


def listed(source: str) -> tuple[Any, str, dict[str, dict[str, Any]]]:
    """Return (file system, the folder that names count from, files by their paths in order).

    Raises InputError where nothing has that name, or fits that pattern.
    """
    system, root = filesystem(source)
    if not is_pattern(source):
        found = system.find(root, detail=True)
        if not found and not system.exists(root):
            raise InputError(f"{source}: no such file or folder")
    else:
        matched = system.glob(root, detail=True)
        if not matched:
            raise InputError(f"{source}: nothing fits this pattern")
        found = {}
        for path, info in matched.items():
            found |= system.find(path, detail=True) if info.get("type") == "directory" else {path: info}
        parts = PurePosixPath(root).parts
        plain = next(number for number, part in enumerate(parts) if glob.has_magic(part))
        root = str(PurePosixPath(*parts[:plain]))
    return system, root, dict(sorted(found.items()))


def name_below(path: str, root: str) -> str:
    return PurePosixPath(path).name if path == root else path.removeprefix(root).lstrip("/")


def passed_over(source: str, target: str = "") -> list[str]:
    """List the files that `source` names and no job is made for, each with the reason."""
    system, root, found = listed(source)
    if is_local(system) and Path(root).is_dir() and not is_pattern(source):
        every = below(Path(root), Path(filesystem(target)[1]) if target else Path(root))
    else:
        every = [(Path(path), not_readable(Path(path)) if is_local(system) else "") for path in found if path != root]
        every = [(path, problem) for path, problem in every if not (target and is_result(str(path), root, target))]
    named = [(name_below(str(path), root), problem) for path, problem in every]
    named = [(name, problem) for name, problem in named if FOLDER not in PurePosixPath(name).parts]
    reasons = ((name, problem or reason_for(PurePosixPath(name), PICTURES, CLIPS)) for name, problem in named)
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
