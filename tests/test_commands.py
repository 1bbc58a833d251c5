"""All commands: quick help, light imports, exit codes (R4.4)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cliplit.install import install_hint

MODULES = {
    "cliplit-video": "cliplit.runtime.video.cli",
    "cliplit-image": "cliplit.runtime.image.cli",
    "cliplit-export": "cliplit.export.cli",
    "cliplit-train": "cliplit.training.cli",
    "cliplit-doctor": "cliplit.runtime.doctor",
    "cliplit-bench": "cliplit.benchmarks.cli",
    "cliplit-batch": "cliplit.runtime.batch.cli",
    "cliplit-web": "cliplit.plugins.web_cli",
}
HEAVY = ("torch", "onnxruntime", "openvino", "cv2", "onnx", "av")


def python(code, *arguments):
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300)


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
    hide = "import sys; sys.modules['onnxruntime'] = sys.modules['openvino'] = None; "
    code = hide + "from cliplit.runtime.video.cli import main; main(prog_name='cliplit-video')"
    result = python(code, "--demo", str(tmp_path / "out.mp4"))
    assert result.returncode == 3
    assert install_hint("cpu") in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_doctor_tells_people_and_programs_the_same():
    import json

    doctor = "from cliplit.runtime.doctor import main; main(prog_name='cliplit-doctor')"
    people, programs = python(doctor), python(doctor, "--json")
    assert people.returncode == programs.returncode == 0, people.stderr
    report = json.loads(programs.stdout)
    assert {"machine", "versions", "problems", "backends"} <= set(report)
    works = {(row["backend"], row["device"]): row["works"] for row in report["backends"]}
    assert works["onnxruntime", "cpu"]
    for row in report["backends"]:
        assert row["backend"] in people.stdout
        assert row["detail"]
        assert (row["milliseconds"] is not None) == row["works"]
    assert report["versions"]["numpy"] in people.stdout


def test_doctor_without_any_back_end_is_exit_code_3():
    hide = "import sys; sys.modules['onnxruntime'] = sys.modules['openvino'] = sys.modules['torch'] = None; "
    result = python(hide + "from cliplit.runtime.doctor import main; main(prog_name='cliplit-doctor')")
    assert result.returncode == 3
    assert install_hint("cpu") in result.stdout and install_hint("openvino") in result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments, code", [(["--device", "gpu"], 2), (["--backend", "x"], 2), (["--device", "cuda:7"], 3)]
)
def test_devices_and_back_ends_on_the_command_line(tmp_path, arguments, code):
    result = python("from cliplit.runtime.video.cli import main; main()", "--demo", str(tmp_path / "o.mp4"), *arguments)
    assert result.returncode == code
    assert not list(tmp_path.iterdir())
