"""All commands: quick help, light imports, exit codes (R4.4)."""

from __future__ import annotations

import subprocess
import sys

import pytest

MODULES = {
    "cliplit-video": "cliplit.runtime.video_cli",
    "cliplit-image": "cliplit.runtime.image_cli",
    "cliplit-export": "cliplit.export.cli",
    "cliplit-train": "cliplit.cli",
    "cliplit-bench": "cliplit.benchmarks.cli",
    "cliplit-batch": "cliplit.runtime.batch.cli",
}
HEAVY = ("torch", "onnxruntime", "cv2", "onnx", "av")


def python(code, *arguments):
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("module", ["cliplit", "cliplit.runtime", *MODULES.values()])
def test_importing_loads_nothing_heavy(module):
    result = python(f"import {module}, sys; print([m for m in {HEAVY} if m in sys.modules])")
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.parametrize("name", MODULES)
def test_help_answers_at_once(name):
    """Half a second of processor time is the bound; wall time would measure the machine's load."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = python(f"from {MODULES[name]} import main; main(prog_name='{name}')", "--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0
    assert name in result.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


@pytest.mark.parametrize("name", MODULES)
def test_wrong_usage_is_exit_code_2(name):
    result = python(f"from {MODULES[name]} import main; main(prog_name='{name}')", "--no-such-option")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_a_missing_onnxruntime_names_the_command(tmp_path):
    hide = "import sys; sys.modules['onnxruntime'] = None; "
    code = hide + "from cliplit.runtime.video_cli import main; main(prog_name='cliplit-video')"
    result = python(code, "--demo", str(tmp_path / "out.mp4"))
    assert result.returncode == 3
    assert 'pip install "cliplit[cpu]"' in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
