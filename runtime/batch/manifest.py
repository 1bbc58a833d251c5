"""The record of finished work, kept beside the results: `.cliplit-batch` in DST, a JSON line per finished job.

Every run writes its own file. On a local disk each line is appended at once. An object store gets a new object every
`EVERY` seconds; a crash loses at most the lines of that time, and their files are done again.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType

from .job import Outcome
from .places import filesystem, is_local

FOLDER = ".cliplit-batch"
FAILURES, NOTES = "failures.txt", "notes.txt"
LINES, CLAIMS = ".jsonl", ".claims"
EVERY = 15.0


@dataclass(frozen=True)
class Past:
    """Earlier runs: the last outcome of each finished job, and the names whose results are theirs."""

    done: dict[str, Outcome]
    claimed: set[str]


class Manifest:
    """The lines of all earlier runs, and a writer for this one's. Use as a context manager."""

    def __init__(self, target: str) -> None:
        self.system, path = filesystem(target)
        self.folder = f"{path}/{FOLDER}"
        self.run = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
        self.part = 0
        self.pending: list[str] = []
        self.failed: list[Outcome] = []
        self.noted: list[Outcome] = []
        self.written = time.monotonic()

    def read(self) -> Past:
        """Read the lines of all earlier runs; a line that a crash cut off is ignored."""
        past = Past({}, set())
        if not self.system.exists(self.folder):
            return past
        for path in sorted(self.system.find(self.folder, maxdepth=1)):
            if not path.endswith((LINES, CLAIMS)):
                continue
            for line in self.system.cat_file(path).decode("utf-8", errors="replace").splitlines():
                try:
                    content = json.loads(line)
                    if path.endswith(CLAIMS):
                        past.claimed.add(str(content))
                    elif (outcome := Outcome.from_dict(content)).status == "done":
                        past.done[outcome.name] = outcome
                except (ValueError, TypeError, AttributeError, RecursionError):
                    continue
        return past

    def claim(self, names: Iterable[str]) -> None:
        """Say before the work begins which results will be this run's: a killed run's last ones have no line yet."""
        lines = "".join(json.dumps(name) + "\n" for name in names)
        self.system.pipe_file(f"{self.folder}/{self.run}{CLAIMS}", lines.encode())

    def __enter__(self) -> Manifest:
        self.system.makedirs(self.folder, exist_ok=True)
        return self

    def add(self, outcome: Outcome) -> None:
        self.pending.append(json.dumps(outcome.as_dict()) + "\n")
        if outcome.status == "failed":
            self.failed.append(outcome)
        elif outcome.notes:
            self.noted.append(outcome)
        if is_local(self.system) or time.monotonic() - self.written > EVERY:
            self.flush()

    def flush(self) -> None:
        if self.pending:
            data = "".join(self.pending).encode()
            if is_local(self.system):
                path = f"{self.folder}/{self.run}{LINES}"
                try:
                    with self.system.open(path, "ab") as file:
                        file.write(data)
                except OSError as error:  # a full disk is told without the file's name
                    raise OSError(error.errno, error.strerror or str(error), error.filename or path) from error
            else:
                self.system.pipe_file(f"{self.folder}/{self.run}-{self.part:06d}{LINES}", data)
                self.part += 1
            self.pending.clear()
        self.written = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()
        lines = "".join(f"{outcome.name}: {outcome.error}\n" for outcome in self.failed)
        self.system.pipe_file(f"{self.folder}/{FAILURES}", lines.encode())
        lines = "".join(f"{outcome.name}: {note}\n" for outcome in self.noted for note in outcome.notes)
        self.system.pipe_file(f"{self.folder}/{NOTES}", lines.encode())
