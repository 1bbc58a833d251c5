"""Model files: where they are, and their descriptions of themselves.

A model's description is one JSON property inside the ONNX file. It is read directly from the protocol buffer, so that
back ends without onnx or ONNX Runtime also know the network's input.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from cliplit.errors import InputError, ModelError

BUNDLED = Path(__file__).parents[1] / "models"
CHECKPOINT_SUFFIXES = (".pt", ".pth")
PROPERTY = "cliplit"
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
        except (ValueError, TypeError, AttributeError) as error:
            raise ModelError(f"{path}: its cliplit metadata cannot be read ({error})") from error
        if info.shape is not None:
            object.__setattr__(info, "shape", tuple(info.shape))
        if (info.colour_order, info.value_range) != ("RGB", "0..1"):
            raise ModelError(f"{path}: wants {info.colour_order} in {info.value_range}; this runtime feeds RGB in 0..1")
        return info


def model_info(path: Path) -> ModelInfo:
    """Read the description inside an ONNX file. Raises ModelError if there is none."""
    try:
        properties = dict(_properties(path.read_bytes()))
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not an ONNX model ({error})") from error
    if PROPERTY not in properties:
        raise ModelError(f"{path}: an ONNX file without cliplit metadata; make one with: cliplit-export CHECKPOINT")
    return ModelInfo.from_json(properties[PROPERTY], path)


def bundled_models() -> list[str]:
    return sorted(path.stem for path in BUNDLED.glob("*.onnx"))


def find_model(model: str | Path, checkpoints: bool = False) -> Path:
    """Find the file of a bundled model's name, or of a path. Raises InputError if it is neither.

    Args:
        checkpoints: whether the asking back end reads PyTorch checkpoints; if not, one is a ModelError.
    """
    bundled = BUNDLED / f"{model}.onnx"
    if isinstance(model, str) and bundled.is_file():
        return bundled
    path = Path(model)
    if not path.is_file():
        raise InputError(f"{model}: neither a bundled model ({', '.join(bundled_models())}) nor a file")
    if path.suffix in CHECKPOINT_SUFFIXES and not checkpoints:
        raise ModelError(
            f"{path}: a PyTorch checkpoint; turn it into a model with: cliplit-export {path}, "
            "or run it directly with: --backend pytorch"
        )
    return path


def _properties(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield keys and values of ModelProto.metadata_props."""
    for number, value in _fields(data):
        if number == _METADATA_PROPS:
            entry = dict(_fields(value))
            yield entry.get(1, b"").decode(), entry.get(2, b"").decode()


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (number, bytes) of a message's length-delimited fields; others are skipped.

    Source: the protocol buffer encoding, developers' documentation, "Message Structure".
    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            _, at = _varint(data, at)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        elif wire == 2:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ValueError("a field is longer than the file")
            yield number, data[at : at + length]
            at += length
        else:
            raise ValueError(f"no protocol buffer: wire type {wire}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("no protocol buffer: a number without end")
