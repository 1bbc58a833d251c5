"""Pictures and encoders for training tests, made on the spot: small enough for seconds, real enough to learn from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

TRANSFORMER = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
RESNET = {
    **TRANSFORMER,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8, "patch_size": None},
}
COUNT = 8
STUDENT = Path(os.environ.get("CLIPLIT_SHARED", Path(__file__).parents[3] / "shared")) / "models/siglip2_student"
needs_student = pytest.mark.skipif(not STUDENT.is_dir(), reason=f"no {STUDENT.name} beside this checkout")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def write_picture(path: Path, picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(path.suffix, picture[..., ::-1])
    data.tofile(path)


def scene(seed: int, height: int = 48, width: int = 64):
    """A soft random picture, (H, W, 3) float32 in [0, 1]."""
    grid = np.random.default_rng(seed).random((5, 6, 3), dtype=np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def to_uint8(picture):
    return np.round(picture * 255).astype(np.uint8)


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> SimpleNamespace:
    """Folders backlit/, welllit/ (others), pairs/input/ and pairs/gt/; two open_clip model configurations."""
    root = tmp_path_factory.mktemp("made é 'x")
    for i in range(COUNT):
        write_picture(root / "backlit" / "sub" / f"{i}.png", to_uint8(scene(i) ** 3 * 0.5))
        write_picture(root / "welllit" / f"{i}.jpg", to_uint8(scene(100 + i) ** 0.7))
        write_picture(root / "pairs" / "input" / f"{i}.png", to_uint8(scene(i) ** 3 * 0.5))
        write_picture(root / "pairs" / "gt" / f"{i}.png", to_uint8(scene(i)))
    (root / "tiny_transformer.json").write_text(json.dumps(TRANSFORMER))
    (root / "tiny_resnet.json").write_text(json.dumps(RESNET))
    return SimpleNamespace(
        root=root,
        backlit=root / "backlit",
        welllit=root / "welllit",
        pairs=root / "pairs",
        transformer=str(root / "tiny_transformer.json"),
        resnet=str(root / "tiny_resnet.json"),
    )


@pytest.fixture(scope="session")
def options(made):
    """Options of a guided run of 20 steps through every stage; keyword arguments override them."""

    def build(**given):
        pictures = {} if "pairs" in given else {"backlit": [str(made.backlit)], "welllit": [str(made.welllit)]}
        return {
            "method": "cliplit",
            **pictures,
            "score_model": made.transformer,
            "score_weights": "random",
            "identity_model": made.resnet,
            "identity_weights": "random",
            "batch": 4,
            "prompt_batch": 4,
            "prompt_size": 32,
            "sizes": ["48x48"],
            "steps": 20,
            "prompt_init_steps": 3,
            "reconstruction_steps": 3,
            "enhancer_steps": 4,
            "prompt_steps": 3,
            "enhancer_threshold": 1e9,
            "prompt_threshold": 1e9,
            "save_every": 4,
            "log_every": 2,
            "threads": 1,
            "workers": 0,
            **given,
        }

    return build
