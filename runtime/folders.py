"""Which files to read and where to write them; the table at the end."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cliplit.errors import InputError

SUFFIXES = (
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts",
    ".webm", ".wmv", ".y4m",
)  # fmt: skip
REWRITTEN = {".3gp": ".mp4", ".flv": ".mkv", ".mxf": ".mkv", ".wmv": ".mkv", ".y4m": ".mkv"}  # containers not written

Job = tuple[Path, Path]  # a clip to read, a file to write


@dataclass(frozen=True)
class Outcome:
    """A row of the table: `problem` is empty for a clip that is whole."""

    source: Path
    target: Path
    frames: int = 0
    seconds: float = 0.0
    problem: str = ""


def plan(sources: Sequence[str], target: Path) -> list[Job]:
    """One clip goes to the file `target`; several, patterns and folders (with those below) go into the folder
    `target` under their own names.

    Raises:
        InputError: nothing found, or two clips would get one name.
    """
    single = len(sources) == 1 and Path(sources[0]).is_file()
    if single and not target.is_dir():
        return [(Path(sources[0]), target)]
    if len(sources) == 1 and not glob.has_magic(sources[0]) and not Path(sources[0]).exists():
        raise InputError(f"{sources[0]}: no such file")
    if target.is_file():
        raise InputError(f"{target}: is a file; several clips need a folder to go to")
    jobs: list[Job] = []
    for source in sources:
        for clip, below in clips_of(source, target):
            jobs.append((clip, target / below.with_suffix(REWRITTEN.get(clip.suffix.lower(), clip.suffix))))
    if not jobs:
        raise InputError(f"no clips ({', '.join(SUFFIXES)}) in {', '.join(sources)}")
    seen: dict[Path, Path] = {}
    for clip, file in jobs:
        if file in seen:
            raise InputError(f"{seen[file]} and {clip} would both be written to {file}; give them different folders")
        seen[file] = clip
    return jobs


def clips_of(source: str, target: Path) -> Iterator[tuple[Path, Path]]:
    """(clip, its place below the target folder) of a file, a folder or a pattern; nothing that lies in the target."""
    path = Path(source)
    if path.is_dir():
        inside = target.resolve()
        for file in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
            written = inside != path.resolve() and inside in file.resolve().parents
            if file.is_file() and file.suffix.lower() in SUFFIXES and not hidden and not written:
                yield file, file.relative_to(path)
    elif path.exists() or not glob.has_magic(source):
        yield path, Path(path.name)
    else:
        files = [Path(name) for name in sorted(glob.glob(source, recursive=True))]  # noqa: PTH207 - absolute ones, too
        yield from ((file, Path(file.name)) for file in files if file.is_file())


def table(outcomes: Sequence[Outcome]) -> str:
    """Rows of clip, frames, seconds, frames a second, and what went wrong."""
    rows = [("clip", "frames", "seconds", "frames/s", "")]
    for outcome in outcomes:
        rate = f"{outcome.frames / outcome.seconds:.1f}" if outcome.frames and outcome.seconds else "-"
        rows.append(
            (str(outcome.source), str(outcome.frames), f"{outcome.seconds:.1f}", rate, outcome.problem or "done")
        )
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(row[i].rjust(widths[i]) for i in range(1, 4)), row[4]]).rstrip()
        for row in rows
    ]
    return "\n".join(lines)
