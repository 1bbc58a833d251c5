"""One exporter for every network: PyTorch to a single ONNX file.

Metadata goes into the file (`cliplit` property, JSON), so that a runtime needs nothing but the file.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import onnx
import torch

from cliplit.arrays import Array
from cliplit.errors import InputError, ParityError
from cliplit.files import atomic_write
from cliplit.networks.light_network import LightNetwork
from cliplit.runtime.backends.devices import Device
from cliplit.runtime.backends.model_file import PROPERTY, ModelInfo
from cliplit.runtime.backends.pytorch import TorchNetwork, from_checkpoint

from . import parity
from .half import half_convolutions, to_half
from .hosts import ANY, Host
from .int8 import to_int8
from .passes import drop_unused_opsets, fold, pack_head, replace_comparisons, restore_names

OPSET = 11  # the first with everything used here (Resize with halves of pixels); every program has it
INT8_OPSET = 13  # the first that quantises a channel at a time

Precision = Literal["fp32", "fp16", "int8"]
Shape = tuple[int, int, int]  # batch, height, width


def export_onnx(
    source: Path,
    target: Path,
    precision: Precision = "fp32",
    shape: Shape | None = None,
    calibration: Sequence[Array] = (),
    host: Host = ANY,
) -> list[parity.Comparison]:
    """Export a checkpoint; returns the comparison of every back end of this machine with PyTorch.

    The file appears under its final name only after the comparison has passed.

    Args:
        shape: (N, H, W) for fixed sizes; None leaves all three free.
        calibration: for "int8": pictures (H, W, 3) float32 in [0, 1]; frames of the demo clip if there are none.
        host: what the file is for, where no one file serves all.

    Raises:
        InputError, ModelError: `source` is no checkpoint of a network we know, or `shape` does not fit it.
        ParityError: the exported graph computes something else; nothing is written.
    """
    network, info = from_checkpoint(source)
    if shape is not None and any(side % network.multiple for side in shape[1:]):
        raise InputError(
            f"{shape[1]}x{shape[2]}: the {info.name} network wants sides that are a multiple of {network.multiple}"
        )
    model = light_graph(network, info, precision, shape, calibration, host)
    reference = TorchNetwork(network, replace(info, shape=shape), Device("cpu"))
    with atomic_write(target, swept=True) as temporary:
        temporary.write_bytes(model.SerializeToString())
        return parity.check(temporary, reference, precision, source)


def light_graph(
    network: LightNetwork,
    info: ModelInfo,
    precision: Precision = "fp32",
    shape: Shape | None = None,
    calibration: Sequence[Array] = (),
    host: Host = ANY,
) -> onnx.ModelProto:
    """Build the checked graph of a network with its description inside."""
    model = build_graph(network, shape, host, INT8_OPSET if precision == "int8" else OPSET)
    if precision == "fp16":
        model = to_half(model)
        if half_convolutions(model)[0] == 0:
            raise ParityError(f"{info.name}: no layer of it came out in half precision")
    elif precision == "int8":
        model = to_int8(model, replace(info, shape=shape), calibration, host.symmetric)
        drop_unused_opsets(model)
    describe(model, replace(info, precision=precision, shape=shape))
    return model


def describe(model: onnx.ModelProto, info: ModelInfo) -> None:
    """Write the description and check the whole: schema, types and shapes."""
    onnx.helper.set_model_props(model, {PROPERTY: json.dumps(asdict(info))})
    model.producer_name, model.producer_version = "cliplit", info.version
    onnx.checker.check_model(model, full_check=True)


def build_graph(
    network: LightNetwork, shape: Shape | None = None, host: Host = ANY, opset: int = OPSET
) -> onnx.ModelProto:
    """Convert the network to ONNX: `picture` (N, 3, H, W) -> `light` (N, 1, H, W), in fp32."""
    side = 6 * network.multiple
    batch, height, width = shape or (1, side, side + 2 * network.multiple)
    axes = {"picture": {0: "N", 2: "H", 3: "W"}, "light": {0: "N", 2: "H", 3: "W"}}
    example = torch.rand(batch, 3, height, width)
    model = fold(trace(network.eval(), example, "picture", "light", axes if shape is None else None, opset))
    restore_names(model, {name: value.numpy() for name, value in network.state_dict().items()})
    if host.packed_head:
        pack_head(model, network.multiple)
    if not host.comparisons:
        model = replace_comparisons(model)
    declare_output(model, [batch, 1, height, width] if shape else ["N", 1, "H", "W"])
    return model


def declare_output(model: onnx.ModelProto, dimensions: Sequence[int | str]) -> None:
    """Say what size the output has; inference loses it where sizes are computed (a resize to the input's size)."""
    shape = model.graph.output[0].type.tensor_type.shape
    del shape.dim[:]
    for dimension in dimensions:
        if isinstance(dimension, str):
            shape.dim.add(dim_param=dimension)
        else:
            shape.dim.add(dim_value=dimension)


def trace(
    module: torch.nn.Module,
    example: torch.Tensor,
    source: str,
    result: str,
    axes: dict[str, dict[int, str]] | None,
    opset: int = OPSET,
) -> onnx.ModelProto:
    """Trace a module of one input and one output to ONNX."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer warns about itself
        export: Callable[..., object] = torch.onnx.export
        export(
            module,
            (example,),
            buffer,
            dynamo=False,  # the newer exporter bakes dynamic sizes into the pooling
            opset_version=opset,
            input_names=[source],
            output_names=[result],
            dynamic_axes=axes,
        )
    return onnx.load_from_string(buffer.getvalue())
