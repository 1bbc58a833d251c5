"""Names: what exists as a file is a file, whatever its name; lengths are bytes."""

from __future__ import annotations

import os
import shutil

import pytest

from cliplit.files import atomic_write
from cliplit.runtime.video.names import origin_of
from made import moving, read_clip, video_command, write_clip

# A protocol, a pipeline, a camera, an option, patterns, parts of an address, FFmpeg's own words, an address.
NAMES = [
    "2024-05-01T10:30:00.mp4", "Bravo ! Papa.mp4", "-x.mp4", "100%d.mp4", "a#b?c.mp4", "pipe:0.mp4", "file:x.mp4",
    "[1]*.mp4", "concat:a|b.mp4", "~.mp4", "é.mp4", "0.mp4",
]  # fmt: skip


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("names") / "in.mp4", moving(4, 64, 96), sound=False)


@pytest.mark.skipif(os.name == "nt", reason="names that Windows forbids")
@pytest.mark.parametrize("options", [[], ["--resume"], ["--io", "opencv"]], ids=["pyav", "resume", "opencv"])
def test_any_name_reads_and_writes(tmp_path, plain, options):
    for name in NAMES:
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copyfile(plain, tmp_path / "in" / name)
    result = video_command(*options, "--preset", "ultrafast", "--", "in", "out", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(NAMES)
    for name in NAMES:
        shutil.copyfile(tmp_path / "out" / name, tmp_path / "plain.mp4")
        assert len(read_clip(tmp_path / "plain.mp4")[0]) == 4, name


@pytest.mark.skipif(os.name == "nt", reason="names that Windows forbids")
@pytest.mark.parametrize("name", ["2024-05-01T10:30:00.mp4", "Bravo ! Papa.mp4", "0", "-x.mp4"])
def test_a_relative_name_alone(tmp_path, plain, name):
    """Without a folder before it, which is where it looks most like something else."""
    shutil.copyfile(plain, tmp_path / name)
    result = video_command("--", name, "out:1.mp4", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    shutil.copyfile(tmp_path / "out:1.mp4", tmp_path / "plain.mp4")
    assert len(read_clip(tmp_path / "plain.mp4")[0]) == 4


def test_what_is_no_file_keeps_its_meaning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"-": "pipe", "0": "camera", "/dev/video1": "camera", "v4l2src ! appsink": "pipeline",
             "rtsp://host/x": "address", "no.mp4": "file", "10:30.mp4": "file", "²": "file"}  # fmt: skip
    assert {name: origin_of(name) for name in names} == names
    (tmp_path / "0").touch()
    assert origin_of("0") == "file"


@pytest.mark.skipif(os.name == "nt", reason="255 bytes are a limit of POSIX file systems")
@pytest.mark.parametrize("letter", ["a", "é", "好"])
@pytest.mark.parametrize("options", [[], ["--resume"]], ids=["whole", "resume"])
def test_names_of_255_bytes(tmp_path, plain, letter, options):
    name = letter * (251 // len(letter.encode())) + ".mp4"
    result = video_command(plain, tmp_path / name, *options)
    assert result.returncode == 0, result.stderr
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert len(read_clip(tmp_path / name)[0]) == 4


@pytest.mark.skipif(os.name == "nt", reason="names that are not UTF-8")
def test_a_name_that_is_not_utf8(tmp_path, plain):
    shutil.copyfile(plain, tmp_path / "w\udce9.mp4")
    result = video_command(tmp_path / "w\udce9.mp4", tmp_path / "out.mp4")
    assert result.returncode == 0, result.stderr
    assert len(read_clip(tmp_path / "out.mp4")[0]) == 4


def test_a_finished_file_is_not_lost_when_its_name_is_taken(tmp_path):
    """A folder of the name came into being meanwhile: the result stays, and the message says where."""
    with pytest.raises(Exception, match="the finished file is") as caught, atomic_write(tmp_path / "a.txt") as part:
        part.write_text("result")
        (tmp_path / "a.txt").mkdir()
    kept = next(p for p in tmp_path.iterdir() if p.is_file())
    assert str(kept) in str(caught.value)
    assert kept.read_text() == "result"


@pytest.mark.parametrize(("name", "said"), [("out", "out"), ("out/", "out/"), ("out.", "out."), ("out.xyz", "out.xyz")])
def test_a_message_about_what_was_typed(tmp_path, plain, name, said):
    result = video_command(plain, name, cwd=tmp_path)
    assert result.returncode in (1, 2)
    assert f"{said}: " in result.stderr.decode().splitlines()[-1], result.stderr
    assert not list(tmp_path.iterdir())
