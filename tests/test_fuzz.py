"""A few hundred hostile inputs of every kind; `python -m tests.fuzz --help` runs them for hours."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COUNTS = {
    "onnx": 330, "checkpoints": 80, "pictures": 100, "clips": 60, "y4m": 60, "engines": 200, "resume": 12,
    "protocol": 100, "configurations": 200,
}  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
@pytest.mark.parametrize("kind", COUNTS)
def test_hostile_inputs_are_refused_in_one_line(kind):
    """In a process of its own: a crash must not take the tests along."""
    if kind in ("onnx", "checkpoints"):
        for package in ("torch", "onnx", "openvino"):
            pytest.importorskip(package)
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz", kind, "--count", str(COUNTS[kind])]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert result.returncode == 0, f"{result.stdout[-2000:]}\n{result.stderr[-6000:]}"
    tried, refused = map(int, re.search(r"(\d+) tried .* (\d+) refused, 0 faults", result.stdout).groups())
    assert tried == COUNTS[kind] and refused > tried // 20
