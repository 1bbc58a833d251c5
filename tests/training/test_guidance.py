"""The guidance contract: what encoders give, what pictures go through on the way in, and where gradients end up."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cliplit.config import TrainConfig
from cliplit.errors import InputError, ModelError
from cliplit.guidance.build import build_guidance
from cliplit.guidance.plain_encoder import load_encoder
from cliplit.guidance.prompts import LatentPair, PromptPair, build_pair, load_pair, save_pair
from cliplit.guidance.residual import embed_vocabulary

pytest.importorskip("open_clip")
from cliplit.guidance.open_clip_encoder import CLIP_MEAN, CLIP_STD, OpenClipEncoder, _registered, open_clip_encoder

from .conftest import STUDENT, needs_student

CPU = torch.device("cpu")

PLAIN = """
import torch
from torch import nn

class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, 1, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1)
        )
    def encode_image(self, x):
        return self.body(x).mean(dim=(2, 3))

class Full(nn.Module):
    def embed(self, x):
        return torch.nn.functional.normalize(x.mean(dim=(2, 3)) + 0.1, dim=1)
    def features(self, x):
        return [x]

def plain(): return Plain()
def full(): return Full()
def number(): return 7
def broken(): raise RuntimeError("no such luck")
"""


@pytest.fixture(scope="module")
def encoder_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("encoder") / "mine.py"
    path.write_text(PLAIN)
    return path


@pytest.fixture
def config(options):
    return TrainConfig.from_dict(options())


@pytest.fixture
def guidance(config):
    torch.manual_seed(5)
    return build_guidance(config, CPU)


def test_preprocessing_is_bilinear_to_the_models_square_without_a_crop_then_mean_and_std(guidance):
    x = torch.rand(2, 3, 41, 77)
    found = guidance.score.preprocess(x)
    resized = F.interpolate(x, size=(32, 32), mode="bilinear", align_corners=False)
    for channel in range(3):
        expected = (resized[:, channel] - CLIP_MEAN[channel]) / CLIP_STD[channel]
        assert torch.allclose(found[:, channel], expected, atol=1e-6)


def test_pictures_of_the_models_size_are_not_resampled(guidance):
    x = torch.rand(1, 3, 32, 32)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
    assert torch.allclose(guidance.score.preprocess(x), (x - mean) / std, atol=1e-6)


def published_stages(visual, y):
    """The published RN101's features: after the stem (pooled) and after layer1 to layer4, and no more."""
    y = visual.act1(visual.bn1(visual.conv1(y)))
    y = visual.act2(visual.bn2(visual.conv2(y)))
    y = visual.avgpool(visual.act3(visual.bn3(visual.conv3(y))))
    stages = [y]
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        stages.append(layer(stages[-1]))
    return stages


@pytest.fixture
def resnet(made):
    """A frozen CLIP ResNet whose batch normalisation has something to do, as a trained one's has."""
    import open_clip

    _registered(str(made.resnet))
    torch.manual_seed(3)
    visual = open_clip.create_model(Path(made.resnet).stem, pretrained=None).visual.eval().requires_grad_(False)
    for module in visual.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                tensor.uniform_(0.5, 2.0)
            for tensor in (module.bias, module.running_mean):
                tensor.normal_(0.0, 0.3)
    return visual


def test_identity_features_are_the_stem_and_the_four_layers_of_the_resnet(resnet):
    """Also with batch normalisation folded into the convolutions, which must change nothing but the time."""
    x = torch.rand(2, 3, 50, 60)
    preprocessed = OpenClipEncoder(copy.deepcopy(resnet)).preprocess(x)
    expected, expected_embedding = published_stages(resnet, preprocessed), F.normalize(resnet(preprocessed), dim=-1)
    encoder = OpenClipEncoder(resnet)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in encoder.modules())
    found = encoder.features(x)
    assert len(found) == 5
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-5)
    assert torch.allclose(encoder.embed(x), expected_embedding, atol=1e-5)


@pytest.mark.parametrize("autocast", [False, True])
def test_an_encoder_in_bfloat16_gives_float32_near_the_exact_values(resnet, autocast):
    x = torch.rand(2, 3, 50, 60, requires_grad=True)
    exact = OpenClipEncoder(copy.deepcopy(resnet)).embed(x)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        encoder = OpenClipEncoder(resnet, dtype=torch.bfloat16)
        embedding, features = encoder.embed(x), encoder.features(x)
    assert {embedding.dtype, *(f.dtype for f in features)} == {torch.float32}
    assert 0 < (embedding - exact).abs().max() < 0.05
    embedding[:, 0].sum().backward()
    assert torch.isfinite(x.grad).all() and x.grad.abs().max() > 0


def test_a_real_rn101_has_five_stages_at_strides_4_to_32():
    import open_clip

    model = open_clip.create_model("RN101-quickgelu", pretrained=None).eval()
    with torch.no_grad():
        stages = OpenClipEncoder(model.visual).features(torch.rand(1, 3, 64, 64))
    shapes = [(64, 56), (256, 56), (512, 28), (1024, 14), (2048, 7)]
    assert [tuple(s.shape) for s in stages] == [(1, c, n, n) for c, n in shapes]


def test_embeddings_are_unit_length_batched_equals_one_by_one(guidance):
    x = torch.rand(3, 3, 40, 40)
    batched = guidance.score.embed(x)
    assert torch.allclose(batched.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.allclose(batched, torch.cat([guidance.score.embed(p[None]) for p in x]), atol=1e-5)


def test_text_tower_gives_what_open_clip_gives(guidance):
    tokens = guidance.text.tokens(["X X X", "a dark picture"])
    expected = F.normalize(guidance.text.model.encode_text(tokens), dim=-1)
    found = guidance.text.encode(guidance.text.word_vectors(tokens), tokens)
    assert torch.allclose(found, expected, atol=1e-6)
    assert len(guidance.text.embedding._forward_hooks) == 0


def test_prompts_start_as_x_and_pass_through_the_frozen_tower(guidance, config):
    pair = build_pair(config, guidance, CPU)
    assert isinstance(pair, PromptPair)
    sentence = guidance.text.tokens([" ".join("X" * config.prompt_length)])
    expected = F.normalize(guidance.text.model.encode_text(sentence), dim=-1)
    assert torch.allclose(pair(), expected.expand(2, -1), atol=1e-6)
    pair().sum().backward()
    assert pair.embedding_prompt.grad.abs().sum() > 0
    assert [name for name, _ in pair.named_parameters()] == ["embedding_prompt"]
    assert all(p.grad is None and not p.requires_grad for p in guidance.text.model.parameters())


def test_prompt_file_comes_back_and_says_what_it_belongs_to(guidance, config, tmp_path):
    pair = build_pair(config, guidance, CPU)
    with torch.no_grad():
        pair.embedding_prompt += torch.randn_like(pair.embedding_prompt)
    save_pair(pair, tmp_path / "p.pt", config, {"negative": 0.9})
    fresh = build_pair(config, guidance, CPU)
    load_pair(fresh, tmp_path / "p.pt")
    assert torch.equal(fresh.embedding_prompt, pair.embedding_prompt)
    about = torch.load(tmp_path / "p.pt", weights_only=True)["about"]
    assert about["length"] == 16 and "random" in about["encoder"] and about["scores"] == {"negative": 0.9}


def test_published_prompt_files_load(guidance, config, tmp_path):
    pair = build_pair(config, guidance, CPU)
    published = {"module.embedding_prompt": torch.randn_like(pair.embedding_prompt).half()}
    published["module.text_encoder.ln_final.weight"] = torch.ones(3)
    torch.save(published, tmp_path / "p.pth")
    load_pair(pair, tmp_path / "p.pth")
    assert torch.equal(pair.embedding_prompt, published["module.embedding_prompt"].float())
    with pytest.raises(ModelError, match="no prompt pair for this encoder"):
        load_pair(LatentPair(4), tmp_path / "p.pth")


def test_vocabulary_is_embedded_word_by_word(guidance):
    class FewWords:
        tokens, word_vectors, encode = guidance.text.tokens, guidance.text.word_vectors, guidance.text.encode

        @staticmethod
        def vocabulary():
            return guidance.text.vocabulary()[320:330]

    found = embed_vocabulary(FewWords, batch=4)
    assert found.shape == (10, 32)
    expected = guidance.text.model.encode_text(guidance.text.tokens([guidance.text.vocabulary()[327]]), normalize=True)
    assert torch.allclose(found[7], expected[0], atol=1e-6)


def test_openai_weights_are_refused_without_quickgelu():
    with pytest.raises(InputError, match="ViT-B-32-quickgelu"):
        open_clip_encoder("ViT-B-32", "openai", False, CPU)


@pytest.mark.parametrize("name,weights,message", [("ViT-Z", "openai", "no model ViT-Z"), ("RN50", "x", "tags: openai")])
def test_unknown_models_and_tags_are_named(name, weights, message):
    with pytest.raises(InputError, match=message):
        open_clip_encoder(name, weights, False, CPU)


def test_without_a_network_the_message_says_which_file_goes_where(monkeypatch):
    import open_clip

    def offline(*args, **kwargs):
        raise OSError("name resolution failed")

    monkeypatch.setattr(open_clip, "create_model", offline)
    with pytest.raises(ModelError) as error:
        open_clip_encoder("ViT-B-32-quickgelu", "openai", False, CPU)
    text = str(error.value)
    assert "name resolution failed" in text
    assert "ViT-B-32.pt" in text and str(Path("~/.cache/clip").expanduser()) in text
    assert "huggingface.co/timm/vit_base_patch32_clip_224.openai" in text and "--score-weights FILE" in text


def test_plain_module_through_the_adapter(encoder_file):
    encoder = load_encoder(f"{encoder_file}:plain", "", CPU)
    x = torch.rand(2, 3, 32, 32, requires_grad=True)
    assert torch.allclose(encoder.embed(x).norm(dim=1), torch.ones(2), atol=1e-6)
    features = encoder.features(x)
    assert [f.shape[1:] for f in features] == [(6, 16, 16), (8, 8, 8)]  # the last map of every size
    sum(f.sum() for f in features).backward()
    assert x.grad.abs().sum() > 0
    assert all(not p.requires_grad for p in encoder.parameters())


def test_stages_of_a_plain_module_are_brought_to_one_scale(encoder_file):
    encoder = load_encoder(f"{encoder_file}:plain", "", CPU)
    pictures = torch.rand(4, 3, 32, 32)
    before = [f.clone() for f in encoder.features(pictures)]
    encoder.calibrate(pictures)
    for a, b in zip(encoder.features(pictures), before, strict=True):
        assert a.square().mean().sqrt().item() == pytest.approx(1.0, rel=1e-4)
        assert torch.allclose(a / a.norm(), b / b.norm(), atol=1e-6)  # the scale alone changed


def test_full_contract_through_the_adapter(encoder_file):
    encoder = load_encoder(f"{encoder_file}:full", "", CPU)
    x = torch.rand(2, 3, 8, 8)
    assert torch.equal(encoder.features(x)[0], x)


@pytest.mark.parametrize(
    "factory,message", [("number", "gives a int"), ("broken", "no such luck"), ("absent", "absent")]
)
def test_what_is_no_encoder_is_refused_in_one_line(encoder_file, factory, message):
    with pytest.raises(ModelError, match=message):
        load_encoder(f"{encoder_file}:{factory}", "", CPU)


def test_missing_encoder_file():
    with pytest.raises(InputError, match=r"FILE\.py:FACTORY"):
        load_encoder("nowhere.py:load", "", CPU)


@needs_student
def test_student_encoder_through_the_adapter_has_five_stages():
    encoder = load_encoder(f"{STUDENT / 'clip_student.py'}:load", str(STUDENT / "fgx_student_fp16.pt"), CPU)
    x = torch.rand(2, 3, 128, 128)
    assert [f.shape[-1] for f in encoder.features(x)] == [64, 32, 16, 8, 4]
    assert np.allclose(encoder.embed(x).norm(dim=1), 1, atol=1e-5)
