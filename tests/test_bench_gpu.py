"""The script for a card, at a tiny size on the processor: every step is called, and counts are right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

pytest.importorskip("open_clip")

from cliplit.benchmarks import card_training, gpu
from cliplit.networks.registry import build_network

ROOT = Path(__file__).parents[1]


def test_every_step_runs_at_a_tiny_size(tmp_path):
    done = subprocess.run(
        ["bash", str(ROOT / "benchmarks" / "gpu.sh"), "--tiny", "--python", sys.executable, "--out", str(tmp_path)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "gpu.json").read_text())
    assert not [row for row in rows if "failed" in row["note"] or row["measured"] is None]
    assert {row["step"].split()[0] for row in rows} == {"exact", "lite", "unet", "guided"}
    assert [row["step"] for row in rows if row["predicted"] is None] == []
    loop, ours = (row for row in rows if row["step"].startswith("guided"))
    assert ours["goal"] == pytest.approx(3 * loop["measured"]) and "times the loop" in ours["note"]
    assert (tmp_path / "table.txt").read_text() == done.stdout


def test_operations_are_counted_by_hand():
    """Two for each weight and position: the paper's network has 278,790 parameters, nearly all of them in convolutions
    at full size."""
    work = gpu.counted(build_network("unet").eval(), (96, 160))
    convolved = sum(p.numel() for name, p in build_network("unet").named_parameters() if p.dim() == 4)
    pooled = 4 * 32 * 8  # 1x1 convolutions of at most 36 positions
    assert work.operations == pytest.approx(2 * (convolved - pooled) * 96 * 160, rel=1e-3)
    assert gpu.counted(build_network("unet").eval(), (192, 320)).operations == 4 * work.operations


def test_a_prediction_is_the_slower_of_two():
    assert gpu.Work(989e12, 1.0).seconds("NVIDIA H100 80GB HBM3") == pytest.approx(1.0)
    assert gpu.Work(1.0, 3.35e12).seconds("NVIDIA H100 80GB HBM3") == pytest.approx(1.0)
    assert gpu.Work(1.0, 1.0).seconds("a card nobody knows") is None


def test_a_step_that_fails_is_a_line_and_the_next_one_runs(monkeypatch):
    def broken():
        raise RuntimeError("no kernel image")

    works = [("a", broken), ("b", lambda: iter([gpu.Row("b", 1.0, None, None, "")]))]
    monkeypatch.setattr(gpu, "steps", lambda device, tiny, card: iter(works))
    first, second = gpu.rows("cpu", True, 100.0)
    assert "no kernel image" in first.note and first.measured is None
    assert second.measured == 1.0
    assert all("not begun" in row.note for row in gpu.rows("cpu", True, -1.0))


def test_a_step_that_takes_too_long_is_broken_off_between_two_numbers(monkeypatch):
    row = gpu.Row("a", 1.0, None, None, "")
    monkeypatch.setattr(gpu, "steps", lambda device, tiny, card: iter([("a", lambda: iter([row] * 5))]))
    times = iter([0.0, 1.0, 2.0, 99.0, 99.0])
    monkeypatch.setattr(gpu.time, "monotonic", lambda: next(times))
    first, second, last = gpu.rows("cpu", True, 10.0)
    assert (first, second) == (row, row) and "broken off" in last.note


def test_pairs_are_rendered_dark_and_in_codes():
    """Never brighter than the photo but for noise, up to 5.5 stops darker, of 8 bits."""
    targets = torch.full((8, 3, 32, 48), 0.5)
    dark = card_training.rendered_pairs(targets, torch.Generator().manual_seed(0))
    assert dark.shape == targets.shape and dark.mean() < 0.45
    assert dark.max() < 0.54 and dark.min() > 0.5 * 2 ** (-5.5 / 1.9) - 0.05
    assert torch.equal((dark * 255).round() / 255, dark)
    assert not torch.equal(dark[0], dark[1])


def test_operations_of_a_step_are_those_of_its_products():
    """A product of 3x4 and 4x5 forward; backward one for each side, where both want a gradient."""
    a, b = torch.ones(3, 4, requires_grad=True), torch.ones(4, 5, requires_grad=True)
    assert card_training.operations_of(lambda: a @ b) == 2 * 3 * 4 * 5
    assert card_training.operations_of(lambda: (a @ b).sum().backward()) == 3 * 2 * 3 * 4 * 5
