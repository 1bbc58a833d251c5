"""Whole runs, seconds each: every method learns, stops, goes on, and is split over processes without a difference."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cliplit.config import TrainConfig
from cliplit.errors import InputError
from cliplit.networks import checkpoint
from cliplit.phases import Phase, Stage
from cliplit.training import loop as training
from cliplit.training.distributed import World
from cliplit.training.journal import read_log
from cliplit.training.loop import STEPS, learning_rate, must_restart, train
from cliplit.training.run import prepare

from .conftest import STUDENT, needs_student

pytest.importorskip("open_clip")

# The option file and RUN as arguments; "at step N do X" before the run starts.
CHILD = """
import json, os, signal, sys
from cliplit.training import loop as training
from cliplit.training.cli import main
options, run, at, number = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def watched(step):
    def wrapper(run, state, batch):
        if state.step == at:
            os.kill(os.getpid(), number)
        return step(run, state, batch)
    return wrapper

training.STEPS = {stage: watched(step) for stage, step in training.STEPS.items()}
arguments = [run, "--quiet"]
if options is None:
    arguments.append("--resume")
else:
    with open(run + ".yaml", "w") as f:
        json.dump(options, f)  # JSON is YAML
    arguments += ["--config", run + ".yaml"]
main(arguments, prog_name="cliplit-train")
"""


def child(options, run: Path, at: int = -1, number: int = 0, processes: int = 1):
    script = run.parent / "child.py"
    script.write_text(CHILD)
    launcher = [sys.executable]
    if processes > 1:
        rendezvous = ["--standalone", f"--nproc-per-node={processes}"]
        launcher = [sys.executable, "-m", "torch.distributed.run", *rendezvous]
    command = [*launcher, str(script), json.dumps(options), str(run), str(at), str(number)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


def run_config(options, folder, **given):
    config = TrainConfig.from_dict(options(**given))
    train(config, folder, quiet=True)
    return config


def prepared(options, folder, **given):
    config = TrainConfig.from_dict(options(**given))
    return prepare(config, folder, World(0, 1, torch.device("cpu")), quiet=True)


def equal(a, b) -> bool:
    """Bit for bit, through dicts and lists."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


def log_without_clock(run):
    return [{k: v for k, v in e.items() if k not in ("time", "images_per_second")} for e in read_log(run / "log.jsonl")]


# Every method, both networks, without and with references.


@pytest.mark.parametrize("network", ["lite", "unet"])
@pytest.mark.parametrize("references", [False, True], ids=["unpaired", "referenced"])
@pytest.mark.parametrize("method", ["cliplit", "latent", "rave"])
def test_guided_methods_run_through_all_their_stages(options, made, tmp_path, method, network, references):
    given = {"method": method, "network": network, "steps": 20, "sizes": ["32x32"]}
    if references:
        given |= {"pairs": str(made.pairs), "paired_weight": 1.0}
    config = run_config(options, tmp_path / "run", **given)
    log = read_log(tmp_path / "run" / "log.jsonl")
    stages = list(dict.fromkeys((e["stage"], e["round"]) for e in log if "stage" in e))
    alternating = [("prompts", 0), ("reconstruct", 0), ("enhance", 1), ("refine", 1), ("enhance", 2), ("refine", 2)]
    assert stages == ([("reconstruct", 0), ("enhance", 1)] if method == "rave" else alternating)[: len(stages)]
    assert len(stages) == (2 if method == "rave" else 6)
    assert all(torch.isfinite(torch.tensor(e["loss"])) for e in log if "loss" in e)
    assert any("paired" in e for e in log) == references
    content = checkpoint.read(tmp_path / "run" / "best.pt")
    assert TrainConfig.from_dict(content["config"]) == config
    trained = checkpoint.load_network(tmp_path / "run" / "best.pt")
    torch.manual_seed(config.seed)
    fresh = training.prepare(config, tmp_path / "other", World(0, 1, torch.device("cpu")), True)[1].network
    assert any(not torch.equal(a, b) for a, b in zip(trained.parameters(), fresh.parameters(), strict=True))
    assert list((tmp_path / "run" / "samples").glob("*_enhance_1.png"))
    assert (tmp_path / "run" / "prompts.pt").is_file() == (method != "rave")


@pytest.mark.parametrize("network", ["lite", "unet"])
@pytest.mark.parametrize("pictures", ["photos", "pairs"])
def test_paired_method_learns(made, tmp_path, network, pictures):
    folder = [str(made.welllit)] if pictures == "photos" else str(made.pairs)
    given = {pictures: folder, "network": network, "steps": 25, "batch": 4, "sizes": ["32x32"], "workers": 0}
    given |= {"learning_rate": 1e-2 if network == "lite" else 1e-3, "warmup": 5, "log_every": 1}
    train(TrainConfig.from_dict(given), tmp_path / "run", quiet=True)
    losses = [e["loss"] for e in read_log(tmp_path / "run" / "log.jsonl") if "lr" in e]
    assert len(losses) == 25
    if pictures == "pairs":  # photos are darkened by chance, some not at all
        assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    checkpoint.load_network(tmp_path / "run" / "best.pt")


def test_guidance_changes_what_it_is_meant_to_change(options, tmp_path):
    """With the residual loss alone, enhanced pictures move along the residual vector towards the well-lit ones."""
    given = {"method": "rave", "steps": 40, "reconstruction_steps": 0, "identity_weight": 0.0, "learning_rate": 3e-3}
    run_config(options, tmp_path / "run", **given)
    guidance = [e["guidance"] for e in read_log(tmp_path / "run" / "log.jsonl") if "guidance" in e]
    assert sum(guidance[-5:]) < 0.5 * sum(guidance[:5])


@needs_student
@pytest.mark.parametrize("method", ["latent", "rave"])
def test_student_encoder_guides_without_a_text_tower(options, tmp_path, method):
    encoder = {
        "encoder": f"{STUDENT / 'clip_student.py'}:load",
        "encoder_weights": str(STUDENT / "fgx_student_fp16.pt"),
    }
    run_config(options, tmp_path / "run", method=method, sizes=["32x32"], **encoder)
    log = read_log(tmp_path / "run" / "log.jsonl")
    assert log[-1]["step"] == 20
    assert all(0 <= e["identity"] < 100 for e in log if "identity" in e)


# Gradients flow where they should, and nowhere else.


def touched(run, state):
    guidance = run.guidance
    encoders = [*guidance.score.parameters(), *guidance.identity.parameters()]
    if guidance.text is not None:
        encoders += list(guidance.text.model.parameters())
    found = {"network": state.network.parameters(), "pair": state.pair.parameters() if state.pair else []}
    found |= {"average": state.average.parameters(), "encoders": encoders}
    return {name for name, ps in found.items() if any(p.grad is not None and p.grad.abs().sum() > 0 for p in ps)}


@pytest.mark.parametrize("method", ["cliplit", "latent"])
@pytest.mark.parametrize(
    "stage,expected",
    [
        (Stage.PROMPTS, {"pair"}),
        (Stage.RECONSTRUCT, {"network"}),
        (Stage.ENHANCE, {"network"}),
        (Stage.REFINE, {"pair"}),
    ],
)
def test_gradients_flow_to_what_the_stage_trains_and_nowhere_else(options, tmp_path, method, stage, expected):
    run, state = prepared(options, tmp_path / "run", method=method, margins=[2.0, 2.0])
    batch = next(training.batches_from(run, stage, 0))
    STEPS[stage](run, state, batch)
    assert touched(run, state) == expected


def test_gradients_of_rave(options, tmp_path):
    run, state = prepared(options, tmp_path / "run", method="rave")
    STEPS[Stage.ENHANCE](run, state, next(training.batches_from(run, Stage.ENHANCE, 0)))
    assert touched(run, state) == {"network"}
    assert not run.residual.vector.requires_grad


def test_enhancer_loss_is_the_weighted_sum_of_the_papers(options, tmp_path):
    """16 * 20 * L_clip + 0.9 * 25 * L_identity, recomputed picture by picture with the same random encoders."""
    run, state = prepared(options, tmp_path / "run", network="unet")
    picture, clean, _ = next(training.batches_from(run, Stage.ENHANCE, 0))
    with torch.no_grad():
        light = state.network(picture)
        pair = state.pair()
        probability, identity = [], 0.0
        for i in range(4):
            enhanced = torch.clip(picture[i : i + 1] / (light[i : i + 1] + 1e-9), 0, 1)
            logits = 100 * run.guidance.score.embed(enhanced) @ pair.T
            probability.append(torch.exp(logits[0, 0]) / torch.exp(logits[0]).sum())
            layers = zip(*(run.guidance.identity.features(x) for x in (enhanced, clean[i : i + 1])), strict=True)
            identity += sum(
                a * float(((x - y) ** 2).mean()) for a, (x, y) in zip((1, 1, 1, 1, 0.5), layers, strict=True)
            )
        expected = 16 * 20 * float(torch.stack(probability).mean()) + 0.9 * 25 * identity
    losses = STEPS[Stage.ENHANCE](run, state, (picture, clean, torch.empty(0)))
    assert losses["loss"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("levels,first,later", [(2, 2, 2), (3, 3, 3), (4, 3, 4)])
def test_the_ranking_grows_from_round_to_round(options, tmp_path, monkeypatch, levels, first, later):
    run, state = prepared(options, tmp_path / "run", levels=levels)
    seen = []
    monkeypatch.setattr(
        training,
        "ranking_loss",
        lambda ladder, margins: seen.append(len(ladder)) or sum(ladder).mean(),  # type: ignore[func-returns-value]
    )
    batch = next(training.batches_from(run, Stage.REFINE, 0))
    STEPS[Stage.REFINE](run, state, batch)
    state.remember_enhancer()
    STEPS[Stage.REFINE](run, state, batch)
    assert seen == [first, later]


# The rules of the stages.


def test_best_of_a_phase_is_a_copy_and_starts_the_next_phase(options, tmp_path):
    _, state = prepared(options, tmp_path / "run")
    state.begin(Phase(Stage.ENHANCE, 1, 0, 10))
    weight = next(state.network.parameters())
    best = weight.detach().clone()
    state.keep_best_of_phase(5.0)
    with torch.no_grad():
        weight += 1
    state.keep_best_of_phase(7.0)  # worse: not kept
    assert not torch.equal(weight, best)
    state.restore_best_of_phase()
    assert torch.equal(weight, best)
    state.begin(Phase(Stage.REFINE, 1, 10, 10))
    prompts = state.pair.embedding_prompt.detach().clone()
    state.keep_best_of_phase(1.0)
    with torch.no_grad():
        state.pair.embedding_prompt += 1
    state.restore_best_of_phase()
    assert torch.equal(state.pair.embedding_prompt, prompts)


def test_a_phase_goes_on_while_its_loss_is_above_the_threshold(options, tmp_path):
    run_config(options, tmp_path / "run", enhancer_threshold=-1.0, enhancer_extension=2, steps=17, log_every=1)
    stages = [e["stage"] for e in read_log(tmp_path / "run" / "log.jsonl") if "stage" in e]
    assert stages == ["prompts"] * 3 + ["reconstruct"] * 3 + ["enhance"] * 11


def test_reconstruction_that_went_astray_starts_anew(options, tmp_path):
    given = {"method": "rave", "restart_psnr": 1000.0, "steps": 104, "reconstruction_steps": 103, "sizes": ["16x16"]}
    run, state = prepared(options, tmp_path / "run", **given)
    state.step = 100
    assert not must_restart(state, 5.0, run.config)
    state.step = 101
    assert must_restart(state, 5.0, run.config)
    state.psnrs = []
    assert not must_restart(state, 9.0, replace(run.config, restart_psnr=8.0))
    before = [p.detach().clone() for p in state.network.parameters()]
    STEPS[Stage.RECONSTRUCT](run, state, next(training.batches_from(run, Stage.RECONSTRUCT, 0)))
    assert state.optimizer.state_dict()["state"]
    state.restart(run.config)
    assert not state.optimizer.state_dict()["state"]
    assert any(not torch.allclose(a, b, atol=1e-3) for a, b in zip(before, state.network.parameters(), strict=True))
    assert not must_restart(state, 5.0, run.config)  # 100 steps of grace again
    assert (state.started, state.psnrs) == (101, [5.0])


def test_learning_rate_is_a_cosine_after_the_warm_up():
    config = TrainConfig.from_dict(
        {"method": "cliplit", "backlit": ["x"], "welllit": ["y"], "warmup": 10, "steps": 110}
    )
    assert learning_rate(0, config) == pytest.approx(2e-6)
    assert learning_rate(10, config) == pytest.approx(2e-5)
    assert learning_rate(60, config) == pytest.approx((2e-5 + 5e-6) / 2)
    assert learning_rate(110, config) == pytest.approx(5e-6)


def test_averaged_weights_follow_the_live_ones(options, tmp_path):
    run, state = prepared(options, tmp_path / "run", method="rave", ema=0.5, learning_rate=1e-2)
    batch = next(training.batches_from(run, Stage.ENHANCE, 0))
    start = next(state.network.parameters()).detach().clone()
    STEPS[Stage.ENHANCE](run, state, batch)
    live, mean = next(state.network.parameters()), next(state.average.parameters())
    decay = 1 / 11  # min(ema, 1 / (1 + 10))
    assert torch.allclose(mean, decay * start + (1 - decay) * live, atol=1e-6)
    assert not torch.equal(live, start)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_stays_near_full_precision(options, tmp_path, precision):
    losses = {}
    for name in ("fp32", precision):
        given = {"method": "rave", "precision": name, "steps": 6, "reconstruction_steps": 0, "log_every": 1}
        run_config(options, tmp_path / name, **given)
        losses[name] = [e["loss"] for e in read_log(tmp_path / name / "log.jsonl") if "loss" in e]
    assert losses[precision] != losses["fp32"]
    assert losses[precision] == pytest.approx(losses["fp32"], rel=0.05)


def test_gradient_clipping_bounds_the_norm(options, tmp_path):
    run, state = prepared(options, tmp_path / "run", method="rave", gradient_clip=1e-3)
    STEPS[Stage.ENHANCE](run, state, next(training.batches_from(run, Stage.ENHANCE, 0)))
    norm = torch.stack([p.grad.norm() for p in state.network.parameters()]).norm()
    assert float(norm) == pytest.approx(1e-3, rel=1e-3)


def test_given_weights_are_scored_first_and_must_be_beaten(options, made, tmp_path, monkeypatch):
    run_config(options, tmp_path / "first", method="rave", steps=4)
    given = {"method": "rave", "init": str(tmp_path / "first" / "best.pt"), "validation": str(made.pairs)}
    first = checkpoint.read(tmp_path / "first" / "best.pt")["weights"]
    for name, scores, best in (("worse", [20, 19, 18], 0), ("better", [20, 21, 19], 4)):
        psnr = iter(scores)
        monkeypatch.setattr(
            "cliplit.training.run.score_all", lambda *_, psnr=psnr: ({"psnr": float(next(psnr)), "ssim": 0.5}, {})
        )
        run_config(options, tmp_path / name, steps=8, learning_rate=1e-3, **given)
        second = checkpoint.read(tmp_path / name / "best.pt")
        assert second["scores"]["step"] == best
        assert equal(first, second["weights"]) == (best == 0)
        assert read_log(tmp_path / name / "log.jsonl")[0]["step"] == 0


def test_init_of_another_network_is_refused(options, tmp_path):
    run_config(options, tmp_path / "first", method="rave", steps=4)
    with pytest.raises(InputError, match="holds a LiteUNet, and --network is unet"):
        run_config(
            options, tmp_path / "second", method="rave", network="unet", init=str(tmp_path / "first" / "best.pt")
        )


# Killed and resumed, interrupted and resumed, split.


@pytest.fixture
def paired_options(made):
    given = {"method": "paired", "network": "lite", "photos": [str(made.welllit)], "steps": 20, "batch": 4}
    return {**given, "sizes": ["32x32"], "save_every": 4, "log_every": 2, "threads": 1, "workers": 1, "ema": 0.9}


@pytest.mark.parametrize(
    "method,number",
    [("paired", signal.SIGKILL), ("cliplit", signal.SIGKILL), ("rave", signal.SIGINT), ("kept", signal.SIGINT)],
    ids=["paired-SIGKILL", "cliplit-SIGKILL", "rave-Ctrl-C", "kept-features-Ctrl-C"],
)
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(options, paired_options, tmp_path, method, number):
    kept = {"method": "rave", "augmentation": "turns", "identity_cache": 64, "memory": 1}  # empty after the stop
    guided = options(**kept) if method == "kept" else options(method=method)
    given = {**(paired_options if method == "paired" else guided), "save_every": 2, "log_every": 3}
    train(TrainConfig.from_dict(given), tmp_path / "whole", quiet=True)

    stopped = child(given, tmp_path / "part", at=15, number=number)
    assert stopped.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130), stopped.stderr
    left = checkpoint.read(tmp_path / "part" / "last.pt")
    assert left["step"] == (14 if number == signal.SIGKILL else 16)
    if number == signal.SIGINT:  # the step under way was finished
        assert "saved; go on with" in stopped.stderr
    resumed = child(None, tmp_path / "part")
    assert resumed.returncode == 0, resumed.stderr

    for name in ("last.pt", "best.pt"):
        whole, part = (checkpoint.read(tmp_path / run / name) for run in ("whole", "part"))
        assert equal(whole, part), name
    assert log_without_clock(tmp_path / "whole") == log_without_clock(tmp_path / "part")


@pytest.mark.parametrize("method", ["paired", "cliplit"])
def test_two_processes_equal_one_with_the_same_global_batch(options, paired_options, tmp_path, method):
    given = paired_options if method == "paired" else options(method=method, identity_weight=300.0)
    given = {**given, "workers": 0}
    train(TrainConfig.from_dict(given), tmp_path / "one", quiet=True)
    both = child(given, tmp_path / "two", processes=2)
    assert both.returncode == 0, both.stderr[-2000:]
    one, two = (checkpoint.read(tmp_path / name / "last.pt") for name in ("one", "two"))
    assert one["step"] == two["step"] == 20
    for name in ("live_weights", "weights", "prompts"):
        for key, value in (one[name] or {}).items():
            assert torch.allclose(value, two[name][key], atol=2e-6), (name, key)
    for a, b in zip(*(log_without_clock(tmp_path / name) for name in ("one", "two")), strict=True):
        assert a["step"] == b["step"] and a.get("stage") == b.get("stage")
        assert a.get("loss", 0) == pytest.approx(b.get("loss", 0), rel=1e-4)


def test_a_batch_that_cannot_be_split_is_refused(options, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(InputError, match="--batch 4 cannot be split over 3 processes"):
        train(TrainConfig.from_dict(options()), tmp_path / "run")


def test_a_folder_with_a_run_is_not_overwritten(options, tmp_path):
    config = run_config(options, tmp_path / "run", method="rave", steps=4)
    with pytest.raises(InputError, match="already holds a run"):
        train(config, tmp_path / "run")


def test_size_that_the_network_cannot_take(options, tmp_path):
    with pytest.raises(InputError, match="--sizes 40: the lite network takes multiples of 16"):
        train(TrainConfig.from_dict(options(sizes=["48x40"])), tmp_path / "run")
