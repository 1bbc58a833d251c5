"""The sample sheet: one row per picture with before, after and light map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from ..arrays import Array


@torch.no_grad()
def sample_sheet(network: nn.Module, pictures: Tensor, apply: Callable[[Tensor, Tensor], Tensor]) -> Array:
    """Draw a sheet of pictures (N, 3, H, W) in [0, 1]: (N * H, 3 * W, 3) uint8 RGB."""
    light = network(pictures)
    columns = torch.cat([pictures, apply(pictures, light), light.expand(-1, 3, -1, -1)], dim=3)
    rows = columns.clamp(0, 1).permute(0, 2, 3, 1).flatten(0, 1)
    return np.round(rows.cpu().numpy() * 255).astype(np.uint8)


def write_png(path: Path, picture: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".png", picture[..., ::-1])
    data.tofile(path)
