"""The laws of the relative network, which hold whatever its weights are: they are random here."""

from __future__ import annotations

import numpy as np
import pytest

from made import backlit

torch = pytest.importorskip("torch")

from cliplit.networks.relative_unet import RelativeUNet, picture_level, srgb_to_linear
from cliplit.training.relight import luma, relight


@pytest.fixture(scope="module", params=[0, 1, 2])
def network(request):
    torch.manual_seed(request.param)
    made = RelativeUNet().eval()
    for parameter in made.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return made


def scene():
    """(1, 3, 96, 128) sRGB, none of it clipped or black."""
    picture = backlit(96, 128).astype(np.float32) / 255
    return torch.from_numpy(picture).permute(2, 0, 1)[None].clamp(0.05, 0.99)


def darker(picture, stops):
    light = srgb_to_linear(picture) * 2.0**-stops
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp(min=1e-9) ** (1 / 2.4) - 0.055)


@torch.no_grad()
def test_less_light_in_is_never_more_light_out(network):
    picture = scene()
    outputs = [relight(p, network(p)) for p in (darker(picture, quarter / 4) for quarter in range(21))]
    means = torch.tensor([float(luma(output).mean()) for output in outputs])
    assert (means.diff() < 1e-4).all()


@torch.no_grad()
def test_the_lift_rises_by_at_most_a_stop_a_stop(network):
    picture = scene()
    stops = torch.stack([-2.2 * torch.log2(network(darker(picture, quarter / 4))) for quarter in range(21)])
    steps = stops.diff(dim=0)
    assert (steps > -0.05).all()
    assert (steps < 0.25 + 0.05).all()  # 8-bit-like toe and floor are no power laws


@torch.no_grad()
def test_what_is_masked_does_not_matter(network):
    picture = scene()
    masked = torch.full((1, 3, 160, 192), -1.0)
    masked[..., 32:128, 32:160] = picture
    other = masked.clone()
    other[other < 0] = -0.2
    assert torch.equal(network(masked), network(other))


def test_level_follows_light_exactly():
    light = torch.rand(1, 1, 24, 32) ** 3
    valid = torch.ones_like(light)
    level = picture_level(light, valid)
    for stops in (1.0, 3.0, 5.0):
        assert float(level - picture_level(light * 2.0**-stops, valid)) == pytest.approx(stops, abs=1e-4)


def test_a_caption_hardly_moves_the_level():
    light = torch.full((1, 1, 48, 64), 0.02)
    valid = torch.ones_like(light)
    captioned = light.clone()
    captioned[..., 40:44, 10:50] = 1.0
    assert abs(float(picture_level(captioned, valid) - picture_level(light, valid))) < 0.25
    # A mean of the light itself moves by one and a half stops.


@torch.no_grad()
def test_nothing_but_mask_gives_a_light_map(network):
    light = network(torch.full((1, 3, 64, 96), -1.0))
    assert torch.isfinite(light).all()
    assert (light > 0).all()
    assert (light <= 1).all()
