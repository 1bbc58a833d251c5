"""Guidance for any encoder: directions from exposure, bands, crops, and cheaper identity losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cliplit.config import TrainConfig
from cliplit.errors import InputError, OptionError
from cliplit.guidance.feature_cache import FeatureCache
from cliplit.guidance.guided_losses import band_loss, residual_loss
from cliplit.guidance.residual import Residual
from cliplit.guidance.views import embed_views, retaken
from cliplit.networks import checkpoint
from cliplit.phases import Stage
from cliplit.pictures.tone import exposed
from cliplit.training import loop as training
from cliplit.training.distributed import World
from cliplit.training.journal import read_log
from cliplit.training.loop import STEPS, train
from cliplit.training.run import prepare

pytest.importorskip("open_clip")

# An encoder whose first axis is the mean of a picture and whose second is its share of white: it knows exposure.
EXPOSURE = """
import torch

class Exposure(torch.nn.Module):
    def embed(self, x):
        mean, square = x.mean(dim=(1, 2, 3)), x.square().mean(dim=(1, 2, 3))
        white = (x > 0.98).float().mean(dim=(1, 2, 3)) + 0.3 * square
        return torch.nn.functional.normalize(torch.stack([mean, white, torch.full_like(mean, 0.5)], dim=1), dim=1)
    def features(self, x):
        return [x]

def load(): return Exposure()
"""


@pytest.fixture
def exposure(options, tmp_path):
    (tmp_path / "encoder.py").write_text(EXPOSURE)
    encoder = {"encoder": f"{tmp_path / 'encoder.py'}:load", "identity_layers": [1.0], "method": "rave"}
    return lambda **given: options(**{**encoder, "steps": 8, **given})


def prepared(given, folder):
    return prepare(TrainConfig.from_dict(given), folder, World(0, 1, torch.device("cpu")), quiet=True)


def without_backlit(given):
    return {k: v for k, v in given.items() if k != "backlit"}


# Pictures at another exposure.


def test_a_retaken_picture_has_so_many_stops_more_light():
    """IEC 61966-2-1: 0.5 is 0.21404 of linear light; a quarter of it is coded 0.25591... twice it is coded 0.68589."""
    half = torch.full((1, 3, 2, 2), 0.5)
    decoded = ((0.5 + 0.055) / 1.055) ** 2.4
    for stops in (-2.0, 1.0):
        wanted = 1.055 * (decoded * 2.0**stops) ** (1 / 2.4) - 0.055
        assert torch.allclose(retaken(half, stops), torch.full_like(half, wanted), atol=1e-5)
        assert exposed(np.float32(0.5), stops) == pytest.approx(wanted, abs=1e-5)
    assert torch.allclose(retaken(half, 9.0), torch.ones_like(half), atol=1e-6)
    assert torch.allclose(retaken(torch.rand(1, 3, 4, 4), -20.0), torch.zeros(1, 3, 4, 4), atol=1e-4)


# The band.


def test_a_band_of_no_width_is_raves_loss_and_within_a_band_there_is_none():
    e, v = F.normalize(torch.randn(6, 5), dim=1), F.normalize(torch.randn(5), dim=0)
    assert torch.allclose(band_loss(e, v, 0.1, 0.1), residual_loss(e, v, 0.1))
    assert band_loss(e, v, -1.0, 1.0) == 0
    one = torch.eye(5)[:1]
    assert float(band_loss(one, torch.eye(5)[0], 0.2, 0.7)) == pytest.approx(0.3**2)
    assert float(band_loss(-one, torch.eye(5)[0], 0.2, 0.7)) == pytest.approx(1.2**2)


def test_over_exposure_costs_along_its_own_direction():
    ahead, over = torch.eye(3)[0], torch.eye(3)[1]
    residual = Residual(ahead, 0.5, band=(0.2, 0.8), over=over, limit=0.1)
    fine, burnt = F.normalize(torch.tensor([[0.5, 0.05, 0.8]])), F.normalize(torch.tensor([[0.5, 0.6, 0.6]]))
    assert residual.loss(fine.unsqueeze(0)[0]) == 0
    assert float(residual.loss(burnt)) == pytest.approx((float(burnt[0, 1]) - 0.1) ** 2, rel=1e-5)


# The direction.


def test_the_direction_of_exposure_needs_no_backlit_pictures(exposure, made, tmp_path):
    given = without_backlit(exposure(direction="exposure"))
    run, _ = prepared(given, tmp_path / "run")
    encoder, light = run.guidance.score, run.sources.guided.well_lit
    pictures = torch.stack([torch.from_numpy(p.transpose(2, 0, 1) / 255.0).float() for p in light.pictures])
    bright, dark = (encoder.embed(p).mean(dim=0) for p in (pictures, retaken(pictures, -2.0)))
    wanted = F.normalize(F.normalize(bright, dim=0) - F.normalize(dark, dim=0), dim=0)
    assert torch.allclose(run.residual.vector, wanted, atol=1e-5)
    picture, clean, reference = next(training.batches_from(run, Stage.ENHANCE, 0))
    assert torch.equal(picture, clean)
    assert torch.allclose(retaken(reference, -2.0), picture, atol=0.02)  # the inputs: well-lit pictures, darkened
    with pytest.raises(OptionError, match="needs pictures"):
        TrainConfig.from_dict(without_backlit(exposure()))


def test_targets_lie_where_well_lit_pictures_lie(exposure, tmp_path):
    thresholds = {}
    for target in ("published", "mean", "band"):
        run, _ = prepared(exposure(target=target, overexposure=1.5), tmp_path / target)
        light = run.sources.guided.well_lit.pictures
        pictures = torch.stack([torch.from_numpy(p.transpose(2, 0, 1) / 255.0).float() for p in light])
        places = run.guidance.score.embed(pictures) @ run.residual.vector
        thresholds[target] = run.residual.threshold
        if target == "mean":
            assert run.residual.threshold == pytest.approx(float(places.mean()), abs=1e-5)
        if target == "band":
            wanted = np.quantile(places.numpy(), [0.25, 0.75])
            assert run.residual.band == pytest.approx(tuple(wanted), abs=1e-5)
        embedded = run.guidance.score.embed(pictures) @ run.residual.over
        burnt = run.guidance.score.embed(retaken(pictures, 1.5)) @ run.residual.over
        assert float(burnt.mean()) > run.residual.limit >= float(embedded.median())
    # a mean of unit vectors is shorter than 1, and RAVE normalises it
    assert abs(thresholds["published"]) > abs(thresholds["mean"])


def test_the_band_with_the_direction_of_exposure_brightens_and_stops(exposure, tmp_path):
    given = exposure(direction="exposure", target="band", overexposure=1.5, steps=60, reconstruction_steps=0)
    given = without_backlit(given) | {"learning_rate": 1e-3, "identity_weight": 0.0, "sizes": ["32x32"]}
    train(TrainConfig.from_dict(given), tmp_path / "run", quiet=True)
    guidance = [e["guidance"] for e in read_log(tmp_path / "run" / "log.jsonl") if "guidance" in e]
    assert np.mean(guidance[-5:]) < 0.5 * np.mean(guidance[:2])


@pytest.mark.parametrize("method", ["latent", "cliplit"])
def test_an_over_exposed_rung_enters_prompts_and_ranking(options, tmp_path, method):
    losses = {}
    for stops in (0.0, 1.5):
        run, state = prepared(options(method=method, overexposure=stops), tmp_path / f"{stops}")
        for stage in (Stage.PROMPTS, Stage.REFINE):
            torch.manual_seed(0)
            batch = next(training.batches_from(run, stage, 0))
            losses[stage, stops] = float(STEPS[stage](run, state, batch)["loss"].detach())
    assert losses[Stage.REFINE, 1.5] > losses[Stage.REFINE, 0.0]
    if method == "latent":  # prompts begin alike, and tell nothing apart yet
        assert losses[Stage.PROMPTS, 1.5] != losses[Stage.PROMPTS, 0.0]


# Crops.


def test_crops_are_windows_of_the_picture_and_depend_on_the_seed_alone(exposure):
    seen = []

    class Spy:
        def embed(self, x):
            seen.append(x)
            return x.mean(dim=(2, 3))

    x = torch.rand(2, 3, 20, 30)
    first, again, other = (embed_views(Spy(), x, 3, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == (8, 3) and torch.equal(seen[0], x)
    for crop in seen[1:4]:
        assert crop.shape == (2, 3, 10, 15)
        windows = x.unfold(2, 10, 1).unfold(3, 15, 1)
        assert (windows[0, 0] == crop[0, 0]).all(dim=(-1, -2)).any()


def test_crops_are_judged_in_training(exposure, tmp_path):
    run, state = prepared(exposure(crops=2), tmp_path / "run")
    batch = next(training.batches_from(run, Stage.ENHANCE, 0))
    assert torch.isfinite(STEPS[Stage.ENHANCE](run, state, batch)["guidance"])
    with pytest.raises(OptionError, match="--crops is of method rave"):
        TrainConfig.from_dict(exposure(method="latent", crops=2))


# The identity loss.


def test_identity_with_the_result_of_paired_training_begins_at_zero(exposure, tmp_path):
    train(TrainConfig.from_dict(exposure(steps=4)), tmp_path / "first", quiet=True)
    given = exposure(init=str(tmp_path / "first" / "best.pt"))
    losses = {}
    for kind in ("input", "result"):
        run, state = prepared({**given, "identity_to": kind}, tmp_path / kind)
        batch = next(training.batches_from(run, Stage.ENHANCE, 0))
        losses[kind] = float(STEPS[Stage.ENHANCE](run, state, batch)["identity"].detach())
    assert losses["input"] > 1e-4 and losses["result"] < 1e-9
    with pytest.raises(OptionError, match="--identity-to result needs a checkpoint"):
        TrainConfig.from_dict(exposure(identity_to="result"))


def test_identity_with_the_reference(exposure, made, tmp_path):
    run, state = prepared(exposure(pairs=str(made.pairs), identity_to="reference"), tmp_path / "run")
    picture, clean, reference = next(training.batches_from(run, Stage.ENHANCE, 0))
    with torch.no_grad():
        enhanced = training.enhance(run, picture)
    loss = float(STEPS[Stage.ENHANCE](run, state, (picture, clean, reference))["identity"].detach())
    assert loss == pytest.approx(float(((enhanced - reference) ** 2).mean(dim=(1, 2, 3)).sum()), rel=1e-4)


def test_identity_every_other_step_has_the_same_gradient_on_average(exposure, tmp_path):
    """Of one picture and one set of weights: the mean of the gradients with and without it, weighted twice, is it."""

    def gradient(every, step):
        given = exposure(identity_every=every, identity_weight=100.0, learning_rate=0.0, final_learning_rate=0.0)
        run, state = prepared(given, tmp_path / f"{every}{step}")
        batch = next(training.batches_from(run, Stage.ENHANCE, 0))
        state.step = step
        losses = STEPS[Stage.ENHANCE](run, state, batch)
        return torch.cat([p.grad.flatten() for p in state.network.parameters()]), "identity" in losses

    (whole, _), (without, has_none), (double, has) = gradient(1, 0), gradient(2, 0), gradient(2, 1)
    assert has and not has_none
    assert torch.allclose((without + double) / 2, whole, rtol=1e-4, atol=1e-6)


def test_identity_features_of_smaller_pictures(options, tmp_path):
    """CLIP's ResNet at half the side gives maps of half the side; a transformer takes one size only."""
    run, _ = prepared(options(method="rave", identity_side=32), tmp_path / "run")
    shapes = [f.shape[-1] for f in run.guidance.identity.features(torch.rand(1, 3, 48, 48))]
    assert shapes == [8, 8, 4, 2, 1]
    given = options(method="rave", identity_side=16)
    given["identity_model"] = given["score_model"]
    with pytest.raises(InputError, match="takes one size only"):
        prepared(given, tmp_path / "other")


def test_raw_words_are_rows_of_the_towers_table(options, tmp_path):
    given = options(method="rave", bias_tokens=2, bias_words="raw")
    with pytest.raises(InputError, match=r"words of .+ have 16 numbers, its embeddings 32"):
        prepared(given, tmp_path / "run")


# Features of what the identity loss compares with, kept.


class Counting:
    """An encoder that notes how many pictures it was shown, each by itself or not."""

    def __init__(self):
        self.shown = []

    def features(self, x):
        self.shown.append(len(x))
        return [x.mean(dim=(2, 3), keepdim=True), x[:, :, ::2, ::2]]


def test_kept_features_are_those_of_the_encoder_and_computed_once_a_picture():
    encoder, pictures = Counting(), torch.rand(5, 3, 8, 8)
    cache = FeatureCache(encoder, 1 << 20)
    for numbers in ([0, 1, 2], [2, 1, 0], [3, 3, 4]):
        wanted = Counting().features(pictures[numbers])
        for found, expected in zip(cache.features(pictures[numbers]), wanted, strict=True):
            assert torch.equal(found, expected)
    assert encoder.shown == [1] * 5 and (cache.hits, cache.misses) == (4, 5)


def test_kept_features_take_no_more_than_allowed_and_the_oldest_go_first():
    """A picture's features are 3 + 3 * 4 * 4 floats, 204 bytes."""
    encoder, pictures = Counting(), torch.rand(4, 3, 8, 8)
    cache = FeatureCache(encoder, 450)
    for number in (0, 1, 0, 2):
        cache.features(pictures[number : number + 1])
    assert cache.size == 408 and encoder.shown == [1] * 3
    cache.features(pictures[0:1])  # used later than 1
    assert len(encoder.shown) == 3
    cache.features(pictures[1:2])
    assert len(encoder.shown) == 4


def test_pictures_of_the_same_bytes_and_another_shape_are_others():
    encoder, flat = Counting(), torch.rand(1, 3, 4, 16)
    cache = FeatureCache(encoder, 1 << 20)
    assert cache.features(flat)[1].shape == (1, 3, 2, 8)
    assert cache.features(flat.reshape(1, 3, 16, 4))[1].shape == (1, 3, 8, 2)


@pytest.mark.parametrize("augmentation", ["none", "turns", "paper"])
def test_training_with_kept_features_is_training_without(exposure, tmp_path, augmentation):
    given = {"augmentation": augmentation, "noise": 0.0, "reconstruction_steps": 1}
    plain = train(TrainConfig.from_dict(exposure(**given)), tmp_path / "plain", quiet=True)
    kept = train(TrainConfig.from_dict(exposure(**given, identity_cache=8)), tmp_path / "kept", quiet=True)
    a, b = (checkpoint.read(path)["weights"] for path in (plain, kept))
    assert all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)


PLAIN = """
import torch

class Plain(torch.nn.Module):
    passes = 0
    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.fine = torch.nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.coarse = torch.nn.Conv2d(4, 6, 3, stride=2, padding=1)
    def encode_image(self, x):
        Plain.passes += 1
        return self.coarse(self.fine(x).relu()).mean((2, 3))

def load(): return Plain()
"""


def test_one_encoder_is_shown_an_enhanced_picture_once(options, tmp_path):
    """Two passes a step: the enhanced and the original; the embedding and the features are those of passes apart."""
    (tmp_path / "plain.py").write_text(PLAIN)
    encoder = {"encoder": f"{tmp_path / 'plain.py'}:load", "identity_layers": [1.0, 1.0], "method": "rave"}
    run, state = prepared(options(**encoder), tmp_path / "run")
    judge = run.guidance.score
    pictures = torch.rand(2, 3, 16, 16)
    embedding, features = judge.embed_and_features(pictures)
    assert torch.equal(embedding, judge.embed(pictures))
    assert all(torch.equal(a, b) for a, b in zip(features, judge.features(pictures), strict=True))
    batch = next(training.batches_from(run, Stage.ENHANCE, 0))
    before = type(judge.module).passes
    STEPS[Stage.ENHANCE](run, state, batch)
    assert type(judge.module).passes - before == 2
