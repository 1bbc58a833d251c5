"""`cliplit-bench quality`: each measure measures what it says, and any model file runs through the same table."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from made import backlit, write_clip

pytest.importorskip("skimage", reason="needs the extra bench")

from cliplit.benchmarks import quality
from cliplit.benchmarks.cli import main
from cliplit.benchmarks.clips import flicker_table, flows, jitter
from cliplit.benchmarks.methods import CLASSICAL, Method, lime, lime_light
from cliplit.benchmarks.model_files import divide, methods_of
from cliplit.errors import InputError, ModelError


def flat(dark=40, bright=230, side=256):
    """Left half dark, right half bright."""
    picture = np.full((side, side, 3), dark, np.uint8)
    picture[:, side // 2 :] = bright
    return picture


def save(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture[..., ::-1])


@pytest.fixture
def pairs(tmp_path):
    """Two pictures whose references are themselves with a gamma of 0.5, and a well-lit photo."""
    for seed in (0, 1):
        picture = backlit(120, 160, seed)
        save(tmp_path / "pairs/input" / f"{seed}.png", picture)
        save(tmp_path / "pairs/gt" / f"{seed}.png", CLASSICAL[1].enhance(picture))
    save(tmp_path / "lit/photo.png", np.full((96, 96, 3), 150, np.uint8))
    return tmp_path


# ---------------------------------------------------------------- measures


def test_psnr_and_ssim_are_those_of_cliplit_eval():
    torch = pytest.importorskip("torch")
    from cliplit.training.validation import pair_scores

    one, other = backlit(90, 130, 0), backlit(90, 130, 1)
    mine = quality.pair_scores(one, one, other)
    tensors = [torch.from_numpy(p.transpose(2, 0, 1).copy())[None].float() / 255 for p in (one, other)]
    theirs = pair_scores(*tensors)
    assert mine["psnr"] == pytest.approx(theirs["psnr"], abs=1e-3)
    assert mine["ssim"] == pytest.approx(theirs["ssim"], abs=1e-4)


def test_a_plain_power_has_no_halo_and_a_blurred_gain_has_one():
    before = quality.luma(cv2.GaussianBlur(flat(), (0, 0), 1))
    sharp = np.where(before < 0.5, 3.0, 1.0).astype(np.float32)
    halos = [
        quality.halo(before, np.clip(before * gain, 0, 1))
        for gain in (sharp, cv2.GaussianBlur(sharp, (0, 0), 2), cv2.GaussianBlur(sharp, (0, 0), 6))
    ]
    assert quality.halo(before, before**0.5) < 0.02
    assert halos[0] < 0.01 < halos[1] < halos[2]


def test_a_picture_without_strong_edges_has_no_halo():
    assert quality.halo(np.full((64, 64), 0.3, np.float32), np.full((64, 64), 0.6, np.float32)) == 0


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_noise_gain_of_a_plain_factor_is_the_factor(factor):
    before = flat()

    def enhance(p):
        return np.clip(p.astype(np.int32) * factor, 0, 255).astype(np.uint8)

    assert quality.noise_gain(enhance, before, enhance(before)) == pytest.approx(factor, rel=0.02)


def test_noise_gain_is_not_fooled_by_texture():
    before = backlit()
    assert quality.noise_gain(lambda p: p, before, before) == pytest.approx(1, rel=1e-3)


def test_noise_gain_of_a_bright_picture_is_not_told():
    assert quality.noise_gain(lambda p: p, np.full((64, 64, 3), 200, np.uint8), np.zeros((64, 64, 3))) is None


def test_clipped_pixels_are_counted_in_per_cent():
    before = flat(bright=128)
    after = np.clip(before.astype(int) * 2, 0, 255).astype(np.uint8)
    assert quality.picture_scores(before, after)["clipped"] == 50
    assert quality.picture_scores(after, after)["newly_clipped"] == 0


def test_colour_error_is_ciede2000():
    """A pair of the standard's own test data (Sharma et al. 2005), brought to sRGB: within 8-bit rounding."""
    assert quality.colour_error(flat(), flat()) == 0
    gray = quality.colour_error(np.full((4, 4, 3), 128, np.uint8), np.full((4, 4, 3), 135, np.uint8))
    assert 2 < gray < 3.5


def test_flicker_sees_a_pulsing_method_and_not_a_moving_scene(tmp_path):
    wide = cv2.GaussianBlur(backlit(96, 300), (0, 0), 2)
    frames = [wide[:, 4 * i : 4 * i + 128] for i in range(8)]
    clip = write_clip(tmp_path / "pan.mp4", frames, sound=False)
    steady = Method("steady", CLASSICAL[1].enhance)
    beat = iter(range(1000))
    pulsing = Method("pulsing", lambda p: np.clip(p * (1.5 if next(beat) % 2 else 1.2), 0, 255).astype(np.uint8))
    table = flicker_table(clip, [steady, pulsing], frames=8)
    assert table["pulsing"] > 8 > 3 > table["steady"]
    assert "lite, cliplit-video" in table


def test_identity_does_not_flicker():
    frames = [backlit(96, 128, seed) for seed in range(3)]
    assert jitter(frames, frames, list(flows(frames))) == 0


# ---------------------------------------------------------------- methods


@pytest.mark.parametrize("method", CLASSICAL, ids=lambda m: m.name)
@pytest.mark.parametrize("size", [(64, 96), (51, 77)])
def test_classical_methods_brighten_the_dark_part(method, size):
    before = backlit(*size)
    kept = before.copy()
    after = method.enhance(before)
    assert after.shape == before.shape and after.dtype == np.uint8
    assert np.array_equal(before, kept)
    dark = quality.luma(before) < 0.15
    assert quality.luma(after)[dark].mean() > 1.3 * quality.luma(before)[dark].mean()


def test_lime_divides_by_its_light_map():
    before = backlit(64, 80)
    assert np.abs(divide(before, lime_light(before)).astype(int) - lime(before)).max() <= 1


def test_lime_smooths_texture_and_keeps_the_skyline():
    before = backlit(128, 160)
    brightest, light = before.max(axis=2) / 255, lime_light(before, exponent=1.0)
    ground = (slice(110, 126), slice(None))
    assert light[ground].std() < 0.5 * brightest[ground].std()
    assert light[:20].mean() > 3 * light[110:].mean()


# ---------------------------------------------------------------- model files


def onnx_file(path, body, inputs, outputs, **constants):
    """A graph of one or a few nodes, `body` = [(op, inputs, outputs, attributes)]."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    kinds = {"f": TensorProto.FLOAT, "u": TensorProto.UINT8}
    ends = [[helper.make_tensor_value_info(n, kinds[k], s) for n, k, s in side] for side in (inputs, outputs)]
    nodes = [helper.make_node(op, i, o, **a) for op, i, o, a in body]
    values = [numpy_helper.from_array(np.array(v), n) for n, v in constants.items()]
    graph = helper.make_graph(nodes, "made", *ends, values)  # type: ignore[call-arg]
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, str(path))
    return path


NCHW, NHWC = ["n", 3, "h", "w"], ["n", "h", "w", 3]


def test_an_onnx_picture_model_in_0_to_1(tmp_path):
    file = onnx_file(tmp_path / "root.onnx", [("Sqrt", ["x"], ["y"], {})], [("x", "f", NCHW)], [("y", "f", NCHW)])
    (method,) = methods_of(str(file))
    before = backlit(40, 60)
    assert "RGB in 0..1, picture out" in method.note
    assert np.abs(method.enhance(before) - np.sqrt(before / 255) * 255).max() < 1


def test_an_onnx_picture_model_in_0_to_255_nhwc(tmp_path):
    body = [("Div", ["x", "white"], ["a"], {}), ("Sqrt", ["a"], ["b"], {}), ("Mul", ["b", "white"], ["y"], {})]
    inputs, outputs = [("x", "f", NHWC)], [("y", "f", NHWC)]
    file = onnx_file(tmp_path / "root.onnx", body, inputs, outputs, white=np.float32(255))
    (method,) = methods_of(f"{file},range=255")
    before = backlit(40, 60)
    assert np.abs(method.enhance(before) - np.sqrt(before / 255) * 255).max() < 1


def test_an_onnx_light_map_of_a_fixed_size(tmp_path):
    body = [("ReduceMax", ["x"], ["y"], {"axes": [1], "keepdims": 1})]
    inputs, outputs = [("x", "f", [1, 3, 32, 48])], [("y", "f", [1, 1, 32, 48])]
    file = onnx_file(tmp_path / "peak.onnx", body, inputs, outputs)
    (method,) = methods_of(str(file))
    before = np.full((64, 96, 3), 51, np.uint8)
    assert "fixed 48x32" in method.note and "light out" in method.note
    assert method.light(before) == pytest.approx(0.2)  # type: ignore[misc]
    assert (method.enhance(before) == 255).all()


def test_blue_first_models_get_blue_first(tmp_path):
    """A graph that keeps its first channel only: with BGR that is blue."""
    body = [("Mul", ["x", "keep"], ["y"], {})]
    keep = np.array([1, 0, 0], np.float32).reshape(1, 3, 1, 1)
    file = onnx_file(tmp_path / "first.onnx", body, [("x", "f", NCHW)], [("y", "f", NCHW)], keep=keep)
    (method,) = methods_of(f"{file},order=bgr,range=1,output=picture")
    after = method.enhance(np.full((32, 32, 3), (10, 20, 30), np.uint8))
    assert after[0, 0].tolist() == [0, 0, 30]


def test_a_checkpoint_in_the_published_format_runs_both_ways(tmp_path):
    torch = pytest.importorskip("torch")
    from cliplit.networks.unet import UNet

    torch.manual_seed(0)
    network = UNet().eval()
    file = tmp_path / "published.pth"
    torch.save({f"module.{k}": v for k, v in network.state_dict().items()}, file)
    runtime, paper = methods_of(str(file))
    assert (runtime.name, paper.name) == ("published (runtime)", "published (paper)")
    before = backlit(32, 40)
    batch = torch.from_numpy(before.transpose(2, 0, 1).copy())[None].float() / 255
    with torch.no_grad():
        expected = (batch / (network(batch) + 1e-9)).clamp(0, 1)[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(paper.enhance(before) - expected).max() <= 0.51


@pytest.mark.parametrize("text, message", [("no.onnx", "neither"), ("lite,layout=up", "no setting")])
def test_what_is_no_model_is_said(text, message):
    with pytest.raises(InputError, match=message):
        methods_of(text)


def test_a_broken_file_is_no_model(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="not an ONNX model"):
        methods_of(str(tmp_path / "broken.onnx"))


# ---------------------------------------------------------------- the command


def test_the_command_scores_pairs_and_names_the_best(pairs):
    out = pairs / "out"
    arguments = ["quality", str(pairs / "pairs"), "-o", str(out), "--welllit", str(pairs / "lit"), "--model", "lite"]
    result = CliRunner().invoke(main, [*arguments, "--samples", "1"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = json.loads((out / "bench.json").read_text())["quality"]
    assert found["means"]["gamma 0.5"]["psnr"] == 100  # the references were made by it
    assert found["means"]["gamma 0.5"]["ciede2000"] == 0
    assert found["means"]["reference"]["ssim"] == 1
    assert found["means"]["lite fast"]["welllit_change"] < found["means"]["gamma 0.5"]["welllit_change"]
    assert set(found["rows"]["lite fast"]) == {"0.png", "1.png", "photo.png"}
    assert "| **100.00** | **1.0000** | **0.00** |" in (out / "bench.md").read_text()


def test_results_are_not_overwritten_unasked(pairs):
    (pairs / "out").mkdir()
    (pairs / "out/bench.json").write_text("mine")
    result = CliRunner().invoke(main, ["quality", str(pairs / "pairs"), "-o", str(pairs / "out")])
    assert result.exit_code == 1 and "--overwrite" in result.output
    assert (pairs / "out/bench.json").read_text() == "mine"


def test_a_model_that_fails_is_listed_and_the_rest_goes_on(pairs, tmp_path):
    body = [("ReduceMax", ["x"], ["y"], {"axes": [1], "keepdims": 1})]
    file = onnx_file(tmp_path / "odd.onnx", body, [("x", "f", NCHW)], [("y", "f", ["n", 1, "h", "w"])])
    picked = methods_of(str(file))[0]
    broken = Method("broken", lambda p: p[:-1])
    from cliplit.benchmarks.scoring import compare

    found = compare(pairs / "pairs", [picked, broken], None, 0, 0, lambda name: None)
    assert len(found.failures) == 2 and "broken, 0.png" in found.failures[0]
    assert "psnr" in found.means[picked.name]


def test_the_headline_is_the_best_model_against_the_best_classical_method():
    from cliplit.benchmarks.headline import headline
    from cliplit.benchmarks.scoring import Comparison

    values = {"lite": 20.0, "unet": 21.5, "gamma": 15.0, "CLAHE": 17.25, "input": 12.0}
    means = {name: {"psnr": value} for name, value in values.items()}
    found = Comparison("", {}, rows={name: {"a": scores} for name, scores in means.items()}, means=means)
    first = headline(found, ["lite", "unet"], ["gamma", "CLAHE"])
    assert first.number == "+4.25 dB"
    assert first.words.startswith("over the best classical method, CLAHE: unet has 21.50 dB, that one 17.25 dB.")
    worse = headline(found, ["gamma"], ["CLAHE"])
    assert worse.number == "\N{MINUS SIGN}2.25 dB" and worse.words.startswith("against the best classical")
    assert headline(found, ["lite"], []).number == "+8.00 dB"
    assert headline(Comparison("", {}, means={"lite": {}}), ["lite"], ["CLAHE"]) is None


def test_pictures_are_kept_at_full_size_under_names_that_every_system_takes(tmp_path):
    from cliplit.benchmarks.scoring import full_size

    picture = flat()
    paths = full_size(tmp_path, "01-a b?", {"unet:exact": picture})
    assert paths == {"unet:exact": "pictures/01-a-b-/unet-exact.png"}
    with Image.open(tmp_path / paths["unet:exact"]) as image:
        assert np.array_equal(np.asarray(image), picture)
