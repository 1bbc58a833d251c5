"""The benchmarks of guidance, of cheaper identity losses and of loading: they run, and say what they say they do."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

pytest.importorskip("onnx")

from cliplit.benchmarks import ablation, guidance, identity, loading
from cliplit.config import TrainConfig
from cliplit.networks import checkpoint
from cliplit.pictures import pairs
from cliplit.runtime import Enhancer

from .conftest import scene, to_uint8

ENCODER = """
import torch

class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        sizes = (3, 4, 6, 8, 8, 8)
        pairs = zip(sizes, sizes[1:])
        self.stages = torch.nn.ModuleList([torch.nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs])
    def encode_image(self, x):
        x = torch.nn.functional.interpolate(x, (64, 64), mode="bilinear")
        for stage in self.stages:
            x = stage(x).relu()
        return x.mean((2, 3)) + 0.01

def load(): return Small()
"""


@pytest.fixture
def encoder(tmp_path):
    (tmp_path / "small.py").write_text(ENCODER)
    return f"{tmp_path / 'small.py'}:load"


@pytest.fixture
def panoramas(tmp_path):
    """Three panoramas with a bright sky before a dark room, which a virtual camera finds backlit."""
    folder = tmp_path / "hdri"
    folder.mkdir()
    for i in range(3):
        light = scene(40 + i, 64, 128) * 0.05 + 0.01
        light[:, 20 + 30 * i : 50 + 30 * i] *= 200.0
        cv2.imwrite(str(folder / f"room{i}.hdr"), light[..., ::-1])
    return folder


def arguments(made, encoder, panoramas, work):
    return [
        *(str(work), "--encoder", encoder, "--hdri", str(panoramas), "--backlit", str(made.backlit)),
        *("--welllit", str(made.welllit), "--test", f"one={made.pairs}", "--test", f"two={made.pairs}"),
        *("--unchanged", str(made.welllit), "--steps", "2", "--views", "6", "--validation-views", "4"),
    ]


def test_the_comparison_runs_every_arm_and_goes_on_where_it_stopped(made, encoder, panoramas, tmp_path):
    work = tmp_path / "runs"
    given = arguments(made, encoder, panoramas, work)
    result = CliRunner().invoke(guidance.main, [*given, "--seeds", "1"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    rows = [line.split(" | ") for line in result.stdout.splitlines()]
    assert [row[0].removeprefix("| ") for row in rows[2:]] == [
        "nothing (the bundled network)",
        *(arm for arm in guidance.ARMS for _ in guidance.ENDS),
    ]
    written = {path: path.stat().st_mtime_ns for path in work.glob("*/result.json")}
    assert len(written) == len(guidance.ARMS)
    again = CliRunner().invoke(guidance.main, [*given, "--seeds", "1"], catch_exceptions=False)
    assert again.stdout == result.stdout
    assert {path: path.stat().st_mtime_ns for path in work.glob("*/result.json")} == written
    other = CliRunner().invoke(guidance.main, [*given, "--seeds", "1", "--steps", "3"])
    assert other.exit_code == 1 and "was made with other options" in other.stderr
    configs = [json.loads(path.read_text()) for path in work.glob("*/config.json")]
    assert {c["learning_rate"] for c in configs} == {2e-5} and {c["steps"] for c in configs} == {2}
    assert {c["init"] for c in configs} == {str(work / "start.pt")}
    held_out = {name for c in configs if c["method"] == "paired" for name in c["exclude"]}
    assert held_out == {"room0.hdr"}  # what stops the runs is not trained on


def test_the_start_is_the_bundled_model(tmp_path):
    assert guidance.write_start(tmp_path / "start.pt", "lite") == "relative"
    network = checkpoint.load_network(tmp_path / "start.pt")
    picture = to_uint8(scene(9, 192, 192) ** 2)
    with torch.no_grad():
        light = network(torch.from_numpy(picture.transpose(2, 0, 1).copy())[None].float() / 255)[0, 0].numpy()
    wanted = Enhancer("lite", device="cpu").light_map(picture)
    assert abs(float(np.log2(light).mean() - np.log2(wanted).mean())) < 0.05


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ((-0.09, 0.0), (0.1, 0.001), "yes"),
        ((-0.11, 0.0), (0.5, 0.01), "no: a loses 0.11 dB"),
        ((0.2, 0.0), (-0.01, 0.01), "no: b -0.010 dB"),
        ((0.2, 0.0), (0.01, -0.01), "no: b +0.010 dB, SSIM -0.0100"),
    ],
)
def test_the_rule(first, second, said):
    start = {"a": {"psnr": 28.0, "ssim": 0.97}, "b": {"psnr": 27.0, "ssim": 0.96}}
    changes = {"a": first, "b": second}
    found = {t: {"psnr": start[t]["psnr"] + p, "ssim": start[t]["ssim"] + s} for t, (p, s) in changes.items()}
    assert guidance.verdict(start, [found, found], ["a", "b"]).startswith(said)


def test_spread_is_the_samples_standard_deviation():
    """Of 1, 2 and 4: the mean is 7/3, the squared distances sum up to 14/3."""
    assert guidance.summary([1.0, 2.0, 4.0], 3) == "2.333 ± 1.528"
    assert guidance.summary([2.0], 2) == "2.00"


def test_the_ablation_runs_once_and_changes_only_what_an_arm_takes_away(made, panoramas, tmp_path, monkeypatch):
    seen, captions, train, work = [], pairs.CAPTIONS, ablation.train, tmp_path / "runs"

    def watched(*given, **options):
        seen.append(pairs.CAPTIONS)
        return train(*given, **options)

    monkeypatch.setattr(ablation, "train", watched)
    given = [str(work), "--hdri", str(panoramas), "--photos", str(made.welllit), "--test", f"one={made.pairs}"]
    given += ["--unchanged", str(made.welllit), "--steps", "2", "--views", "6", "--law-photos", "1"]
    arms = ["--arm", ablation.WHOLE, "--arm", "no captions, no cut-outs"]
    result = CliRunner().invoke(ablation.main, [*given, *arms, "--seeds", "2"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    rows = [line.strip("| ").split(" | ") for line in result.stdout.splitlines() if line.startswith("|")]
    assert [row[:2] for row in rows[2:]] == [[ablation.WHOLE, "2"], ["no captions, no cut-outs", "1"]]
    assert seen == [captions, captions, 0.0] and captions == pairs.CAPTIONS > 0
    again = CliRunner().invoke(ablation.main, [*given, "--seeds", "0"], catch_exceptions=False)
    assert again.stdout == result.stdout and len(seen) == 3


@pytest.mark.parametrize("arm", list(ablation.ARMS))
def test_arms_of_the_ablation_are_what_training_knows(arm):
    options, constants = ablation.ARMS[arm].options, ablation.ARMS[arm].constants
    config = TrainConfig.from_dict({**ablation.SAME, **options, "photos": ["photos"]})
    assert all(getattr(config, name) == value for name, value in options.items())
    assert all(hasattr(pairs, name) for name in constants)
    assert arm == ablation.WHOLE or options or constants
    mixture = constants.get("MIXTURES", pairs.MIXTURES)["backlit"]
    assert set(mixture) <= {*pairs.MIXTURES["backlit"], pairs.night_photo}


def test_a_rise_and_a_caption_by_hand():
    """What leaves pictures alone has neither; a negative rises; what adds 7 codes for white text shifts by 7."""
    photo = np.full((270, 480, 3), 120, np.uint8)
    assert ablation.largest_rise(lambda picture: picture, [photo]) < 0
    assert ablation.largest_rise(lambda picture: 255 - picture, [photo]) > 5
    assert ablation.caption_shift(lambda picture: picture, [photo]) == 0
    assert ablation.caption_shift(lambda picture: picture + np.uint8(7 * (picture.max() > 250)), [photo]) == 7


def test_cheaper_identity_losses_have_their_cosines(made, encoder, tmp_path):
    result = CliRunner().invoke(
        identity.main,
        [
            *("--backlit", str(made.backlit), "--welllit", str(made.welllit), "--encoder", encoder),
            *("--work", str(tmp_path), "--batch", "2", "--rounds", "1", "--device", "cpu"),
        ],
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    rows = {line.split(" | ")[0].removeprefix("| "): line.split(" | ")[3:] for line in result.stdout.splitlines()[3:]}
    for exact in ("every step, full side", "features of the inputs from the cache"):
        assert [float(cell.strip(" |")) for cell in rows[exact]] == pytest.approx([1.0, 1.0], abs=1e-3)
    assert float(rows["every 2nd step"][0]) < 0.9999


def test_the_loaders_speed_is_said(made):
    given = ["--backlit", str(made.backlit), "--welllit", str(made.welllit), "--side", "48", "--device", "cpu"]
    result = CliRunner().invoke(loading.main, [*given, "--batches", "1", "--rounds", "1"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "48x48, noise 0: drawn" in result.stdout and "pictures/s on cpu" in result.stdout


def test_cosines_of_gradients():
    full = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = torch.tensor([[2.0, 0.0], [1.0, 0.0]])
    assert identity.cosines(found, full) == pytest.approx((0.5, 0.7071), abs=1e-4)


def test_results_are_by_weights_not_by_name(made, encoder, panoramas, tmp_path):
    """Two checkpoints of the same weights are scored once."""
    work = tmp_path / "runs"
    CliRunner().invoke(
        guidance.main, [*arguments(made, encoder, panoramas, work), "--seeds", "0"], catch_exceptions=False
    )
    assert len(list((work / "scores").iterdir())) == 1
    assert np.isfinite(json.loads(next((work / "scores").iterdir()).read_text())["one"]["psnr"])


def test_a_folder_without_panoramas_is_one_line(made, encoder, tmp_path):
    (tmp_path / "empty").mkdir()
    given = arguments(made, encoder, tmp_path / "empty", tmp_path / "runs")
    result = CliRunner().invoke(guidance.main, given)
    assert result.exit_code == 1 and "no .hdr panoramas to train on there" in result.stderr


def test_pictures_written_for_early_stopping_are_pairs(made, encoder, panoramas, tmp_path):
    work = tmp_path / "runs"
    CliRunner().invoke(
        guidance.main, [*arguments(made, encoder, panoramas, work), "--seeds", "0"], catch_exceptions=False
    )
    inputs, targets = (sorted((work / "validation" / part).iterdir()) for part in ("input", "gt"))
    assert [p.name for p in inputs] == [p.name for p in targets] and inputs
    dark, light = (cv2.imread(str(paths[0])).mean() for paths in (inputs, targets))
    assert dark < light
