"""Hostile ONNX files and checkpoints, each by its name."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

BUNDLED = Path(__file__).resolve().parents[2] / "runtime" / "models" / "lite.onnx"
HUGE = 1 << 62
INFO: dict[str, Any] = {
    "name": "lite", "version": "1", "colour_order": "RGB", "value_range": "0..1", "proxy_short_side": 192, "multiple": 16,
    "training": "none", "checkpoint_sha256": "0" * 64, "precision": "fp32", "shape": None, "kind": "light",
}  # fmt: skip

# Each differs from INFO in one thing.
DESCRIPTIONS: dict[str, Any] = {
    "name is a path": {"name": "../../../etc/x"}, "name is absolute": {"name": "/tmp/x"}, "name is empty": {"name": ""},
    "name is dots": {"name": ".."}, "name has a null": {"name": "a\0b"}, "name is a list": {"name": ["lite"]},
    "name is long": {"name": "x" * 5000}, "name commands": {"name": "\x1b[2Jx"}, "name is null": {"name": None},
    "side is 0": {"proxy_short_side": 0}, "side is negative": {"proxy_short_side": -5},
    "side is huge": {"proxy_short_side": HUGE}, "side is a float": {"proxy_short_side": 1.5},
    "side is text": {"proxy_short_side": "192"}, "side is true": {"proxy_short_side": True},
    "side is nan": {"proxy_short_side": float("nan")}, "side is a digit bomb": {"proxy_short_side": 10**4000},
    "multiple is 0": {"multiple": 0}, "multiple is huge": {"multiple": HUGE}, "multiple is null": {"multiple": None},
    "shape is empty": {"shape": []}, "shape is a number": {"shape": 3}, "shape is huge": {"shape": [1, HUGE, HUGE]},
    "shape has text": {"shape": ["1", "2", "3"]}, "shape is 0": {"shape": [0, 0, 0]}, "shape is long": {"shape": [1] * 9999},
    "kind is other": {"kind": "code"}, "kind is a dict": {"kind": {}}, "precision is other": {"precision": "fp8"},
    "precision is a list": {"precision": ["fp32"]}, "masks are a word": {"takes_masks": "yes"},
    "colours are other": {"colour_order": "BGR"}, "colours are a number": {"colour_order": 3},
    "training commands": {"training": "\x1b]0;x\x07"}, "training is a dict": {"training": {"a": 1}},
    "hash is a number": {"checkpoint_sha256": 5}, "version is a list": {"version": [1]},
}  # fmt: skip
TEXTS = {
    "no JSON": "{", "empty": "", "a list": "[]", "a number": "1", "null": "null", "a word": '"x"', "deep": "[" * 100_000,
    "deep dicts": '{"a":' * 50_000, "no fields": "{}", "only a name": '{"name": "lite"}', "other fields": '{"x": 1}',
}  # fmt: skip


def onnx_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield (what is wrong with it, an ONNX file); all must be refused, or fail, in one line."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def written(name: str, data: bytes) -> tuple[str, Path]:
        path = folder / f"{name.replace(' ', '_')}.onnx"
        path.write_bytes(data)
        return name, path

    def described(model: Any, text: str | None = None) -> bytes:
        helper.set_model_props(model, {"cliplit": json.dumps(INFO) if text is None else text})
        return bytes(model.SerializeToString())

    good = onnx.load(str(BUNDLED))
    for name, change in DESCRIPTIONS.items():
        yield written(name, described(good, json.dumps({**INFO, **change})))
    for name, text in TEXTS.items():
        yield written(f"description is {name}", described(good, text))

    sizes = ["N", 3, "H", "W"], ["N", 1, "H", "W"]

    def model(nodes: list[Any], tensors: list[Any] = [], inputs: Any = None, outputs: Any = None, **more: Any) -> Any:  # noqa: B006
        takes = [helper.make_tensor_value_info("picture", TensorProto.FLOAT, sizes[0])] if inputs is None else inputs
        gives = [helper.make_tensor_value_info("light", TensorProto.FLOAT, sizes[1])] if outputs is None else outputs
        graph = helper.make_graph(nodes, "g", takes, gives, tensors)
        opset = [helper.make_opsetid("", 17), *more.pop("domains", [])]
        return helper.make_model(graph, opset_imports=opset, ir_version=8, **more)

    def info(name: str, kind: int, shape: list[Any]) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    mean = helper.make_node("ReduceMean", ["picture"], ["light"], axes=[1], keepdims=1)
    # Control flow, functions, foreign operators
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["again"]), helper.make_node("Identity", ["x"], ["y"])], "b",
        [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, []), info("x", TensorProto.FLOAT, sizes[0])],
        [info("again", TensorProto.BOOL, []), info("y", TensorProto.FLOAT, sizes[0])],
    )  # fmt: skip
    count = numpy_helper.from_array(np.array(HUGE), "count")
    true = numpy_helper.from_array(np.array(True), "true")
    loop = helper.make_node("Loop", ["count", "true", "picture"], ["looped"], body=body)
    after = helper.make_node("ReduceMean", ["looped"], ["light"], axes=[1], keepdims=1)
    yield written("a loop of 2 to the 62", described(model([loop, after], [count, true])))
    one = helper.make_graph([helper.make_node("Identity", ["picture"], ["o"])], "o", [], [info("o", 1, sizes[0])])
    branch = helper.make_node("If", ["true"], ["looped"], then_branch=one, else_branch=one)
    yield written("a branch", described(model([branch, after], [true])))
    scan = helper.make_node("Scan", ["picture"], ["looped"], body=one, num_scan_inputs=1)
    yield written("a scan", described(model([scan, after])))
    foreign = helper.make_node("Anything", ["picture"], ["light"], domain="evil.ops")
    yield written("operators of others", described(model([foreign], domains=[helper.make_opsetid("evil.ops", 1)])))
    calls = [
        helper.make_function("f", f"f{n}", ["x"], ["y"], [
            helper.make_node(f"f{n - 1}" if n else "Identity", ["x"], ["m"], domain="f" if n else ""),
            helper.make_node(f"f{n - 1}" if n else "Identity", ["m"], ["y"], domain="f" if n else ""),
        ], [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)])
        for n in range(40)
    ]  # fmt: skip
    bomb = helper.make_node("f39", ["picture"], ["light"], domain="f")
    yield written(
        "functions of functions", described(model([bomb], domains=[helper.make_opsetid("f", 1)], functions=calls))
    )
    # Other files
    for name, place in (("a sibling", "b.bin"), ("an absolute path", "/etc/passwd"), ("a path upwards", "../../x"),
                        ("an address in memory", "*/_ORT_MEM_ADDR_/*"), ("a device", "/dev/zero")):  # fmt: skip
        for inside in (False, True):
            tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, 3, 1, 1])
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", place), ("offset", "140737488355328"), ("length", "12")):
                tensor.external_data.add(key=key, value=value)
            conv = helper.make_node("Conv", ["picture", "w"], ["light"])
            constant = [helper.make_node("Constant", [], ["w"], value=tensor), conv]
            made = model(constant) if inside else model([conv], [tensor])
            yield written(f"weights in {name}{' inside a node' if inside else ''}", described(made))
    # What it takes and gives
    yield written("no input", described(model([helper.make_node("Identity", ["w"], ["light"])],
                  [numpy_helper.from_array(np.zeros((1, 1, 4, 4), np.float32), "w")], inputs=[])))  # fmt: skip
    two = [info("picture", 1, sizes[0]), info("other", 1, sizes[0])]
    yield written("two inputs", described(model([mean], inputs=two)))
    yield written("no output", described(model([mean], outputs=[])))
    for name, kind in (("text", TensorProto.STRING), ("doubles", TensorProto.DOUBLE), ("integers", TensorProto.INT64)):
        same = helper.make_node("Identity", ["picture"], ["light"])
        yield written(f"takes {name}", described(model([same], inputs=[info("picture", kind, sizes[0])],
                                                       outputs=[info("light", kind, sizes[0])])))  # fmt: skip
    cast = helper.make_node("Cast", ["picture"], ["light"], to=TensorProto.DOUBLE)
    yield written("gives doubles", described(model([cast], outputs=[info("light", TensorProto.DOUBLE, sizes[0])])))
    yield written("takes two dimensions", described(model([helper.make_node("Identity", ["picture"], ["light"])],
                  inputs=[info("picture", 1, ["H", "W"])], outputs=[info("light", 1, ["H", "W"])])))  # fmt: skip
    same = helper.make_node("Identity", ["picture"], ["light"])
    yield written("gives three channels", described(model([same], outputs=[info("light", 1, sizes[0])])))
    yield written("gives a wrong size", described(model([
        helper.make_node("ReduceMean", ["picture"], ["light"], axes=[1, 2], keepdims=1)],
        outputs=[info("light", 1, ["N", 1, "A", "W"])])))  # fmt: skip
    zero = numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    yield written("gives no numbers", described(model([
        helper.make_node("Mul", ["picture", "zero"], ["a"]), helper.make_node("Div", ["a", "a"], ["b"]),
        helper.make_node("ReduceMean", ["b"], ["light"], axes=[1], keepdims=1)], [zero])))  # fmt: skip
    large = numpy_helper.from_array(np.array([1, 1, 1 << 31, 1 << 31]), "large")
    grown = [helper.make_node("Expand", ["one", "large"], ["light"])]
    single = numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "one")
    yield written("gives 2 to the 64 bytes", described(model(grown, [large, single])))
    # Broken graphs and files
    yield written(
        "a tensor that is missing", described(model([helper.make_node("Conv", ["picture", "no"], ["light"])]))
    )
    yield written("an unknown operator", described(model([helper.make_node("NoSuchThing", ["picture"], ["light"])])))
    yield written("a circle", described(model([helper.make_node("Add", ["picture", "b"], ["light"]),
                                                helper.make_node("Relu", ["light"], ["b"])])))  # fmt: skip
    short = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, 3, 1000, 1000], raw_data=b"1234")
    conv = helper.make_node("Conv", ["picture", "w"], ["light"])
    yield written("a tensor that is cut", described(model([conv], [short])))
    below = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[-1, -3], raw_data=b"1234")
    yield written("negative sizes", described(model([conv], [below])))
    many = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[HUGE, HUGE], raw_data=b"")
    yield written("sizes of 2 to the 124", described(model([conv], [many])))
    typeless = TensorProto(name="w", data_type=77, dims=[1, 3, 1, 1], raw_data=b"123456789012")
    yield written("an unknown type", described(model([conv], [typeless])))
    yield written(
        "a new opset", described(helper.make_model(good.graph, opset_imports=[helper.make_opsetid("", 9999)]))
    )
    yield written("no graph", described(onnx.ModelProto()))
    yield written("no description", helper.make_model(good.graph).SerializeToString())
    data = described(good)
    yield written("nothing", b"")
    yield written("zeros", bytes(1000))
    yield written("ones", b"\xff" * 1000)
    yield written("text", b"GIF89a, not a network")
    for share in (0.1, 0.5, 0.9, 0.999):
        yield written(f"cut at {share}", data[: int(len(data) * share)])


def damaged(data: bytes, seed: int) -> bytes:
    """Flip, drop, repeat and insert bytes, the first kilobyte and the ends more often than the rest."""
    chance = random.Random(seed)
    changed = bytearray(data)
    for _ in range(chance.choice([1, 2, 5, 30])):
        where = chance.choice([min(1000, len(changed)), len(changed)])
        at = chance.randrange(max(1, where))
        if chance.random() < 0.2:
            at = max(0, len(changed) - at - 1)
        kind = chance.randrange(5)
        if kind == 0:
            changed[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            changed[at : at + 4] = chance.choice([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\x80\0\0\0"])
        elif kind == 2:
            del changed[at : at + chance.choice([1, 7, 100])]
        elif kind == 3:
            changed[at:at] = changed[at : at + chance.choice([1, 16, 300])]
        else:
            changed[at:at] = chance.randbytes(chance.choice([1, 8]))
    return bytes(changed)


class Opens:
    """Unpickling it would make a file: proof that code was run."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.proof), "w")


def checkpoints(folder: Path, proof: Path) -> Iterator[tuple[str, Path]]:
    """Yield (what is wrong with it, a checkpoint); none may make the file `proof`."""
    import pickle

    import torch

    from cliplit.networks.registry import build_network

    good = build_network("lite").state_dict()
    first = next(iter(good))
    config = {"method": "paired", "steps": 1, "batch": 1, "seed": 1}
    ours = {"format": "cliplit-checkpoint", "weights": good, "config": config, "network": "lite"}
    with_first = {name: {**good, first: value} for name, value in {
        "a number": 3, "text": "x", "nothing": None, "a list": [1.0], "a scalar": torch.tensor(1.0),
        "sparse": torch.eye(3).to_sparse(), "complex": torch.zeros(good[first].shape, dtype=torch.complex64),
        "text of that size": "x" * good[first].numel(), "no elements": torch.zeros(0),
        "quantised": torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8),
        "endless": torch.zeros(1).expand(1 << 20, 1 << 20), "without storage": torch.zeros(good[first].shape, device="meta"),
    }.items()}  # fmt: skip
    contents: dict[str, Any] = {
        **{f"a tensor is {name}": weights for name, weights in with_first.items()},
        **{f"in ours a tensor is {name}": {**ours, "weights": weights} for name, weights in with_first.items()},
        "ours without weights": {"format": "cliplit-checkpoint"}, "weights are a list": {**ours, "weights": [1, 2]},
        "weights are nothing": {**ours, "weights": None}, "weights are a tensor": {**ours, "weights": torch.zeros(3)},
        "names are numbers": {1: torch.zeros(3)}, "names are tuples": {(1, 2): torch.zeros(3)}, "nothing": None,
        "a tensor": torch.zeros(3), "a number": 1, "text": "x", "a list": [1], "an empty dict": {}, "format is 1": {"format": 1},
        "format is a tensor": {"format": torch.zeros(3)}, "a state dict of nothing": {"state_dict": {}},
        "a state dict in itself": {"state_dict": {"state_dict": {}}}, "one more tensor": {**good, "more": torch.zeros(1)},
        "one tensor less": {name: value for name, value in good.items() if name != first},
        "only NaN": {name: torch.full_like(value, float("nan")) for name, value in good.items()},
        "the configuration is text": {**ours, "config": "x"}, "the configuration is empty": {**ours, "config": {}},
        "the configuration commands": {**ours, "config": {**config, "method": "\x1b[2J"}},
        "the configuration is tensors": {**ours, "config": {name: torch.zeros(1) for name in config}},
        "the scores are text": {**ours, "scores": {"psnr": "x", "ssim": [], "step": None}},
        "the scores are cut": {**ours, "scores": {"psnr": 1.0}},
    }  # fmt: skip
    for name, content in contents.items():
        path = folder / f"{name.replace(' ', '_')}.pt"
        torch.save(content, path)
        yield name, path
    raw = {
        "a pickle that opens a file": pickle.dumps(Opens(proof)), "no bytes": b"", "zeros": bytes(100),
        "an archive of nothing": b"PK\5\6" + bytes(18), "deep": b"(" * 100_000 + b".",
    }  # fmt: skip
    for name, data in raw.items():
        (folder / f"{name.replace(' ', '_')}.pt").write_bytes(data)
        yield name, folder / f"{name.replace(' ', '_')}.pt"
    torch.save({**good, "x": Opens(proof)}, folder / "code.pt")
    yield "a checkpoint that opens a file", folder / "code.pt"
    data = (folder / "one_more_tensor.pt").read_bytes()
    for seed in range(12):
        (folder / f"damaged{seed}.pt").write_bytes(damaged(data, seed))
        yield f"damaged {seed}", folder / f"damaged{seed}.pt"
