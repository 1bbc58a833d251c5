"""The frei0r filter in ffmpeg, melt and GStreamer, and what happens when its worker does not work."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from cliplit.plugins import frei0r_install
from cliplit.runtime.enhancer import Enhancer

from .conftest import need, psnr

FILTER = "frei0r=cliplit:1.0|0"  # without smoothing over time each frame is by itself, as Enhancer's
SOURCES = sorted((Path(__file__).parents[2] / "plugins" / "frei0r").glob("*.c"))
VERSION = ["-DCLIPLIT_MAJOR=0", "-DCLIPLIT_MINOR=1"]  # as setup.py gives it
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home folder with the filter installed."""
    path = tmp_path_factory.mktemp("home")
    install = [sys.executable, "-m", "cliplit.plugins", "install", "frei0r", "--check"]
    done = subprocess.run(install, env=environment(path), cwd=path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def broken(home, tmp_path):
    """A function that makes a home folder whose worker is another command."""

    def make(*command):
        shutil.copytree(home / ".frei0r-1", tmp_path / ".frei0r-1")
        (tmp_path / ".frei0r-1/lib/cliplit.worker").write_text("".join(f"{word}\n" for word in command))
        return tmp_path

    return make


def environment(home):
    return {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}


def run(home, *command, timeout=300):
    return subprocess.run(command, env=environment(home), capture_output=True, text=True, timeout=timeout, cwd=home)


def ffmpeg(home, source, target, *options):
    need("ffmpeg")
    done = run(home, "ffmpeg", "-v", "error", "-y", "-i", str(source), *options, str(target))
    assert done.returncode == 0, done.stderr
    return done.stderr


def frames(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def workers():
    """Process ids of the filter's workers."""
    commands = {
        int(path.name): read_quietly(path / "cmdline") for path in Path("/proc").iterdir() if path.name.isdigit()
    }
    return [pid for pid, command in commands.items() if b"plugins.worker" in command and b"--shared" in command]


def read_quietly(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.fixture(autouse=True)
def no_orphans():
    before = set(workers())
    yield
    for _ in range(40):
        if not set(workers()) - before:
            return
        time.sleep(0.05)
    pytest.fail("a worker was left behind")


@pytest.mark.parametrize("size", [(640, 360), (1366, 768), (854, 480), (1080, 1920), (321, 241), (161, 121)])
def test_ffmpeg_gives_enhancers_pixels_at_every_size(home, clip, tmp_path, size):
    source = clip(*size, frames=4, pixel_format="yuv444p")
    said = ffmpeg(home, source, tmp_path / "out.mkv", "-vf", FILTER, "-pix_fmt", "bgr0", "-c:v", "ffv1")
    before, after = frames(source), frames(tmp_path / "out.mkv")
    assert said == ""
    assert len(after) == 4
    enhancer = Enhancer()
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        assert psnr(old, new) < 30, "not relighted"
        assert psnr(enhancer(old), new) > (48 if number else 55)  # the grain of a clip is a running mean


@pytest.mark.parametrize("size", [(640, 360), (1366, 768), (1080, 1920)])
def test_ffmpeg_keeps_42_db_through_420(home, clip, tmp_path, size):
    source = clip(*size, frames=4)
    ffmpeg(home, source, tmp_path / "out.mkv", "-vf", FILTER, "-pix_fmt", "yuv420p", "-c:v", "ffv1", "-c:a", "copy")
    enhancer = Enhancer()
    for old, new in zip(frames(source), frames(tmp_path / "out.mkv"), strict=True):
        assert psnr(enhancer(old), new) >= 42


def test_ffmpeg_keeps_the_sound(home, clip, tmp_path):
    source = clip()
    ffmpeg(home, source, tmp_path / "out.mkv", "-vf", FILTER, "-c:v", "ffv1", "-c:a", "copy")
    with av.open(str(source)) as before, av.open(str(tmp_path / "out.mkv")) as after:
        sounds = [b"".join(bytes(p) for p in container.demux(audio=0)) for container in (before, after)]
    assert sounds[0]
    assert sounds[0] == sounds[1]


def test_parameters(home, clip, tmp_path):
    source = clip(frames=2)
    for value, settings in (
        ("0.5|0", {"strength": 0.5}),
        ("1|0|2", {"max_gain": 2.0}),
        ("1|0|0.5", {"max_gain": 16.0}),
    ):
        ffmpeg(home, source, tmp_path / "out.mkv", "-vf", f"frei0r=cliplit:{value}", "-pix_fmt", "bgr0", "-c:v", "ffv1")
        assert psnr(Enhancer(**settings)(frames(source)[0]), frames(tmp_path / "out.mkv")[0]) > 40


def test_smoothing_over_time_belongs_to_an_instance(home, clip, tmp_path):
    source = clip(frames=8)
    options = ["-pix_fmt", "bgr0", "-c:v", "ffv1"]
    ffmpeg(home, source, tmp_path / "smooth.mkv", "-vf", "frei0r=cliplit:1.0", *options)
    ffmpeg(home, source, tmp_path / "single.mkv", "-vf", FILTER, *options)
    smooth, single = frames(tmp_path / "smooth.mkv"), frames(tmp_path / "single.mkv")
    np.testing.assert_array_equal(smooth[0], single[0])
    assert (smooth[-1] != single[-1]).any()
    # Two instances of the same settings do the same; a shared state would mix their frames.
    graph = "split[a][b];[a]frei0r=cliplit:1.0[c];[b]crop=320:360:0:0,frei0r=cliplit:1.0[d];[c][d]hstack"
    ffmpeg(home, source, tmp_path / "both.mkv", "-filter_complex", graph, *options)
    for one, both in zip(smooth, frames(tmp_path / "both.mkv"), strict=True):
        np.testing.assert_array_equal(one, both[:, :640])


def test_four_instances(home, clip, tmp_path):
    chains = ";".join(f"[{k}]frei0r=cliplit:{0.5 * (k + 1)}|0[r{k}]" for k in range(4))
    graph = f"split=4[0][1][2][3];{chains};[r0][r1][r2][r3]hstack=inputs=4"
    source = clip(frames=3)
    ffmpeg(home, source, tmp_path / "out.mkv", "-filter_complex", graph, "-pix_fmt", "bgr0", "-c:v", "ffv1")
    old, new = frames(source)[2], frames(tmp_path / "out.mkv")[2]
    for k in range(4):
        assert psnr(Enhancer(strength=0.5 * (k + 1))(old), new[:, 640 * k : 640 * (k + 1)]) > 40


def melted(home, source, out, strength, *properties):
    """The clip through melt and the filter."""
    need("melt")
    consumer = [f"avformat:{out}", "vcodec=ffv1", "an=1", *properties]
    attach = ["-attach", "frei0r.cliplit", f"0={strength}", "1=0", "-consumer", *consumer]
    done = run(home, "melt", "-silent", str(source), *attach)
    assert done.returncode == 0, done.stderr


def smooth_frames(path):
    """Frames in RGB with chroma interpolated between its samples, as melt reads them; FFmpeg's default repeats it."""
    flags = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        str(path),
        "-vf",
        f"scale={flags}",
        "-pix_fmt",
        "rgb24",
        "-f",
        "rawvideo",
        "-",
    ]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    height, width = frames(path)[0].shape[:2]
    return list(np.frombuffer(data, np.uint8).reshape(-1, height, width, 3))


def test_melt_gives_enhancers_pixels(home, clip, tmp_path):
    for strength in (0, 1):  # at 0 the frames are those that melt hands to its filters
        melted(home, clip(frames=4), tmp_path / f"{strength}.mkv", strength, "pix_fmt=bgr0", "mlt_image_format=rgba")
    for old, new in zip(frames(tmp_path / "0.mkv"), frames(tmp_path / "1.mkv"), strict=True):
        assert psnr(old, new) < 30, "not relighted"
        assert psnr(Enhancer()(old), new) > 50  # a clip's grain is a running mean


def test_melt_keeps_42_db_through_420(home, clip, tmp_path):
    source = clip(frames=4)
    melted(home, source, tmp_path / "out.mkv", 1, "pix_fmt=yuv420p")
    for old, new in zip(smooth_frames(source), smooth_frames(tmp_path / "out.mkv"), strict=True):
        assert psnr(Enhancer()(old), new) >= 42


@pytest.mark.parametrize("size", [(640, 360), (1366, 768)])
def test_mpv(home, clip, tmp_path, size):
    need("mpv")
    source = clip(*size, frames=4, pixel_format="yuv444p")
    for strength in (0, 1):  # at 0 the frames show mpv's own reading of a clip without a tag for its matrix
        chain = f"--vf=lavfi=[format=bgr0,frei0r=cliplit:{strength}|0,format=bgr0]"
        encode = [f"--o={tmp_path}/{strength}.mkv", "--of=matroska", "--ovc=ffv1", "--oac=pcm_s16le"]
        done = run(home, "mpv", "--no-config", str(source), chain, *encode)
        assert done.returncode == 0, done.stdout
    before, after = frames(tmp_path / "0.mkv"), frames(tmp_path / "1.mkv")
    assert len(after) == 4
    for old, new in zip(before, after, strict=True):
        assert psnr(old, new) < 30, "not relighted"
        assert psnr(Enhancer()(old), new) > 50


def test_gstreamer(home, clip, tmp_path, photo):
    need("gst-launch-1.0")
    cv2.imwrite(str(tmp_path / "in.png"), photo[..., ::-1])
    chain = (
        f"filesrc location={tmp_path}/in.png ! pngdec ! videoconvert ! frei0r-filter-cliplit strength=1.0 temporal=0.0"
    )
    done = run(
        home,
        "gst-launch-1.0",
        "-q",
        *chain.split(),
        *f"! videoconvert ! pngenc ! filesink location={tmp_path}/out.png".split(),
    )
    assert done.returncode == 0, done.stderr
    assert psnr(Enhancer()(photo), cv2.imread(str(tmp_path / "out.png"))[..., ::-1]) > 50


@pytest.mark.parametrize(
    "command,reason",
    [
        (["/nowhere/python"], "No such file"),
        (["/bin/false"], "has ended"),
        ([sys.executable, "-c", "import sys; sys.exit(1)"], "has ended"),
        ([sys.executable, "-c", "import os; os.write(0, b'x' * 24); input()"], "not one of cliplit's"),
        ([sys.executable, "-m", "cliplit.plugins.worker_main", "--shared", "3"], "has ended"),
    ],
)
def test_without_a_worker_frames_pass_through_with_one_message(broken, clip, tmp_path, command, reason):
    source = clip(frames=6, pixel_format="yuv444p")
    said = ffmpeg(broken(*command), source, tmp_path / "out.mkv", "-vf", FILTER, "-pix_fmt", "bgr0", "-c:v", "ffv1")
    messages = [line for line in said.splitlines() if line.startswith("cliplit: ")]
    assert len(messages) == 1
    assert reason in messages[0]
    assert "pass through unchanged" in messages[0]
    for old, new in zip(frames(source), frames(tmp_path / "out.mkv"), strict=True):
        assert psnr(old, new) > 50


def test_a_worker_of_another_version_says_so(broken, clip, tmp_path):
    code = "from cliplit.plugins import protocol, worker; protocol.VERSION = 3; worker.main()"
    home = broken(sys.executable, "-c", code, "--shared", "3")
    said = ffmpeg(home, clip(frames=2), tmp_path / "out.mkv", "-vf", FILTER, "-c:v", "ffv1")
    assert "speaks version 2 of cliplit's protocol and this side version 3" in said
    assert "cliplit-plugins install" in said


@contextmanager
def working(home, source, out):
    """ffmpeg amid a long clip, a second after its worker came up: (process, the worker's pids)."""
    before = set(workers())
    command = ["ffmpeg", "-v", "error", "-y", "-re", "-i", str(source), "-vf", FILTER, "-c:v", "ffv1", str(out)]
    with subprocess.Popen(
        command, env=environment(home), stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as process:
        while not set(workers()) - before:
            time.sleep(0.02)
        time.sleep(1.0)
        yield process, set(workers()) - before


def signalled(home, source, number, tmp_path):
    """Run ffmpeg on a long clip, send its worker a signal amid it; messages, frames."""
    out = tmp_path / "out.mkv"
    with working(home, source, out) as (process, pids):
        for pid in pids:
            os.kill(pid, number)
        said = process.communicate(timeout=300)[1]
    return said, len(frames(out))


@pytest.mark.parametrize("number,reason", [(signal.SIGKILL, "has ended"), (signal.SIGSTOP, "is stopped")])
def test_a_worker_that_dies_or_stops_costs_no_frame(home, clip, tmp_path, number, reason):
    said, count = signalled(home, clip(frames=75), number, tmp_path)
    assert count == 75
    assert said.count("cliplit: ") == 1
    assert reason in said


def test_interrupting_the_host_ends_the_worker(home, clip, tmp_path):
    need("ffmpeg")
    with working(home, clip(frames=75), tmp_path / "out.mkv") as (process, _):
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=300)[1]
    assert "cliplit" not in said
    assert len(frames(tmp_path / "out.mkv")) > 3  # what was done is in the file


def test_killing_the_host_ends_the_worker(home, clip, tmp_path):
    need("ffmpeg")
    before = set(workers())
    command = ["ffmpeg", "-v", "error", "-y", "-re", "-i", str(clip(frames=75)), "-vf", FILTER, "-f", "null", "-"]
    with subprocess.Popen(command, env=environment(home), stdin=subprocess.DEVNULL) as process:
        while not set(workers()) - before:
            time.sleep(0.02)
        process.kill()


@pytest.fixture(scope="module")
def host(home, tmp_path_factory):
    """A function that builds the C host with some flags; the worker's command lies beside it."""
    need("gcc")

    def build(*flags):
        folder = tmp_path_factory.mktemp("host")
        shutil.copy(home / ".frei0r-1/lib/cliplit.worker", folder)
        sources = [str(path) for path in [Path(__file__).parent / "frei0r_host.c", *SOURCES]]
        command = [
            "gcc",
            *WARNINGS,
            "-DCLIPLIT_MAJOR=0",
            "-DCLIPLIT_MINOR=1",
            "-g",
            *flags,
            *sources,
            "-o",
            str(folder / "host"),
            "-ldl",
        ]
        built = subprocess.run(command, capture_output=True, text=True)
        assert built.returncode == 0, built.stderr
        return str(folder / "host")

    return build


@pytest.mark.parametrize("mode,changed", [("frames", "8"), ("kill", "4"), ("idle", "0")])
def test_address_sanitizer_finds_nothing(home, host, mode, changed):
    done = run(home, host("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"), mode)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == changed


@pytest.mark.parametrize("mode,changed", [("frames", "8"), ("kill", "4")])
def test_valgrind_finds_nothing(home, host, mode, changed):
    need("valgrind")
    checker = ["valgrind", "-q", "--error-exitcode=9", "--leak-check=full", "--track-fds=no", "--trace-children=no"]
    done = run(home, *checker, host("-O1"), mode)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == changed


def test_the_library_needs_libc_only():
    need("readelf")
    headers = subprocess.run(
        ["readelf", "-d", str(frei0r_install.built_library())], capture_output=True, text=True
    ).stdout
    needed = [line.split("[")[1].rstrip("]") for line in headers.splitlines() if "NEEDED" in line]
    assert all(name.split(".")[0] in {"libc", "libdl"} for name in needed), needed
