"""Rewrites of an exported graph that do not change what it computes.

Checked by the comparison with PyTorch that ends every export.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxslim
from onnx import helper, numpy_helper

from cliplit.arrays import Array

PHASES = 4  # a side
STEEP = 1e6  # of a line that stands for a comparison: no two 8-bit codes are so near


def with_nodes(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> onnx.ModelProto:
    """Copy a model with other nodes in its graph; what was known of the values between is dropped."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.node[:]
    del changed.graph.value_info[:]
    changed.graph.node.extend(nodes)
    return changed


def fold(model: onnx.ModelProto) -> onnx.ModelProto:
    """Compute what does not depend on the input, and drop what nothing reads; a fixed size leaves no sums of sizes.

    By onnxslim. Tensors of the network keep their names.
    """
    folded: onnx.ModelProto = onnxslim.slim(model)
    return folded


def drop_unused_opsets(model: onnx.ModelProto) -> None:
    """Drop operator sets that no node is of: older programs refuse a file for a set they do not know."""
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def restore_names(model: onnx.ModelProto, weights: dict[str, Array]) -> None:
    """Give every tensor of the network the name it has in its state dict.

    The exporter renames what it reshapes (PReLU slopes); with the names restored, the file can replace a checkpoint.
    Tensors are recognised by their values.
    """
    held = {tensor.name for tensor in model.graph.initializer}
    nameless = [tensor for tensor in model.graph.initializer if tensor.name not in weights]
    for name, value in weights.items():
        if name in held:
            continue
        for tensor in nameless:
            own = numpy_helper.to_array(tensor)
            if own.size == value.size and np.array_equal(own.ravel(), value.ravel()):
                rename(model, tensor.name, name)
                nameless.remove(tensor)
                break


def rename(model: onnx.ModelProto, old: str, new: str) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == old:
            tensor.name = new
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]


def pack_head(model: onnx.ModelProto, multiple: int) -> bool:
    """Compute a one-channel 3x3 convolution in 16 channels of a sixteenth of the positions; whether one was found.

    CPU libraries work in blocks of 16 channels: a head with one output costs as much as one with 16, and so does
    everything after it. A 6x6 kernel at stride 4 gives the same values, four by four, as channels; DepthToSpace puts
    them in their places, and what follows runs on one channel. For a head at half size before the last enlargement;
    exact, since the network's sides are multiples of 8 there.
    """
    nodes, tensors = model.graph.node, {tensor.name: tensor for tensor in model.graph.initializer}
    users = {name: node for node in nodes for name in node.input}
    for index, node in enumerate(nodes):
        if node.op_type != "Conv" or list(tensors[node.input[1]].dims)[0::2] != [1, 3]:
            continue
        if users[node.output[0]].op_type != "Resize" or (multiple // 2) % PHASES:
            continue
        kernel = numpy_helper.to_array(tensors[node.input[1]])
        packed = np.zeros((PHASES**2, kernel.shape[1], PHASES + 2, PHASES + 2), np.float32)
        for phase in range(PHASES**2):
            row, column = divmod(phase, PHASES)
            packed[phase, :, row : row + 3, column : column + 3] = kernel[0]
        bias = np.repeat(numpy_helper.to_array(tensors[node.input[2]]), PHASES**2)
        names = [f"{name}.packed" for name in node.input[1:3]]
        for old, new, value in zip(node.input[1:3], names, (packed, bias), strict=True):
            tensors[old].CopyFrom(numpy_helper.from_array(value, new))
        side = PHASES + 2
        conv = helper.make_node(
            "Conv",
            [node.input[0], *names],
            [f"{node.name}_packed"],
            f"{node.name}_packed",
            kernel_shape=[side, side],
            pads=[1, 1, 1, 1],
            strides=[PHASES, PHASES],
        )
        space = helper.make_node(
            "DepthToSpace", [f"{node.name}_packed"], [node.output[0]], f"{node.name}_unpacked", blocksize=PHASES
        )
        del nodes[index]
        nodes.insert(index, space)
        nodes.insert(index, conv)
        return True
    return False


def replace_comparisons(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace `a >= b` and `a <= b`, as numbers or in a Where, by a line of slope STEEP bounded to [0, 1].

    The same but for values within 1 / STEEP of each other. For programs without comparisons.
    """
    compared = {node.output[0]: node for node in model.graph.node if node.op_type in ("Less", "Greater")}
    constants = {"steep": STEEP, "zero": 0.0, "one": 1.0}
    nodes: list[onnx.NodeProto] = []
    masks: dict[str, str] = {}  # by the boolean they stand for

    def add(kind: str, *inputs: str, result: str = "") -> str:
        names = [f"comparison.{name}" if name in constants else name for name in inputs]
        result = result or f"comparison.{len(nodes)}"
        nodes.append(helper.make_node(kind, names, [result], f"{result}_{kind}"))
        return result

    for node in model.graph.node:
        node.input[:] = [masks.get(name, name) for name in node.input]
        if node.op_type == "Not" and node.input[0] in compared:
            comparison = compared[node.input[0]]
            low, high = comparison.input if comparison.op_type == "Greater" else reversed(comparison.input)
            beyond = add("Clip", add("Mul", add("Sub", low, high), "steep"), "zero", "one")
            masks[node.output[0]] = add("Sub", "one", beyond)
        elif node.op_type == "Cast" and node.input[0] in masks.values():
            masks[node.output[0]] = node.input[0]
        elif node.op_type == "Where" and node.input[0] in masks.values():
            mask, chosen, other = node.input
            add("Add", other, add("Mul", mask, add("Sub", chosen, other)), result=node.output[0])
        elif node.output[0] not in compared:
            nodes.append(node)
    replaced = with_nodes(model, nodes)
    for name, value in constants.items():
        replaced.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), f"comparison.{name}"))
    return fold(replaced)
