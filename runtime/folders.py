"""The files to read, and where their results go; the table printed at the end."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TypeVar

from cliplit.errors import InputError, printable

AnyPath = TypeVar("AnyPath", bound=PurePath)


@dataclass(frozen=True)
class FileKind:
    """A kind of file to look for: its name in messages, its suffixes, and other suffixes for formats never written."""

    name: str
    suffixes: tuple[str, ...]
    rewritten: dict[str, str] = field(default_factory=dict)

    def target_name(self, name: AnyPath) -> AnyPath:
        """Return the name of the result of a file."""
        return name.with_suffix(self.rewritten.get(name.suffix.lower(), name.suffix))


TO_MKV = (
    ".asf", ".dv", ".flv", ".gif", ".m1v", ".m2v", ".mk3d", ".mxf", ".ogm", ".ogv", ".rm", ".rmvb", ".vob", ".wmv",
    ".wtv", ".y4m", ".264", ".265", ".h264", ".h265", ".hevc", ".ivf", ".obu",
)  # fmt: skip
TO_MP4 = (".3g2", ".3gp", ".f4v", ".insv", ".lrv")
CLIPS = FileKind(
    "clips",
    (
        ".avi", ".divx", ".m2t", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".qt", ".ts",
        ".webm", *TO_MKV, *TO_MP4,
    ),
    {**dict.fromkeys(TO_MKV, ".mkv"), **dict.fromkeys(TO_MP4, ".mp4"), ".divx": ".avi", ".qt": ".mov"},
)  # fmt: skip
# Why other files of a folder are passed over, by suffix.
PICTURE = "a picture, for cliplit-image"
REASONS = {
    PICTURE: (
        ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".heic", ".heif", ".avif", ".exr", ".dng", ".raw",
        ".cr2", ".cr3", ".nef", ".arw", ".jxl", ".hdr", ".jp2", ".j2k", ".dpx", ".psd", ".xcf", ".tga", ".ppm", ".svg",
        ".ico",
    ),
    "sound alone": (".mp3", ".wav", ".flac", ".m4a", ".aac", ".ogg", ".opus", ".wma", ".aif", ".aiff", ".mka"),
    "subtitles": (".srt", ".ass", ".ssa", ".vtt", ".sub", ".idx", ".sup"),
    "raw video, which does not say its size": (".yuv", ".rgb", ".nv12"),
    "a playlist": (".m3u8", ".m3u", ".mpd"),
}  # fmt: skip


@dataclass(frozen=True)
class FileResult:
    """A row of the table: `problem` is empty if the clip is complete."""

    source: Path
    target: Path
    frames: int = 0
    seconds: float = 0.0
    problem: str = ""


def plan(sources: Sequence[str], target: Path, kind: FileKind = CLIPS) -> list[tuple[Path, Path]]:
    """Pair inputs with outputs: one file goes to the file `target`, several go into the folder `target`.

    Patterns and folders (with their subfolders) count as several; files keep their names.

    Raises:
        InputError: nothing found, or two files would get one name.
    """
    single = len(sources) == 1 and Path(sources[0]).is_file()
    if single and not target.is_dir():
        return [(Path(sources[0]), target)]
    if len(sources) == 1 and not glob.has_magic(sources[0]) and not Path(sources[0]).exists():
        raise InputError(f"{sources[0]}: no such file")
    if target.is_file():
        raise InputError(f"{target}: is a file; several {kind.name} need a folder to go to")
    jobs: list[tuple[Path, Path]] = []
    for source in sources:
        for file, below in files_of(source, target, kind):
            jobs.append((file, target / kind.target_name(below)))
    if not jobs:
        raise InputError(f"no {kind.name} ({', '.join(kind.suffixes)}) in {', '.join(sources)}")
    seen: dict[Path, Path] = {}
    for file, written in jobs:
        if written in seen:
            both = f"{seen[written]} and {file}"
            raise InputError(f"{both} would both be written to {written}; give them different folders")
        seen[written] = file
    return jobs


def files_of(source: str, target: Path, kind: FileKind) -> Iterator[tuple[Path, Path]]:
    """Yield (file, its path below the target folder) of a file, folder or pattern; skip what lies in the target."""
    path = Path(source)
    if path.is_dir():
        for file, problem in below(path, target):
            if not problem and not reason_for(file.relative_to(path), kind):
                yield file, file.relative_to(path)
    elif path.exists() or not glob.has_magic(source):
        yield path, Path(path.name)
    else:
        files = [Path(name) for name in sorted(glob.glob(source, recursive=True))]  # noqa: PTH207 - absolute ones, too
        yield from ((file, Path(file.name)) for file in files if file.is_file())


def below(folder: Path, target: Path) -> list[tuple[Path, str]]:
    """List all below a folder but what lies in `target`, in order, each with what keeps it from being read, or "".

    Folders are listed only where they cannot be read, or are links, which nobody follows.
    """
    found: list[tuple[Path, str]] = []
    results = os.path.realpath(target)
    inside = "" if results == os.path.realpath(folder) else results + os.sep  # a link that leads nowhere raises nothing

    def unreadable(error: OSError) -> None:
        found.append((Path(error.filename), f"a folder that cannot be read ({error.strerror})"))

    for place, folders, files in os.walk(folder, onerror=unreadable):
        links = [name for name in folders if Path(place, name).is_symlink()]
        found += [(Path(place, name), not_readable(Path(place, name))) for name in (*files, *links)]
    return sorted(each for each in found if not inside or not os.path.realpath(each[0]).startswith(inside))


def not_readable(file: Path) -> str:
    """Say why a name in a list of files stands for nothing that can be read as one; empty for a file."""
    try:
        kind = file.stat().st_mode
    except OSError as error:
        return f"a link that leads nowhere ({error.strerror})" if file.is_symlink() else f"{error.strerror}"
    if stat.S_ISDIR(kind):
        return "a link to a folder"
    return "" if stat.S_ISREG(kind) else "no ordinary file (a pipe, a socket or a device)"


def reason_for(name: PurePath, *kinds: FileKind) -> str:
    """Say why a file of a folder is not one of these kinds; empty if it is one."""
    suffix = name.suffix.lower()
    if any(part.startswith(".") for part in name.parts):
        return "hidden"
    if any(suffix in kind.suffixes for kind in kinds):
        return ""
    names = [kind.name for kind in kinds]
    if "clips" not in names and suffix in CLIPS.suffixes:
        return "a clip, for cliplit-video"
    known = next((reason for reason, suffixes in REASONS.items() if suffix in suffixes), "")
    if "pictures" in names and known == PICTURE:
        known = "a picture of a format that cannot be read"
    return known or f"not one of {', '.join(kind.name for kind in kinds)} by its suffix"


def passed_over(sources: Sequence[str], target: Path, kind: FileKind = CLIPS) -> list[str]:
    """List the files below the folders among `sources` that are not done, each with the reason."""
    found = []
    for folder in (Path(source) for source in sources if Path(source).is_dir()):
        for file, problem in below(folder, target):
            if reason := problem or reason_for(file.relative_to(folder), kind):
                found.append(f"{file} is passed over: {reason}")
    return found


def interrupted(finished: int, count: int, target: Path) -> str:
    """Say what is there when many files were interrupted."""
    rest = "of the others nothing was written under its name"
    return f"interrupted; {finished} of {count} files are finished in {target}, {rest}"


def table(outcomes: Sequence[FileResult]) -> str:
    """Format rows of clip, frames, seconds, frames per second, and what went wrong."""
    rows = [("clip", "frames", "seconds", "frames/s", "")]
    for outcome in outcomes:
        rate = f"{outcome.frames / outcome.seconds:.1f}" if outcome.frames and outcome.seconds else "-"
        rows.append(
            (
                printable(str(outcome.source)),
                str(outcome.frames),
                f"{outcome.seconds:.1f}",
                rate,
                printable(outcome.problem or "done"),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(row[i].rjust(widths[i]) for i in range(1, 4)), row[4]]).rstrip()
        for row in rows
    ]
    return "\n".join(lines)


RELIT = ".relit"


def in_and_out(paths: Sequence[str], output: str | None, kind: FileKind = CLIPS) -> tuple[tuple[str, ...], str]:
    """Split what was typed into inputs and the output: `-o OUT`, or the last of several, or a name beside the only one.

    Raises InputError where no output is named and the input is neither a file nor a folder.
    """
    if output is not None:
        return tuple(paths), output
    if len(paths) > 1:
        return tuple(paths[:-1]), paths[-1]
    path = Path(paths[0])
    if path.is_dir():
        return tuple(paths), f"{path.resolve().name if path.name in ('', '..') else path}{RELIT}"
    if not path.is_file():
        raise InputError(f"{paths[0]}: no such file; give IN, and OUT where IN is neither a file nor a folder")
    name = kind.target_name(path)
    return tuple(paths), str(name.with_name(f"{name.stem}{RELIT}{name.suffix}"))
