"""Layers over a whole picture, written so that every program that reads ONNX can run them.

`torch.onnx.export` unrolls `adaptive_avg_pool2d` into about a thousand nodes at a fixed size and is silently inexact at
dynamic ones (pytorch#64806). Averages of slices, whose bounds are whole numbers computed from the run-time size, have
neither fault, need no matrices (TensorRT multiplies none in fp32 on compute capability 7.5), and fold to constants at a
fixed size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def quotient(dividend: int | Tensor, divisor: int | Tensor) -> int | Tensor:
    """Divide whole numbers that are not negative, rounding down; while tracing, sizes are tensors."""
    if isinstance(dividend, Tensor) or isinstance(divisor, Tensor):
        return torch.div(dividend, divisor, rounding_mode="trunc")  # type: ignore[arg-type]
    return dividend // divisor


def cell_averages(x: Tensor, cells: int, axis: int) -> Tensor:
    """Average (N, C, H, W) along `axis`, of length n, in cells [floor(i n / cells), ceil((i + 1) n / cells))."""
    if cells == 1:
        return x.mean(axis, keepdim=True)
    n = x.shape[axis]
    averages = []
    for cell in range(cells):
        start, stop = quotient(n * cell, cells), quotient(n * (cell + 1) + (cells - 1), cells)
        part = x[:, :, start:stop] if axis == 2 else x[:, :, :, start:stop]
        averages.append(part.mean(axis, keepdim=True))
    return torch.cat(averages, axis)


def adaptive_average_pool(x: Tensor, cells: int) -> Tensor:
    """Compute `adaptive_avg_pool2d(x, cells)`: (N, C, H, W) -> (N, C, cells, cells).

    In float32 at least: a half is too coarse to average many values.
    """
    if x.dtype in (torch.float16, torch.bfloat16):
        return adaptive_average_pool(x.float(), cells).to(x.dtype)
    return cell_averages(cell_averages(x, cells, 3), cells, 2)


def pointwise(layer: nn.Linear, x: Tensor) -> Tensor:
    """Apply a fully connected layer to each position of (N, C, H, W), as a 1x1 convolution.

    The same numbers; TensorRT for RTX multiplies no matrices in fp32 on compute capability 7.5, but convolves.
    """
    return F.conv2d(x, layer.weight[:, :, None, None], layer.bias)
