"""Adaptive average pooling as two matrix products: exact, and exportable with dynamic sizes.

`torch.onnx.export` unrolls `adaptive_avg_pool2d` into about a thousand nodes at a fixed size and is silently
inexact at dynamic ones (pytorch#64806). An averaging matrix built from the run-time size has neither fault.
"""

from __future__ import annotations

import torch
from torch import Tensor


def averaging_matrix(line: Tensor, cells: int) -> Tensor:
    """Build a (cells, n) matrix, n = len(line); row i averages [floor(i n / cells), ceil((i + 1) n / cells)).

    The length enters as data (a running sum of ones), so that a traced graph computes it at run time.
    """
    position = torch.cumsum(torch.ones_like(line), 0) - 1.0
    n = position[-1] + 1.0
    row = torch.arange(cells, dtype=line.dtype, device=line.device)
    # All quotients are multiples of 1 / cells; the half keeps floor and ceil on the right side of rounding.
    start = torch.floor((row * n + 0.5) / cells)
    stop = torch.ceil(((row + 1.0) * n - 0.5) / cells)
    inside = (position[None, :] >= start[:, None]) & (position[None, :] < stop[:, None])
    return inside.to(line.dtype) / (stop - start)[:, None]


def adaptive_average_pool(x: Tensor, cells: int) -> Tensor:
    """Compute `adaptive_avg_pool2d(x, cells)`: (N, C, H, W) -> (N, C, cells, cells).

    In float32 at least: a half cannot count positions beyond 2048, nor average many of them.
    """
    if x.dtype in (torch.float16, torch.bfloat16):
        return adaptive_average_pool(x.float(), cells).to(x.dtype)
    rows = averaging_matrix(x[0, 0, :, 0], cells)
    columns = averaging_matrix(x[0, 0, 0, :], cells)
    return rows @ x @ columns.transpose(0, 1)
