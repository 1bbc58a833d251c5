"""Folders and patterns of clips in one call: a table, failures listed, nothing destroyed."""

from __future__ import annotations

import json

import pytest

from cliplit.errors import InputError
from cliplit.runtime.folders import plan
from made import moving, read_clip, video_command, write_clip


def clip(path, count=3):
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_clip(path, moving(count, 64, 96), sound=False)


def test_a_folder_with_a_table(tmp_path):
    """Those below, too; what is no clip is left alone, a broken one is listed, the rest is done, exit code 1."""
    clip(tmp_path / "in/é a.mp4")
    clip(tmp_path / "in/below/b.mkv", 5)
    (tmp_path / "in/broken.mp4").write_bytes(b"no video")
    (tmp_path / "in/notes.txt").write_text("text")
    result = video_command(tmp_path / "in", tmp_path / "out", "--preset", "ultrafast", text=True)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert len(read_clip(tmp_path / "out/é a.mp4")[0]) == 3 and len(read_clip(tmp_path / "out/below/b.mkv")[0]) == 5
    assert sorted(p.name for p in (tmp_path / "out").rglob("*")) == ["b.mkv", "below", "é a.mp4"]
    rows = [line for line in result.stdout.splitlines() if str(tmp_path / "in") in line]
    assert len(rows) == 3
    assert sum("done" in row for row in rows) == 2 and sum("failed" in row for row in rows) == 1
    assert "1 of 3 clips failed" in result.stderr


def test_a_pattern_and_several_files(tmp_path):
    for name in ("a1.mp4", "a2.mp4", "b.mp4"):
        clip(tmp_path / name)
    result = video_command(str(tmp_path / "a*.mp4"), tmp_path / "b.mp4", tmp_path / "out", "--preset", "ultrafast")
    assert result.returncode == 0, result.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a1.mp4", "a2.mp4", "b.mp4"]


def test_what_is_there_stays(tmp_path):
    clip(tmp_path / "in/a.mp4")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.mp4").write_bytes(b"precious")
    refused = video_command(tmp_path / "in", tmp_path / "out", text=True)
    assert refused.returncode == 1 and "exists already" in refused.stdout
    assert (tmp_path / "out/a.mp4").read_bytes() == b"precious"
    assert video_command(tmp_path / "in", tmp_path / "out", "--overwrite", "--quiet").returncode == 0
    assert len(read_clip(tmp_path / "out/a.mp4")[0]) == 3


def test_a_folder_onto_itself_destroys_nothing(tmp_path):
    source = clip(tmp_path / "a.mp4")
    before = source.read_bytes()
    result = video_command(tmp_path, tmp_path, "--overwrite", text=True)
    assert result.returncode == 1 and "is the input itself" in result.stdout
    assert source.read_bytes() == before


def test_two_clips_of_one_name(tmp_path):
    clip(tmp_path / "x/a.mp4"), clip(tmp_path / "y/a.mp4")
    with pytest.raises(InputError, match="would both be written"):
        plan([str(tmp_path / "x/a.mp4"), str(tmp_path / "y/a.mp4")], tmp_path / "out")
    clip(tmp_path / "z/a.wmv.mkv")
    (tmp_path / "z/b.wmv").write_bytes(b"")
    (tmp_path / "z/b.mkv").write_bytes(b"")
    with pytest.raises(InputError, match="would both be written"):  # both become b.mkv
        plan([str(tmp_path / "z")], tmp_path / "out")


def test_an_output_folder_inside_the_input_folder_is_not_read(tmp_path):
    clip(tmp_path / "a.mp4"), clip(tmp_path / "out/old.mp4")
    assert [job[0].name for job in plan([str(tmp_path)], tmp_path / "out")] == ["a.mp4"]


def test_plans_that_cannot_work(tmp_path):
    source = clip(tmp_path / "a.mp4")
    (tmp_path / "empty").mkdir()
    for sources, target, words in (
        ([tmp_path / "missing.mp4"], tmp_path / "out.mp4", "no such file"),
        ([tmp_path / "empty"], tmp_path / "out", "no clips"),
        ([tmp_path / "*.mov"], tmp_path / "out", "no clips"),
        ([tmp_path / "empty", source], source, "is a file"),
    ):
        with pytest.raises(InputError, match=words):
            plan(list(map(str, sources)), target)


def test_a_file_whose_name_looks_like_a_pattern(tmp_path):
    source = clip(tmp_path / "a[1].mp4")
    assert plan([str(source)], tmp_path / "out.mp4") == [(source, tmp_path / "out.mp4")]


def test_benchmark_prints_stages_and_writes_nothing(tmp_path):
    source = clip(tmp_path / "in.mp4", 8)
    result = video_command(source, "--benchmark", "--preset", "ultrafast", text=True)
    assert result.returncode == 0, result.stderr
    for stage in ("decode", "proxy", "network", "temporal filter", "apply", "encode", "all"):
        assert stage in result.stdout
    assert "ms/frame" in result.stdout and "8 frames" in result.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_a_line_of_json_for_each_clip(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write_clip(folder / "a.mp4", moving(5, 64, 96), sound=False)
    (folder / "b.mp4").write_bytes(b"no clip")
    done = video_command(folder, tmp_path / "out", "--json", "--preset", "ultrafast")
    assert done.returncode == 1
    good, bad = sorted((json.loads(line) for line in done.stdout.splitlines()), key=lambda line: line["file"])
    assert (good["file"], good["output"]) == (str(folder / "a.mp4"), str(tmp_path / "out" / "a.mp4"))
    assert (good["frames"], good["problems"]) == (5, "")
    assert good["seconds"] > 0
    assert any("matrix" in note for note in good["notes"])
    assert (bad["frames"], bad["problems"].startswith("failed: ")) == (0, True)
    assert video_command(folder / "a.mp4", "-", "--json").returncode == 2


def test_a_long_job_says_how_long_it_will_be(monkeypatch):
    """Ten frames a second measured, 6000 to come: ten minutes; 1 MB for 100 frames: 61 MB for all."""
    from cliplit.runtime.video import jobs

    now, said = [0.0], []
    monkeypatch.setattr(jobs.time, "monotonic", lambda: now[0])
    estimate = jobs.Estimate(said.append)
    for written in range(1, 200):
        estimate(written, 6101)
        now[0] += 0.1
    assert said == ["about 10 min to go, by the first 31 of 6101 frames"]
    assert (jobs.megabytes(61e6), jobs.megabytes(2.5e9)) == ("61.0 MB", "2.5 GB")
    short: list[str] = []
    estimate = jobs.Estimate(short.append)
    for written in range(1, 200):
        estimate(written, 250)
        now[0] += 0.1
    assert short == []


def test_a_line_of_json_for_the_only_clip_that_fails(tmp_path):
    (tmp_path / "b.mp4").write_bytes(b"no clip")
    done = video_command(tmp_path / "b.mp4", tmp_path / "out.mp4", "--json")
    (line,) = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, line["frames"], line["file"]) == (1, 0, str(tmp_path / "b.mp4"))
    assert "not a video that can be read" in line["problems"]
