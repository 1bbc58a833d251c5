"""Scores of a network during training: on a folder of pairs (`input/`, `gt/`), and on pictures without references.

PSNR and SSIM are ours; LPIPS, MUSIQ and NIQE come from `pyiqa` where it is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..config import TrainConfig
from ..errors import InputError
from ..pictures.picture_folder import decoded, list_pictures, matched_paths
from .losses import psnr, ssim
from .relight import luma, relight

CLIPPED = 254.5 / 255  # a sample that a file will hold as white

Enhance = Callable[[Tensor], Tensor]
Scores = dict[str, float]


def score_all(network: nn.Module, config: TrainConfig) -> tuple[Scores, dict[str, dict[str, Scores]]]:
    """Score a network on the validation folders of a run: (averages, {folder's option: {picture: scores}})."""
    each: dict[str, dict[str, Scores]] = {}
    enhance = full_size_enhancer(network)
    if config.validation:
        pairs = read_pairs(Path(config.validation))
        each["validation"] = {name: pair_scores(enhance(p), target) for name, p, target in pairs}
    if config.validation_photos:
        photos = read_pictures(Path(config.validation_photos))
        each["validation_photos"] = {name: photo_scores(enhance(p)) for name, p in photos}
    scores: Scores = {}
    for pictures in each.values():
        scores |= mean_scores(pictures.values())
    return scores, each


def check_validation(config: TrainConfig) -> None:
    """Read the pictures to score on once, before anything slow. Raises InputError for what cannot be scored."""
    if config.validation:
        for _ in read_pairs(Path(config.validation)):
            pass
    if config.validation_photos:
        for _ in read_pictures(Path(config.validation_photos)):
            pass
    if not config.best_by_loss and config.best_by not in ("auto", *promised(config)):
        raise InputError(no_such_score(config, promised(config)))


def promised(config: TrainConfig) -> list[str]:
    """List the scores by which a run can choose its best."""
    pairs = [name for name in ("psnr", "ssim") if config.validation]
    if config.validation and config.best_by == "lpips" and quality_metric("lpips"):
        pairs.append("lpips")
    if config.validation_photos and config.best_by in ("musiq", "niqe") and quality_metric(config.best_by):
        pairs.append(config.best_by)
    return pairs


def no_such_score(config: TrainConfig, known: Iterable[str]) -> str:
    return (
        f"--best-by {config.best_by}: not among the scores ({', '.join(known) or 'none'}); psnr and ssim need "
        "--validation, lpips pyiqa as well, musiq and niqe --validation-photos and pyiqa"
    )


def best_score(scores: Scores, loss: float, config: TrainConfig) -> float:
    """Return the score that best.pt maximises. Raises InputError if it was not computed."""
    if config.best_by_loss:
        return -loss
    if config.best_by == "auto":
        return scores["psnr"] + 20.0 * scores["ssim"]
    if config.best_by not in scores:
        raise InputError(no_such_score(config, scores))
    return -scores[config.best_by] if config.best_by in ("lpips", "niqe") else scores[config.best_by]


@torch.no_grad()
def pair_scores(enhanced: Tensor, target: Tensor) -> Scores:
    """Score one picture, (1, 3, H, W) in [0, 1], against its target."""
    height, width = enhanced.shape[-2:]
    target = target[..., :height, :width]
    scores = {"psnr": float(psnr(enhanced, target, floor=1e-10)), "ssim": float(ssim(enhanced, target))}
    if lpips := quality_metric("lpips"):
        scores["lpips"] = float(lpips(enhanced, target))
    return scores


@torch.no_grad()
def photo_scores(enhanced: Tensor) -> Scores:
    """Score one picture without a reference: brightness, share of white, and naturalness if pyiqa is installed."""
    scores = {
        "mean_luminance": float(luma(enhanced).mean()),
        "clipped": float((enhanced.amax(dim=1) > CLIPPED).float().mean()),
    }
    for name in ("musiq", "niqe"):
        if metric := quality_metric(name):
            scores[name] = float(metric(enhanced))
    return scores


def mean_scores(scores: Iterable[Scores]) -> Scores:
    rows = list(scores)
    return {name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0]}


@cache
def quality_metric(name: str) -> Any:
    """Load a metric of pyiqa on the CPU; None if it is not installed or its weights cannot be had."""
    try:
        import pyiqa

        return pyiqa.create_metric(name, device=torch.device("cpu"))
    except Exception:  # pyiqa downloads weights; a score too few must not stop a training
        return None


def full_size_enhancer(network: nn.Module, multiple: int = 16) -> Enhance:
    """Return a function that enhances by the training path: full size, cropped to a multiple of `multiple`."""
    device = next(network.parameters()).device

    @torch.no_grad()
    def enhance(picture: Tensor) -> Tensor:
        height, width = (side // multiple * multiple for side in picture.shape[-2:])
        picture = picture[..., :height, :width].to(device)
        return relight(picture, network(picture)).clamp(0, 1).cpu()

    return enhance


def read_pairs(folder: Path) -> Iterable[tuple[str, Tensor, Tensor]]:
    """Yield (name, input, target), each (1, 3, H, W) in [0, 1], for names found in both folders."""
    for path, target_path in matched_paths(folder):
        picture, target = read_tensor(path), read_tensor(target_path)
        if picture.shape != target.shape:
            sizes = " and ".join(f"{t.shape[3]}x{t.shape[2]}" for t in (picture, target))
            raise InputError(f"{path}: input and gt have different sizes, {sizes}")
        yield path.name, picture, target


def read_pictures(folder: Path) -> Iterable[tuple[str, Tensor]]:
    """Yield (name, picture) for all pictures below a folder."""
    paths = list_pictures([folder])
    if not paths:
        raise InputError(f"{folder}: no pictures")
    for path in paths:
        yield path.relative_to(folder).as_posix(), read_tensor(path)


def read_tensor(path: Path) -> Tensor:
    """Read a picture as (1, 3, H, W) in [0, 1]."""
    rgb = decoded(path)
    if rgb is None or rgb.dtype != np.uint8:
        raise InputError(f"{path}: not a gamma-coded picture that can be read")
    return torch.from_numpy(rgb.transpose(2, 0, 1).astype(np.float32))[None] / 255
