"""Scores of any model on a folder, through the runtime, as users will see it. `cliplit-eval` prints them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cliplit.arrays import Array
from cliplit.constants import MAX_GAIN
from cliplit.networks import checkpoint
from cliplit.pictures.picture_folder import pair_folders
from cliplit.runtime import Enhancer
from cliplit.runtime.light.gain import apply_rgb
from cliplit.runtime.light.light_map import guided_coefficients, log_light
from cliplit.runtime.light.proxy import proxy_size, rgb_proxy
from cliplit.training.validation import Scores, mean_scores, pair_scores, photo_scores, read_pairs, read_pictures

Relight = Callable[[Array], Array]  # (H, W, 3) uint8 -> the same


def score_model(model: str, folder: Path) -> dict[str, Scores]:
    """Score a model: {picture: scores, ..., "mean": scores}, with references if the folder has input/ and gt/."""
    relight = load_model(model)
    rows: dict[str, Scores] = {}
    if all(part.is_dir() for part in pair_folders(folder)):
        for name, picture, target in read_pairs(folder):
            enhanced = relit(picture, relight)
            rows[name] = pair_scores(enhanced, target) | photo_scores(enhanced)
    else:
        for name, picture in read_pictures(folder):
            rows[name] = photo_scores(relit(picture, relight))
    rows["mean"] = mean_scores(rows.values())
    return rows


def load_model(model: str) -> Relight:
    """Load a checkpoint (ours or a published one), an exported ONNX file, or a bundled model by name."""
    if Path(model).suffix in {".pt", ".pth"}:
        return checkpoint_relight(Path(model))

    return Enhancer(model, device="cpu")


def checkpoint_relight(path: Path) -> Relight:
    """Return a function that enhances pictures with a checkpoint's network inside the runtime's own pipeline."""
    network = checkpoint.load_network(path)

    def relight(picture: Array) -> Array:
        size = proxy_size(picture.shape[0], picture.shape[1], network.proxy_short_side, network.multiple)
        proxy = rgb_proxy(picture, size)
        with torch.no_grad():
            light = network(torch.from_numpy(proxy.rgb.transpose(2, 0, 1).copy())[None])[0, 0].numpy()
        return apply_rgb(picture, guided_coefficients(log_light(light, MAX_GAIN), proxy.luma, MAX_GAIN))

    return relight


def relit(picture: Tensor, relight: Relight) -> Tensor:
    """Enhance a picture, (1, 3, H, W) in [0, 1], to the same shape."""
    before = np.ascontiguousarray(np.round(picture[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    after = relight(before)
    return torch.from_numpy(np.ascontiguousarray(after.transpose(2, 0, 1)))[None].float() / 255
