"""`cliplit-bench speed`: what is timed is what is said, and a run leaves three files that agree."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("matplotlib", reason="needs the extra bench")

from cliplit.benchmarks.cli import main
from cliplit.benchmarks.methods import CLASSICAL
from cliplit.benchmarks.probe import CLASSICAL_NAMES, ORIGINAL, Task, sample_frame
from cliplit.benchmarks.speed import SIZES, FrameTimes, Plan, Speed, frame_table, frames
from cliplit.benchmarks.timing import run_probe, run_program
from cliplit.errors import BackendError


def test_a_probe_measures_every_part():
    result = run_probe(Task("lite", 120, 160, repeats=2), 60)
    assert not isinstance(result, str), result
    assert set(result.stages) == {"proxy", "network", "refine", "apply"}
    assert 0 < sum(result.stages.values()) < 1
    assert 0 < result.frame <= 1 and result.load > 0
    assert 40 < result.peak / 2**20 < 400


def test_the_original_is_measured_where_torch_is_installed():
    pytest.importorskip("torch")
    result = run_probe(Task(ORIGINAL, 48, 64, repeats=1), 120)
    assert not isinstance(result, str), result
    assert result.frame > 0 and result.stages == {}


def test_what_cannot_run_says_why():
    reason = run_probe(Task("lite", 48, 64, device="cuda"), 60)
    if not isinstance(reason, str):
        pytest.skip("there is a CUDA device here")
    assert "cuda" in reason.lower() or "nvidia" in reason.lower()


def test_a_probe_that_hangs_is_ended():
    assert "more than" in str(run_probe(Task("LIME-style", 4000, 4000, repeats=50), 1))


def test_the_names_of_the_classical_methods_are_the_methods():
    assert tuple(method.name for method in CLASSICAL) == CLASSICAL_NAMES


def test_the_frame_is_the_same_each_time():
    assert np.array_equal(sample_frame(48, 64), sample_frame(48, 64))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells")
def test_a_programs_memory_is_its_own():
    ballast = np.ones(60_000_000)  # 480 MB here must not count there
    usage = run_program([sys.executable, "-c", "import time; x = bytearray(50_000_000); time.sleep(0.2)"])
    assert 50e6 < usage.peak < 200e6 < ballast.nbytes
    assert usage.wall >= usage.cpu + 0.1  # it slept


def test_a_program_that_fails_is_reported_with_its_words():
    with pytest.raises(BackendError, match="exit code 3: no luck"):
        run_program([sys.executable, "-c", "import sys; print('no luck', file=sys.stderr); sys.exit(3)"])


def test_what_would_take_too_long_is_not_started(monkeypatch):
    from cliplit.benchmarks import speed

    asked = []

    def fake(task, limit):
        asked.append(task.height)
        from cliplit.benchmarks.probe import Result

        return Result(first=10.0, frame=10.0)

    monkeypatch.setattr(speed, "run_probe", fake)
    plan = Plan(sizes=["480p", "4K"], threads=[1], methods=["lite"], backends=["auto"], devices=["cpu"], limit=30)
    small, large = frames(plan, [1], [], lambda text: None)
    assert asked == [480] and small.result is not None
    assert large.result is None and "about 202 s" in large.reason


def test_ratios_compare_like_with_like():
    from cliplit.benchmarks.probe import Result

    def at(method, name, seconds):
        return FrameTimes(Task(method, *SIZES[name]), Result(frame=seconds, cpu=2 * seconds))

    frames = [at("lite", "480p", 1), at("lite", "1080p", 2), at("unet", "480p", 10), at("unet", "1080p", 30)]
    table = frame_table(Speed({}, frames), "cpu", 1)
    assert table.rows == (("lite", "1000", "2000", "1"), ("unet", "10000", "30000", "15"))
    assert frame_table(Speed({}, frames), "cpu", 1, "cpu").rows[0] == ("lite", "2000", "4000", "1")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_a_quick_run_writes_three_files_that_agree(tmp_path):
    arguments = ["speed", "-o", str(tmp_path / "out"), "--quick", "--method", "lite", "--method", "CLAHE"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["bench.json", "bench.md", "index.html"]
    found = json.loads((tmp_path / "out/bench.json").read_text())["speed"]
    assert [f["task"]["method"] for f in found["frames"]] == ["lite", "CLAHE"]
    clip = found["clips"][0]
    assert clip["frames"] == 10 and clip["ours"]["cpu"] > 0 and clip["transcode"]["cpu"] > 0
    milliseconds = f"{1e3 * found['frames'][0]['result']['frame']:.1f}"
    for name in ("bench.md", "index.html"):
        assert milliseconds in (tmp_path / "out" / name).read_text()


def test_an_unknown_method_is_an_error(tmp_path):
    result = CliRunner().invoke(main, ["speed", "-o", str(tmp_path), "--method", "magic"])
    assert result.exit_code == 1 and "there is lite" in result.output
