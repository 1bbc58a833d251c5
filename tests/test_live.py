"""Live sources: the newest frame, drops counted, a bounded delay (R6.9); pipes; a window where there is one."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from cliplit.errors import BackendError
from cliplit.runtime.light.colour import Coding, Colour
from cliplit.runtime.video import preview as preview_module
from cliplit.runtime.video.frames import Clip, Frame
from cliplit.runtime.video.live import EveryFrame, Meter, Newest
from cliplit.runtime.video.names import is_live
from cliplit.runtime.video.prefetch import prefetch
from cliplit.runtime.video.preview import Preview, check_window
from made import moving, read_clip, video_command, write_clip

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
CLIP = Clip(32, 16, "yuv420p", Coding(), Colour(), Fraction(1, 1000))


def frame(number):
    planes = tuple(np.full(shape, number % 200, np.uint8) for shape in ((16, 32), (8, 16), (8, 16)))
    return Frame(planes, CLIP.coding, "yuv420p", number, Fraction(1, 1000))


class Paced:
    """A camera: a frame every `period` seconds whether somebody takes it or not."""

    clip, notes, decoded, damaged, problems = CLIP, [], 0, 0, ""

    def __init__(self, count, period):
        self.count, self.period = count, period

    def __iter__(self):
        start = time.monotonic()
        for number in range(self.count):
            time.sleep(max(0.0, start + number * self.period - time.monotonic()))
            yield frame(number)


def test_a_slow_taker_gets_the_newest_and_drops_are_counted():
    newest, taken = Newest(Paced(60, 0.01)), []
    for item in newest:
        taken.append(item.pts)
        time.sleep(0.05)
    assert len(taken) + newest.dropped == 60 and newest.taken == len(taken) < 30
    assert taken == sorted(taken) and taken[-1] == 59  # the newest, however slow the taker


def test_a_quick_taker_gets_all():
    newest = Newest(Paced(8, 0.15))  # longer than a busy machine keeps a thread waiting
    assert [item.pts for item in newest] == list(range(8)) and newest.dropped == 0


def test_a_window_shows_every_frame_of_a_file_at_its_time():
    start = time.monotonic()
    shown = EveryFrame(Paced(60, 0.0))  # 60 frames a millisecond apart
    assert [item.pts for item in shown] == list(range(60)) and shown.dropped == 0
    assert time.monotonic() - start >= 0.055


def test_errors_of_the_source_arrive():
    class Broken(Paced):
        def __iter__(self):
            yield frame(0)
            raise OSError("cable out")

    with pytest.raises(OSError, match="cable out"):
        list(Newest(Broken(1, 0)))


def test_it_can_be_stopped_though_the_source_goes_on():
    newest = Newest(Paced(10_000, 0.01))
    newest.stop = lambda: newest.taken >= 5
    assert len(list(newest)) == 5


def test_the_meter_tells_rate_drops_and_delay(monkeypatch):
    monkeypatch.setattr("cliplit.runtime.video.live.REPORT", 0.1)
    said = []
    newest = Newest(Paced(40, 0.01))
    meter = Meter(newest, said.append)
    begun = time.monotonic()
    for number, _ in enumerate(newest, 1):
        time.sleep(0.03)
        meter(number)
    assert said and all(word in said[0] for word in ("frames/s", "dropped", "ms behind"))
    assert 0.03 <= meter.largest <= time.monotonic() - begun


@pytest.mark.parametrize(
    "source,live",
    [("0", True), ("/dev/video2", True), ("rtsp://camera/1", True), ("udp://@:5000", True), ("a ! appsink", True),
     ("clip.mp4", False), ("http://host/clip.mp4", False), ("-", False), ("C:/0.mp4", False)],
)  # fmt: skip
def test_what_is_live(source, live):
    assert is_live(source) is live


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@needs_ffmpeg
def test_a_network_stream_at_its_own_pace(tmp_path):
    """ffmpeg sends a clip in real time; what arrives is relighted, written, and reported."""
    source = write_clip(tmp_path / "in.mp4", moving(75), sound=False)
    address = f"http://127.0.0.1:{free_port()}"
    sender = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-re", "-i", source, "-c:v", "mpeg2video", "-q:v", "2", "-g", "5", "-f", "mpegts",
         "-listen", "1", address], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        time.sleep(0.7)
        result = video_command(address, tmp_path / "out.mkv", "--live", "--preset", "ultrafast", text=True)
    finally:
        sender.kill()
        sender.wait()
    assert result.returncode == 0, result.stderr
    assert "dropped" in result.stderr and "ms behind the source" in result.stderr
    frames, times = read_clip(tmp_path / "out.mkv")
    assert len(frames) >= 20 and times == sorted(times)


def test_a_file_never_drops_unless_it_is_called_live(tmp_path):
    source = write_clip(tmp_path / "in.mp4", moving(30), sound=False)
    assert video_command(source, tmp_path / "a.mkv", "--preset", "ultrafast").returncode == 0
    assert len(read_clip(tmp_path / "a.mkv")[0]) == 30
    assert video_command(source, tmp_path / "b.mkv", "--live", "--preset", "ultrafast").returncode == 0
    assert 1 <= len(read_clip(tmp_path / "b.mkv")[0]) <= 30


@pytest.mark.long
@needs_ffmpeg
def test_interrupting_a_live_run_completes_the_file(tmp_path):
    source = write_clip(tmp_path / "in.mp4", moving(50), sound=False)
    port = free_port()
    sender = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", source, "-c:v", "mpeg2video", "-g", "5", "-f",
         "mpegts", "-listen", "1", f"http://127.0.0.1:{port}"], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    code = "from cliplit.runtime.video.cli import main; main(prog_name='cliplit-video')"
    time.sleep(0.7)
    arguments = [f"http://127.0.0.1:{port}", tmp_path / "out.mkv", "--live", "--preset", "ultrafast"]
    receiver = subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, text=True)
    try:
        line = next(line for line in receiver.stderr if "frames/s" in line)
        assert "ms behind" in line
        receiver.send_signal(signal.SIGINT)
        assert receiver.wait(timeout=300) == 0
    finally:
        sender.kill()
        sender.wait()
        receiver.kill()
        receiver.stderr.close()
    assert len(read_clip(tmp_path / "out.mkv")[0]) > 3


@pytest.mark.parametrize(
    "options, words",
    [
        (["--live", "--resume"], "--resume works on files"),
        (["--io", "opencv", "--hdr", "refuse"], "need PyAV"),
        (["--live", "--cfr", "10"], "--cfr works on files"),
        (["--io", "opencv", "--resume"], "do not go together"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(options, words, tmp_path):
    clip = write_clip(tmp_path / "in.mp4", moving(3), sound=False)
    done = video_command(clip, tmp_path / "out.mkv", *options, text=True)
    assert done.returncode == 2 and words in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("source", ["7", "/dev/video7", "rtsp://127.0.0.1:1/x"])
def test_no_camera_is_one_line(tmp_path, source):
    result = video_command(source, tmp_path / "out.mkv", text=True)
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and "error:" in result.stderr
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- the window


def test_preview_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(BackendError, match=r"opencv-python|DISPLAY"):
        check_window()
    source = write_clip(tmp_path / "in.mp4", moving(3), sound=False)
    result = video_command(source, "--preview", text=True)
    assert result.returncode == 3 and "--preview needs" in result.stderr and "Traceback" not in result.stderr


def test_space_toggles_and_q_ends(monkeypatch):
    shown, keys = [], iter([-1, ord(" "), -1, ord(" "), ord("q")])
    monkeypatch.setattr(preview_module, "check_window", lambda: None)
    monkeypatch.setattr(cv2, "imshow", lambda title, picture: shown.append(picture), raising=False)
    monkeypatch.setattr(cv2, "waitKey", lambda wait: next(keys), raising=False)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *a: 1.0, raising=False)
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: None, raising=False)
    with Preview(CLIP) as window:
        strengths = []
        for number in range(5):
            strengths.append(window.strength)
            window.write(frame(number))
    assert strengths == [1.0, 1.0, 0.0, 0.0, 1.0] and window.closed
    assert len(shown) == 5 and shown[0].shape == (16, 32, 3)


# ---------------------------------------------------------------- pipes


def test_matroska_through_pipes(tmp_path):
    """Sound and times come through; only the picture is another, and standard output holds nothing else."""
    source = write_clip(tmp_path / "in.mkv", moving(20), sound=True)
    result = video_command("-", "-", "--preset", "ultrafast", input=source.read_bytes())
    assert result.returncode == 0, result.stderr
    (tmp_path / "out.mkv").write_bytes(result.stdout)
    assert len(read_clip(tmp_path / "out.mkv")[0]) == 20
    assert read_clip(tmp_path / "out.mkv")[1] == read_clip(source)[1]
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert len(container.streams.audio) == 1
    assert b"20 frames" in result.stderr


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuv420p10le"])
def test_y4m_through_pipes(tmp_path, pixel_format):
    source = write_clip(tmp_path / "in.mkv", moving(8), sound=False, codec="ffv1", pixel_format=pixel_format)
    raw = tmp_path / "in.y4m"
    with av.open(str(source)) as old, av.open(str(raw), "w", format="yuv4mpegpipe", options={"strict": "-1"}) as new:
        stream = new.add_stream("wrapped_avframe" if "10" not in pixel_format else "rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 192, 120, pixel_format
        stream.codec_context.time_base = Fraction(1, 25)
        for number, picture in enumerate(old.decode(video=0)):
            picture.pts, picture.time_base = number, Fraction(1, 25)
            new.mux(stream.encode(picture))
        new.mux(stream.encode(None))
    result = video_command("-", "-", "--pipe-format", "y4m", "--quiet", input=raw.read_bytes())
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(b"YUV4MPEG2 ") and result.stdout.count(b"FRAME\n") == 8
    (tmp_path / "out.y4m").write_bytes(result.stdout)
    with av.open(str(tmp_path / "out.y4m")) as container:
        assert container.streams.video[0].codec_context.pix_fmt == pixel_format
        frames = list(container.decode(video=0))
    assert len(frames) == 8 and np.mean(frames[0].to_ndarray(format="gray")) > np.mean(read_clip(source, "gray")[0][0])


@needs_ffmpeg
def test_ffmpeg_feeds_and_takes(tmp_path):
    source = write_clip(tmp_path / "in.mp4", moving(12), sound=False)
    code = "from cliplit.runtime.video.cli import main; main(prog_name='cliplit-video')"
    feed = subprocess.Popen(["ffmpeg", "-v", "error", "-i", source, "-f", "yuv4mpegpipe", "-"], stdout=subprocess.PIPE)
    ours = [sys.executable, "-c", code, "-", "-", "--pipe-format", "y4m", "--quiet"]
    ours = subprocess.Popen(ours, stdin=feed.stdout, stdout=subprocess.PIPE)
    take = subprocess.run(["ffmpeg", "-v", "error", "-i", "-", "-y", tmp_path / "out.mp4"], stdin=ours.stdout)
    feed.stdout.close()
    ours.stdout.close()
    assert (feed.wait(), ours.wait(), take.returncode) == (0, 0, 0)
    assert len(read_clip(tmp_path / "out.mp4")[0]) == 12


def test_whoever_takes_may_leave(tmp_path):
    """`cliplit-video IN - | head -c 1000`: no traceback, no hang."""
    source = write_clip(tmp_path / "in.mkv", moving(60), sound=False)
    code = "from cliplit.runtime.video.cli import main; main(prog_name='cliplit-video')"
    ours = [sys.executable, "-c", code, source, "-", "--pipe-format", "y4m"]
    ours = subprocess.Popen(ours, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ours.stdout.read(1000)
    ours.stdout.close()
    with ours.stderr:
        errors = ours.stderr.read().decode()
    assert ours.wait(timeout=300) == 1 and "Traceback" not in errors and errors.count("error:") <= 1


@pytest.mark.parametrize("data", [b"", b"no video at all\n" * 100])
def test_nothing_useful_comes_in(data):
    result = video_command("-", "-", input=data)
    assert result.returncode == 1 and result.stdout == b""
    assert b"Traceback" not in result.stderr and result.stderr.count(b"error:") == 1


@pytest.mark.parametrize("begins", ["late", "at once", "never"])
def test_a_signal_while_the_decoding_thread_starts(monkeypatch, begins):
    """Nothing is read any more once the caller goes on, which closes the file: reading on ended the process."""
    start, made, read, going_on = threading.Thread.start, [], [], threading.Event()

    def interrupted(thread):
        made.append(thread)
        if begins == "at once":
            start(thread)
            time.sleep(0.05)
        raise KeyboardInterrupt

    def items():
        while not going_on.wait(0.01):
            read.append(time.monotonic())
            yield 0

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt), closing(prefetch(items(), limit=0)) as ahead:
        next(ahead)
    monkeypatch.undo()
    closed = time.monotonic()
    if begins == "late":
        start(made[0])
    time.sleep(0.05)
    going_on.set()
    assert begins != "at once" or read
    assert all(moment < closed for moment in read)
    assert not made[0].is_alive()
