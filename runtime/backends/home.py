"""The folder for files that can be rebuilt: engines, timing caches. `CLIPLIT_HOME` names another one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cliplit.files import private_folder


def cache(name: str) -> Path:
    """Return a folder of that name in `home`, made and checked: the user's alone.

    Raises:
        CliplitError: see `private_folder`.
    """
    home().mkdir(mode=0o700, parents=True, exist_ok=True)
    return private_folder(home() / name)


def home() -> Path:
    """Return the folder; it need not exist yet."""
    if chosen := os.environ.get("CLIPLIT_HOME"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "cliplit"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "cliplit"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cliplit"
