"""The whole enhancement as one graph: image in, enhanced image out, so that any ONNX host can be the filter.

It contains the proxy, the network, the guided filter, the enlargement and the gain, as `Enhancer` with quality "fast",
in tensor operations. Sizes are whole numbers computed from the image's shape, so that one graph takes every size and
a program that fixes the size, or knows its range, can compute with them before it runs anything.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cliplit.arrays import Array
from cliplit.constants import GUIDE_EPSILON, GUIDE_RADIUS, LUMA_WEIGHTS, MAX_GAIN
from cliplit.errors import BackendError, ParityError
from cliplit.files import atomic_write
from cliplit.networks.light_network import LightNetwork
from cliplit.runtime import Enhancer
from cliplit.runtime.backends.devices import Device
from cliplit.runtime.backends.model_file import ModelInfo
from cliplit.runtime.backends.onnx_runtime import import_onnxruntime
from cliplit.runtime.backends.open_vino import import_openvino
from cliplit.runtime.backends.pytorch import TorchNetwork, from_checkpoint
from cliplit.runtime.light.proxy import LONGEST_SIDE
from cliplit.runtime.network import LightMapNetwork

from .half import to_half
from .onnx_file import Shape, declare_output, describe, trace
from .parity import Comparison, psnr, sample_pictures
from .passes import fold, pack_head, restore_names

ImageType = Literal["uint8", "float32"]
LEAST_PEAK = 1e-4  # added to the brightest channel where it is divided by; fp16 holds it
LEAST_PSNR = 45.0  # dB of the enhanced image against `Enhancer` with the network in PyTorch


class WholeImage(nn.Module):
    """(N, H, W, 3) uint8 or float32 in [0, 1] -> the same shape and type, enhanced.

    Args:
        network: makes light maps.
        strength, max_gain: as of `Enhancer`; they become part of the graph.
        whole_numbers: whether images are uint8.
    """

    def __init__(self, network: LightNetwork, strength: float, max_gain: float, whole_numbers: bool) -> None:
        super().__init__()
        self.network, self.strength, self.floor = network, strength, -math.log2(max_gain)
        self.white = 255.0 if whole_numbers else 1.0
        self.whole_numbers = whole_numbers
        self.weights = torch.tensor(LUMA_WEIGHTS).reshape(1, 3, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Enhance images, (N, H, W, 3) uint8 or float32 in [0, 1]."""
        colour = image.to(torch.float32).permute(0, 3, 1, 2)  # TensorRT takes uint8 into a cast, and out of one
        bounded = torch.where(torch.isnan(colour), torch.zeros_like(colour), colour / self.white).clamp(0.0, 1.0)
        slope, offset = self.coefficients(self.proxy(bounded))
        size = colour.shape[-2:]
        slope = F.interpolate(slope, size, mode="bilinear", align_corners=False)
        offset = F.interpolate(offset, size, mode="bilinear", align_corners=False)
        luma, peak = self.luma(bounded), bounded.amax(dim=1, keepdim=True)
        log_light = (slope * luma + offset).clamp(self.floor, 0.0)
        light = torch.exp(log_light * math.log(2))
        square = light * light
        of_luma, of_peak = (torch.rsqrt(square + (1 - square) * x * x) for x in (luma, peak))  # `gain.factors`
        high = peak + LEAST_PEAK
        both = light * of_luma * of_peak  # in this order it fits into fp16
        of_chroma = both * both * (high + luma) / (high * of_peak + luma * of_luma)
        enhanced = colour * of_chroma + luma * (of_luma - of_chroma) * self.white
        if self.whole_numbers:  # what is below the maximum stays below the maximum
            limit = torch.where(peak < 1.0, self.white - 1.0, self.white)
            return torch.minimum(torch.floor(enhanced + 0.5), limit).permute(0, 2, 3, 1).to(torch.uint8)
        return torch.where(colour < 1.0, enhanced, colour).permute(0, 2, 3, 1)

    def luma(self, rgb: Tensor) -> Tensor:
        return (rgb * self.weights).sum(dim=1, keepdim=True)

    def proxy(self, bounded: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the network's input and, as 0-d whole numbers, its height and width before padding to even sides."""
        height, width = (torch.as_tensor(side) for side in bounded.shape[-2:])
        multiple = self.network.multiple
        short, long = torch.minimum(height, width), torch.maximum(height, width)
        # scale = min(1, short side of the proxy / short, LONGEST_SIDE / long) as a fraction of whole numbers, so that
        # halves round as they do in `proxy_size`
        goal = torch.full_like(short, self.network.proxy_short_side)
        by_long = goal * long > LONGEST_SIDE * short
        numerator = torch.where(by_long, torch.full_like(goal, LONGEST_SIDE), goal)
        denominator = torch.maximum(torch.where(by_long, long, short), numerator) * multiple
        h, w = (rounded(side * numerator, denominator).clamp(min=1) * multiple for side in (height, width))
        shrinking = (h <= height) & (w <= width)
        vertical = resampling(height, h, shrinking)
        horizontal = resampling(width, w, shrinking)
        return vertical @ bounded @ horizontal.transpose(0, 1), h, w

    def coefficients(self, proxy: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Compute slope and offset of the guided filter at proxy size, after strength: (N, 1, h, w) each."""
        padded, h, w = proxy
        light = self.network(padded)[:, :, :h, :w]
        luma = self.luma(padded[:, :, :h, :w])
        light = torch.where(torch.isnan(light), torch.ones_like(light), light)
        log_light = torch.log(light.clamp(2.0**self.floor, 1.0)) / math.log(2)
        mean_y, mean_l = _box(luma), _box(log_light)
        variance = _box(luma * luma) - mean_y * mean_y
        slope = (_box(luma * log_light) - mean_y * mean_l) / (variance + GUIDE_EPSILON)
        offset = mean_l - slope * mean_y
        return _box(slope) * self.strength, _box(offset) * self.strength


def rounded(dividend: Tensor, divisor: Tensor) -> Tensor:
    """Divide positive whole numbers and round to the nearest, halves to the even one, as Python does."""
    doubled = 2 * dividend + divisor
    quotient = torch.div(doubled, 2 * divisor, rounding_mode="trunc")
    odd = quotient - 2 * torch.div(quotient, 2, rounding_mode="trunc")
    return torch.where(doubled == quotient * 2 * divisor, quotient - odd, quotient)


def resampling(length: Tensor, goal: Tensor, shrinking: Tensor) -> Tensor:
    """Build the (goal rounded up to even, length) matrix that resamples a line: area average, or linear if it enlarges.

    The row that makes an odd side even repeats the last one.
    """
    even = torch.div(goal + 1, 2, rounding_mode="trunc") * 2
    position = torch.arange(length).float()[None, :]  # type: ignore[call-overload]
    cell = torch.arange(even).float()[:, None]  # type: ignore[call-overload]
    last, end = (goal - 1).float(), (length - 1).float()
    cell = torch.minimum(cell, last)
    step = length.float() / goal.float()
    overlap = torch.minimum((cell + 1) * step, position + 1) - torch.maximum(cell * step, position)
    centre = torch.minimum(((cell + 0.5) * step - 0.5).clamp(min=0.0), end)
    linear = (1.0 - (centre - position).abs()).clamp(min=0.0)
    return torch.where(shrinking, overlap.clamp(min=0.0) / step, linear)


def _box(x: Tensor) -> Tensor:
    r = GUIDE_RADIUS
    return F.avg_pool2d(F.pad(x, (r, r, r, r), mode="replicate"), 2 * r + 1, stride=1)


def whole_image_graph(
    network: LightNetwork,
    info: ModelInfo,
    half: bool = False,
    image_type: ImageType = "uint8",
    strength: float = 1.0,
    max_gain: float = MAX_GAIN,
    shape: Shape | None = None,
) -> onnx.ModelProto:
    """Build the graph `image` (N, H, W, 3) -> `enhanced` of the same shape; batch and size are free without `shape`."""
    whole = WholeImage(network, strength, max_gain, image_type == "uint8").eval()
    kind = torch.uint8 if image_type == "uint8" else torch.float32
    example = torch.zeros(*(shape or (1, 200, 264)), 3, dtype=kind)
    axes = {name: {0: "N", 1: "H", 2: "W"} for name in ("image", "enhanced")}
    model = fold(trace(whole, example, "image", "enhanced", None if shape else axes))
    restore_names(model, {f"network.{name}": value.numpy() for name, value in network.state_dict().items()})
    pack_head(model, network.multiple)
    declare_output(model, [*(shape or ("N", "H", "W")), 3])
    if half:
        model = to_half(model)
    describe(model, replace(info, precision="fp16" if half else "fp32", kind="image", shape=shape))
    return model


def export_whole_image(
    source: Path,
    target: Path,
    half: bool = False,
    image_type: ImageType = "uint8",
    strength: float = 1.0,
    max_gain: float = MAX_GAIN,
    shape: Shape | None = None,
) -> list[Comparison]:
    """Export a checkpoint as a whole-image graph; returns its comparison with `Enhancer` and PyTorch.

    Args:
        shape: (N, H, W) for fixed sizes, any; None leaves all three free.

    Raises:
        InputError: strength or max_gain out of range, or no such checkpoint.
        ParityError: a picture comes out differently; nothing is written.
    """
    network, info = from_checkpoint(source)
    torch_network = LightMapNetwork(TorchNetwork(network, info, Device("cpu")))
    reference = Enhancer(torch_network, strength=strength, max_gain=max_gain, clean_shadows=False)  # as the graph
    model = whole_image_graph(network, info, half, image_type, strength, max_gain, shape)
    with atomic_write(target, swept=True) as temporary:
        temporary.write_bytes(model.SerializeToString())
        lines = compare(temporary, reference, image_type, shape)
        if failed := [line for line in lines if not line.psnr >= LEAST_PSNR]:
            raise ParityError(
                f"{source}: the whole-image graph in {failed[0].backend} differs from Enhancer on {failed[0].picture}: "
                f"{failed[0].psnr:.1f} dB (at least {LEAST_PSNR:.0f}); nothing was written"
            )
    return lines


Host = Callable[[Array], Array]  # (1, H, W, 3) -> the same, enhanced


def hosts(path: Path) -> dict[str, Host]:
    """Return the installed programs that can run the file directly."""
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    found: dict[str, Host] = {"onnxruntime cpu": lambda image: session.run(None, {"image": image})[0]}
    with contextlib.suppress(BackendError):
        openvino = import_openvino()
        compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found["openvino cpu"] = lambda image: compiled([image])[0]
    return found


def compare(path: Path, reference: Enhancer, image_type: ImageType, shape: Shape | None = None) -> list[Comparison]:
    """Compare the graph in every host with the pipeline in numpy, C and PyTorch; errors are in units of white."""
    white = 255.0 if image_type == "uint8" else 1.0
    found = hosts(path)
    lines: dict[str, list[Comparison]] = {name: [] for name in found}
    for title, sample in sample_pictures():
        picture = sample if shape is None else cv2.resize(sample, shape[:0:-1], interpolation=cv2.INTER_AREA)
        image = np.round(picture * 255).astype(np.uint8) if image_type == "uint8" else picture
        expected = reference(image).astype(np.float64) / white
        for name, host in found.items():
            enhanced = host(np.repeat(image[None], shape[0] if shape else 1, axis=0))[-1] / white
            difference = np.abs(enhanced - expected)
            lines[name].append(
                Comparison(name, title, float(difference.max()), float(difference.mean()), psnr(enhanced, expected))
            )
    return [line for name in found for line in lines[name]]
