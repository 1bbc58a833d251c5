"""Numbered pictures, as compositors take them: `shot/frames_%04d.png` stands for `frames_0001.png` and so on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from cliplit.errors import InputError

from .containers import PATTERN
from .names import exists

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Numbered:
    """The names of a sequence: in `folder`, `before`, a number with at least `digits` digits, `after`.

    Attributes:
        pattern: as the user wrote it.
    """

    pattern: Path
    before: str
    digits: int
    after: str

    @property
    def folder(self) -> Path:
        return self.pattern.parent

    def name(self, number: int) -> str:
        """Return the name of the picture of this number, without the folder."""
        return f"{self.before}{number:0{self.digits}d}{self.after}"

    def numbers(self) -> list[int]:
        """Return the numbers of the files that exist, in order."""
        form = re.compile(rf"{re.escape(self.before)}(\d+){re.escape(self.after)}")
        names = (file.name for file in self.folder.iterdir()) if self.folder.is_dir() else ()
        found = (int(match[1]) for name in names if (match := form.fullmatch(name)) and match[1].isascii())
        return sorted({number for number in found if (self.folder / self.name(number)).is_file()})


def numbered(name: Path | str) -> Numbered | None:
    """Return what a name such as frames_%04d.png stands for; None if it is none, or a file is really named so.

    Raises:
        InputError: more than one number in a name.
    """
    path = Path(name)
    places = list(PATTERN.finditer(path.name))
    if not places or path.suffix.lower() not in SUFFIXES or exists(path):
        return None
    if len(places) > 1:
        raise InputError(f"{path}: has {len(places)} numbers; name pictures with one, such as frames_%04d.png")
    place = places[0]
    digits = int(place[0].strip("%d") or 1)
    return Numbered(path, path.name[: place.start()], digits, path.name[place.end() :])


def check_numbered(target: Numbered, source: Path | None, overwrite: bool) -> None:
    """Check that writing pictures of these names destroys nothing and can work. Raises InputError if not."""
    if not target.folder.is_dir():
        raise InputError(f"{target.folder}: no such folder to write {target.pattern.name} to")
    own = numbered(source) if source is not None else None
    same = own and own.folder.samefile(target.folder) if own and own.folder.is_dir() else False
    if own and same and (own.before, own.after) == (target.before, target.after):
        raise InputError(f"{target.pattern}: is the input itself; name another output")
    there = target.numbers()
    if there and not overwrite:
        first = target.folder / target.name(there[0])
        raise InputError(
            f"{first}: exists already ({len(there)} pictures of these names do); use --overwrite to replace them"
        )


def ranges(numbers: Iterable[int]) -> str:
    """Write numbers in words: "3, 7 to 9"."""
    runs = []
    for _, run in groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        runs.append(str(members[0]) if len(members) == 1 else f"{members[0]} to {members[-1]}")
    return ", ".join(runs)
