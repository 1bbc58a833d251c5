"""Pairs rendered once for many uses, and panoramas rendered by several processes."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from cliplit.config import TrainConfig
from cliplit.errors import OptionError
from cliplit.networks import checkpoint
from cliplit.pictures.pair_pool import PairPool
from cliplit.pictures.pairs import PairBatches, Sources, render_scenes
from cliplit.training.loop import train

from .conftest import scene, to_uint8

SIZES = ((32, 48), (48, 32))


def rendered():
    photos = [to_uint8(scene(i) ** 0.7) for i in range(4)]
    return PairBatches(Sources(photos=photos), 4, SIZES, seed=3, masks=True)


def pool(part=(0, 1), count=24):
    batches = rendered()
    return PairPool((batches[number] for number in range(count // 4)), 4, 3, part, torch.device("cpu"))


def test_every_pair_drawn_is_a_rendered_one_mirrored_as_a_whole_or_not():
    batches, drawn = rendered(), pool()
    known = [pair for number in range(6) for pair in zip(*batches[number], strict=True)]
    mirrored = 0
    for step in range(12):
        for source, target in zip(*drawn[step], strict=True):
            same = [
                flipped
                for a, b in known
                for flipped in (False, True)
                if a.shape == source.shape
                and torch.allclose(a.flip(2) if flipped else a, source, atol=5e-4)
                and torch.allclose(b.flip(2) if flipped else b, target, atol=5e-4)
            ]
            assert same
            mirrored += same[0]
    assert 12 < mirrored < 36  # of 48


def test_what_is_no_picture_stays_negative():
    drawn = pool(count=80)
    sources = [drawn[step][0] for step in range(30)]
    assert any((source < 0).any() for source in sources)
    assert all(((source == -1) | (source >= 0)).all() for source in sources)


def test_batches_depend_on_seed_and_step_alone_and_are_split_over_processes():
    one, again, first, second = pool(), pool(), pool((0, 2)), pool((1, 2))
    for step in (7, 0, 5):
        assert all(torch.equal(a, b) for a, b in zip(one[step], again[step], strict=True))
        halves = (torch.cat(both) for both in zip(first[step], second[step], strict=True))
        assert all(torch.equal(a, b) for a, b in zip(one[step], halves, strict=True))
    assert {tuple(one[step][0].shape[2:]) for step in range(12)} == set(SIZES)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_from_a_pool_goes_on_where_it_stopped(made, tmp_path, workers):
    given = {"method": "paired", "network": "relative", "photos": [str(made.welllit)], "pool": 8, "batch": 4}
    given |= {"sizes": ["32x48"], "steps": 4, "schedule": "constant", "save_every": 2, "threads": 1, "workers": workers}
    config = TrainConfig.from_dict(given)
    whole = train(config, tmp_path / "whole", quiet=True)
    train(replace(config, steps=2), tmp_path / "parts", quiet=True)
    parts = train(config, tmp_path / "parts", resume=True, quiet=True)
    a, b = (checkpoint.read(path.with_name("last.pt"))["weights"] for path in (whole, parts))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_pool_cannot_be_negative():
    with pytest.raises(OptionError, match="--pool -1"):
        TrainConfig.from_dict({"method": "paired", "photos": ["x"], "pool": -1})


def test_processes_render_the_same_views(tmp_path):
    chance = np.random.default_rng(5)
    for name in "abc":
        panorama = np.full((64, 128, 3), 0.02, np.float32)
        panorama[20:36, 30:70] = chance.uniform(2, 6)
        cv2.imwrite(str(tmp_path / f"{name}.hdr"), panorama)
    alone = list(render_scenes(tmp_path, 7, 1, size=(48, 32)))
    together = list(render_scenes(tmp_path, 7, 1, size=(48, 32), workers=2))
    assert len(alone) == 7 and len(together) == 7
    for a, b in zip(alone, together, strict=True):
        assert np.array_equal(a.radiance, b.radiance) and np.array_equal(a.target, b.target)
