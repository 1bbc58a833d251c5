"""fp16: the layers that cost time in half precision, everything that could overflow or lose bits in fp32.

The graph states the types (a strongly typed network), as TensorRT 11 requires and ONNX Runtime accepts. Input and
output stay float32. So do the head (the last convolution and all after it), the pooling, as half precision cannot
count positions beyond 2048 (R5.8, R5.11), and statistics over the picture.

ONNX Runtime's converter selects by operator instead of a tensor's origin, adds casts back and forth between fp32 nodes,
and leaves nodes unsorted, which TensorRT's parser refuses. Correcting that would take as much code as this.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .passes import with_nodes

HALF_OPERATORS = {"Conv", "LeakyRelu", "PRelu", "Relu", "Add", "Concat", "Pad", "Resize", "Neg", "Sub"}
WHOLLY = {"Sub"}  # where both sides are features; what is subtracted of a mean is a statistic
FEATURE_INPUTS = {"Resize": 1, "Pad": 1}  # the others are sizes, scales and amounts


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert an fp32 graph to one whose feature layers compute in half precision; types are checked throughout."""
    model = onnx.shape_inference.infer_shapes(model)
    float32 = {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT}
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    float32.update(value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT)
    features = feature_nodes(model)
    nodes: list[onnx.NodeProto] = []
    casts: dict[tuple[str, int], str] = {}
    half: set[str] = set()  # tensors that are half precision now

    def cast(name: str, kind: int) -> str:
        if (name, kind) not in casts:
            casts[name, kind] = f"{name}_{'half' if kind == TensorProto.FLOAT16 else 'float'}"
            nodes.append(helper.make_node("Cast", [name], [casts[name, kind]], f"{casts[name, kind]}_cast", to=kind))
        return casts[name, kind]

    for index, original in enumerate(model.graph.node):
        node = onnx.NodeProto()
        node.CopyFrom(original)
        if index in features:
            inputs = FEATURE_INPUTS.get(node.op_type, len(node.input))
            for i, name in enumerate(node.input[:inputs]):
                if name in float32 and name not in half:
                    node.input[i] = cast(name, TensorProto.FLOAT16)
            half.update(node.output)
        else:
            for i, name in enumerate(node.input):
                if name in half:
                    node.input[i] = cast(name, TensorProto.FLOAT)
        nodes.append(node)

    converted = with_nodes(model, nodes)
    _fold_weights(converted)
    return onnx.shape_inference.infer_shapes(converted, check_type=True, strict_mode=True)


def feature_nodes(model: onnx.ModelProto) -> set[int]:
    """Return the indices of convolutions before the head, and of the nodes that follow them up to the head."""
    nodes = model.graph.node
    head = max((index for index, node in enumerate(nodes) if node.op_type == "Conv"), default=0)
    after = set(nodes[head].output)
    found: set[int] = set()
    made: set[str] = set()
    for index, node in enumerate(nodes):
        if after & set(node.input):
            after.update(node.output)
        elif index != head and (node.op_type == "Conv" or follows(node, made)):
            found.add(index)
            made.update(node.output)
    return found


def follows(node: onnx.NodeProto, features: set[str]) -> bool:
    """Tell whether a node goes on with features, and may do so in half precision."""
    first = node.input if node.op_type in WHOLLY else node.input[:1]
    return node.op_type in HALF_OPERATORS and features.issuperset(first)


def _fold_weights(model: onnx.ModelProto) -> None:
    """Turn casts of weights into weights, and drop weights that nothing else uses."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in tensors:
            value = numpy_helper.to_array(tensors[node.input[0]]).astype(np.float16)
            model.graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
        else:
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    used = {name for node in kept for name in node.input}
    left = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(left)


def half_convolutions(model: onnx.ModelProto) -> tuple[int, int]:
    """Count (convolutions with half-precision weights, all convolutions)."""
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    kinds = [types.get(node.input[1]) for node in model.graph.node if node.op_type == "Conv"]
    return kinds.count(TensorProto.FLOAT16), len(kinds)
