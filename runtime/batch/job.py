"""The data of a batch: jobs, the options they share, and their outcomes. Plain data that can be sent anywhere."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

JobKind = Literal["picture", "video", "states", "segment", "join"]  # the last three are steps of a long clip
Status = Literal["done", "failed"]


@dataclass(frozen=True)
class Job:
    """One file to relight.

    Attributes:
        name: of the file below SRC, with `/` between folders; the key of the manifest.
        source, target: fsspec URLs, or paths.
        root: DST, where manifest and unfinished work are.
        identity: changes when the source changes (size and time stamp or entity tag).
        size: of the source in bytes.
        number: of a piece of a long clip.
    """

    name: str
    source: str
    target: str
    root: str
    kind: JobKind
    identity: str
    size: int
    number: int = 0


@dataclass(frozen=True)
class Model:
    """A network that can be sent: a bundled one by its name, any other as the bytes of its file."""

    name: str
    sha256: str
    data: bytes | None = None
    suffix: str = ".onnx"


@dataclass(frozen=True)
class Options:
    """The options for every file. `enhancer` holds the arguments of `Enhancer` except model and threads."""

    model: Model
    enhancer: dict[str, Any] = field(default_factory=dict)
    encoding: dict[str, Any] = field(default_factory=dict)
    jpeg_quality: int = 95
    retries: int = 2
    version: str = ""
    max_pixels: int = 1 << 28

    @property
    def digest(self) -> str:
        """A hash that changes whenever a result could."""
        what = [self.version, self.model.sha256, self.enhancer, self.encoding, self.jpeg_quality]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Outcome:
    """The result of a job; a line of the manifest."""

    name: str
    status: Status
    identity: str
    digest: str
    size: int = 0
    seconds: float = 0.0
    frames: int = 0
    attempts: int = 1
    error: str = ""
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Outcome:
        return cls(**{**values, "notes": tuple(values.get("notes", ()))})


def failure(job: Job, options: Options, error: str, attempts: int = 1) -> Outcome:
    return Outcome(job.name, "failed", job.identity, options.digest, attempts=attempts, error=" ".join(error.split()))
