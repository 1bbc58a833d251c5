"""The losses of docs/method.md, computed again from the formulas in plain numpy and loops, in double precision."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cliplit.guidance.guided_losses import (
    clip_loss,
    identity_loss,
    negative_probability,
    prompt_loss,
    ranking_loss,
    residual_loss,
)
from cliplit.guidance.residual import residual_of, vocabulary_bias
from cliplit.training.distributed import World
from cliplit.training.objective import exposure_loss
from cliplit.training.relight import divide, relight


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def embeddings(rng, n, d=16):
    """Near each other, as CLIP's are: then neither softmax nor hinge is saturated."""
    return unit(rng.normal(size=d) + 0.02 * rng.normal(size=(n, d)))


def tensor(x):
    return torch.from_numpy(np.asarray(x, np.float32))


def softmax_of_negative(f, negative, positive):
    a, b = 100 * float(f @ negative), 100 * float(f @ positive)
    return math.exp(a - max(a, b)) / (math.exp(a - max(a, b)) + math.exp(b - max(a, b)))


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def pair(rng):
    return embeddings(rng, 2)


def test_clip_loss_is_the_mean_probability_of_the_negative_prompt(rng, pair):
    f = embeddings(rng, 7)
    expected = [softmax_of_negative(row, pair[0], pair[1]) for row in f]
    assert min(expected) > 0.05 and max(expected) < 0.95
    assert np.allclose(negative_probability(tensor(f), tensor(pair)), expected, atol=1e-5)
    assert float(clip_loss(tensor(f), tensor(pair))) == pytest.approx(np.mean(expected), abs=1e-5)


def test_prompt_loss_is_the_cross_entropy_of_backlit_against_well_lit(rng, pair):
    f = embeddings(rng, 6)
    labels = [0, 1, 1, 0, 0, 1]
    probability = [softmax_of_negative(row, pair[0], pair[1]) for row in f]
    expected = np.mean([-math.log(p if label == 0 else 1 - p) for p, label in zip(probability, labels, strict=True)])
    assert float(prompt_loss(tensor(f), torch.tensor(labels), tensor(pair))) == pytest.approx(expected, abs=1e-5)


def test_identity_loss_is_a_weighted_mean_squared_error_per_layer_summed_over_the_batch(rng):
    alpha = (1.0, 1.0, 1.0, 1.0, 0.5)
    shapes = [(3, 8, 8, 8), (3, 16, 8, 8), (3, 16, 4, 4), (3, 32, 2, 2), (3, 32, 1, 1)]
    a, b = ([rng.normal(size=s) for s in shapes] for _ in range(2))
    expected = 0.0
    for n in range(3):
        for weight, x, y in zip(alpha, a, b, strict=True):
            expected += weight * np.mean((x[n] - y[n]) ** 2)
    found = float(identity_loss([tensor(x) for x in a], [tensor(x) for x in b], alpha))
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_ranking_loss_is_the_sum_of_the_hinges_of_its_round(rng, levels):
    m0, m1 = 0.9, 0.2
    s = {name: rng.random(5) for name in ("b", "before", "t", "w")}

    def hinge(lower, higher, margin):
        return np.maximum(0, lower - higher + margin)

    terms = {
        2: [hinge(s["w"], s["b"], m0)],
        3: [hinge(s["w"], s["b"], m0), hinge(s["t"], s["b"], m0), hinge(s["w"], s["t"], m1)],
        4: [
            hinge(s["w"], s["b"], m0),
            hinge(s["before"], s["b"], m0),
            hinge(s["t"], s["before"], m1),
            hinge(s["w"], s["t"], m1),
        ],
    }
    ladder = {2: ["b", "w"], 3: ["b", "t", "w"], 4: ["b", "before", "t", "w"]}[levels]
    found = float(ranking_loss([tensor(s[name]) for name in ladder], (m0, m1)))
    assert found == pytest.approx(np.mean(sum(terms[levels])), abs=1e-5)


def test_residual_vector_threshold_and_loss(rng):
    backlit, well_lit, enhanced = embeddings(rng, 9), embeddings(rng, 5), embeddings(rng, 4)
    w, b = unit(well_lit.mean(axis=0)), unit(backlit.mean(axis=0))
    v = unit(w - b)
    c = w @ v
    residual = residual_of(tensor(backlit), tensor(well_lit))
    assert np.allclose(residual.vector, v, atol=1e-5)
    assert residual.threshold == pytest.approx(c, abs=1e-5)
    expected = np.mean([(row @ v - c) ** 2 for row in enhanced])
    assert float(residual_loss(tensor(enhanced), residual.vector, residual.threshold)) == pytest.approx(
        expected, abs=1e-5
    )


def test_bias_correction_takes_the_words_at_both_ends_out_of_the_residual_vector(rng):
    backlit, well_lit, words = embeddings(rng, 9), embeddings(rng, 9), unit(rng.normal(size=(40, 16)))
    plain = residual_of(tensor(backlit), tensor(well_lit)).vector.double().numpy()
    score = words @ plain
    order = np.argsort(score)
    low = unit(np.mean([words[i] * score[i] for i in order[:3]], axis=0))
    high = unit(np.mean([words[i] * score[i] for i in order[-3:]], axis=0))
    away = unit(low + high)
    found = vocabulary_bias(tensor(plain), tensor(words), 3)
    assert np.allclose(found, away, atol=1e-5)
    corrected = residual_of(tensor(backlit), tensor(well_lit), found)
    assert np.allclose(corrected.vector, unit(plain - away * (away @ plain)), atol=1e-5)
    assert abs(float(corrected.vector @ found)) < 1e-5
    assert corrected.threshold == pytest.approx(float(unit(well_lit.mean(axis=0)) @ corrected.vector.numpy()), abs=1e-5)


def test_enhanced_picture_of_the_papers(rng):
    picture, light = rng.random((2, 3, 4, 5)), rng.random((2, 1, 4, 5))
    light[0, 0, 0, 0] = 0.0
    expected = np.clip(picture / (light + 1e-9), 0, 1)
    assert np.allclose(divide(tensor(picture), tensor(light)), expected, atol=1e-5)


def test_a_light_map_above_one_everywhere_still_gets_a_gradient():
    """As a fresh network may give it: training would never begin."""
    light = torch.full((1, 1, 16, 16), 1.02, requires_grad=True)
    picture = torch.rand(1, 3, 16, 16) * 0.5
    enhanced = relight(picture, light)
    assert torch.allclose(enhanced, picture, atol=1e-6)
    enhanced.sum().backward()
    assert light.grad.sum() < 0  # a smaller L is a brighter picture


def exposure_loss_of(network):
    run = SimpleNamespace(
        network=network, world=World(0, 1, torch.device("cpu")), config=SimpleNamespace(precision="fp32")
    )
    pictures = torch.full((64, 3, 8, 8), 0.9)
    return float(exposure_loss(run, pictures, (1, 2)))


def test_light_that_follows_exposure_costs_nothing():
    """A map that stays as it is, and one that gives back exactly what is missing, up to the rounding to codes."""
    assert exposure_loss_of(lambda x: torch.ones_like(x[:, :1])) == 0.0
    assert exposure_loss_of(lambda x: x[:, :1]) < 0.03


def test_light_that_rises_with_darkness_costs_what_it_rises_by():
    """A gain that is the square of what is missing: half a stop of light on average, in stops of gamma-coded values."""
    assert exposure_loss_of(lambda x: x[:, :1] ** 2) == pytest.approx(0.5 / 2.2, rel=0.15)
