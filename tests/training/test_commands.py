"""`cliplit-train`, its report, and `cliplit-eval`, as a user types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

from cliplit.benchmarks.eval_cli import main as evaluate
from cliplit.config import RECIPES, TrainConfig, read_yaml
from cliplit.errors import InputError
from cliplit.networks import checkpoint
from cliplit.networks import registry as networks
from cliplit.networks.light_network import LightNetwork
from cliplit.networks.registry import build_network
from cliplit.training.cli import main
from cliplit.training.journal import Journal, forget_after, read_log

from .conftest import scene, to_uint8, write_picture

pytest.importorskip("open_clip")


def run(*arguments, command=main):
    return CliRunner().invoke(command, [str(a) for a in arguments])


def fails(*arguments, command=main, code=1):
    """The one line on standard error of a command that exits 1, or 2 for wrong usage."""
    result = run(*arguments, command=command)
    assert result.exit_code == code, result.output
    line = result.stderr.strip()
    assert "error: " in line and "\n" not in line
    return line


@pytest.fixture(scope="module")
def finished(options, made, tmp_path_factory):
    """A short guided run through the command, with validation."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    recipe = folder.with_suffix(".yaml")
    validation = {"validation": str(made.pairs), "validation_photos": str(made.welllit)}
    recipe.write_text(yaml.safe_dump(options(method="latent", **validation)))
    result = run(folder, "--config", recipe, "--steps", "14", "--quiet")
    assert result.exit_code == 0, result.output
    return folder


def test_help_is_quick_and_needs_no_torch():
    code = (
        "import sys; from cliplit.training.cli import main\n"
        "try: main(['--help'], prog_name='cliplit-train')\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'open_clip', 'cv2', 'numpy'} & set(sys.modules), sorted(sys.modules)"
    )
    times = []
    for _ in range(3):
        before = os.times()
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        after = os.times()  # CPU time: the machine may have other things to do
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(times) < 0.5
    for option in (
        "reconstruction-steps",
        "prompt-init-steps",
        "enhancer-steps",
        "prompt-steps",
        "margins",
        "enhancer-threshold",
    ):
        assert f"--{option}" in result.stdout  # the knobs of R8.3


def test_options_override_the_recipe_and_the_resolved_config_is_saved(finished):
    config = json.loads((finished / "config.json").read_text())
    assert config["steps"] == 14 and config["method"] == "latent" and config["prompt_learning_rate"] == 5e-4
    assert TrainConfig.from_dict(config).steps == 14


def test_the_log_has_losses_and_scores(finished):
    log = read_log(finished / "log.jsonl")
    guided = next(e for e in log if e.get("stage") == "enhance")
    assert {"stage", "round", "loss", "guidance", "identity", "lr", "images_per_second"} <= set(guided)
    scored = [e for e in log if "psnr" in e]
    assert scored and {"ssim", "mean_luminance", "clipped"} <= set(scored[-1])
    best = checkpoint.read(finished / "best.pt")["scores"]
    value = best["psnr"] + 20 * best["ssim"]
    assert value == pytest.approx(max(e["psnr"] + 20 * e["ssim"] for e in scored), abs=1e-3)


def test_report_is_one_page_with_curves_sheets_and_constants(finished):
    result = run("report", finished)
    assert result.exit_code == 0, result.output
    page = (finished / "report.html").read_text()
    assert page.count("<polyline") > 8 and page.count("data:image/png;base64,") >= 2
    for word in ("guidance", "identity", "psnr", "prompt_learning_rate", "enhance_1"):
        assert word in page
    assert "http" not in page.replace("http-equiv", "")  # nothing to load from elsewhere
    assert "no run with a log" in fails("report", finished.parent)


def test_resume_takes_only_what_a_run_in_progress_can_change(finished):
    assert "the run is at step 14 already" in fails(finished, "--resume", "--steps", "9", code=2)
    assert "a run that was begun cannot change this" in fails(finished, "--resume", "--method", "rave", code=2)
    assert "takes no --config" in fails(finished, "--resume", "--config", "clip-vitb32", code=2)
    assert "holds no run to resume" in fails(finished / "nothing", "--resume")


@pytest.mark.parametrize(
    "arguments,message",
    [
        ([], "method paired needs pictures: --hdri, --photos or --pairs"),
        (["--method", "rave"], "method rave needs pictures"),
        (["--photos", "nowhere"], "--photos nowhere: no such folder"),
        (["--photos", ".", "--network", "big"], "no network called 'big'; there is lite, relative, unet"),
        (["--photos", ".", "--sizes", "12"], "--sizes 12: expected HEIGHTxWIDTH"),
        (["--photos", ".", "--batch", "0"], "--batch 0: must be at least 1"),
        (["--photos", ".", "--device", "gpu"], "--device gpu: expected auto, cpu, cuda or cuda:N"),
        (
            ["--config", "nothing"],
            "neither a YAML file nor a recipe (clip-vitb32, paired-lite, paired-relative, paired-unet",
        ),
        (["--method", "cliplit", "--pairs", ".", "--encoder", "a.py:b"], "needs a text tower"),
        (["--method", "rave", "--backlit", ".", "--welllit", ".", "--paired-weight", "1"], "needs known targets"),
        (["--photos", ".", "--init", "none.pt"], "none.pt: no such checkpoint"),
    ],
)
def test_mistakes_are_one_clear_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    wrong_usage = (
        "needs pictures",
        "expected HEIGHT",
        "must be at least",
        "expected auto",
        "text tower",
        "known targets",
    )
    assert message in fails("run", *arguments, code=2 if any(part in message for part in wrong_usage) else 1)


def test_the_first_photo_that_cannot_be_a_target_is_explained(tmp_path):
    """8-bit grey 51 is 0.20 of white; 230 is 0.90."""
    photos = tmp_path / "photos"
    photos.mkdir()
    assert f"--photos {photos}: no pictures there" in fails(tmp_path / "run", "--photos", photos)
    for code, why in ((51, "too dark (mean 0.20 of 1"), (230, "too bright (mean 0.90 of 1")):
        write_picture(photos / "a.png", np.full((64, 64, 3), code, np.uint8))
        assert f"no photo there can be a target; {photos / 'a.png'}: {why}" in fails(
            tmp_path / "run", "--photos", photos
        )
    half = np.full((64, 64, 3), 230, np.uint8)
    half[:32] = 5
    write_picture(photos / "a.png", half)
    assert "a.png: backlit itself (" in fails(tmp_path / "run", "--photos", photos)
    (photos / "a.png").write_bytes(b"no picture")
    assert "a.png: not a picture that can be read" in fails(tmp_path / "run", "--photos", photos)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_exits_with_3(tmp_path):
    result = run(tmp_path / "run", "--photos", tmp_path, "--device", "cuda")
    assert result.exit_code == 3 and "sees no CUDA device" in result.stderr


@pytest.mark.parametrize("text,message", [("steps: ten", "--steps ten"), ("steps: [", "not a YAML file"), ("7", "int")])
def test_mistakes_in_a_yaml_file(tmp_path, text, message):
    (tmp_path / "a.yaml").write_text(text)
    code = 2 if text == "steps: ten" else 1
    assert message in fails(tmp_path / "run", "--config", tmp_path / "a.yaml", code=code)


def test_unknown_option_in_a_yaml_file_is_named(tmp_path):
    (tmp_path / "a.yaml").write_text("stepps: 3")
    assert "unknown training option stepps" in fails(tmp_path / "run", "--config", tmp_path / "a.yaml", code=2)


@pytest.mark.parametrize("recipe", sorted(p.stem for p in RECIPES.glob("*.yaml")))
def test_recipes_are_complete_configurations(recipe):
    content = read_yaml(recipe)
    pictures = {"photos": ["x"]} if content["method"] == "paired" else {"backlit": ["x"], "welllit": ["y"]}
    config = TrainConfig.from_dict({**content, **pictures})
    if recipe != "rave-student":  # the papers' constants, and those of the bundled models: the defaults
        kind = {"method": config.method, "network": config.network, "save_every": config.save_every}
        assert config == TrainConfig.from_dict({**kind, **pictures, "workers": config.workers})


def test_best_by_a_score_that_is_not_there(options, made, tmp_path):
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(options(method="rave", best_by="psnr")))
    assert "--best-by psnr: not among the scores" in fails(tmp_path / "run", "--config", tmp_path / "a.yaml", "--quiet")


def test_tensorboard_gets_scalars_and_grids(options, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (tmp_path / "a.yaml").write_text(yaml.safe_dump(options(method="rave", steps=8, tensorboard=True)))
    assert run(tmp_path / "run", "--config", tmp_path / "a.yaml", "--quiet").exit_code == 0
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert {"enhance/loss", "enhance/lr", "reconstruct/reconstruction_psnr"} <= set(events.Tags()["scalars"])
    assert events.Tags()["images"] == ["before_after_light"]


def test_a_resumed_log_forgets_what_will_be_done_again(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text(
        '{"step": 2}\n{"step": 4}\n{"step": 6}\n{"ste\n' + "[" * 100_000 + "\n3\n"
    )  # cut off by a crash, or not ours
    with log.open("ab") as file:
        file.write(b"\xff\n")
    forget_after(log, 4)
    assert [e["step"] for e in read_log(log)] == [2, 4]


def test_only_the_first_process_writes(options, tmp_path):
    config = TrainConfig.from_dict(options())
    journal = Journal(tmp_path, config, 0, quiet=True, active=False)
    journal.scores(3, {"psnr": 1.0})
    assert not list(tmp_path.iterdir())


# Scores of any model.


def test_eval_gives_a_checkpoint_and_its_export_the_same_table(tmp_path, made):
    onnx = pytest.importorskip("onnx")
    assert onnx
    from cliplit.export.onnx_file import export_onnx

    torch.manual_seed(0)
    checkpoint.save(tmp_path / "m.pt", {"network": "lite", "weights": build_network("lite").state_dict()})
    export_onnx(tmp_path / "m.pt", tmp_path / "m.onnx")
    tables = []
    for name in ("m.pt", "m.onnx"):
        result = run(tmp_path / name, made.pairs, "--json", "--each", command=evaluate)
        assert result.exit_code == 0, result.output
        tables.append(json.loads(result.stdout))
    assert len(tables[0]) == 9  # eight pictures and their mean
    assert {"psnr", "ssim", "mean_luminance", "clipped"} <= set(tables[0]["mean"])
    for picture, scores in tables[0].items():
        assert scores == pytest.approx(tables[1][picture], abs=0.02)
    assert tables[0]["mean"]["psnr"] > 5


def test_eval_without_references_and_its_mistakes(tmp_path, made):
    torch.manual_seed(0)
    checkpoint.save(tmp_path / "m.pt", {"network": "lite", "weights": build_network("lite").state_dict()})
    result = run(tmp_path / "m.pt", made.welllit, command=evaluate)
    assert result.exit_code == 0 and "mean_luminance" in result.stdout and "psnr" not in result.stdout
    assert "no such folder" in fails(tmp_path / "m.pt", tmp_path / "none", command=evaluate)
    (tmp_path / "empty").mkdir()
    assert "no pictures" in fails(tmp_path / "m.pt", tmp_path / "empty", command=evaluate)
    assert "no such checkpoint" in fails(tmp_path / "x.pt", made.welllit, command=evaluate)
    write_picture(tmp_path / "p" / "input" / "a.png", to_uint8(scene(1)))
    write_picture(tmp_path / "p" / "gt" / "a.png", to_uint8(scene(1, 20, 20)))
    assert "different sizes" in fails(tmp_path / "m.pt", tmp_path / "p", command=evaluate)


# Networks from elsewhere.


class Flat(LightNetwork):
    multiple, proxy_short_side = 1, 64

    def __init__(self):
        super().__init__()
        self.level = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return self.level.expand(len(x), 1, *x.shape[2:])


def test_a_network_of_another_package_trains_and_loads(options, tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "installed_networks", lambda: {"flat": Flat})
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(options(method="rave", network="flat", steps=6)))
    result = run(tmp_path / "run", "--config", tmp_path / "a.yaml", "--quiet")
    assert result.exit_code == 0, result.output
    loaded = checkpoint.load_network(tmp_path / "run" / "best.pt")
    assert isinstance(loaded, Flat) and loaded.level.item() != 0.5


def test_unknown_network():
    with pytest.raises(InputError, match="there is lite, relative, unet"):
        build_network("big")
