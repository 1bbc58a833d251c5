"""Installation of the frei0r filter where ffmpeg, melt and GStreamer find it."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import numpy as np

from cliplit.errors import BackendError, CliplitError, InputError
from cliplit.files import atomic_write

from .launch import worker_command

SHARED_MEMORY = "3"  # the descriptor under which worker.c hands it over
SIDE = 64
WORKER = "cliplit.worker"  # the file that worker.c reads, beside the filter
EFFECT = Path("effects") / "frei0r_cliplit.xml"

# ffmpeg would hand RGB on to the encoder, which few players can show, and make BT.601 of it. As the filter takes RGB
# alone, both conversions are named; for clips of less than 720 lines, smpte170m stands for bt709.
FFMPEG_FILTER = "scale=in_color_matrix=bt709,format=rgba,frei0r=cliplit:0.8,scale=out_color_matrix=bt709,format=yuv420p"
FFMPEG_TAGS = "-colorspace bt709 -color_primaries bt709 -color_trc bt709"
FFMPEG_LINE = f"ffmpeg -i in.mp4 -vf {FFMPEG_FILTER} {FFMPEG_TAGS} -c:a copy out.mp4"


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


def kdenlive() -> Path:
    """Return the folder in which Kdenlive keeps what belongs to its user."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "kdenlive"


def is_ours(library: Path) -> bool:
    """Return whether a filter is cliplit's: it looks for the file with its worker's command by that name."""
    return WORKER.encode() in library.read_bytes()


def installed_files() -> list[Path]:
    """List what `install` wrote; a filter of the same name by somebody else is none of it."""
    files = [folder() / "cliplit.so", folder() / WORKER, kdenlive() / EFFECT]
    return [path for path in files if path.is_file() and (path.suffix != ".so" or is_ours(path))]


def install(model: str, device: str) -> Path:
    """Copy the filter and write its worker's command beside it; returns the filter's path.

    Where Kdenlive has been started, the names and ranges of its sliders are installed, too.

    Raises:
        InputError: a filter of that name is there, and not ours.
    """
    library = built_library().read_bytes()
    there = folder() / "cliplit.so"
    if there.exists() and not is_ours(there):
        raise InputError(f"{there}: exists and is not cliplit's; move it away first")
    command = [*worker_command(model, device), "--shared", SHARED_MEMORY]
    folder().mkdir(parents=True, exist_ok=True)
    with atomic_write(folder() / WORKER, swept=True) as temporary:
        temporary.write_bytes("".join(f"{argument}\n" for argument in command).encode())
    with atomic_write(folder() / "cliplit.so", swept=True) as temporary:
        temporary.write_bytes(library)
        temporary.chmod(0o755)
    if kdenlive().is_dir():
        effect = kdenlive() / EFFECT
        effect.parent.mkdir(exist_ok=True)
        with atomic_write(effect, swept=True) as temporary:
            temporary.write_bytes((Path(__file__).parent / "kdenlive" / effect.name).read_bytes())
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
