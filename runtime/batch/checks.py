"""What can be wrong with a batch as a whole, found once before anything starts, not in every worker for every file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from cliplit.constants import MAX_GAIN
from cliplit.errors import InputError, ModelError

from ..enhancer import Enhancer, check_settings
from ..light.colour import Coding, Colour
from ..video.codecs import Encoding, choose, options_of
from ..video.frames import Clip
from .job import Job, Options
from .places import filesystem, is_local
from .work import model_here

# The clip that encoder options are tried for; the containers that hold some codec each.
ORDINARY = Clip(1920, 1080, "yuv420p", Coding(), Colour(), Fraction(1, 25), codec="h264")
CONTAINERS = ("matroska", "mov", "mp4", "webm")


def check_names(source: str, target: str) -> None:
    """Raise InputError for names that mean nothing, and for a DST that is SRC."""
    if not source.strip() or not target.strip():
        raise InputError("an empty name was given; the current folder is called .")
    system, path = filesystem(target)
    if is_local(system) and Path(path).exists() and not Path(path).is_dir():
        raise InputError(f"{target}: is a file; name a folder")
    if filesystem(source)[0].protocol == system.protocol and located(source) == located(target):
        raise InputError(f"{target}: is SRC itself, and the results would replace the originals; name another folder")


def check_originals(jobs: Sequence[Job], target: str) -> None:
    """Raise InputError where a result would be written over an original, by whatever name or link."""
    originals = {located(job.source) for job in jobs}
    for job in jobs:
        if located(job.target) in originals:
            raise InputError(f"{job.target}: is an original itself; name another folder than {target}")


def located(url: str) -> str:
    """Return the place that a name leads to, through links where there are some."""
    system, path = filesystem(url)
    return os.path.realpath(path) if is_local(system) else str(path)


def is_result(path: str, root: str, target: str) -> bool:
    """Return whether a file below `root`, a folder of originals, lies in the folder of the results inside of that."""
    results = located(target)
    if not is_local(filesystem(target)[0]):
        return results.startswith(f"{root}/") and path.startswith(f"{results}/")
    inside, originals = Path(results), Path(os.path.realpath(root))
    return (
        inside != originals and inside.is_relative_to(originals) and Path(os.path.realpath(path)).is_relative_to(inside)
    )


def check_options(options: Options, jobs: Sequence[Job], here: bool) -> None:
    """Raise InputError, ModelError or BackendError for options or a model that no file could be done with.

    `here`: the work is done on this machine, so that its devices can be tried, too.
    """
    settings = options.enhancer
    check_settings(settings.get("strength", 1.0), settings.get("max_gain", MAX_GAIN), settings.get("quality", "fast"))
    if here:
        path = model_here(options.model)
        try:
            Enhancer(path, threads=1, **settings)
        except ModelError as error:
            raise ModelError(str(error).replace(path, options.model.name)) from error
    if any(job.kind == "video" for job in jobs):
        check_encoding(Encoding(**options.encoding))


def check_encoding(encoding: Encoding) -> None:
    """Raise InputError for a codec, preset or quality that no container takes for an ordinary clip."""
    first: InputError | None = None
    for container in CONTAINERS:
        try:
            options_of(choose(ORDINARY, encoding, container), encoding)
            return
        except InputError as error:
            first = first or error
    assert first is not None
    raise first
