"""Files anywhere, by fsspec: one library covers local disks, s3://, gs:// and a dozen more.

Local files are used in place. Others are fetched whole into a temporary folder, and results are uploaded whole: object
stores show complete objects only, and local files are written atomically.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cliplit.errors import BackendError, InputError, first_line
from cliplit.install import install_hint

CHANGES = ("ETag", "etag", "md5Hash", "checksum", "mtime", "LastModified", "last_modified", "updated", "created")
MEMORY = "memory"


def filesystem(url: str) -> tuple[Any, str]:
    """Return (fsspec file system, path in it). Raises BackendError if a package for it is missing."""
    try:
        import fsspec
    except ImportError as error:
        raise BackendError(f"fsspec is missing; install it with: {install_hint('batch')}") from error
    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise BackendError(f"{url}: cannot be opened ({first_line(error)})") from error
    return system, str(path).rstrip("/")


def is_local(system: Any) -> bool:
    return "file" in protocols(system)


def protocols(system: Any) -> tuple[str, ...]:
    return (system.protocol,) if isinstance(system.protocol, str) else tuple(system.protocol)


def identity(info: dict[str, Any]) -> str:
    """Return a text that identifies this version of a file, from the file system's description."""
    change = next((f"{key}={info[key]}" for key in CHANGES if info.get(key)), "")
    return f"{info.get('size')} {change}".strip()


@contextlib.contextmanager
def fetched(url: str, folder: Path) -> Iterator[Path]:
    """Yield a local file with the content of `url`: itself, or a temporary copy."""
    system, path = filesystem(url)
    if is_local(system):
        yield Path(path)
        return
    copy = folder / Path(path).name
    try:
        system.get_file(path, str(copy))
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def put(file: Path, url: str) -> None:
    """Copy a finished local file to a place that is not local."""
    system, path = filesystem(url)
    system.makedirs(path.rpartition("/")[0], exist_ok=True)
    system.put_file(str(file), path)


def exists(url: str) -> bool:
    system, path = filesystem(url)
    return bool(system.exists(path))


def size_of(url: str) -> int | None:
    """Return the size in bytes, None if there is no such file."""
    system, path = filesystem(url)
    try:
        return int(system.info(path)["size"])
    except FileNotFoundError:
        return None


def check_reachable(source: str, target: str, own_process: bool) -> None:
    """Check that the workers can reach both places. Raises InputError if not."""
    for url in (source, target):
        if MEMORY in protocols(filesystem(url)[0]) and not own_process:
            raise InputError(f"{url}: memory:// lives in one process; use --engine local")
