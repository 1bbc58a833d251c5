"""Model files: where they are, and their descriptions of themselves.

A model's description is one JSON property inside the ONNX file. It is read directly from the protocol buffer, so that
back ends without onnx or ONNX Runtime also know the network's input.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cliplit.errors import InputError, ModelError

from . import graph_check

BUNDLED = Path(__file__).parents[1] / "models"
CHECKPOINT_SUFFIXES = (".pt", ".pth")
PROPERTY = "cliplit"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
MAX_SIDE = 1 << 16
NO_UNET = (
    "; the paper's network is no longer bundled, as lite has the better scores: train it with "
    "cliplit-train --config paired-unet, or export a published checkpoint with cliplit-export"
)
_METADATA_PROPS = 14  # field number in ModelProto of onnx.proto


@dataclass(frozen=True)
class ModelInfo:
    """The description in an exported model; `cliplit-export` writes it and the runtime follows it.

    Attributes:
        proxy_short_side: of the small picture the network wants to see.
        multiple: height and width must be multiples of this.
        precision: of the weights and of the layers in between: "fp32", "fp16" or "int8"; inputs and outputs are
            float32 always.
        shape: (N, H, W) of a file with fixed sizes, None where all three are free.
        takes_masks: whether negative samples tell it what is not picture.
        kind: "light" (picture -> light map) or "image" (image -> enhanced image, for other programs).
    """

    name: str
    version: str
    colour_order: str
    value_range: str
    proxy_short_side: int
    multiple: int
    training: str
    checkpoint_sha256: str
    precision: str = "fp32"
    shape: tuple[int, int, int] | None = None
    kind: str = "light"
    takes_masks: bool = False

    @classmethod
    def from_json(cls, text: str, path: Path) -> ModelInfo:
        """Parse a description. Raises ModelError if it is not ours, or asks for input we do not provide."""
        known = {field.name for field in fields(cls)}
        try:
            content = json.loads(text)
            info = cls(**{key: value for key, value in content.items() if key in known})
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ModelError(f"{path}: its cliplit metadata cannot be read ({error})") from error
        if wrong := next(info.wrong(), None):
            raise ModelError(f"{path}: its cliplit metadata has a {wrong} that cannot be: {getattr(info, wrong)!r:.60}")
        if info.shape is not None:
            object.__setattr__(info, "shape", tuple(info.shape))
        if (info.colour_order, info.value_range) != ("RGB", "0..1"):
            raise ModelError(f"{path}: wants {info.colour_order} in {info.value_range}; this runtime feeds RGB in 0..1")
        return info

    def wrong(self) -> Iterator[str]:
        """Yield the names of what has a type or a value that cannot be; names become parts of file names."""

        def number(value: object, most: int) -> bool:
            return type(value) is int and 1 <= value <= most

        def words(value: object, most: int) -> bool:
            return isinstance(value, str) and len(value) <= most and value.isprintable()

        shape: Any = self.shape
        checks = {
            "name": isinstance(self.name, str) and NAME.fullmatch(self.name) is not None,
            "version": words(self.version, 100),
            "colour_order": words(self.colour_order, 20),
            "value_range": words(self.value_range, 20),
            "proxy_short_side": number(self.proxy_short_side, MAX_SIDE),
            "multiple": number(self.multiple, 1024),
            "training": words(self.training, 2000),
            "checkpoint_sha256": words(self.checkpoint_sha256, 100),
            "precision": self.precision in PRECISIONS,
            "kind": self.kind in ("light", "image"),
            "takes_masks": isinstance(self.takes_masks, bool),
            "shape": shape is None
            or (isinstance(shape, list | tuple) and len(shape) == 3 and all(number(side, MAX_SIDE) for side in shape)),
        }
        return (name for name, right in checks.items() if not right)


def model_info(path: Path) -> ModelInfo:
    """Read the description inside an ONNX file.

    Raises:
        ModelError: there is none, or the graph is of a kind that is not run, see `graph_check`.
    """
    try:
        data = path.read_bytes()
        graph_check.check_graph(data, path)
        properties = dict(_properties(data))
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not an ONNX model ({error})") from error
    if PROPERTY not in properties:
        raise ModelError(f"{path}: an ONNX file without cliplit metadata; make one with: cliplit-export CHECKPOINT")
    return ModelInfo.from_json(properties[PROPERTY], path)


def network_info(path: Path) -> ModelInfo:
    """Read the description of a network to run. Raises ModelError as `model_info`, and for a whole-image graph."""
    info = model_info(path)
    check_network(info, path)
    return info


def check_network(info: ModelInfo, model: object) -> None:
    """Check that a file holds the network alone. Raises ModelError."""
    if info.kind != "light":
        raise ModelError(f"{model}: a whole-image graph, for other programs; this runtime wants the network alone")


def bundled_models() -> list[str]:
    return sorted(path.stem for path in BUNDLED.glob("*.onnx"))


def find_model(model: str | Path, checkpoints: bool = False) -> Path:
    """Find the file of a bundled model's name, or of a path. Raises InputError if it is neither.

    Args:
        checkpoints: whether the asking back end reads PyTorch checkpoints; if not, one is a ModelError.
    """
    if isinstance(model, str) and NAME.fullmatch(model) and (bundled := BUNDLED / f"{model}.onnx").is_file():
        return bundled
    path = Path(model)
    if not path.is_file():
        hint = NO_UNET if str(model) == "unet" else ""
        raise InputError(f"{model}: neither a bundled model ({', '.join(bundled_models())}) nor a file{hint}")
    if path.suffix in CHECKPOINT_SUFFIXES and not checkpoints:
        raise ModelError(
            f"{path}: a PyTorch checkpoint; turn it into a model with: cliplit-export {path}, "
            "or run it directly with: --backend pytorch"
        )
    return path


def _properties(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield keys and values of ModelProto.metadata_props."""
    for number, value in graph_check.fields(data):
        if number == _METADATA_PROPS and isinstance(value, bytes):
            entry = {key: part for key, part in graph_check.fields(value) if isinstance(part, bytes)}
            yield entry.get(1, b"").decode(), entry.get(2, b"").decode()
