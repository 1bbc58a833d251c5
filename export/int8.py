"""int8 by static quantisation, for CPUs with VNNI: scales of the activations come from calibration pictures.

QDQ form (QuantizeLinear / DequantizeLinear around each layer), which ONNX Runtime and OpenVINO both fuse. The first
convolution sees the picture itself and the head makes the light map: both stay in fp32, as do those of statistics over
the whole picture and everything that is not a convolution.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx

# The quantiser of ONNX Runtime is what its kernels are tested with.
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from cliplit.arrays import Array
from cliplit.runtime.backends.model_file import ModelInfo
from cliplit.runtime.light.proxy import proxy_size, rgb_proxy

from .parity import demo_frames


class Proxies(CalibrationDataReader):  # type: ignore[misc]
    """The network's inputs for the calibration pictures; of the fixed size where `info` has one."""

    def __init__(self, pictures: Sequence[Array], info: ModelInfo) -> None:
        self._left = iter(pictures)
        self._info = info

    def get_next(self) -> dict[str, Array] | None:
        picture = next(self._left, None)
        if picture is None:
            return None
        height, width = picture.shape[:2]
        batch, *fixed = self._info.shape or (1,)
        free = proxy_size(height, width, self._info.proxy_short_side, self._info.multiple)
        rgb = rgb_proxy(picture, (fixed[0], fixed[1]) if fixed else free).rgb
        return {"picture": np.repeat(rgb.transpose(2, 0, 1)[None], batch, axis=0)}


def demo_pictures() -> list[Array]:
    """Make default calibration pictures: demo frames not used in the comparison, darkened, brightened, cropped."""
    pictures = []
    for frame in demo_frames([0.1, 0.2, 0.45, 0.55, 0.8, 0.9]):
        height, width = frame.shape[:2]
        pictures += [frame, frame * np.float32(0.4), np.sqrt(frame), frame[: height // 2], frame[:, width // 3 :]]
    return pictures


def kept_in_full(model: onnx.ModelProto) -> list[str]:
    """Name the convolutions that stay fp32: the first, the last, and those of statistics, a single position."""
    model = onnx.shape_inference.infer_shapes(model)
    sizes = {value.name: value.type.tensor_type.shape.dim for value in model.graph.value_info}
    nodes = [node for node in model.graph.node if node.op_type == "Conv"]
    single = [node for node in nodes if [side.dim_value for side in sizes.get(node.output[0], ())][2:] == [1, 1]]
    return list(dict.fromkeys(node.name for node in (nodes[0], *single, nodes[-1])))


def to_int8(
    model: onnx.ModelProto, info: ModelInfo, calibration: Sequence[Array] = (), symmetric: bool = False
) -> onnx.ModelProto:
    """Quantise an fp32 graph; `calibration` pictures are (H, W, 3) float32 in [0, 1].

    With `symmetric`, as TensorRT wants it: zero is 0 in every tensor, and biases stay fp32. That is coarser, and ONNX
    Runtime does not fuse it; so it is a file of its own.
    """
    pictures = list(calibration) or demo_pictures()
    with tempfile.TemporaryDirectory() as folder:
        plain, prepared, done = (Path(folder) / name for name in ("plain.onnx", "prepared.onnx", "int8.onnx"))
        onnx.save(model, plain)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        disabled, previous = kept_in_full(onnx.load(prepared)), logging.root.manager.disable
        logging.disable(logging.WARNING)  # it recommends the preparation that was just done
        try:
            quantize_static(
                prepared,
                done,
                Proxies(pictures, info),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=disabled,
                per_channel=True,
                activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={"ActivationSymmetric": symmetric, "QuantizeBias": not symmetric},
            )
        finally:
            logging.disable(previous)
        return onnx.load(done)
