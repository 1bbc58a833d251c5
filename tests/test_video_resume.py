"""R4.6 to R4.8 and R4.1: killed, full, interrupted, long."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction

import av
import numpy as np
import pytest

from cliplit.errors import InputError
from cliplit.runtime.video import segments
from cliplit.runtime.video.clip import enhance_video
from cliplit.runtime.video.codecs import Encoding
from cliplit.runtime.video.frames import Frame
from cliplit.runtime.video.work_folder import Segment, work_on
from made import backlit, packets, write_clip

CODE = """
import sys
from fractions import Fraction
from cliplit.runtime.video import segments
segments.SECONDS = Fraction(1, 2)
from cliplit.runtime.video.cli import main
main(prog_name='cliplit-video')
"""


def program(*arguments, **options):
    command = [sys.executable, "-c", CODE, *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)


def decoded(path):
    with av.open(str(path)) as container:
        return [(f.pts * f.time_base, f.to_ndarray().tobytes()) for f in container.decode(video=0)]


def long_clip(path, count=80, height=120, width=192, **options):
    """Key frames every ten frames, irregular times, light that changes: state matters at every boundary."""
    wide = backlit(height, width + 2 * count).astype(float)
    frames = [
        np.clip(wide[:, 2 * i : 2 * i + width] * (1 + 0.4 * np.sin(i / 9)), 0, 255).astype(np.uint8)
        for i in range(count)
    ]
    pts = [i * 100 + (i % 3) * 20 for i in range(count)]
    return write_clip(path, frames, pts=pts, gop_size=10, **options)


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
@pytest.mark.parametrize(
    "options", [["--codec", "h264"], ["--codec", "hevc"], ["--cfr", "30"], ["--codec", "ffv1", "--denoise", "0.5"]]
)
def test_killed_and_resumed_equals_uninterrupted(tmp_path, options):
    """R4.6, R4.7: kill -9 in the middle; pictures, times and sound are those of a run that was left alone."""
    source = long_clip(tmp_path / "in.mp4")
    options = [*options, *([] if "ffv1" in options else ["--preset", "ultrafast"])]
    whole = program(source, tmp_path / "whole.mp4", "--resume", *options)
    whole.communicate(timeout=300)
    assert whole.returncode == 0
    work = tmp_path / ".out.mp4.resume"
    killed = program(source, tmp_path / "out.mp4", "--resume", *options)
    deadline = time.monotonic() + 300
    while not (work / "00001.packets").exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=300)
    assert not (tmp_path / "out.mp4").exists()
    assert (work / "manifest.json").exists(), "killed too late or too early for this test"
    resumed = program(source, tmp_path / "out.mp4", "--resume", *options)
    _, notes = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, notes
    assert "resumed behind frame" in notes
    assert not work.exists()
    a, b = decoded(tmp_path / "whole.mp4"), decoded(tmp_path / "out.mp4")
    assert a == b
    if "--cfr" in options:
        assert [t for t, _ in a] == [Fraction(n, 30) for n in range(len(a))]
        assert len(a) == 1 + round(decoded(source)[-1][0] * 30)
        once = program(source, tmp_path / "once.mp4", *options)
        once.communicate(timeout=300)
        assert once.returncode == 0
        assert [t for t, _ in decoded(tmp_path / "once.mp4")] == [t for t, _ in a]
    else:
        assert [t for t, _ in a] == [t for t, _ in decoded(source)]
    assert packets(tmp_path / "out.mp4", "audio") == packets(source, "audio")
    if "--denoise" in options:  # FFV1 loses nothing: a run without segments gives the same pictures
        once = program(source, tmp_path / "once.mp4", *options)
        once.communicate(timeout=300)
        assert decoded(tmp_path / "once.mp4") == a


def test_another_source_or_other_options_start_anew(tmp_path, enhancer, monkeypatch):
    monkeypatch.setattr(segments, "SECONDS", Fraction(1, 2))
    source = long_clip(tmp_path / "in.mkv", 30, sound=False)
    model = enhancer.network.path
    with (
        pytest.raises(InputError, match="interrupted"),
        work_on(source, tmp_path / "out.mkv", model, {"crf": 18}) as work,
    ):
        work.packets_file(0).write_bytes(b"packets")
        work.state_file(0).write_bytes(b"state")
        work.add(0, Segment(10, 10, 0, 1000))
        raise KeyboardInterrupt
    with (
        pytest.raises(InputError, match="interrupted"),
        work_on(source, tmp_path / "out.mkv", model, {"crf": 18}) as work,
    ):
        assert (work.frames, work.broken) == (10, [])
        raise KeyboardInterrupt
    with work_on(source, tmp_path / "out.mkv", model, {"crf": 19}) as other:
        assert (other.frames, other.notes) == (0, ["earlier work was made with other options; everything is done anew"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv"]


def interrupted_after(count):
    def stop(frames, expected):
        if frames == count:
            raise KeyboardInterrupt

    return stop


def cut(file):
    file.write_bytes(file.read_bytes()[:-7])


@pytest.mark.parametrize("harm", [cut, lambda f: f.write_bytes(b""), lambda f: f.unlink(), lambda f: f.write_bytes(
    bytes(len(f.read_bytes())))], ids=["cut", "empty", "missing", "zeros"])  # fmt: skip
@pytest.mark.parametrize("names", [["00000.packets"], ["00001.packets"], ["00001.packets", "00000.npz"],
                                   ["00002.npz"], ["00000.packets", "00002.packets"]], ids="+".join)  # fmt: skip
def test_what_is_damaged_is_made_again_and_named(tmp_path, enhancer, monkeypatch, harm, names):
    monkeypatch.setattr(segments, "SECONDS", Fraction(1, 2))
    source = long_clip(tmp_path / "in.mkv", 90, 64, 96, sound=False)
    fast = Encoding(preset="ultrafast")
    with pytest.raises(InputError, match="finished frames are kept"):
        enhance_video(source, tmp_path / "out.mkv", enhancer, fast, interrupted_after(75), resume={})
    for name in names:
        harm(tmp_path / ".out.mkv.resume" / name)
    summary = enhance_video(source, tmp_path / "out.mkv", enhancer, fast, resume={})
    assert any("damaged or missing" in note for note in summary.notes), summary.notes
    assert summary.frames == 90
    enhance_video(source, tmp_path / "whole.mkv", enhancer, fast, resume={})
    assert decoded(tmp_path / "out.mkv") == decoded(tmp_path / "whole.mkv")


def test_two_runs_at_once(tmp_path, enhancer):
    """The second one stops before it touches anything; the first goes on."""
    source = long_clip(tmp_path / "in.mkv", 20, 64, 96, sound=False)
    model = enhancer.network.path
    with work_on(source, tmp_path / "out.mkv", model, {}) as work:
        result = program(source, tmp_path / "out.mkv", "--resume")
        _, errors = result.communicate(timeout=300)
        assert result.returncode == 1
        assert "another run" in errors
        assert (work.folder / "manifest.json").is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv"]


@pytest.mark.parametrize("content", [{"photo.jpg": b"precious"}, {"manifest.json": b'{"name": "a web app"}'},
                                     {"lock": b"", "notes.txt": b"mine"}], ids=str)  # fmt: skip
def test_a_foreign_folder_is_not_touched(tmp_path, enhancer, content):
    source = long_clip(tmp_path / "in.mkv", 4, 64, 96, sound=False)
    folder = tmp_path / ".out.mkv.resume"
    folder.mkdir()
    for name, data in content.items():
        (folder / name).write_bytes(data)
    with pytest.raises(InputError, match="--resume did not make"):
        enhance_video(source, tmp_path / "out.mkv", enhancer, resume={})
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == content


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("name", ["SIGHUP", "SIGQUIT", "SIGUSR1", "SIGALRM"])
def test_signals_that_end_a_process_leave_nothing(tmp_path, name):
    source = long_clip(tmp_path / "in.mp4", 400, 240, 320)
    run = program(source, tmp_path / "out.mp4", "--preset", "veryslow")
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob(".out.*.mp4")) and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(getattr(signal, name))
    _, errors = run.communicate(timeout=300)
    assert run.returncode == 130, errors
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="POSIX limits")
@pytest.mark.parametrize("container", [".mp4", ".mkv", ".avi"])
def test_opencv_on_a_full_disk(tmp_path, container):
    source = long_clip(tmp_path / "in.mp4", 60, 240, 320)
    run = program(source, tmp_path / f"out{container}", "--io", "opencv",
                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)))  # fmt: skip
    _, errors = run.communicate(timeout=300)
    assert run.returncode == 1, errors
    assert "cannot write the output" in errors
    assert list(tmp_path.iterdir()) == [source]


def test_segments_begin_at_key_frames():
    """At the first key frame after ten seconds; after thirty where none comes."""
    keys = {0, 90, 130, 260}
    frames = [Frame((), None, "", n, Fraction(1, 10), n in keys) for n in range(600)]
    lengths = []
    split = segments.Split(frames)
    for segment in split:
        begin = next(segment).pts
        lengths.append((begin, 1 + sum(1 for _ in segment), split.next_pts))
    assert lengths == [(0, 130, 130), (130, 130, 260), (260, 300, 560), (560, 40, None)]


def test_a_failed_run_says_where_its_work_waits(tmp_path, enhancer, monkeypatch):
    monkeypatch.setattr(segments, "SECONDS", Fraction(1, 2))
    source = long_clip(tmp_path / "in.mkv", 40, sound=False)

    def fail(frames, expected):
        if frames == 25:
            raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"No space left on device.*; \d+ finished frames are kept"):
        enhance_video(source, tmp_path / "out.mkv", enhancer, Encoding(preset="ultrafast"), fail, resume={})
    summary = enhance_video(source, tmp_path / "out.mkv", enhancer, Encoding(preset="ultrafast"), resume={})
    assert summary.frames == 40
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv", "out.mkv"]


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="POSIX limits")
@pytest.mark.parametrize("container", [".mp4", ".mkv"])
def test_full_disk_leaves_nothing_and_no_existing_file_is_lost(tmp_path, container):
    """R4.8: the system refuses to write further, as a full disk does."""
    source = long_clip(tmp_path / "in.mp4", 40, 240, 320)
    target = tmp_path / f"out{container}"
    target.write_bytes(b"precious")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    run = program(source, target, "--overwrite", "--preset", "ultrafast", "--crf", "5", preexec_fn=limit)
    _, errors = run.communicate(timeout=300)
    assert run.returncode == 1
    assert "cannot write the output" in errors
    assert "Traceback" not in errors
    assert target.read_bytes() == b"precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", target.name]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def test_memory_stays_flat(tmp_path, enhancer):
    """R4.1: 2,000 frames; what is held after 300 is what is held at the end."""
    source = long_clip(tmp_path / "in.mp4", 100, 120, 192, sound=False)
    with av.open(str(source)) as old, av.open(str(tmp_path / "long.mkv"), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
        once = [(p.pts, p.dts, p.is_keyframe, bytes(p), p.time_base) for p in old.demux(video=0) if p.size]
        length = 100 * 100
        for turn in range(20):
            for pts, dts, key, data, base in once:
                packet = av.Packet(data)
                shift = round(turn * length * Fraction(1, 2500) / base)
                packet.pts, packet.dts, packet.time_base, packet.is_keyframe = pts + shift, dts + shift, base, key
                packet.stream = stream
                new.mux(packet)
    held = {}

    def watch(frames, expected):
        if frames in (300, 1900):
            with open("/proc/self/statm") as statm:  # noqa: PTH123
                held[frames] = int(statm.read().split()[1]) * resource.getpagesize()

    summary = enhance_video(tmp_path / "long.mkv", tmp_path / "out.mkv", enhancer, Encoding(preset="ultrafast"), watch)
    assert summary.frames == 2000
    assert held[1900] - held[300] < 50e6


def test_an_error_while_decoding_ahead_ends_cleanly(tmp_path, enhancer):
    """A step that fails, while another thread decodes: no hang, no crash of the process, no file."""
    source = long_clip(tmp_path / "in.mkv", 60, sound=False)

    def fail(frames, expected):
        raise RuntimeError("a step")

    for _ in range(5):
        with pytest.raises(RuntimeError, match="a step"):
            enhance_video(source, tmp_path / "out.mkv", enhancer, Encoding(preset="ultrafast"), fail)
    assert list(tmp_path.iterdir()) == [source]


def test_the_transparency_of_vp9_in_segments(tmp_path, enhancer, monkeypatch):
    """Its plane is beside the packets of the picture; FFmpeg's libvpx-vp9 decodes both."""
    monkeypatch.setattr(segments, "SECONDS", Fraction(1, 2))
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=2", "-vf",
               "format=yuva420p,geq=lum='p(X,Y)':cb='p(X,Y)':cr='p(X,Y)':a='if(gt(X,32+N),255,64)'", "-c:v",
               "libvpx-vp9", "-g", "10", "-auto-alt-ref", "0", str(tmp_path / "in.webm")]  # fmt: skip
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    subprocess.run(command, check=True)
    summary = enhance_video(tmp_path / "in.webm", tmp_path / "out.webm", enhancer, Encoding(crf=4), resume={})
    assert summary.frames == 50
    planes = {}
    for name in ("in", "out"):
        shown = ["ffmpeg", "-v", "error", "-c:v", "libvpx-vp9", "-i", str(tmp_path / f"{name}.webm"), "-vf",
                 "alphaextract,format=gray", "-f", "rawvideo", "-"]  # fmt: skip
        data = subprocess.run(shown, check=True, capture_output=True).stdout
        planes[name] = np.frombuffer(data, np.uint8).reshape(-1, 64, 96).astype(int)
    assert planes["in"].shape == planes["out"].shape == (50, 64, 96)
    assert np.abs(planes["in"] - planes["out"]).mean() < 3
    assert planes["out"][40, :, :60].mean() < 80 < 240 < planes["out"][40, :, 80:].mean()


def test_a_folder_that_cannot_be_removed_costs_nothing(tmp_path, enhancer, monkeypatch):
    """On some network shares files cannot be deleted: the output is there, and a note says what stays."""
    source = write_clip(tmp_path / "in.mp4", [backlit(64, 96)] * 10, sound=False)

    def refuse(work):
        raise PermissionError(errno.EPERM, "Operation not permitted", str(work.folder))

    monkeypatch.setattr("cliplit.runtime.video.work_folder.Work.remove", refuse)
    summary = enhance_video(source, tmp_path / "out.mp4", enhancer, Encoding(preset="ultrafast"), resume={})
    assert len(decoded(tmp_path / "out.mp4")) == 10
    assert any("cannot be removed" in note for note in summary.notes), summary.notes


def test_a_damaged_manifest_is_named(tmp_path, enhancer, monkeypatch):
    source = write_clip(tmp_path / "in.mp4", [backlit(64, 96)] * 10, sound=False)
    folder = tmp_path / ".out.mp4.resume"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"identity": {"source"')
    summary = enhance_video(source, tmp_path / "out.mp4", enhancer, Encoding(preset="ultrafast"), resume={})
    assert any("manifest.json is damaged; everything is done anew" in note for note in summary.notes), summary.notes
    assert not folder.exists()
