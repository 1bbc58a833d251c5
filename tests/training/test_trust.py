"""What a researcher relies on: a run that fails says so, goes on as told, and says what it does differently."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from torch import nn

from cliplit.config import BOUNDS, TrainConfig
from cliplit.errors import DivergedError, InputError, OptionError
from cliplit.networks import checkpoint
from cliplit.networks.unet import UNet
from cliplit.phases import Phase, Stage, lengthened
from cliplit.pictures.pairs import why_unfit
from cliplit.training import loop
from cliplit.training.cli import main
from cliplit.training.distributed import World
from cliplit.training.journal import read_log
from cliplit.training.loop import learning_rate, train
from cliplit.training.report import figure, ticks
from cliplit.training.run import prepare, set_padding
from cliplit.training.sources import read_sources
from cliplit.training.state import draw_weights

from .conftest import scene, to_uint8, write_picture

pytest.importorskip("open_clip")


@pytest.fixture
def paired(made):
    given = {"method": "paired", "network": "lite", "pairs": str(made.pairs), "batch": 2, "sizes": ["32x32"]}
    return {**given, "steps": 6, "save_every": 2, "log_every": 2, "threads": 1, "workers": 0, "warmup": 0}


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def start(folder, options, *arguments):
    folder.parent.mkdir(parents=True, exist_ok=True)
    recipe = folder.with_suffix(".yaml")
    recipe.write_text(yaml.safe_dump(options))
    return run(folder, "--config", recipe, *arguments)


def fail_at(monkeypatch, step, times=1, spoil="loss"):
    """Let the paired step give NaN (or spoil the weights) at a step, so many times."""
    left = [times]
    real = loop.STEPS[Stage.TARGETS]

    def faulty(run, state, batch):
        losses = real(run, state, batch)
        if state.step == step and left[0]:
            left[0] -= 1
            if spoil == "loss":
                return {"loss": losses["loss"] * float("nan")}
            with torch.no_grad():
                next(state.network.parameters()).fill_(float("inf"))
        return losses

    monkeypatch.setitem(loop.STEPS, Stage.TARGETS, faulty)


# Divergence.


@pytest.mark.parametrize("spoil", ["loss", "weights"])
def test_a_run_that_diverges_fails_and_keeps_the_last_good_state(paired, tmp_path, monkeypatch, spoil):
    fail_at(monkeypatch, step=3, spoil=spoil)
    result = start(tmp_path / "run", paired, "--quiet")
    assert result.exit_code == 1
    line = result.stderr.strip()
    assert "\n" not in line and "diverged at step" in line and "last.pt" in line
    left = checkpoint.read(tmp_path / "run" / "last.pt")
    assert left["step"] == 2
    assert all(torch.isfinite(t).all() for t in left["live_weights"].values())
    assert read_log(tmp_path / "run" / "log.jsonl")[-1]["event"] == "diverged"
    monkeypatch.undo()
    assert run(tmp_path / "run", "--resume", "--learning-rate", "1e-4", "--quiet").exit_code == 0
    log = read_log(tmp_path / "run" / "log.jsonl")
    changed = next(e for e in log if e.get("event") == "changed")
    assert (changed["step"], changed["learning_rate"]) == (2, [2e-3, 1e-4])


def test_a_retry_goes_back_and_halves_the_rates(paired, tmp_path, monkeypatch):
    fail_at(monkeypatch, step=3)
    assert start(tmp_path / "run", paired, "--retries", "1", "--quiet").exit_code == 0
    log = read_log(tmp_path / "run" / "log.jsonl")
    assert [e["event"] for e in log if "event" in e] == ["diverged", "retry"]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["learning_rate"] == 1e-3
    assert checkpoint.read(tmp_path / "run" / "last.pt")["step"] == 6


def test_retries_come_to_an_end(paired, tmp_path, monkeypatch):
    fail_at(monkeypatch, step=0, times=9)
    with pytest.raises(DivergedError, match=r"learning rate of 0\.0005.*what --retries 2 did is in"):
        train(TrainConfig.from_dict({**paired, "retries": 2, "schedule": "constant"}), tmp_path / "run", quiet=True)


# Numbers out of range.


@pytest.mark.parametrize(
    "arguments",
    ["--learning-rate nan", "--learning-rate -1", "--learning-rate inf", "--weight-decay -1", "--workers -1",
     "--seed -1", "--threads 100000", "--memory -1", "--crop-least 0", "--noise 2",
     "--seed 99999999999999999999", "--ema 1.5", "--warmup -1", "--betas 0.9 1", "--levels 5", "--identity-every 0"],
)  # fmt: skip
def test_numbers_out_of_range_are_one_line_and_wrong_usage(tmp_path, arguments):
    result = run(tmp_path / "run", "--photos", tmp_path, *arguments.split())
    assert result.exit_code == 2
    line = result.stderr.strip()
    assert "\n" not in line and f"{arguments.split()[0]} " in line and "must be" in line


@pytest.mark.parametrize(("size", "said"), [("0x0", "--sizes 0x0: expected HEIGHTx"), ("24x24", "multiples of 16")])
def test_sizes_that_nothing_takes_are_wrong_usage(tmp_path, size, said):
    result = run(tmp_path / "run", "--photos", tmp_path, "--sizes", size)
    assert result.exit_code == 2 and said in result.stderr and len(result.stderr.splitlines()) == 1


def test_every_number_has_bounds():
    numbers = {
        name
        for name, f in TrainConfig.__dataclass_fields__.items()
        if f.type in ("int", "float", "tuple[float, float]", "tuple[float, ...]")
    }
    assert numbers == set(BOUNDS)


# Progress.


def test_off_a_terminal_there_is_a_line_every_so_many_steps(paired, tmp_path):
    result = start(tmp_path / "run", paired)
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("step ") and "img/s" in line]
    assert [line.split()[1] for line in lines] == ["2/6", "4/6", "6/6"]


def test_log_json_is_one_object_a_line_on_standard_output(paired, tmp_path):
    result = start(tmp_path / "run", paired, "--log", "json")
    assert result.exit_code == 0, result.output
    entries = [json.loads(line) for line in result.stdout.splitlines()]
    assert [e["step"] for e in entries if "loss" in e] == [2, 4, 6]
    assert entries[-1] == {"event": "done", "best": str(tmp_path / "run" / "best.pt")}


def test_wandb_gets_what_tensorboard_gets_and_a_resumed_run_continues_it(paired, tmp_path, monkeypatch):
    logged, begun = [], []

    def init(**given):
        begun.append(given)
        return SimpleNamespace(id="abc", log=lambda values, step: logged.append((step, values)), finish=lambda: None)

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    assert start(tmp_path / "run", paired, "--wandb", "mine", "--quiet").exit_code == 0
    assert run(tmp_path / "run", "--resume", "--steps", "8", "--quiet").exit_code == 0
    assert [b["id"] for b in begun] == [None, "abc"] and begun[0]["project"] == "mine"
    assert [step for step, values in logged if "targets/loss" in values] == [2, 4, 6, 8]


def test_wandb_without_an_account_is_one_line(paired, tmp_path, monkeypatch):
    def init(**given):
        raise RuntimeError("No API key configured. Use `wandb login` to log in.\nmore")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    result = start(tmp_path / "run", paired, "--wandb", "mine", "--quiet")
    assert result.exit_code == 3 and len(result.stderr.splitlines()) == 1
    assert "No API key configured" in result.stderr and "WANDB_MODE=offline" in result.stderr


def test_wandb_itself_writes_offline(paired, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    child = subprocess.run(
        [
            *(sys.executable, "-c", "from cliplit.training.cli import main; main()", str(tmp_path / "run"), "--quiet"),
            *("--pairs", paired["pairs"], "--batch", "2", "--sizes", "32x32", "--steps", "2", "--log-every", "1"),
            *("--workers", "0", "--threads", "1", "--wandb", "mine"),
        ],
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    (written,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    assert b"targets/loss" in written.read_bytes()


def test_tensorboard_of_a_resumed_run_has_every_step(paired, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert start(tmp_path / "run", paired, "--tensorboard", "--quiet").exit_code == 0
    assert run(tmp_path / "run", "--resume", "--steps", "8", "--quiet").exit_code == 0
    events = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("targets/loss")] == [2, 4, 6, 8]


def test_wandb_that_is_not_installed_is_said(paired, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    result = start(tmp_path / "run", paired, "--wandb", "mine")
    assert result.exit_code == 3 and "pip install wandb" in result.stderr


# Longer runs.


def test_a_lengthened_run_equals_one_that_was_as_long_from_the_start(paired, tmp_path):
    given = {**paired, "schedule": "constant", "learning_rate": 1e-3}
    assert start(tmp_path / "long", {**given, "steps": 8}, "--quiet").exit_code == 0
    assert start(tmp_path / "short", {**given, "steps": 5}, "--quiet").exit_code == 0
    assert run(tmp_path / "short", "--resume", "--steps", "8", "--quiet").exit_code == 0
    long, short = (checkpoint.read(tmp_path / name / "last.pt") for name in ("long", "short"))
    assert long["step"] == short["step"] == 8
    for name, value in long["live_weights"].items():
        assert torch.equal(value, short["live_weights"][name]), name
    result = run(tmp_path / "short", "--resume", "--steps", "8", "--quiet")
    assert result.exit_code == 0  # nothing left to do
    result = run(tmp_path / "short", "--resume", "--steps", "4", "--quiet")
    assert result.exit_code == 2 and "is at step 8 already" in result.stderr
    result = run(tmp_path / "short", "--resume", "--batch", "4", "--quiet")
    assert result.exit_code == 2 and "--batch: a run that was begun cannot change this" in result.stderr


def test_phases_of_a_lengthened_run():
    def config(method, steps):
        return TrainConfig.from_dict({"method": method, "backlit": ["a"], "welllit": ["b"], "steps": steps})

    rave = Phase(Stage.ENHANCE, 1, 1000, 4000)
    assert lengthened(5000, config("rave", 9000), rave, finished=True) == Phase(Stage.ENHANCE, 1, 1000, 8000)
    cut = Phase(Stage.ENHANCE, 1, 11_000, 500)
    assert lengthened(11_500, config("latent", 20_000), cut, finished=True).length == 2100
    whole = Phase(Stage.ENHANCE, 1, 11_000, 2100)
    assert lengthened(13_100, config("latent", 20_000), whole, True) == Phase(Stage.REFINE, 1, 13_100, 1000)
    assert lengthened(20_000, config("latent", 21_000), whole, finished=False) == whole
    assert lengthened(20_000, config("latent", 12_000), whole, finished=False).length == 1000


# Pictures.


def test_sample_sheets_show_the_pictures_as_they_are(options, made, paired):
    config = TrainConfig.from_dict(options(method="rave"))
    sheet = read_sources(config, quiet=True).samples(config)
    assert torch.equal(sheet, read_sources(config, quiet=True).samples(config))
    import cv2

    paths = sorted((made.backlit / "sub").glob("*.png"))
    picked = [np.fromfile(paths[i], np.uint8) for i in (0, 2, 5, 7)]
    for tensor, data in zip(sheet, picked, strict=True):
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
        wanted = cv2.resize(picture, (48, 48), interpolation=cv2.INTER_AREA)
        assert np.abs(tensor.permute(1, 2, 0).numpy() * 255 - wanted).max() < 1.01
    config = TrainConfig.from_dict(paired)
    assert read_sources(config, quiet=True).samples(config).shape == (4, 3, 32, 32)


def test_one_folder_as_both_kinds_is_refused(options, made, tmp_path):
    given = options(method="rave", welllit=[str(made.backlit)])
    assert "hold the same pictures" in start(tmp_path / "run", given).stderr
    given = options(method="rave", welllit=[str(made.backlit / "sub")])
    assert "hold the same pictures" in start(tmp_path / "run", given).stderr


def test_copies_under_other_names_are_found(options, made, tmp_path):
    for i in range(4):
        write_picture(tmp_path / "light" / f"copy{i}.png", to_uint8(scene(i) ** 3 * 0.5))
    result = start(tmp_path / "run", options(method="latent", welllit=[str(tmp_path / "light")]))
    assert result.exit_code == 1 and "is the same picture as" in result.stderr and "4 are in" in result.stderr


def test_copies_saved_again_at_another_size_are_found(options, made, tmp_path):
    for i in range(5):
        copy = cv2.resize(scene(i) ** 3 * 0.5, (90, 70), interpolation=cv2.INTER_LINEAR)
        write_picture(tmp_path / "light" / f"copy{i}.jpg", to_uint8(copy))
    result = start(tmp_path / "run", options(method="latent", welllit=[str(tmp_path / "light")]))
    assert result.exit_code == 1 and "5 are in" in result.stderr, result.output


def test_the_same_scene_in_other_light_is_no_copy(options, made, tmp_path):
    for i in range(8):
        write_picture(tmp_path / "light" / f"{i}.jpg", to_uint8(scene(i)))
    given = options(method="rave", welllit=[str(tmp_path / "light")], steps=1, reconstruction_steps=1)
    assert start(tmp_path / "run", given).exit_code == 0


def test_a_folder_with_a_run_is_named_as_that(paired, tmp_path):
    assert start(tmp_path / "run", paired, "--quiet").exit_code == 0
    result = run(tmp_path / "run")
    assert result.exit_code == 1 and "already holds a run; continue it with --resume" in result.stderr


def test_torchs_unsafe_advice_is_not_passed_on(paired, tmp_path):
    torch.save({"a": nn.Linear(1, 1)}, tmp_path / "a.pt")
    result = start(tmp_path / "run", paired, "--init", tmp_path / "a.pt")
    assert result.exit_code == 1 and "not a PyTorch checkpoint that can be read safely" in result.stderr
    assert "weights_only" not in result.stderr and "trust" not in result.stderr


def test_photos_that_cannot_be_targets_are_named(made, paired, tmp_path):
    for i in range(2):
        write_picture(tmp_path / "dark" / f"{i}.png", to_uint8(scene(i) * 0.1))
    given = {k: v for k, v in paired.items() if k != "pairs"} | {"photos": [str(tmp_path / "dark")]}
    result = start(tmp_path / "run", given)
    assert result.exit_code == 1 and "no photo there can be a target" in result.stderr
    assert f"{tmp_path / 'dark' / '0.png'}: too dark (mean 0.0" in result.stderr and "(and 1 more)" in result.stderr
    result = start(tmp_path / "run", given | {"photos": [str(tmp_path / "dark"), str(made.welllit)], "steps": 1})
    assert result.exit_code == 0, result.output
    assert f"skipped {tmp_path / 'dark' / '0.png'}: too dark (mean 0.0" in result.stderr


@pytest.mark.parametrize(
    ("picture", "why"),
    [
        (np.full((64, 64, 3), 30, np.uint8), "too dark (mean 0.12"),
        (np.full((64, 64, 3), 240, np.uint8), "too bright (mean 0.94"),
        (np.repeat([[10] * 32 + [235] * 32], 64, axis=0)[..., None].repeat(3, 2).astype(np.uint8), "backlit itself (4"),
        (np.full((64, 64, 3), 128, np.uint8), ""),
    ],
)
def test_why_a_photo_can_be_no_target(picture, why):
    assert why_unfit(picture).startswith(why) and bool(why_unfit(picture)) == bool(why)


def test_a_folder_without_photos_is_said_to_be_that(paired, tmp_path):
    (tmp_path / "empty").mkdir()
    given = {k: v for k, v in paired.items() if k != "pairs"} | {"photos": [str(tmp_path / "empty")]}
    assert "empty: no pictures there" in start(tmp_path / "run", given).stderr
    assert "--photos '': no such folder" in run(tmp_path / "run", "--photos", "").stderr


@pytest.mark.parametrize("option", ["validation", "validation_photos"])
def test_what_cannot_be_scored_is_said_before_training(paired, tmp_path, option):
    (tmp_path / "empty").mkdir()
    result = start(tmp_path / "run", paired | {option: str(tmp_path / "empty")})
    assert result.exit_code == 1 and "empty: no" in result.stderr
    assert not (tmp_path / "run").exists()


def test_pairs_of_different_sizes_are_said_before_training(paired, tmp_path):
    write_picture(tmp_path / "pairs" / "input" / "a.png", to_uint8(scene(1)))
    write_picture(tmp_path / "pairs" / "gt" / "a.png", to_uint8(scene(1, 20, 20)))
    result = start(tmp_path / "run", paired | {"validation": str(tmp_path / "pairs")})
    assert "different sizes, 64x48 and 20x20" in result.stderr and not (tmp_path / "run").exists()


@pytest.mark.parametrize("names", [("input", "gt"), ("resize_input", "resize_gt")])
def test_pairs_are_found_under_baids_names_too(paired, tmp_path, names):
    for name in names:
        for i in range(2):
            write_picture(tmp_path / "set" / name / f"{i}.png", to_uint8(scene(i)))
    config = TrainConfig.from_dict({**paired, "pairs": str(tmp_path / "set")})
    assert len(read_sources(config, quiet=True).paired.pairs) == 2


def test_scene_linear_targets_are_developed(paired, tmp_path):
    import cv2

    write_picture(tmp_path / "set" / "input" / "a.png", to_uint8(scene(1) * 0.3))
    (tmp_path / "set" / "gt").mkdir()
    cv2.imwrite(str(tmp_path / "set" / "gt" / "a.hdr"), scene(1).astype(np.float32) * 40)
    config = TrainConfig.from_dict({**paired, "pairs": str(tmp_path / "set")})
    (pair,) = read_sources(config, quiet=True).paired.pairs
    assert pair[1].dtype == np.uint8 and pair[1].mean() > pair[0].mean() > 10


# As published.


def test_as_published_is_the_code_and_the_default_the_paper():
    pictures = {"method": "cliplit", "backlit": ["a"], "welllit": ["b"]}
    paper, code = (TrainConfig.from_dict({**pictures, "as_published": p, "network": "unet"}) for p in (False, True))
    assert (paper.prompt_init_steps, code.prompt_init_steps) == (10_000, 8000)
    assert (paper.betas, code.betas) == ((0.9, 0.99), (0.9, 0.999))
    assert [code.margins_of(n) for n in (2, 3, 4)] == [(1.0, 0.2), (0.9, 0.2), (0.9, 0.1)]
    assert [paper.margins_of(n) for n in (2, 3, 4)] == [(0.9, 0.2)] * 3
    assert learning_rate(40_000, code) == 2e-5 > learning_rate(40_000, paper)
    assert (code.train_padding, code.initial_std, code.prompt_weight_decay) == ("zeros", 0.02, 1e-3)
    rave = TrainConfig.from_dict({**pictures, "method": "rave", "as_published": True})
    assert (rave.network, rave.bias_tokens, rave.bias_words) == ("unet", 15, "raw")
    with pytest.raises(OptionError, match="of the guided methods"):
        TrainConfig.from_dict({"photos": ["a"], "as_published": True, "network": "unet"})


def test_zero_padding_in_training_is_that_of_the_network_built_with_it():
    config = TrainConfig.from_dict({"method": "rave", "backlit": ["a"], "welllit": ["b"], "as_published": True})
    network, zeros = UNet(), UNet(padding="zeros")
    zeros.load_state_dict(network.state_dict())
    x = torch.rand(1, 3, 12, 14)
    reflected = network(x)
    set_padding(network, config)
    assert torch.equal(network(x), zeros(x)) and not torch.equal(network(x), reflected)
    set_padding(network, config, testing=True)
    assert torch.equal(network(x), reflected)


def test_initial_weights_as_published():
    network = UNet()
    draw_weights(network, 0.02)
    weights = torch.cat([m.weight.detach().flatten() for m in network.modules() if isinstance(m, nn.Conv2d)])
    assert float(weights.std()) == pytest.approx(0.02, rel=0.02) and abs(float(weights.mean())) < 1e-4
    assert abs(float(network.cond_add1.bias.detach())) <= 288**-0.5


def test_the_prompts_adam_decays_its_weights_if_asked(options, tmp_path):
    for decay in (0.0, 1e-3):
        config = TrainConfig.from_dict(options(prompt_weight_decay=decay))
        _, state = prepare(config, tmp_path / str(decay), World(0, 1, torch.device("cpu")), quiet=True)
        assert state.pair_optimizer.param_groups[0]["weight_decay"] == decay


def test_as_published_runs_through_every_stage(options, tmp_path):
    given = options(network="unet", as_published=True, sizes=["16x16"], batch=2, prompt_batch=2, prompt_size=16)
    train(TrainConfig.from_dict({**given, "steps": 17}), tmp_path / "run", quiet=True)
    stages = {e["stage"] for e in read_log(tmp_path / "run" / "log.jsonl") if "stage" in e}
    assert stages == {"prompts", "reconstruct", "enhance", "refine"}


# The report.


def test_axes_have_round_ticks_within_their_range():
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert ticks(0.031, 0.049) == pytest.approx([0.035, 0.04, 0.045])
    drawn = figure("psnr", [("", [(0.0, 20.0), (100.0, 25.0)])])
    assert "psnr (dB)" in drawn and "optimizer step" in drawn and ">24<" in drawn and 'class="axis"' in drawn


def test_the_report_has_scores_of_each_picture_and_events(paired, made, tmp_path):
    start(tmp_path / "run", {**paired, "validation": str(made.pairs)}, "--quiet")
    run(tmp_path / "run", "--resume", "--steps", "8", "--quiet")
    assert run("report", tmp_path / "run").exit_code == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Pictures of --validation" in page and "<td>7.png</td>" in page
    assert "Events" in page and "&quot;steps&quot;: [6, 8]" in page


def test_both_kinds_alike_to_the_encoder_are_refused():
    from cliplit.guidance.residual import residual_of

    alike = torch.nn.functional.normalize(torch.rand(5, 8), dim=1)
    with pytest.raises(InputError, match="the same to the encoder"):
        residual_of(alike, alike)
