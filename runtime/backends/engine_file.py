"""Engine files and their cache. A header names what the engine fits: one TensorRT, one GPU and one system, or more.

    magic, header length (4 bytes, little endian), engine length (8 bytes), header (JSON), engine

TensorRT itself detects some mismatches, crashes on others and always blames the file. Its engines stay in the cache;
those of TensorRT for RTX fit many cards and may lie beside the ONNX file, too (R5.6).
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from cliplit.errors import ModelError
from cliplit.files import atomic_write, check_private, private_folder

from .home import home
from .model_file import NAME

MAGIC = b"CLIPLIT-ENGINE\n"
ANYTHING = "any"
FORMAT = 2  # 2: with the hash of the engine
_LENGTHS = struct.Struct("<IQ")

Size = tuple[int, int, int]  # N, H, W


@dataclass(frozen=True)
class Shapes:
    """The sizes an engine takes: from `least` to `most`, tuned for `best`; all equal in a fixed one."""

    least: Size
    best: Size
    most: Size

    @classmethod
    def fixed(cls, size: Size) -> Shapes:
        return cls(size, size, size)

    @property
    def are_fixed(self) -> bool:
        return self.least == self.most

    def cover(self, size: Size) -> bool:
        return all(a <= b <= c for a, b, c in zip(self.least, size, self.most, strict=True))

    def __str__(self) -> str:
        sizes = [self.best] if self.are_fixed else [self.least, self.best, self.most]
        return ",".join("x".join(map(str, size)) for size in sizes)


@dataclass(frozen=True)
class Machine:
    """The software and hardware an engine is bound to, or that is here.

    In the header of a portable engine "any" stands for what it is not bound to, and a compute capability with a plus
    ("8.0+") is the least one.
    """

    tensorrt: str
    cuda: str
    gpu: str
    compute_capability: str
    system: str

    def fits(self, here: Machine, name: str) -> bool:
        """Tell whether what an engine says of `name`, a field, fits the machine that is here."""
        said, found = getattr(self, name), getattr(here, name)
        if name == "compute_capability" and said.endswith("+"):
            return _numbers(said.rstrip("+")) <= _numbers(found.rstrip("+"))
        return said in (ANYTHING, found)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


@dataclass(frozen=True)
class EngineHeader:
    """The header in front of an engine."""

    model: str
    model_sha256: str
    precision: str
    shapes: Shapes
    machine: Machine

    def path(self) -> Path:
        """Return its path in the cache. The machine is not part of it: a file of another one is seen and replaced."""
        if not NAME.fullmatch(self.model):
            raise ModelError(f"{self.model!r:.60}: no name of a model, of letters, digits and _ . + -")
        key = hashlib.sha256(f"{self.model_sha256} {self.shapes}".encode()).hexdigest()[:12]
        return cache_folder() / f"{self.model}-{self.precision}-{self.shapes}-{key}.engine"

    def mismatches(self, wanted: EngineHeader) -> list[str]:
        """Describe how this header differs from the wanted one, in words; empty if it fits."""
        words = {
            "tensorrt": "TensorRT",
            "cuda": "CUDA",
            "gpu": "GPU",
            "compute_capability": "compute capability",
            "system": "operating system",
        }
        found = [
            f"{words[field.name]} {getattr(self.machine, field.name)}, here {getattr(wanted.machine, field.name)}"
            for field in fields(Machine)
            if not self.machine.fits(wanted.machine, field.name)
        ]
        if self.model_sha256 != wanted.model_sha256:
            found.insert(0, "another model file")
        if self.precision != wanted.precision:
            found.append(f"precision {self.precision}, wanted {wanted.precision}")
        if self.shapes != wanted.shapes:
            found.append(f"shapes {self.shapes}, wanted {wanted.shapes}")
        return found


def write_engine(path: Path, header: EngineHeader, engine: bytes) -> None:
    digest = hashlib.sha256(engine).hexdigest()
    text = json.dumps({"format": FORMAT, "sha256": digest, **asdict(header)}).encode()
    if path.parent == cache_folder():
        private_folder(path.parent)
    else:  # beside its model
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(MAGIC + _LENGTHS.pack(len(text), len(engine)) + text)
        file.write(engine)


def read_header(path: Path) -> EngineHeader:
    """Read a header. Raises ModelError for a file that is not one of our engines, truncated, or of a later format."""
    return _read(path, with_engine=False)[0]


def read_engine(path: Path) -> tuple[EngineHeader, bytes]:
    """Read header and engine. Raises ModelError as `read_header`."""
    return _read(path, with_engine=True)


def _read(path: Path, with_engine: bool) -> tuple[EngineHeader, bytes]:
    start = len(MAGIC) + _LENGTHS.size
    if path.parent == cache_folder():
        check_private(path.parent)  # an engine is run as it is
    with path.open("rb") as file:
        head = file.read(start)
        if not head.startswith(MAGIC) or len(head) < start:
            raise ModelError(f"{path}: not an engine file of cliplit")
        header_length, engine_length = _LENGTHS.unpack(head[len(MAGIC) :])
        expected, size = start + header_length + engine_length, path.stat().st_size
        if size != expected:
            raise ModelError(f"{path}: {size} bytes, its header speaks of {expected}: cut short or damaged")
        text = file.read(header_length)
        engine = file.read(engine_length) if with_engine else b""
    try:
        content = json.loads(text)
        if content.pop("format") != FORMAT:
            raise ModelError(f"{path}: an engine file of another version of cliplit")
        digest = content.pop("sha256")
        if with_engine and digest != hashlib.sha256(engine).hexdigest():
            raise ModelError(f"{path}: the engine is not the one its header speaks of: damaged")
        shapes = Shapes(*(tuple(content["shapes"][name]) for name in ("least", "best", "most")))
        content |= {"shapes": shapes, "machine": Machine(**content["machine"])}
        sides = [side for size in (shapes.least, shapes.best, shapes.most) for side in size]
        names = [content["model"], content["model_sha256"], content["precision"], *asdict(content["machine"]).values()]
        if len(sides) != 9 or any(type(side) is not int for side in sides) or any(type(n) is not str for n in names):
            raise ValueError("a value of another type")
        header = EngineHeader(**content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path}: its header cannot be read ({error})") from error
    return header, engine


def cache_folder() -> Path:
    return home() / "engines"


def cached_engines() -> Iterator[tuple[Path, EngineHeader | ModelError]]:
    """Yield every engine file in the cache with its header, or with the error that reading it raised."""
    return _with_headers(cache_folder().glob("*.engine"))


def beside(model: Path, shapes: Shapes, target: str = "") -> Path:
    """Return the path of a portable engine beside its ONNX file; `target` is named where it is not the usual one."""
    return model.with_name(".".join([model.stem, *([f"cc{target}"] if target else []), str(shapes), "engine"]))


def engines_of(model: Path) -> Iterator[tuple[Path, EngineHeader | ModelError]]:
    """Yield the engine files beside an ONNX file, as `cached_engines`."""
    start = f"{model.stem}."
    found = (path for path in model.parent.glob("*.engine") if path.name.startswith(start))
    return _with_headers(found)


def _with_headers(paths: Iterable[Path]) -> Iterator[tuple[Path, EngineHeader | ModelError]]:
    for path in sorted(paths):
        try:
            yield path, read_header(path)
        except ModelError as error:
            yield path, error


def clear_cache() -> tuple[int, int]:
    """Remove engines and timing caches, ours and those of ONNX Runtime's TensorRT provider: (files, bytes)."""
    files = size = 0
    for folder in (cache_folder(), home() / "onnxruntime-tensorrt"):
        for path in folder.glob("*"):
            if path.is_file():
                files, size = files + 1, size + path.stat().st_size
                path.unlink()
    return files, size
