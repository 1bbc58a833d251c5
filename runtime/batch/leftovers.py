"""What a killed run leaves on this machine: temporary folders, and files that never got their names."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from cliplit.files import unfinished

from .job import Job
from .manifest import FOLDER
from .places import filesystem, is_local

PREFIX = "cliplit-batch-"


@contextlib.contextmanager
def work_folder() -> Iterator[Path]:
    """Yield a temporary folder that tells whose it is."""
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-") as name:
        yield Path(name)


def sweep(jobs: Iterable[Job], target: str) -> None:
    """Remove what earlier runs left, unless another run is under way in the same DST. Of other programs, nothing."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        found = re.fullmatch(rf"{PREFIX}(\d+)-\w+", folder.name)
        if found and not _alive(int(found[1])):
            shutil.rmtree(folder, ignore_errors=True)
    if not is_local(filesystem(target)[0]):
        return  # which shows complete objects only
    marks: dict[Path, list[re.Pattern[str]]] = {}
    for job in jobs:
        path = Path(filesystem(job.target)[1])
        marks.setdefault(path.parent, []).append(unfinished(path))
    for place, patterns in marks.items():
        for file in place.glob(".*") if place.is_dir() else ():
            if file.is_file() and any(pattern.fullmatch(file.name) for pattern in patterns):
                with contextlib.suppress(OSError):
                    file.unlink()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


@contextlib.contextmanager
def alone_in(target: str) -> Iterator[bool]:
    """Yield whether no other run on this machine works in DST; while inside, others see this one.

    Where files cannot be locked (object stores, Windows), False: nothing is swept there.
    """
    system, root = filesystem(target)
    try:
        import fcntl
    except ImportError:
        yield False
        return
    if not is_local(system):
        yield False
        return
    with (Path(root) / FOLDER / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except OSError:
            free = False
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # several runs may share a folder
        yield free
