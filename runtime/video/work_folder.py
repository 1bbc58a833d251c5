"""What a run with `--resume` keeps beside its output: finished segments, the state behind each, and a manifest.

The manifest is what counts: a segment that it does not name was never finished, and one that does not have the size and
the hash written there is made again. Files get their names when they are on the disk. A lock keeps a second run out;
the system takes it away with the process that holds it, however that ends.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import av

from cliplit import __version__
from cliplit.errors import CliplitError, InputError, worded
from cliplit.files import LONGEST_NAME, atomic_write, beside

SAMPLE = 1 << 20  # bytes hashed of both ends of the source
MANIFEST = "manifest.json"
OURS = re.compile(r"lock|manifest\.json|\d{5}\.(packets|npz)|\.(manifest|\d{5})\.[0-9a-f]{12}\.\w+|joined(\..*)?")
TAKEN = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}


@dataclass
class Segment:
    """A finished segment: frames written, decoded, and decoded with damage, and where the next one begins.

    Attributes:
        next_pts: None behind the last one.
        files: [size, SHA-256] of its file of packets and of the state behind it.
    """

    frames: int
    decoded: int
    damaged: int
    next_pts: int | None
    files: list[list[Any]] = field(default_factory=list)


@dataclass
class Work:
    """The folder of a run, with the manifest read or begun. `notes` says what became of earlier work.

    Attributes:
        broken: numbers of segments that the manifest names and the folder does not hold as they were written.
    """

    folder: Path
    identity: dict[str, Any]
    segments: list[Segment] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return bool(self.segments) and self.segments[-1].next_pts is None

    @property
    def frames(self) -> int:
        return sum(segment.frames for segment in self.segments)

    @property
    def decoded(self) -> int:
        return sum(segment.decoded for segment in self.segments)

    @property
    def damaged(self) -> int:
        return sum(segment.damaged for segment in self.segments)

    def packets_file(self, number: int) -> Path:
        return self.folder / f"{number:05}.packets"

    def state_file(self, number: int) -> Path:
        return self.folder / f"{number:05}.npz"

    def start_of(self, number: int) -> int | None:
        """Return the pts of the first frame of a segment; None for the beginning."""
        return self.segments[number - 1].next_pts if number else None

    def add(self, number: int, segment: Segment) -> None:
        """Record a segment whose files are complete, a new one or one that was made again."""
        segment.files = [[f.stat().st_size, sha256(f)] for f in (self.packets_file(number), self.state_file(number))]
        if number < len(self.segments):
            if segment.next_pts != self.segments[number].next_pts:  # another cut: what follows belongs to the old one
                del self.segments[number + 1 :]
                self.broken = []
            self.segments[number] = segment
            self.broken = [other for other in self.broken if other != number]
        else:
            self.segments.append(segment)
        self.write()

    def write(self) -> None:
        """Write the manifest."""
        text = json.dumps({"identity": self.identity, "segments": [asdict(s) for s in self.segments]}, indent=1)
        with atomic_write(self.folder / MANIFEST, fsync=True) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def check(self) -> None:
        """Find the segments that are cut, changed or missing; a segment needs the state of the one before it."""
        damaged = [
            [not intact(file, entry) for file, entry in zip(files, segment.files, strict=False)] or [True, True]
            for segment, files in (
                (segment, (self.packets_file(n), self.state_file(n))) for n, segment in enumerate(self.segments)
            )
        ]
        broken = {n for n, (packets, _) in enumerate(damaged) if packets}
        if damaged and damaged[-1][1] and not self.complete:
            broken.add(len(damaged) - 1)
        for number in range(len(damaged) - 1, 0, -1):
            if number in broken and damaged[number - 1][1]:
                broken.add(number - 1)
        self.broken = sorted(broken)

    def remove(self) -> None:
        """Remove what is ours; the folder itself stays if it holds anything else."""
        for file in self.folder.iterdir() if self.folder.is_dir() else ():
            if OURS.fullmatch(file.name) and not file.is_dir():
                file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def folder_for(target: Path) -> Path:
    """Return the folder beside an output; its name is cut where it would be too long."""
    name = f".{target.name}.resume"
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = beside(target.name, f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]}.resume")
    return target.with_name(name)


@contextlib.contextmanager
def work_on(source: Path, target: Path, model: Path, options: Mapping[str, object]) -> Iterator[Work]:
    """Yield earlier work on `target` if it was made from the same source, model and options; a new folder otherwise.

    Raises:
        InputError: another run is at it, or what has the folder's name is not a folder of ours.
    """
    folder = folder_for(target)
    made_from = {
        "source": fingerprint(source),
        "model": hashlib.sha256(model.read_bytes()).hexdigest(),
        "options": {name: str(value) for name, value in sorted(options.items())},
        "versions": [__version__, av.__version__],
    }
    check_ours(folder)
    with locked(folder):
        work = Work(folder, made_from)
        take_up(work)
        try:
            yield work
        except BaseException as error:  # says where the work waits; without a finished segment nothing stays behind
            if not work.segments:
                work.remove()
                raise
            if isinstance(error, (CliplitError, OSError, KeyboardInterrupt)):
                what = worded(error) or "interrupted"
                raise InputError(
                    f"{what}; {work.frames} finished frames are kept in {folder}: the same command continues there"
                ) from error
            raise
        try:
            work.remove()
        except OSError as error:  # the output is there, which is what counts
            work.notes.append(f"{folder} is not needed any more and cannot be removed ({error.strerror})")


def take_up(work: Work) -> None:
    """Read the manifest; start anew where it belongs to other work."""
    manifest = manifest_in(work.folder)
    if manifest.get("identity") == work.identity:
        work.segments = [Segment(**segment) for segment in manifest["segments"]]
        work.check()
        if work.segments:
            work.notes.append(f"resumed behind frame {work.frames} ({len(work.segments)} segments were finished)")
        if work.broken:
            named = ", ".join(str(number + 1) for number in work.broken)
            work.notes.append(f"segments damaged or missing in {work.folder} are made again: {named}")
        return
    if manifest:
        earlier = manifest.get("identity", {})
        changed = [name for name in work.identity if earlier.get(name) != work.identity[name]]
        work.notes.append(f"earlier work was made with other {' and '.join(changed)}; everything is done anew")
    elif (work.folder / MANIFEST).exists():
        work.notes.append(f"{work.folder / MANIFEST} is damaged; everything is done anew")
    for file in work.folder.iterdir():
        if file.name != "lock":
            file.unlink()
    work.write()


def manifest_in(folder: Path) -> dict[str, Any]:
    """Read a manifest; empty if there is none, or none that can be read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        right = {"identity", "segments"} <= set(manifest) and all(map(possible, manifest["segments"]))
        return manifest if right and isinstance(manifest["identity"], dict) else {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def possible(segment: Any) -> bool:
    """Return whether what a manifest says of a segment has the types of one. TypeError where it is no mapping."""
    made = Segment(**segment)
    counts = (made.frames, made.decoded, made.damaged)
    return (
        all(type(count) is int and 0 <= count < 1 << 62 for count in counts)
        and (made.next_pts is None or (type(made.next_pts) is int and abs(made.next_pts) < 1 << 62))
        and isinstance(made.files, list)
        and all(isinstance(entry, list) and len(entry) == 2 for entry in made.files)
    )


def check_ours(folder: Path) -> None:
    """Raise InputError if something of the user's has the name of the folder: it must not be touched."""
    if not os.path.lexists(folder):
        return
    foreign = "is no folder" if folder.is_symlink() or not folder.is_dir() else ""
    if not foreign:
        names = sorted(file.name for file in folder.iterdir() if not OURS.fullmatch(file.name) or file.is_dir())
        foreign = f"holds {names[0]}" if names else ""
    if not foreign and (folder / MANIFEST).exists() and not manifest_in(folder):
        text = (folder / MANIFEST).read_bytes().strip()
        foreign = "holds another manifest.json" if text.startswith(b"{") and text.endswith(b"}") else ""
    if not foreign and os.name != "nt" and folder.lstat().st_uid != os.geteuid():
        foreign = "belongs to another user"
    if foreign:
        raise InputError(f"{folder}: {foreign}, which --resume did not make; move it away or name another output")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder and hold its lock. Raises InputError if another process holds it."""
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            flags = os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
            descriptor = os.open(folder / "lock", flags, 0o600)
        except FileNotFoundError:  # another run has just finished and removed the folder
            continue
        try:
            lock(descriptor, folder)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), (folder / "lock").stat()):
                    yield
                    return
        finally:
            os.close(descriptor)


def lock(descriptor: int, folder: Path) -> None:
    """Lock a file until it is closed, where the file system can."""
    try:
        try:
            import fcntl
        except ImportError:
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            raise InputError(f"{folder}: another run with --resume is at work on this output; wait for it") from error


def intact(file: Path, entry: list[Any]) -> bool:
    """Return whether a file has the size and the hash that were recorded."""
    try:
        return file.stat().st_size == entry[0] and sha256(file) == entry[1]
    except OSError:
        return False


def sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def fingerprint(path: Path) -> dict[str, Any]:
    """Collect what tells a file from another one without reading all of it."""
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(SAMPLE))
        file.seek(max(0, size - SAMPLE))
        digest.update(file.read(SAMPLE))
    return {"size": size, "modified": path.stat().st_mtime_ns, "ends": digest.hexdigest()}
