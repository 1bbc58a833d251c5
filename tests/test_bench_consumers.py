"""The table of programs: what it calls right and wrong, and that it runs what is here."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from cliplit.benchmarks import consumers

LIGHT = np.full((1, 1, 4, 6), 0.5, np.float32)
IMAGE = np.full((1, 4, 6, 3), 100, np.uint8)


def sample(kind="fixed", precision="fp32"):
    source, expected = (IMAGE, IMAGE) if kind.startswith("image") else (np.zeros((1, 3, 4, 6), np.float32), LIGHT)
    return consumers.Sample(Path("m.onnx"), "m", kind, precision, source, expected)


@pytest.mark.parametrize(
    "kind, precision, own, verdict",
    [
        ("fixed", "fp32", LIGHT + np.float32(5e-5), "ok"),
        ("fixed", "fp32", LIGHT.reshape(1, 4, 6, 1), "ok"),  # one channel, wherever it stands
        ("fixed", "fp32", LIGHT + np.float32(1e-3), "close"),
        ("fixed", "fp32", LIGHT + np.float32(1e-2), "wrong"),
        ("fixed", "fp32", LIGHT * np.float32(np.nan), "wrong"),
        ("fixed", "fp32", LIGHT[..., :5], "wrong"),
        ("int8", "int8", LIGHT + np.float32(5e-2), "ok"),
        ("int8", "int8", LIGHT + np.float32(0.2), "wrong"),
        ("image uint8 free", "fp32", IMAGE + np.uint8(1), "ok"),  # 48 dB
        ("image uint8 free", "fp32", IMAGE + np.uint8(2), "wrong"),  # 42 dB
    ],
)
def test_verdicts(kind, precision, own, verdict):
    assert sample(kind, precision).verdict(own)[0] == verdict


def test_what_is_here_runs_and_what_is_not_is_left_out():
    found = list(consumers.lines(("lite",), (sys.executable,), None, False, ("onnxruntime", "mnn")))
    assert [(line.program, line.kind, line.verdict) for line in found] == [
        ("onnxruntime", "fixed", "ok"),
        ("onnxruntime", "ncnn", "ok"),
    ]
    assert all(line.version and float(line.detail) < 1e-5 for line in found)
    head, _, row = consumers.table(found).splitlines()[:3]
    assert head == "| `lite` | fixed | ncnn |" and row.startswith(f"| onnxruntime {found[0].version} | ")


def test_a_program_that_fails_is_a_line_with_its_last_words(tmp_path):
    failing = [sys.executable, "-c", "raise RuntimeError('no such layer')"]
    made = consumers.Sample(tmp_path / "m.onnx", "m", "fixed", "fp32", np.zeros((1, 3, 4, 6), np.float32), LIGHT)
    line = consumers.consumed(failing, {}, "x", made)
    assert (line.verdict, line.detail) == ("refused", "RuntimeError: no such layer")
    built = consumers.consumed([sys.executable, "-c", "print('VERSION 3')"], {}, "x", made)
    assert (built.verdict, built.version) == ("made", "3")
    assert "| no |" in consumers.table([line]) and "| made |" in consumers.table([built])
