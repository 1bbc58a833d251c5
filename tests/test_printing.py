"""What is printed is escaped; closed streams stop no work; interruptions leave nothing and say what is there."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import pytest

from cliplit.command import printable_logs
from cliplit.errors import printable
from made import backlit, moving, video_command, write_clip

ROOT = Path(__file__).resolve().parents[1]
EVIL = "\x1b]0;owned\x07\x1b[2Jx\nnote: forged\r\u202e\x9b31m"
ESCAPED = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="names, signals and descriptors of POSIX")


def run(module, *arguments, **options):
    code = f"from cliplit.{module} import main; main(prog_name='it')"
    settings = {"capture_output": True, "timeout": 120, **options}
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], **settings)


def lines_are_ours(result):
    """No control character but line breaks (and the carriage returns of bars), no line that a name made."""
    for stream in (result.stdout, result.stderr):
        assert not ESCAPED.search(stream), stream
        assert not re.search(rb"^note: forged", stream, re.MULTILINE), stream


def test_printable_is_one_line_without_commands():
    assert printable("é plain 中文.mp4") == "é plain 中文.mp4"
    assert printable(EVIL).isprintable() and "\n" not in printable(EVIL)
    assert printable("a\x1b[2Jb\nc") == r"a\x1b[2Jb\nc"
    assert printable(os.fsdecode(b"\xff.mp4")).isascii()


def test_names_and_tags_of_clips(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    name = f"{EVIL.replace('/', '')}.mp4"
    write_clip(folder / name, moving(2, 64, 96), sound=False)
    (folder / f"bad{name}").write_bytes(b"no clip")
    (folder / f"other{EVIL}.txt").touch()
    with av.open(str(folder / "tags.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.metadata["title"] = stream.metadata["language"] = EVIL
        container.add_attachment(EVIL, "text/plain", b"x")
        container.metadata["title"] = EVIL
        for number in range(2):
            frame = av.VideoFrame(96, 64, "yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for arguments in (["in", "out/"], ["--overwrite", "--json", "in", "out/"], [f"in/{name}", f"{EVIL}.jpg"],
                      [f"{EVIL}missing.mp4", "x.mp4"],
                      ["in/tags.mkv", f"{EVIL}.ts"], [f"htt://{EVIL}/x", "x.mp4"]):  # fmt: skip
        (tmp_path / "out").mkdir(exist_ok=True)
        lines_are_ours(video_command(*arguments, cwd=tmp_path))


def test_names_of_pictures_models_and_configurations(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), backlit(32, 48))
    (tmp_path / "in").mkdir()
    shutil.copyfile(tmp_path / "a.png", tmp_path / "in" / f"{EVIL}.png")
    (tmp_path / "in" / f"{EVIL}bad.png").write_bytes(b"no picture")
    for arguments in (["in", "out"], [f"in/{EVIL}.png", f"{EVIL}.png"], [f"{EVIL}x", "y.png"],
                      ["--model", f"{EVIL}.onnx", "a.png", "y.png"]):  # fmt: skip
        lines_are_ours(run("runtime.image.cli", *arguments, cwd=tmp_path))
    lines_are_ours(run("runtime.batch.cli", "in", "batch", cwd=tmp_path))
    pytest.importorskip("torch")
    (tmp_path / f"{EVIL}.yaml").write_text("? 1\n: [", encoding="utf-8")
    for arguments in ([f"run{EVIL}", "--resume"], ["run", "--config", f"{EVIL}.yaml"], ["run", "--photos", EVIL]):
        lines_are_ours(run("training.cli", *arguments, cwd=tmp_path))
    (tmp_path / f"{EVIL}.pt").write_bytes(b"no checkpoint")
    lines_are_ours(run("export.cli", f"{EVIL}.pt", cwd=tmp_path))


def test_logs_are_escaped():
    record = logging.LogRecord("cliplit", logging.WARNING, "x.py", 1, "note: %s", (EVIL,), None)
    assert printable_logs(record)
    assert record.getMessage() == f"note: {printable(EVIL)}"


CLOSED = ["2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full", "<&-"]


@pytest.mark.parametrize("closed", CLOSED)
def test_closed_streams_stop_no_work(tmp_path, closed):
    write_clip(tmp_path / "in.mp4", moving(3, 64, 96))
    cv2.imwrite(str(tmp_path / "in.png"), backlit(32, 48))
    code = "from cliplit.runtime.{}.cli import main; main(prog_name='it')"
    for module, suffix in (("video", ".mp4"), ("image", ".png")):
        command = f'"{sys.executable}" -c "{code.format(module)}" in{suffix} out{suffix} {closed}'
        result = subprocess.run(["sh", "-c", command], cwd=tmp_path, timeout=300, capture_output=True)
        assert result.returncode == 0, (command, result.stderr)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 3
    assert cv2.imread(str(tmp_path / "out.png")) is not None


@pytest.mark.parametrize("closed", ["in.mp4 - >&-", "- out.mp4 <&-", "in.mp4 - >/dev/full"])
def test_pictures_to_or_from_a_closed_stream_are_an_error(tmp_path, closed):
    write_clip(tmp_path / "in.mp4", moving(3, 64, 96))
    code = "from cliplit.runtime.video.cli import main; main(prog_name='it')"
    result = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "{code}" {closed}'], cwd=tmp_path, timeout=300, capture_output=True
    )
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1, result
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def until(condition, process, seconds=300):
    """Wait for something a process does; it may be slow, but must not end."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGXCPU"]


@pytest.mark.parametrize("name", SIGNALS)
def test_signals_leave_no_temporary_files(tmp_path, name):
    write_clip(tmp_path / "in.mp4", moving(120, 240, 320))
    (tmp_path / "out.mp4").write_bytes(b"an earlier file")
    code = "from cliplit.runtime.video.cli import main; main(prog_name='it')"
    command = [sys.executable, "-c", code, "--overwrite", "--preset", "veryslow", "in.mp4", "out.mp4"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: len(list(tmp_path.iterdir())) == 3, process)  # the temporary file is there
    process.send_signal(getattr(signal, name))
    out, said = process.communicate(timeout=300)
    assert process.returncode == 130 and out == b"", said
    assert said.splitlines() == [b"it: error: interrupted; nothing was written under the final name"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"an earlier file"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_signals_whose_exception_is_lost_end_the_run_all_the_same(tmp_path, name):
    """PyAV loses what a handler raises while it opens a codec; here every codec that is looked for does."""
    write_clip(tmp_path / "in.mp4", moving(12, 64, 96))
    code = f"""
import contextlib, os, signal
from cliplit.runtime.video import codecs
from cliplit.runtime.video.cli import main
exists = codecs.exists
def lossy(codec):
    with contextlib.suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.{name})
        exists(codec)  # by now it has come
    return exists(codec)
codecs.exists = lossy
main(prog_name='it')
"""
    command = [sys.executable, "-c", code, "in.mp4", "out.mp4"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=300)
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines()[-1] == b"it: error: interrupted; nothing was written under the final name"
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("module", ["video", "image"])
def test_an_interrupted_folder_says_what_is_finished(tmp_path, module):
    (tmp_path / "in").mkdir()
    for number in range(30):
        if module == "video":
            write_clip(tmp_path / "in" / f"{number:02}.mp4", moving(4, 64, 96), sound=False)
        else:
            cv2.imwrite(str(tmp_path / "in" / f"{number:02}.png"), backlit(600, 800))
    code = f"from cliplit.runtime.{module}.cli import main; main(prog_name='it')"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "in", "out"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    until(lambda: (tmp_path / "out" / "01.mp4").exists() or (tmp_path / "out" / "01.png").exists(), process)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=300)[1].decode()
    files = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert process.returncode == 130 and not any(name.startswith(".") for name in files)
    assert f"interrupted; {len(files)} of 30 files are finished in out" in said and len(files) < 30
