"""Atomic writing of files: they appear complete or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_write(path: Path, fsync: bool = False) -> Iterator[Path]:
    """Yield a temporary file beside `path`, with its suffix; rename it on success, remove it on an exception.

    With `fsync` the content is on the disk before the name, so that a power failure cannot leave an empty file. What
    exists and is no regular file, such as /dev/null or a named pipe, is written to as it is and never replaced.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path
        return
    temporary = path.with_name(f".{path.stem[:80]}.{secrets.token_hex(6)}{path.suffix}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        if fsync:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
