"""What an ONNX file may hold before any back end sees it: one plain graph, all of whose weights are in the file.

The networks of this project need neither control flow nor functions nor other files. A `Loop` runs as long as it says,
a function of functions unfolds without bound, and names of other files are opened by the back ends (OpenVINO takes one
of them for an address in memory). So all that is refused, by the protocol buffer itself, before a library parses it.

Field numbers: onnx.proto, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cliplit.errors import ModelError

DOMAINS = {b"", b"ai.onnx", b"com.microsoft"}  # the last: quantised operators of ONNX Runtime's tools
CONTROL_FLOW = {b"Loop", b"If", b"Scan", b"SequenceMap"}
EXTERNAL = 1  # TensorProto.DataLocation
MODEL = {"graph": 7, "training": 20, "functions": 25}
GRAPH = {"node": 1, "initializer": 5, "sparse": 15}
NODE = {"attribute": 5, "op_type": 4, "domain": 7}
ATTRIBUTE = {"tensors": (5, 10), "graphs": (6, 11), "sparse": (22, 23)}
TENSOR = {"external_data": 13, "data_location": 14}

Value = bytes | int


def check_graph(data: bytes, path: Path) -> None:
    """Check a serialised ModelProto. Raises ModelError with what is not taken; ValueError, IndexError if it is none."""
    graphs = 0
    for number, value in fields(data):
        if number in (MODEL["training"], MODEL["functions"]):
            raise ModelError(f"{path}: holds functions or training steps, which this runtime does not run")
        if number == MODEL["graph"]:
            graphs += 1
            _check_graph(_bytes(value), path)
    if graphs != 1:
        raise ModelError(f"{path}: holds {graphs} graphs, expected one")


def _check_graph(graph: bytes, path: Path) -> None:
    for number, value in fields(graph):
        if number == GRAPH["node"]:
            _check_node(_bytes(value), path)
        elif number == GRAPH["initializer"]:
            _check_tensor(_bytes(value), path)
        elif number == GRAPH["sparse"]:
            _check_sparse(_bytes(value), path)


def _check_node(node: bytes, path: Path) -> None:
    kind, domain = b"", b""
    for number, value in fields(node):
        if number == NODE["op_type"]:
            kind = _bytes(value)
        elif number == NODE["domain"]:
            domain = _bytes(value)
        elif number == NODE["attribute"]:
            for part, inner in fields(_bytes(value)):
                if part in ATTRIBUTE["graphs"]:
                    raise ModelError(f"{path}: holds control flow ({_word(kind)}), which this runtime does not run")
                if part in ATTRIBUTE["tensors"]:
                    _check_tensor(_bytes(inner), path)
                elif part in ATTRIBUTE["sparse"]:
                    _check_sparse(_bytes(inner), path)
    if kind in CONTROL_FLOW:
        raise ModelError(f"{path}: holds control flow ({_word(kind)}), which this runtime does not run")
    if domain not in DOMAINS:
        raise ModelError(f"{path}: holds operators of {_word(domain)}, which are not ONNX's")


def _check_sparse(tensor: bytes, path: Path) -> None:
    for number, value in fields(tensor):
        if number in (1, 2):  # values, indices
            _check_tensor(_bytes(value), path)


def _check_tensor(tensor: bytes, path: Path) -> None:
    for number, value in fields(tensor):
        if number == TENSOR["external_data"] or (number == TENSOR["data_location"] and value == EXTERNAL):
            raise ModelError(f"{path}: keeps weights in another file, which is not opened; export it as one file")


def _bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where a message is expected")
    return value


def _word(name: bytes) -> str:
    return repr(name[:40].decode("utf-8", "replace"))


def fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Yield (number, bytes or integer) of a message's length-delimited and varint fields; others are skipped.

    Source: the protocol buffer encoding, developers' documentation, "Message Structure". Raises ValueError or
    IndexError where it is none.
    """
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = varint(data, at)
            yield number, value
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        elif wire == 2:
            length, at = varint(data, at)
            if at + length > len(data):
                raise ValueError("a field is longer than the file")
            yield number, data[at : at + length]
            at += length
        else:
            raise ValueError(f"no protocol buffer: wire type {wire}")


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a variable-length integer and the place behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("no protocol buffer: a number without end")
