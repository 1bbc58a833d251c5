"""`cliplit-batch` on one machine: everything once, nothing twice, nothing lost (R4.6, R3.6)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from batch_helpers import digests, long_clip, make_folder, misbehaving
from made import backlit, packets, read_clip

fsspec = pytest.importorskip("fsspec", reason="needs the extra batch")

from cliplit.runtime.batch import leftovers
from cliplit.runtime.batch.cli import main
from cliplit.runtime.batch.manifest import FOLDER, Manifest
from cliplit.runtime.batch.plan import find_jobs, passed_over
from cliplit.runtime.folders import CLIPS

QUICK = "--preset", "ultrafast"  # x264's medium is not the same to the bit from run to run, on pictures this small
COMMAND = [sys.executable, "-c", "from cliplit.runtime.batch.cli import main; main(prog_name='cliplit-batch')"]


def batch(*arguments, **environment):
    words = [*COMMAND, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, env=os.environ | environment, timeout=300)


@pytest.fixture
def source(tmp_path):
    return make_folder(tmp_path / "src", ["a.png", "b.png", "é 你好/c.png", "clip.mp4"])


def test_results_are_those_of_the_single_commands(source, tmp_path):
    result = batch(source, tmp_path / "out", "--preset", "ultrafast", "--workers", "2")
    assert result.returncode == 0, result.stderr
    assert "4 of 4 files written" in result.stdout
    image = [sys.executable, "-c", "from cliplit.runtime.image.cli import main; main()"]
    video = [sys.executable, "-c", "from cliplit.runtime.video.cli import main; main()"]
    subprocess.run([*image, str(source), str(tmp_path / "one")], check=True, capture_output=True)
    clip = [str(source / "clip.mp4"), str(tmp_path / "one/clip.mp4"), "--preset", "ultrafast"]
    subprocess.run([*video, *clip], check=True, capture_output=True)
    one, many = digests(tmp_path / "one"), digests(tmp_path / "out")
    pictures = [name for name in one if name.endswith(".png")]
    assert len(pictures) == 3 and set(one) == set(many)
    assert all(one[name] == many[name] for name in pictures)
    frames = [read_clip(tmp_path / folder / "clip.mp4") for folder in ("one", "out")]
    assert frames[0][1] == frames[1][1]
    assert all(np.array_equal(a, b) for a, b in zip(frames[0][0], frames[1][0], strict=True))


def test_a_second_run_does_only_what_changed(source, tmp_path):
    out = tmp_path / "out"
    assert batch(source, out).returncode == 0
    stamps = {p: p.stat().st_mtime_ns for p in out.rglob("*.png")}
    again = batch(source, out)
    assert again.returncode == 0 and "0 of 0 files written, 4 were done before" in again.stdout
    cv2.imwrite(str(source / "b.png"), backlit(50, 70, 9)[..., ::-1])  # changed
    (out / "a.png").unlink()  # lost
    third = batch(source, out)
    assert "2 of 2 files written, 2 were done before" in third.stdout, third.stderr
    kept = out / "é 你好/c.png"
    assert kept.stat().st_mtime_ns == stamps[kept]
    assert cv2.imread(str(out / "b.png")).shape[:2] == (50, 70)
    assert "4 of 4 files written" in batch(source, out, "--strength", "0.5").stdout  # other options, all anew


def test_failures_are_listed_and_the_rest_goes_on(source, tmp_path):
    (source / "broken.png").write_bytes(b"not a picture")
    result = batch(source, tmp_path / "out")
    assert result.returncode == 1
    assert "broken.png" in result.stderr and "Traceback" not in result.stderr
    listed = (tmp_path / "out/.cliplit-batch/failures.txt").read_text()
    assert listed.startswith("broken.png: ") and len(listed.splitlines()) == 1
    assert len(digests(tmp_path / "out")) == 4
    make_folder(source, ["broken.png"])
    assert batch(source, tmp_path / "out").returncode == 0
    assert (tmp_path / "out/.cliplit-batch/failures.txt").read_text() == ""


def test_a_file_of_the_users_is_not_replaced_unasked(source, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.png").write_bytes(b"mine")
    result = batch(source, tmp_path / "out")
    assert result.returncode == 1 and "use --overwrite" in result.stderr
    assert (tmp_path / "out/a.png").read_bytes() == b"mine"
    assert batch(source, tmp_path / "out", "--overwrite").returncode == 0
    assert (tmp_path / "out/a.png").read_bytes() != b"mine"


def test_kill_9_in_the_middle_and_the_next_run_goes_on(tmp_path):
    source = make_folder(tmp_path / "src", [f"slow{i}.png" for i in range(12)])
    environment, log = misbehaving(tmp_path)
    words = [*COMMAND, str(source), str(tmp_path / "out"), "--workers", "2"]
    process = subprocess.Popen(words, env=os.environ | environment, start_new_session=True)
    manifest = tmp_path / "out/.cliplit-batch"
    deadline = time.monotonic() + 300
    while sum(len(p.read_text().splitlines()) for p in manifest.glob("*.jsonl")) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = len(Manifest(str(tmp_path / "out")).read().done)
    assert 4 <= done < 12
    for mark in log.iterdir():
        mark.unlink()
    assert batch(source, tmp_path / "out", **environment).returncode == 0
    assert len(list(log.iterdir())) == 12 - done
    assert len(digests(tmp_path / "out")) == 12  # and no temporary files
    assert batch(source, tmp_path / "plain").returncode == 0
    assert digests(tmp_path / "out") == digests(tmp_path / "plain")


def test_a_result_whose_line_was_lost_in_a_crash_is_still_ours(source, tmp_path):
    assert batch(source, tmp_path / "out").returncode == 0
    (lines,) = (tmp_path / "out/.cliplit-batch").glob("*.jsonl")
    lines.write_text("\n".join(lines.read_text().splitlines()[:2]) + '\n{"name": "cut')
    again = batch(source, tmp_path / "out")
    assert again.returncode == 0 and "2 of 2 files written, 2 were done before" in again.stdout, again.stderr


def test_a_worker_that_dies_costs_nobody_else(tmp_path):
    source = make_folder(tmp_path / "src", ["deadly.png", "once.png", *(f"{i}.png" for i in range(6))])
    environment, log = misbehaving(tmp_path)
    result = batch(source, tmp_path / "out", "--workers", "2", "--retries", "1", **environment)
    assert result.returncode == 1
    assert "deadly.png: its process died 3 times" in result.stderr
    assert "7 of 8 files written" in result.stdout
    assert len(list(log.glob("deadly*"))) == 3


def test_what_passes_by_itself_is_tried_again(tmp_path):
    source = make_folder(tmp_path / "src", ["flaky.png"])
    environment, _ = misbehaving(tmp_path)
    assert batch(source, tmp_path / "out", **environment).returncode == 0
    lines = [
        json.loads(x) for p in (tmp_path / "out/.cliplit-batch").glob("*.jsonl") for x in p.read_text().splitlines()
    ]
    assert [(x["status"], x["attempts"]) for x in lines] == [("done", 2)]


def test_without_retries_it_is_a_failure(tmp_path):
    source = make_folder(tmp_path / "src", ["flaky.png"])
    environment, _ = misbehaving(tmp_path)
    result = batch(source, tmp_path / "out", "--retries", "0", **environment)
    assert result.returncode == 1 and "network is gone" in result.stderr


def test_memory_urls(source):
    """In this process, for memory:// lives in one: any file system works alike."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.put(str(source), "/in", recursive=True)

    def run():
        return CliRunner().invoke(main, ["memory://in", "memory://out"], catch_exceptions=False)

    assert run().exit_code == 0
    assert "0 of 0 files written, 4 were done before" in run().output
    data = memory.cat_file("/out/a.png")
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (48, 64, 3)
    assert [p for p in memory.find("/out") if p.endswith(".jsonl")]
    refused = CliRunner().invoke(main, ["memory://in", "memory://out", "--engine", "ray"])
    assert refused.exit_code == 1 and "lives in one process" in refused.output


def test_file_urls_are_paths(source, tmp_path):
    assert batch(source.as_uri(), (tmp_path / "by-url").as_uri()).returncode == 0
    assert batch(source, tmp_path / "by-path").returncode == 0
    assert digests(tmp_path / "by-url") == digests(tmp_path / "by-path")


def test_a_single_file_is_a_folder_of_one(source, tmp_path):
    assert batch(source / "a.png", tmp_path / "out").returncode == 0
    assert list(digests(tmp_path / "out")) == ["a.png"]


def test_an_exported_model_travels_with_the_jobs(source, tmp_path):
    from cliplit.runtime.backends.model_file import BUNDLED

    shutil.copy(BUNDLED / "lite.onnx", tmp_path / "mine.onnx")
    assert batch(source, tmp_path / "mine", "--model", tmp_path / "mine.onnx").returncode == 0
    assert batch(source, tmp_path / "lite").returncode == 0
    names = ("a.png", "b.png")
    assert [digests(tmp_path / "mine")[n] for n in names] == [digests(tmp_path / "lite")[n] for n in names]


def single(source, target, *options):
    """What cliplit-video makes in one process."""
    code = "from cliplit.runtime.video.cli import main; main()"
    subprocess.run([sys.executable, "-c", code, str(source), str(target), *options], check=True, capture_output=True)
    return target


def test_a_split_clip_is_the_clip_of_one_process(tmp_path):
    """Frame for frame (lossless, so that nothing hides), its times, and every packet of its sound."""
    clip = long_clip(tmp_path / "src/long.mkv")
    result = batch(clip.parent, tmp_path / "out", "--codec", "ffv1", "--split-over", "0", "--workers", "2")
    assert result.returncode == 0 and "1 of 1 files written" in result.stdout, result.stderr
    whole = single(clip, tmp_path / "whole.mkv", "--codec", "ffv1")
    split = tmp_path / "out/long.mkv"
    (one, times), (other, other_times) = read_clip(whole), read_clip(split)
    assert len(one) == 160 and times == other_times
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert packets(split, "audio") == packets(clip, "audio")
    assert not list((tmp_path / "out/.cliplit-batch").glob("work/*"))


def test_it_was_really_split_and_goes_on_with_its_pieces(tmp_path):
    clip = long_clip(tmp_path / "src/slow.mp4")
    environment, log = misbehaving(tmp_path)
    words = [*COMMAND, str(clip.parent), str(tmp_path / "out"), "--split-over", "0", "--workers", "1", *QUICK]
    process = subprocess.Popen(words, env=os.environ | environment, start_new_session=True)
    work = tmp_path / "out/.cliplit-batch/work"
    deadline = time.monotonic() + 300
    while len(list(work.glob("*/*.packets"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(list(log.glob("slow.mp4#segment*"))) >= 2
    before = {p.name: p.stat().st_mtime_ns for p in work.glob("*/*.packets")}
    assert batch(clip.parent, tmp_path / "out", "--split-over", "0", *QUICK, **environment).returncode == 0
    assert 2 <= len(before) < 4
    fresh = batch(clip.parent, tmp_path / "fresh", "--split-over", "0", *QUICK)
    assert fresh.returncode == 0
    assert digests(tmp_path / "out") == digests(tmp_path / "fresh")


def test_a_damaged_long_clip_is_one_failure(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src/bad.mp4").write_bytes(b"no clip" * 1000)
    result = batch(tmp_path / "src", tmp_path / "out", "--split-over", "0")
    assert result.returncode == 1
    assert (tmp_path / "out/.cliplit-batch/failures.txt").read_text().startswith("bad.mp4: ")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nothing-here"], "no such file or folder"),
        (["nope://bucket/x"], "cannot be opened"),
    ],
)
def test_wrong_places_are_said_in_one_line(tmp_path, arguments, message):
    result = batch(*arguments, tmp_path / "out")
    assert result.returncode in (1, 3)
    assert message in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_the_address_wants_the_engine(source, tmp_path):
    assert batch(source, tmp_path / "out", "--address", "auto").returncode == 2


def test_the_longest_job_is_first_and_names_do_not_collide(tmp_path):
    assert CLIPS.target_name(Path("a/b.WMV")) == Path("a/b.mkv") and CLIPS.target_name(Path("a.mov")) == Path("a.mov")
    make_folder(tmp_path, ["x.png"])
    (tmp_path / "c.wmv").write_bytes(b"0" * 9999)
    (tmp_path / "c.mkv").write_bytes(b"0")
    from cliplit.errors import InputError

    with pytest.raises(InputError, match=r"c.mkv and c.wmv would both be written to"):
        find_jobs(str(tmp_path), "out")


def test_hidden_files_and_other_kinds_are_left_alone(tmp_path):
    make_folder(tmp_path, ["x.png", ".hidden/y.png"])
    (tmp_path / "readme.txt").write_text("text")
    assert [job.name for job in find_jobs(str(tmp_path), "out")] == ["x.png"]


def test_links_pipes_and_folders_that_cannot_be_read_are_named(tmp_path):
    source = make_folder(tmp_path / "src", ["a.png"])
    (source / "gone.png").symlink_to("nowhere")
    (source / "around").symlink_to(".")
    os.mkfifo(source / "pipe.jpg")
    assert [job.name for job in find_jobs(str(source), str(tmp_path / "out"))] == ["a.png"]
    said = passed_over(str(source), str(tmp_path / "out"))
    assert [line.split(" is passed over: ")[0] for line in said] == ["around", "gone.png", "pipe.jpg"]
    assert ["link to a folder" in said[0], "leads nowhere" in said[1], "no ordinary file" in said[2]] == [True] * 3


def test_what_is_not_kept_is_said_with_the_names(tmp_path):
    source = make_folder(tmp_path / "src", ["plain.png"])
    pages = [Image.new("RGB", (48, 32), (40, 30, n)) for n in range(2)]
    for name in ("a", "b", "c", "d"):
        pages[0].save(source / f"{name}.jpg", "MPO", save_all=True, append_images=pages[1:])
    done = batch(source, tmp_path / "out", "--workers", "1")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "several pictures" in line]
    assert line.startswith("note: ") and "and 1 others, listed in" in line
    listed = (tmp_path / "out" / FOLDER / "notes.txt").read_text().splitlines()
    assert sorted(each.split(":")[0] for each in listed) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]


def test_max_pixels_holds_for_pictures_clips_and_split_clips(tmp_path):
    source = make_folder(tmp_path / "src", ["a.png", "clip.mp4"])
    for split in ("256", "0"):
        done = batch(source, tmp_path / f"out{split}", "--max-pixels", "3071", "--split-over", split)  # 64 x 48 - 1
        assert done.returncode == 1
        failures = (tmp_path / f"out{split}" / FOLDER / "failures.txt").read_text().splitlines()
        assert sorted(line.split(":")[0] for line in failures) == ["a.png", "clip.mp4"]
        assert all("more than 3071 pixels" in line for line in failures)
    assert batch(source, tmp_path / "out", *QUICK, "--max-pixels", "3072").returncode == 0


def test_every_file_is_done_or_listed_and_told_to_programs(tmp_path):
    """One table of kinds for folders and batches; a line of JSON for each file, a failed one, too."""
    source = make_folder(tmp_path / "src", ["a.png", "clip.mp4"])
    (source / "broken.mkv").write_bytes(b"no clip")
    for name in ("notes.txt", "song.mp3", "talk.srt", ".hidden.mp4"):
        (source / name).write_bytes(b"x")
    result = batch(source, tmp_path / "out", *QUICK, "--json", "--workers", "1")
    assert result.returncode == 1
    listed = {line.split()[1] for line in result.stderr.splitlines() if "passed over" in line}
    assert listed == {"notes.txt", "song.mp3", "talk.srt", ".hidden.mp4"}
    lines = {line["file"]: line for line in map(json.loads, result.stdout.splitlines())}
    assert set(lines) == {"a.png", "clip.mp4", "broken.mkv"}
    assert set(lines["clip.mp4"]) == {"file", "output", "frames", "seconds", "problems", "notes"}
    assert lines["clip.mp4"]["output"] == f"{tmp_path / 'out'}/clip.mp4"
    assert lines["clip.mp4"]["frames"] == len(read_clip(source / "clip.mp4")[1])
    assert (lines["clip.mp4"]["problems"], lines["a.png"]["frames"]) == ("", 1)
    assert lines["broken.mkv"]["problems"].startswith("failed: ")


def test_progress_moves_inside_a_clip(monkeypatch):
    """Workers say twice a second how far they are; the shares of files that are done are forgotten."""
    import queue

    from cliplit.runtime.batch import progress

    said, now = queue.SimpleQueue(), [0.0]
    monkeypatch.setattr(progress, "_queue", said)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    reports = {name: progress.reporter(name) for name in ("long.mp4", "short.mp4")}
    shares = progress.Shares(said)
    seen = []
    for written in range(1, 101):
        now[0] += 0.1
        reports["long.mp4"](written, 200)
        reports["short.mp4"](written, 100)
        seen.append(dict(shares.update({"long.mp4", "short.mp4"})))
    steps = {step["long.mp4"] for step in seen if step}
    assert 15 <= len(steps) <= 21
    assert max(steps) == pytest.approx(0.5, abs=0.03)
    assert progress.described(seen[-1]).startswith("short.mp4 ")
    assert set(shares.update({"long.mp4"})) == {"long.mp4"}
    reports["long.mp4"](150, None)  # how long it is, is not known
    assert said.empty()


def test_results_are_never_written_over_originals(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = make_folder(tmp_path / "src", ["a.png", "deeper/a.png"])
    (tmp_path / "link").symlink_to(source)
    before = digests(source)
    for arguments, words in (
        (("src", "src"), "SRC itself"), (("src", "link"), "SRC itself"), (("src/a.png", "src"), "is an original"),
        (("src/*", "src"), "is an original"), (("src/deeper", "src/deeper/"), "SRC itself"),
        (("", "out"), "empty name"),
        (("src", ""), "empty name"), (("src", "src/a.png"), "is a file"), (("src/*.jpg", "out"), "fits this pattern"),
    ):  # fmt: skip
        result = CliRunner().invoke(main, [*arguments, "--overwrite"])
        assert result.exit_code == 1 and words in result.output, (arguments, result.output)
    assert digests(source) == before and sorted(p.name for p in tmp_path.iterdir()) == ["link", "src"]


def test_results_inside_the_source_are_not_done_again(tmp_path):
    source = make_folder(tmp_path / "src", ["a.png", "b/c.png"])
    names = [job.name for job in find_jobs(str(source), str(source / "relit"))]
    make_folder(source / "relit", ["a.png", "b/c.png"])
    assert [job.name for job in find_jobs(str(source), str(source / "relit"))] == names == ["a.png", "b/c.png"]
    assert [job.name for job in find_jobs(str(source / "b"), str(tmp_path))] == ["c.png"]  # SRC inside of DST


def test_patterns_are_expanded(tmp_path):
    make_folder(tmp_path / "src", ["a.png", "b.png", "deeper/c.png", "notes[1].png"])
    names = lambda pattern: [job.name for job in find_jobs(f"{tmp_path}/src/{pattern}", f"{tmp_path}/out")]  # noqa: E731
    assert names("[ab].png") == ["a.png", "b.png"]
    assert names("*") == ["a.png", "b.png", "deeper/c.png", "notes[1].png"]
    assert names("notes[1].png") == ["notes[1].png"]  # a name that is there is that name


@pytest.mark.parametrize(
    "options,words",
    [
        (("--strength", "-1"), "strength"), (("--codec", "h265x"), "no such video encoder"),
        (("--preset", "bogus"), "bogus"), (("--model", "bad.onnx"), "bad.onnx"), (("--max-gain", "0"), "max-gain"),
    ],
)  # fmt: skip
def test_wrong_options_are_found_once_before_anything_starts(tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    make_folder(tmp_path / "src", ["a.png", "b.png", "c.mp4"])
    result = CliRunner().invoke(main, ["src", "out", *options])
    assert result.exit_code in (1, 2) and words in result.output  # 2 where the value alone tells
    assert sum("error" in line.lower() for line in result.output.splitlines()) == 1
    assert not list(tmp_path.glob("out/*.png")) and not (tmp_path / "out/.cliplit-batch").exists()


def test_the_next_run_sweeps_what_a_killed_one_left(tmp_path):
    source = make_folder(tmp_path / "src", ["a.png"])
    out = tmp_path / "out"
    out.mkdir()
    ours, others = out / ".a.0123456789ab.png", [out / ".b.0123456789ab.png", out / ".a.short.png", out / "mine.png"]
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = Path(tempfile.gettempdir()) / f"cliplit-batch-{gone.pid}-abcd1234"
    for path in (ours, *others):
        path.write_bytes(b"x")
    left.mkdir()
    jobs = find_jobs(str(source), str(out))
    with leftovers.work_folder() as mine:
        leftovers.sweep(jobs, str(out))
        assert mine.is_dir()
    assert not ours.exists() and not left.exists() and all(path.exists() for path in others)
    Manifest(str(out)).__enter__()
    with leftovers.alone_in(str(out)) as first, leftovers.alone_in(str(out)) as second:
        assert first and not second  # while another run works there, nothing is swept


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", ["SIGTERM", "SIGKILL"])
def test_workers_end_with_their_parent(tmp_path, number):
    """At once and clean at SIGTERM; after kill -9 they follow by themselves."""
    source = make_folder(tmp_path / "src", [f"endless{n}.png" for n in range(4)])
    environment, log = misbehaving(tmp_path)
    running = subprocess.Popen(
        [*COMMAND, str(source), str(tmp_path / "out"), "--workers", "2", "--quiet"], env=os.environ | environment,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_until(lambda: len(list(log.glob("endless*"))) >= 2)
    workers = {int(path.suffix[1:]) for path in log.glob("endless*")}
    running.send_signal(getattr(signal, number))
    running.communicate(timeout=300)
    wait_until(lambda: not any(alive(worker) for worker in workers))
    assert running.returncode == (130 if number == "SIGTERM" else -9)
    if number == "SIGTERM":
        assert not list((tmp_path / "out").glob(".endless*"))
        assert not [f for w in workers for f in Path(tempfile.gettempdir()).glob(f"cliplit-batch-{w}-*")]


def alive(process):
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.1)


def test_a_manifest_of_anything_is_passed_over(tmp_path):
    """Lines of other types, of endless depth, cut off: what they say is not believed, and the work is done."""
    source = make_folder(tmp_path / "src", ["a.png"])
    folder = tmp_path / "out" / ".cliplit-batch"
    folder.mkdir(parents=True)
    lines = [
        "[" * 100_000,
        '{"a":' * 50_000,
        "[]",
        "3",
        "null",
        '"x"',
        '{"name": [], "status": "done"}',
        '{"name": "a.png"}',
        "\xff",
    ]
    for suffix in (".jsonl", ".claims"):
        (folder / f"0{suffix}").write_bytes("\n".join(lines).encode("latin-1"))
    result = batch(source, tmp_path / "out", *QUICK)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "1 of 1 files written" in result.stdout
