"""Installation of the frei0r filter where ffmpeg, melt and GStreamer find it."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

from cliplit.errors import BackendError, CliplitError, InputError
from cliplit.files import atomic_write

from .launch import worker_command

SHARED_MEMORY = "3"  # the descriptor under which worker.c hands it over
SIDE = 64


def built_library() -> Path:
    """Find the compiled filter of this installation. Raises BackendError if there is none."""
    for path in Path(__file__).parent.glob("_frei0r*.so"):
        return path
    raise BackendError(
        "this installation has no frei0r filter: it is built on Linux where a C compiler is found; "
        "install one (Debian: apt install gcc) and run: pip install --force-reinstall --no-deps cliplit"
    )


def folder() -> Path:
    return Path.home() / ".frei0r-1" / "lib"


def installed_files() -> list[Path]:
    return [path for path in (folder() / "cliplit.so", folder() / "cliplit.worker") if path.exists()]


def install(model: str, device: str) -> Path:
    """Copy the filter and write its worker's command beside it; returns the filter's path."""
    library = built_library().read_bytes()
    command = [*worker_command(model, device), "--shared", SHARED_MEMORY]
    folder().mkdir(parents=True, exist_ok=True)
    with atomic_write(folder() / "cliplit.worker") as temporary:
        temporary.write_bytes("".join(f"{argument}\n" for argument in command).encode())
    with atomic_write(folder() / "cliplit.so") as temporary:
        temporary.write_bytes(library)
        temporary.chmod(0o755)
    return folder() / "cliplit.so"


def uninstall() -> list[Path]:
    """Remove what `install` wrote; returns it. Raises InputError where there is nothing."""
    files = installed_files()
    if not files:
        raise InputError(f"{folder()}: the frei0r filter is not installed there")
    for path in files:
        path.unlink()
    return files


def check() -> None:
    """Send a dark frame through the installed filter as a host would. Raises CliplitError if it comes back dark."""
    path = folder() / "cliplit.so"
    if not path.is_file():
        raise InputError(f"{path}: not installed; run: cliplit-plugins install frei0r")
    library = ctypes.CDLL(str(path))
    library.f0r_construct.restype = ctypes.c_void_p
    instance = ctypes.c_void_p(library.f0r_construct(SIDE, SIDE))
    frame = np.full((SIDE, SIDE, 4), 255, np.uint8)
    frame[:, : SIDE * 3 // 4, :3] = 20
    out = np.zeros_like(frame)
    library.f0r_update(
        instance, ctypes.c_double(0.0), frame.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p)
    )
    library.f0r_destruct(instance)
    if out.astype(int).sum() <= frame.astype(int).sum():
        raise CliplitError(f"{path}: a frame came back unchanged")
