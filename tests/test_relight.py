"""Training and runtime compute the same picture from the same light map."""

from __future__ import annotations

import numpy as np
import pytest

from made import backlit

torch = pytest.importorskip("torch")

from cliplit.runtime.light.gain import apply_rgb
from cliplit.runtime.light.light_map import guided_coefficients, log_light
from cliplit.runtime.light.proxy import rgb_proxy
from cliplit.training.relight import relight


@pytest.mark.parametrize("max_gain", [4.0, 16.0])
def test_torch_and_runtime_agree(max_gain):
    picture = backlit(96, 128).astype(np.float32) / 255
    light = np.random.default_rng(0).uniform(0.02, 1.3, (96, 128)).astype(np.float32)
    light = torch.nn.functional.avg_pool2d(torch.from_numpy(light)[None], 5, 1, 2)[0].numpy()
    proxy = rgb_proxy(picture, (96, 128))
    numpy = apply_rgb(picture, guided_coefficients(log_light(light, max_gain), proxy.luma, max_gain))
    batch = torch.from_numpy(picture).permute(2, 0, 1)[None]
    tensor = relight(batch, torch.from_numpy(light)[None, None], max_gain)[0].permute(1, 2, 0).numpy()
    assert np.abs(numpy - tensor).max() < 2e-4


def test_gradients_reach_a_map_that_is_out_of_bounds():
    light = torch.tensor([0.0, 0.5, 3.0]).repeat_interleave(64).reshape(1, 1, 12, 16).requires_grad_()
    relight(torch.full((1, 3, 12, 16), 0.2), light).mean().backward()
    assert (light.grad != 0).all()
