"""Scores of a network on a folder of pairs (`input/`, `gt/`), at proxy size, through the training path."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from cliplit.errors import InputError
from cliplit.losses import psnr, ssim
from cliplit.relight import relight


def read_picture(path: Path) -> Tensor:
    """(1, 3, H, W) in [0, 1]."""
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError(f"{path}: not a picture that can be read")
    rgb = np.ascontiguousarray(picture[..., ::-1]).transpose(2, 0, 1)
    return torch.from_numpy(rgb.astype(np.float32))[None] / 255


@torch.no_grad()
def score_pairs(network: nn.Module, folder: Path, multiple: int = 16) -> dict[str, float]:
    """{"psnr": dB, "ssim": 0..1}, means over the folder; pictures are cropped to a multiple of `multiple`."""
    names = sorted(p.name for p in (folder / "input").glob("*.*"))
    if not names:
        raise InputError(f"{folder}: no pictures in {folder / 'input'} (validation wants input/ and gt/)")
    scores = []
    for name in names:
        picture, target = read_picture(folder / "input" / name), read_picture(folder / "gt" / name)
        height, width = (s // multiple * multiple for s in picture.shape[-2:])
        picture, target = picture[..., :height, :width], target[..., :height, :width]
        enhanced = relight(picture, network(picture)).clamp(0, 1)
        scores.append((float(psnr(enhanced, target)), float(ssim(enhanced, target))))
    mean = np.mean(scores, axis=0)
    return {"psnr": round(float(mean[0]), 3), "ssim": round(float(mean[1]), 4)}
