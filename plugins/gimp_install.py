"""Installation of the plug-in in every GIMP profile of this user, and a check by GIMP itself."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from cliplit import __version__
from cliplit.errors import BackendError, CliplitError, InputError
from cliplit.runtime.backends.model_file import bundled_models

from .launch import worker_command

PROCEDURE = "plug-in-cliplit-enhance"
SCRATCH = ".cliplit-"  # beginning of the folder in which the plug-in is made
ATTEMPTS = 5
MARK = "worker.json"  # by which our folder is known
SHARED_MODULES = ("__init__.py", "attribution.py", "protocol.py", "client.py")
CHECK_SECONDS = 120.0  # GIMP's first start reads all fonts and plug-ins
FOUND = "cliplit-is-there"
QUESTION = f"print('{FOUND}' if Gimp.get_pdb().procedure_exists('{PROCEDURE}') else '')"


@dataclass(frozen=True)
class Profile:
    """A GIMP version's folder of one user, e.g. ~/.config/GIMP/3.0."""

    path: Path

    @property
    def version(self) -> tuple[int, int]:
        major, minor = re.fullmatch(r"(\d+)\.(\d+)", self.path.name).groups()  # type: ignore[union-attr]
        return int(major), int(minor)

    @property
    def supported(self) -> bool:
        return self.version >= (3, 0)

    @property
    def plug_in(self) -> Path:
        return self.path / "plug-ins" / "cliplit"

    @property
    def installed(self) -> bool:
        return (self.plug_in / MARK).is_file()

    @property
    def started(self) -> bool:
        """Whether GIMP has made the profile: it fills it at its first start, or moves an older one there."""
        return self.path.is_dir() and any(each.name != "plug-ins" for each in self.path.iterdir())

    @property
    def in_flatpak(self) -> bool:
        return ".var" in self.path.parts


def profile_roots() -> list[Path]:
    """Return the folders that hold a profile per GIMP version."""
    home = Path.home()
    if sys.platform == "win32":
        return [Path(os.environ.get("APPDATA", home / "AppData" / "Roaming")) / "GIMP"]
    if sys.platform == "darwin":
        return [home / "Library" / "Application Support" / "GIMP"]
    return [
        Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "GIMP",
        home / ".var" / "app" / "org.gimp.GIMP" / "config" / "GIMP",
        home / "snap" / "gimp" / "current" / ".config" / "GIMP",
    ]


def find_profiles() -> list[Profile]:
    """Find every profile the plug-in can use; for a GIMP that was never started, the one it will make."""
    profiles = [
        Profile(path)
        for root in profile_roots()
        if root.is_dir()
        for path in sorted(root.iterdir())
        if re.fullmatch(r"\d+\.\d+", path.name)
    ]
    known = {profile.version for profile in profiles}
    fresh = [
        Profile(profile_roots()[0] / f"{v[0]}.{v[1]}") for v in map(version_of, programs()) if v and v not in known
    ]
    return [profile for profile in dict.fromkeys(profiles + fresh) if profile.supported]


def profile_at(path: Path) -> Profile:
    """Return the profile in a folder the user names. Raises InputError if it is none, or of another version."""
    profile = Profile(path.expanduser().absolute())
    if not re.fullmatch(r"\d+\.\d+", profile.path.name):
        raise InputError(f"{path}: not a GIMP profile; the folder is named after the version, e.g. 3.0")
    if not profile.supported:
        raise InputError(f"{path}: GIMP {profile.path.name} is past its end; GIMP 3.0 and later are supported")
    return profile


def programs() -> list[str]:
    """List GIMP's programs on the PATH, consoles first, which start without a display."""
    names = ("gimp-console", "gimp-console-3.2", "gimp-console-3.0", "gimp", "gimp-3")
    return [path for name in names if (path := shutil.which(name))]


def version_of(program: str) -> tuple[int, int] | None:
    """Return (major, minor) of the profile a GIMP program uses: 3.0 for 3.0.4, 3.2 for 3.1 and 3.2."""
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"(\d+)\.(\d+)\.\d+", answer.stdout)
    if not found:
        return None
    major, minor = int(found[1]), int(found[2])
    return major, minor + minor % 2


def install(profiles: list[Profile], model: str, device: str) -> None:
    """Write the plug-in's folder into each profile, replacing an earlier one.

    Raises:
        InputError: GIMP has not made a profile yet, and would find one half made; or a folder there is not ours.
    """
    for profile in profiles:
        if not profile.started:
            spoiled = f"remove {profile.path}, " if profile.path.is_dir() else ""
            raise InputError(
                f"{profile.path}: GIMP {profile.path.name} has not been started yet; {spoiled}start GIMP once and "
                "close it, then install again"
            )
    command = worker_command(model, device)
    settings = {"version": __version__, "models": bundled_models(), "model": model, "device": device}
    for profile in profiles:
        if profile.plug_in.exists() and not profile.installed:
            raise InputError(f"{profile.plug_in}: exists and is not ours (no {MARK}); move it away first")
    for profile in profiles:
        sweep(profile)
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=profile.path) as scratch:
            folder = Path(scratch) / "cliplit"
            folder.mkdir()
            host_command = ["flatpak-spawn", "--host", *command] if profile.in_flatpak else command
            (folder / MARK).write_text(json.dumps(settings | {"command": host_command}, indent=1))
            write_plug_in(folder)
            profile.plug_in.parent.mkdir(exist_ok=True)
            exchange(folder, profile.plug_in, Path(scratch))


def exchange(new: Path, place: Path, scratch: Path) -> None:
    """Give a whole folder its place, and move an earlier one to `scratch`: none is ever there in part."""
    for number in count():
        with contextlib.suppress(FileNotFoundError):
            place.rename(scratch / f"before{number}")
        try:
            new.rename(place)
            return
        except OSError as error:  # another installation was quicker
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or number == ATTEMPTS:
                raise


def sweep(profile: Profile) -> None:
    """Remove what installations left that were killed more than an hour ago."""
    for folder in profile.path.glob(f"{SCRATCH}*"):
        with contextlib.suppress(OSError):
            if folder.is_dir() and time.time() - folder.lstat().st_mtime > 3600:
                shutil.rmtree(folder)


def write_plug_in(folder: Path) -> None:
    """Write the plug-in as a small package of its own; GIMP's Python cannot import ours."""
    source, package = Path(__file__).parent, folder / "cliplit_plugins"
    package.mkdir()
    for name in SHARED_MODULES:
        shutil.copyfile(source / name, package / name)
    shutil.copytree(source / "gimp3", package / "gimp3", ignore=shutil.ignore_patterns("__pycache__", "entry.py"))
    entry = folder / "cliplit.py"  # named as its folder, and executable, or GIMP passes it over in silence
    shutil.copyfile(source / "gimp3" / "entry.py", entry)
    entry.chmod(0o755)


def uninstall() -> list[Path]:
    """Remove the plug-in from every profile; returns the folders. Raises InputError where there is none."""
    folders = [profile.plug_in for profile in find_profiles() if profile.installed]
    if not folders:
        raise InputError("the plug-in is installed in no GIMP profile")
    for path in folders:
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=path.parents[1]) as scratch:
            path.rename(Path(scratch) / path.name)  # gone as a whole, also if this is killed
    return folders


def check(profile: Profile) -> None:
    """Start the profile's GIMP without a window and look for the procedure.

    Raises:
        BackendError: that GIMP is not on the PATH.
        CliplitError: it runs, and does not have the procedure.
    """
    program = next((path for path in programs() if version_of(path) == profile.version), None)
    if program is None:
        raise BackendError(
            f"GIMP {profile.path.name} is not on the PATH; start it and look into Filters > Light and Shadow"
        )
    try:
        answer = subprocess.run(
            [program, "-i", "-d", "-f", "--batch-interpreter=python-fu-eval", "-b", QUESTION, "--quit"],
            capture_output=True,
            text=True,
            timeout=CHECK_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise CliplitError(f"{program} did not end within {CHECK_SECONDS:.0f} s") from error
    said = answer.stdout + answer.stderr
    if FOUND not in said:
        errors = [line.strip() for line in said.splitlines() if re.match(r"\w+Error: ", line)]
        reason = f"; it said: {errors[-1]}" if errors else ""
        raise CliplitError(f"{program} does not have the procedure {PROCEDURE}{reason}")
