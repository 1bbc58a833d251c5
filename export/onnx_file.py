"""One exporter for every network: PyTorch to a single ONNX file with dynamic batch, height and width.

Metadata goes into the file (`cliplit` property, JSON), so that a runtime needs nothing but the file.
"""

from __future__ import annotations

import io
import json
import warnings
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import torch
from cliplit.runtime.network import ModelInfo, import_onnxruntime

import cliplit
from cliplit import checkpoint
from cliplit.arrays import Array
from cliplit.errors import ParityError
from cliplit.files import appearing
from cliplit.light_network import LightNetwork
from cliplit.networks import network_name

OPSET = 17  # the first with everything used here; ONNX Runtime has had it since 1.13, TensorRT since 8.6
TOLERANCE = 1e-5
PARITY_SIZES = ((1, 16, 16), (2, 192, 256), (1, 257, 331), (3, 101, 67), (1, 511, 767))  # batch, height, width


def export_onnx(source: Path, target: Path) -> float:
    """Export a checkpoint; returns the largest |difference| of the light map between PyTorch and ONNX Runtime.

    The file appears under its final name only after the comparison at `PARITY_SIZES` has passed.

    Raises:
        InputError, ModelError: `source` is no checkpoint of a network we know.
        ParityError: the exported graph computes something else; nothing is written.
    """
    content = checkpoint.read(source)
    network = checkpoint.network_from(content, source)
    info = ModelInfo(
        name=network_name(network),
        version=cliplit.__version__,
        colour_order="RGB",
        value_range="0..1",
        proxy_short_side=network.proxy_short_side,
        multiple=network.multiple,
        training=training_summary(content),
        checkpoint_sha256=checkpoint.sha256(source),
    )
    model = build_graph(network)
    onnx.helper.set_model_props(model, {"cliplit": json.dumps(asdict(info))})
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    worst = largest_difference(network, data)
    if worst > TOLERANCE:
        raise ParityError(
            f"{source}: ONNX Runtime differs from PyTorch by {worst:.1e} (at most {TOLERANCE:.0e} allowed)"
        )
    with appearing(target) as temporary:
        temporary.write_bytes(data)
    return worst


def build_graph(network: LightNetwork) -> onnx.ModelProto:
    """The network as ONNX: `picture` (N, 3, H, W) -> `light` (N, 1, H, W), all three sizes dynamic."""
    side = 6 * network.multiple
    example = torch.rand(1, 3, side, side + 2 * network.multiple)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns about itself
        torch.onnx.export(
            network.eval(),
            (example,),
            buffer,  # type: ignore[arg-type]  # this exporter takes any file object
            dynamo=False,  # the newer exporter bakes dynamic sizes into the pooling matrices
            opset_version=OPSET,
            input_names=["picture"],
            output_names=["light"],
            dynamic_axes={"picture": {0: "N", 2: "H", 3: "W"}, "light": {0: "N", 2: "H", 3: "W"}},
        )
    return onnx.load_from_string(buffer.getvalue())


def largest_difference(network: LightNetwork, data: bytes, seed: int = 0) -> float:
    """max |PyTorch - ONNX Runtime| of the light map over `PARITY_SIZES`, rounded up to what the network accepts."""
    session = import_onnxruntime().InferenceSession(data, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(seed)
    worst = 0.0
    for batch, height, width in PARITY_SIZES:
        size = [-(-side // network.multiple) * network.multiple for side in (height, width)]
        picture = rng.random((batch, 3, *size), dtype=np.float32)
        worst = max(
            worst, float(np.abs(run_torch(network, picture) - session.run(None, {"picture": picture})[0]).max())
        )
    return worst


def run_torch(network: torch.nn.Module, picture: Array) -> Array:
    with torch.no_grad():
        light: Array = network(torch.from_numpy(picture)).numpy()
    return light


def training_summary(content: dict[str, object]) -> str:
    """One line on how the checkpoint was made."""
    config, scores = content.get("config"), content.get("scores")
    if not isinstance(config, dict):
        return "published checkpoint, training not recorded in the file"
    text = "method {method}, {steps} steps of {batch}, seed {seed}".format(**config)
    if isinstance(scores, dict) and "psnr" in scores:
        text += f", validation {scores['psnr']} dB / {scores['ssim']} SSIM at step {scores['step']}"
    return text
