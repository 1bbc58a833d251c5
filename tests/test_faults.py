"""Faults from outside: kill -9 at any moment, no room, no right to write, no descriptors, sources cut while read.

Each time: sources are intact, an earlier output is intact or replaced by a whole one, exit 0 means whole, and what a
kill leaves has a hidden name that the next run does not trip over.
"""

from __future__ import annotations

import hashlib
import os
import random
import resource
import shutil
import subprocess
import sys
import time

import av
import cv2
import pytest

from made import backlit, moving, write_clip

pytestmark = pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="limits and signals of Linux")
KILLS = 3  # moments for each command; `CLIPLIT_KILLS=100 pytest tests/test_faults.py` tries more


STARTED: list[subprocess.Popen[bytes]] = []


def command(module, *arguments):
    return [sys.executable, "-c", f"from cliplit.{module} import main; main(prog_name='it')", *map(str, arguments)]


def start(folder, module, *arguments, **options):
    words = command(module, *arguments)
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    STARTED.append(process)
    return process


@pytest.fixture(autouse=True)
def pipes_are_closed():
    """What a killed process leaves open on this side."""
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            pipe.close()


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def frames(path):
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.fixture
def place(tmp_path):
    write_clip(tmp_path / "in.mp4", moving(60, 96, 128))
    (tmp_path / "in").mkdir()
    for number in range(4):
        cv2.imwrite(str(tmp_path / "in" / f"{number}.png"), backlit(120, 160, number))
    return tmp_path


COMMANDS = {
    "plain": ("runtime.video.cli", ["--overwrite", "in.mp4", "out.mp4"]),
    "resume": ("runtime.video.cli", ["--overwrite", "--resume", "in.mp4", "out.mp4"]),
    "opencv": ("runtime.video.cli", ["--overwrite", "--io", "opencv", "in.mp4", "out.mp4"]),
    "pictures": ("runtime.image.cli", ["--overwrite", "in", "out"]),
    "batch": ("runtime.batch.cli", ["in", "out", "--workers", "1"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_any_moment(place, name):
    """The signal that nobody can handle; then the same command again, which must complete."""
    module, arguments = COMMANDS[name]
    if name == "batch":
        pytest.importorskip("fsspec")
    sources = {path: digest(path) for path in [place / "in.mp4", *(place / "in").iterdir()]}
    begun = time.monotonic()
    process = start(place, module, *arguments)
    assert process.wait(timeout=300) == 0, process.communicate()
    whole = time.monotonic() - begun
    result = place / ("out.mp4" if name in ("plain", "resume", "opencv") else "out/0.png")
    chance = random.Random(7)
    for _ in range(int(os.environ.get("CLIPLIT_KILLS", KILLS))):
        if name == "batch":
            shutil.rmtree(place / "out", ignore_errors=True)
        process = start(place, module, *arguments, start_new_session=True)
        time.sleep(chance.uniform(0, whole))
        os.killpg(process.pid, 9)
        process.communicate()
        if result.exists():  # whole, the earlier one or the new one
            assert frames(result) == 60 if result.suffix == ".mp4" else cv2.imread(str(result)) is not None
        elif name != "batch":
            raise AssertionError("an earlier file is gone")
        assert {path: digest(path) for path in sources} == sources
        named = [
            path for path in place.rglob("*") if not any(part.startswith(".") for part in path.relative_to(place).parts)
        ]
        assert {p.suffix for p in named if p.is_file()} <= {".mp4", ".png"}  # what is left behind is hidden
    process = start(place, module, *arguments)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 0, said
    assert frames(result) == 60 if result.suffix == ".mp4" else cv2.imread(str(result)) is not None


def limited(kind, amount):
    return lambda: resource.setrlimit(kind, (amount, amount))


@pytest.mark.parametrize("name", COMMANDS)
def test_no_room(place, name):
    """Writing fails as on a full disk (a limit on the size of files); the earlier file stays."""
    module, arguments = COMMANDS[name]
    if name == "batch":
        pytest.importorskip("fsspec")
    (place / "out.mp4").write_bytes(b"an earlier file")
    process = start(place, module, *arguments, preexec_fn=limited(resource.RLIMIT_FSIZE, 2000))
    out, said = process.communicate(timeout=300)
    assert process.returncode == 1, (out, said)
    assert b"Traceback" not in said
    assert (place / "out.mp4").read_bytes() == b"an earlier file"
    assert not list(place.glob(".out.*.mp4")) and not list((place / "out").glob("*.png"))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root writes everywhere")
def test_read_only(place):
    place.chmod(0o500)
    try:
        process = start(place, *COMMANDS["plain"][:1], *COMMANDS["plain"][1])
        said = process.communicate(timeout=300)[1]
    finally:
        place.chmod(0o700)
    assert process.returncode == 1 and len(said.splitlines()) == 1 and b"Traceback" not in said


@pytest.mark.parametrize("name", ["plain", "pictures"])
def test_no_descriptors(place, name):
    """From as many as Python needs to start up to as many as are enough: an error in words or a whole file."""
    module, arguments = COMMANDS[name]
    (place / "out.mp4").write_bytes(b"an earlier file")
    for number in (24, 40):
        process = start(place, module, *arguments, preexec_fn=limited(resource.RLIMIT_NOFILE, number))
        said = process.communicate(timeout=300)[1]
        if process.returncode == 0:
            assert frames(place / "out.mp4") == 60 if name == "plain" else len(list((place / "out").iterdir())) == 4
            break
        assert name != "plain" or (place / "out.mp4").read_bytes() == b"an earlier file", said
    assert not list(place.glob(".out.*"))


def test_a_source_that_is_cut_while_it_is_read(place):
    """Exit 0 would say that nothing is missing."""
    write_clip(place / "long.mp4", moving(200, 96, 128), movflags="+faststart", gop_size=5)
    size = (place / "long.mp4").stat().st_size
    process = start(place, "runtime.video.cli", "--preset", "veryslow", "long.mp4", "out.mp4")
    while not list(place.glob(".out.*")) and process.poll() is None:
        time.sleep(0.01)
    os.truncate(place / "long.mp4", size // 3)
    said = process.communicate(timeout=300)[1]
    if process.returncode == 0:  # it was read ahead before it was cut
        assert frames(place / "out.mp4") == 200
    else:
        assert process.returncode == 1 and b"Traceback" not in said
        assert not list(place.glob(".out.*"))


def test_a_folder_that_is_removed_while_it_is_written_to(place):
    (place / "gone").mkdir()
    process = start(place, "runtime.video.cli", "--preset", "veryslow", "in.mp4", "gone/out.mp4")
    while not list((place / "gone").glob(".out.*")) and process.poll() is None:
        time.sleep(0.01)
    shutil.rmtree(place / "gone")
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 1 and b"Traceback" not in said, said
    assert len(said.splitlines()) == 1


def test_two_of_the_same_at_once(place):
    """Both may succeed, one may be refused; there is one whole file and nothing beside it."""
    for arguments in (["--overwrite"], ["--overwrite", "--resume"]):
        processes = [start(place, "runtime.video.cli", *arguments, "in.mp4", "out.mp4") for _ in range(2)]
        said = [process.communicate(timeout=300)[1] for process in processes]
        codes = [process.returncode for process in processes]
        assert 0 in codes and set(codes) <= {0, 1}, said
        assert frames(place / "out.mp4") == 60
        assert sorted(p.name for p in place.iterdir()) == ["in", "in.mp4", "out.mp4"]
