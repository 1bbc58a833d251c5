"""Atomic writing of files: they appear complete or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path, PurePath

from .errors import CliplitError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TOKEN = r"\.[0-9a-f]{12}"  # what `atomic_write` puts into a name
LONGEST_NAME = 255  # bytes, in nearly all file systems
NO_FSYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM}  # what file systems say that have none


@contextlib.contextmanager
def atomic_write(path: Path, fsync: bool = False, swept: bool = False) -> Iterator[Path]:
    """Yield a temporary file beside `path`, with its suffix; rename it on success, remove it on an exception.

    With `fsync` the content is on the disk before the name, so that a power failure cannot leave an empty file. With
    `swept` what killed processes left of earlier writings of `path` is removed (`sweep`). What exists and is no regular
    file, such as /dev/null or a named pipe, is written to as it is and never replaced.

    Raises:
        CliplitError: the complete file cannot be given its name; it is kept, and the message says where.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path
        return
    if swept:
        sweep(path)
    temporary = path.with_name(beside(path.name, f".{secrets.token_hex(6)}{path.suffix}"))
    with contextlib.ExitStack() as held:
        try:  # a signal may come as soon as the file is there
            with naming(path, temporary):
                hold(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666), held)
                yield temporary
                if fsync:
                    flush(temporary)
                if not temporary.exists():
                    raise FileNotFoundError(errno.ENOENT, "was removed while it was written", str(temporary))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        try:
            temporary.replace(path)
        except OSError as error:  # a folder or an open file of that name: all the work is done, and must not be lost
            kept = temporary.with_name(temporary.name[1:])  # in sight, and out of reach of `sweep`
            with contextlib.suppress(OSError):
                temporary = temporary.replace(kept)
            raise CliplitError(
                f"{path}: cannot be given this name ({error.strerror}); the finished file is {temporary}"
            ) from error


def hold(descriptor: int, held: contextlib.ExitStack) -> None:
    """Lock an open file until `held` ends, by which others see that its writer lives; without locks, close it."""
    if fcntl is None:  # an open file cannot be renamed, either
        os.close(descriptor)
        return
    held.callback(os.close, descriptor)
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sweep(path: Path) -> None:
    """Remove what killed processes left of `path`: files under the names of `atomic_write` that nobody holds."""
    if fcntl is None:
        return
    pattern = unfinished(path)
    with contextlib.suppress(OSError):
        for file in path.parent.iterdir():
            if pattern.fullmatch(file.name):
                with contextlib.suppress(OSError):
                    _sweep(file)


def _sweep(file: Path) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        young = time.time() - found.st_mtime < 60 and not found.st_size  # its writer is about to lock it
        if stat.S_ISREG(found.st_mode) and not young:
            file.unlink()
    finally:
        os.close(descriptor)


def unfinished(path: PurePath) -> re.Pattern[str]:
    """Return the pattern of the names under which `atomic_write` fills a file."""
    return re.compile(re.escape(beside(path.name, "")) + TOKEN + re.escape(path.suffix))


def private_folder(path: Path) -> Path:
    """Make a folder that is the user's alone (mode 0700), with the folders above it; one that is there is checked.

    What lies in it is trusted: networks and engines are run. Other users may neither write there nor own it; a folder
    of the user's own that is open to others is closed.

    Raises:
        CliplitError: it is a link or no folder, or belongs to another user.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    check_private(path)
    return path


def check_private(path: Path) -> None:
    """Check that a folder is the user's own and closed to others. Raises CliplitError as `private_folder`."""
    if os.name == "nt":  # the profile's access lists do this
        return
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise CliplitError(f"{path}: is a link or a file, and must be a folder of your own; remove it")
    if found.st_uid != os.geteuid():
        raise CliplitError(
            f"{path}: belongs to another user (number {found.st_uid}), who could put a network of his own there; "
            "remove it, or name another place in CLIPLIT_HOME"
        )
    if found.st_mode & 0o077:
        path.chmod(0o700)


@contextlib.contextmanager
def naming(path: Path, temporary: Path) -> Iterator[None]:
    """Say in the system's errors what the user called the file, and how much room there is if there is none."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename) == str(temporary):
            error.filename = str(path)
            error.strerror = f"cannot be written ({error.strerror or error}{room(path, error)})"
        raise


def room(path: Path, error: OSError) -> str:
    """Return what is free where a file goes, for errors of a full disk; empty for others."""
    if error.errno != errno.ENOSPC:
        return ""
    with contextlib.suppress(OSError):
        return f"; {shutil.disk_usage(path.parent).free / 1e6:.0f} MB are free in {path.parent}"
    return ""


def beside(name: str, ending: str) -> str:
    """Build a hidden name from the beginning of another one, as long as file systems allow (they count bytes)."""
    stem = os.fsencode(Path(name).stem)[:80]
    ending = os.fsencode(ending)[-(LONGEST_NAME - 81) :].decode("utf-8", "ignore")
    return f".{stem.decode('utf-8', 'ignore')}{ending}"


def flush(path: Path) -> None:
    """Put a file's content on the disk, where the file system knows how."""
    with path.open("rb+") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in NO_FSYNC:
                raise
