"""The same faults while networks are exported and trained and plug-ins installed: kill -9, no room, read-only, twice.

A full disk is a small one in memory where this may mount one (as root), and a limit on the size of files elsewhere.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
from test_faults import digest, limited, pipes_are_closed, start  # noqa: F401 - a fixture

from made import backlit

pytestmark = pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="limits and signals of Linux")
KILLS = int(os.environ.get("CLIPLIT_KILLS", "2"))
RECIPE = {
    "method": "paired", "network": "lite", "batch": 2, "sizes": ["32x32"], "steps": 40, "save_every": 2,
    "log_every": 20, "threads": 1, "workers": 0, "warmup": 0,
}  # fmt: skip
INSTALLED = {"gimp": ".config/GIMP/3.0/plug-ins/cliplit/cliplit.py", "frei0r": ".frei0r-1/lib/cliplit.so"}


@pytest.fixture
def place(tmp_path):
    (tmp_path / "disk").mkdir()
    return tmp_path


@pytest.fixture
def network(place):
    """A checkpoint, as another run left it."""
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxslim")
    from cliplit.networks import checkpoint
    from cliplit.runtime.backends.pytorch import from_onnx
    from made import MODELS

    checkpoint.save(place / "c.pt", {"network": "relative", "weights": from_onnx(MODELS["lite"])[0].state_dict()})
    return place / "c.pt"


@pytest.fixture
def pairs(place):
    pytest.importorskip("torch")
    pytest.importorskip("open_clip")
    for folder in ("input", "gt"):
        (place / "pairs" / folder).mkdir(parents=True)
        for number in range(4):
            picture = backlit(48, 64, number)
            cv2.imwrite(str(place / "pairs" / folder / f"{number}.png"), picture // 3 if folder == "input" else picture)
    (place / "recipe.yaml").write_text(json.dumps(RECIPE | {"pairs": str(place / "pairs")}))  # JSON is YAML
    return place / "pairs"


def mounted(folder: Path, *options: str) -> bool:
    """Mount a file system in memory; whether this process may."""
    words = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    return os.geteuid() == 0 and subprocess.run(words, capture_output=True).returncode == 0


@pytest.fixture(params=["full", "read-only"])
def no_room(request, place):
    """Options for a process that is to write to `disk` and cannot; what it has to say."""
    options = ("size=16k",) if request.param == "full" else ("ro",)
    if mounted(place / "disk", *options):
        yield {}, b"space" if request.param == "full" else b"ead-only"
        subprocess.run(["umount", str(place / "disk")], check=True)
    elif request.param == "full":
        yield {"preexec_fn": limited(resource.RLIMIT_FSIZE, 16 << 10)}, b"large"
    else:
        (place / "disk").chmod(0o500)
        yield {}, b"ermission"
        (place / "disk").chmod(0o700)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def fails_in_one_line(process, word):
    out, said = process.communicate(timeout=300)
    assert process.returncode == 1, (out, said)
    assert b"Traceback" not in said and len(said.splitlines()) == 1 and word in said.splitlines()[-1], said
    assert b"error: " in said


def test_an_export_that_cannot_be_written(place, network, no_room):
    options, word = no_room
    before = digest(network)
    fails_in_one_line(start(place, "export.cli", "c.pt", "-o", "disk/o.onnx", **options), word)
    assert not files(place / "disk") and digest(network) == before


@pytest.mark.parametrize("no_room", ["full"], indirect=True)
def test_a_training_that_cannot_be_written(place, pairs, no_room):
    options, word = no_room
    fails_in_one_line(start(place, "training.cli", "disk/run", "--config", "recipe.yaml", "--quiet", **options), word)
    assert not [name for name in files(place / "disk") if name.endswith(".pt")]
    assert len(files(pairs)) == 8


def home(place, host):
    """The environment of a user who has started GIMP."""
    folder = place / "disk"
    if host == "gimp":
        (folder / ".config/GIMP/3.0").mkdir(parents=True, exist_ok=True)
        (folder / ".config/GIMP/3.0/gimprc").touch()
    return {"env": {"HOME": str(folder), "PATH": "/nowhere"}}


@pytest.mark.parametrize("host", INSTALLED)
def test_an_installation_that_cannot_be_written(place, host):
    if not mounted(place / "disk", "size=16k"):
        pytest.skip("may not mount a small disk")
    try:
        options = home(place, host)
        before = files(place / "disk")
        fails_in_one_line(start(place, "plugins.cli", "install", host, **options), b"space")
        assert [name for name in files(place / "disk") if not name.endswith("cliplit.worker")] == before
    finally:
        subprocess.run(["umount", str(place / "disk")], check=True)


@pytest.mark.parametrize("host", INSTALLED)
def test_an_installation_that_is_killed_or_done_twice_at_once(place, host):
    options = home(place, host)
    begun = time.monotonic()
    assert start(place, "plugins.cli", "install", host, **options).wait(timeout=300) == 0
    whole, chance = time.monotonic() - begun, random.Random(3)
    wanted = [(name, digest(place / "disk" / name)) for name in files(place / "disk")]
    for _ in range(KILLS):
        process = start(place, "plugins.cli", "install", host, start_new_session=True, **options)
        time.sleep(chance.uniform(0.5 * whole, whole))
        os.killpg(process.pid, 9)
        process.wait()
        assert {(name, digest(place / "disk" / name)) for name, _ in wanted} == set(
            wanted
        )  # the earlier one, or the new
    for scratch in (place / "disk").rglob(".cliplit-*"):
        os.utime(scratch, (0, 0))  # killed long ago
    several = [start(place, "plugins.cli", "install", host, **options) for _ in range(2)]
    said = [process.communicate(timeout=300)[1] for process in several]
    assert [process.returncode for process in several] == [0, 0], said
    assert [(name, digest(place / "disk" / name)) for name in files(place / "disk")] == wanted
    assert start(place, "plugins.cli", "uninstall", host, **options).wait(timeout=300) == 0
    assert not [name for name in files(place / "disk") if "gimprc" not in name]


def test_an_earlier_plug_in_is_never_there_in_part(tmp_path):
    """What is moved away and what takes its place are whole folders; another installation may be quicker."""
    from cliplit.plugins.gimp_install import exchange

    class Quicker(type(tmp_path)):  # type: ignore[misc]  # PosixPath or WindowsPath
        """A place that another installation fills between the two steps, once."""

        def rename(self, target):
            super().rename(target)
            if not list(tmp_path.glob("scratch/before1")):
                (tmp_path / "place").mkdir()
                (tmp_path / "place/theirs").touch()

    for name in ("new", "place", "scratch"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    exchange(tmp_path / "new", Quicker(tmp_path / "place"), tmp_path / "scratch")
    assert files(tmp_path / "place") == ["new"] and not (tmp_path / "new").exists()


def test_an_export_that_is_killed_or_done_twice_at_once(place, network):
    before, target = digest(network), place / "disk" / "o.onnx"
    words = ["export.cli", "c.pt", "-o", "disk/o.onnx", "--overwrite"]
    target.write_bytes(b"an earlier file")
    (place / "disk" / ".o.0123456789ab.onnx").write_bytes(b"what an earlier kill left")
    process, chance = start(place, *words, start_new_session=True), random.Random(5)
    time.sleep(chance.uniform(3, 8))
    os.killpg(process.pid, 9)
    process.wait()
    assert digest(network) == before
    if target.read_bytes() != b"an earlier file":  # it was done
        import onnx

        onnx.checker.check_model(str(target))
    several = [start(place, *words) for _ in range(2)]
    said = [process.communicate(timeout=300)[1] for process in several]
    assert 0 in [process.returncode for process in several], said
    import onnx

    onnx.checker.check_model(str(target))
    assert files(place / "disk") == ["o.onnx"] and digest(network) == before


def test_a_training_that_is_killed_goes_on_as_if_it_had_not_been(place, pairs):
    import torch

    from cliplit.networks import checkpoint

    words = ["training.cli", "--config", "recipe.yaml", "--quiet"]
    assert start(place, *words, "disk/whole").wait(timeout=300) == 0
    chance, run = random.Random(9), place / "disk" / "run"
    process = start(place, *words, "disk/run", start_new_session=True)
    while process.poll() is None:
        if (run / "last.pt").exists():
            time.sleep(chance.uniform(0, 0.3))
            os.killpg(process.pid, 9)
            break
        time.sleep(0.01)
    process.wait()
    checkpoint.read(run / "last.pt")
    (run / ".last.0123456789ab.pt").write_bytes(b"what an earlier kill left")
    process = start(place, "training.cli", "disk/run", "--resume", "--quiet")
    assert process.wait(timeout=300) == 0, process.communicate()
    weights = [checkpoint.read(folder / "last.pt")["weights"] for folder in (run, place / "disk" / "whole")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    assert not [name for name in files(run) if Path(name).name.startswith(".")]
