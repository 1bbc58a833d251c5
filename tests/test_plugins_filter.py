"""`cliplit-filter`: YUV4MPEG2 of every layout in, the same out, relighted as `cliplit-video` relights it."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

FILTER = [sys.executable, "-c", "from cliplit.plugins.filter_cli import main; main(prog_name='cliplit-filter')"]
VIDEO = [sys.executable, "-c", "from cliplit.runtime.video.cli import main; main(prog_name='cliplit-video')"]
STEPS = {"420": (2, 2), "411": (1, 4), "422": (1, 2), "444": (1, 1)}  # luma rows, columns to a chroma sample
FAMILIES = ["mono", "420jpeg", "420mpeg2", "420paldv", "411", "422", "444"]
DEEP = [f"{family}{depth}" for family in ("mono", "420p", "422p", "444p") for depth in (10, 12)]
HEIGHT, WIDTH, FRAMES = 66, 101, 3


def form(tag):
    """(depth, shapes of the planes) of a chroma tag of yuv4mpeg(5)."""
    family, depth = re.fullmatch(r"(mono|420|411|422|444)(?:jpeg|mpeg2|paldv|p)?(\d+)?", tag).groups()
    shapes = [(HEIGHT, WIDTH)]
    if family != "mono":
        rows, columns = STEPS[family]
        shapes += [(-(-HEIGHT // rows), -(-WIDTH // columns))] * 2
    return int(depth or 8), shapes


def dtype_of(depth):
    return np.dtype("u1" if depth == 8 else "<u2")


def stream(tag, extra="", frame_line=b"FRAME\n", frames=FRAMES):
    """A backlit stream: bright above, dark below, a little colour."""
    depth, shapes = form(tag)
    unit, rng, body = 1 << (depth - 8), np.random.default_rng(4), b""
    for _ in range(frames):
        body += frame_line
        for number, (rows, columns) in enumerate(shapes):
            low, high = (120, 140) if number else (30, 40)
            plane = rng.integers(low, high, (rows, columns)) * unit
            if not number:
                plane[: rows // 3] = 220 * unit
            body += plane.astype(dtype_of(depth)).tobytes()
    return f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F25:1 Ip A1:1 C{tag}{extra}\n".encode(), body


def run(data, *options, command=FILTER):
    return subprocess.run([*command, *options], input=data, capture_output=True, timeout=300)


def frames_of(data, tag):
    """The planes of each frame of a stream as int arrays."""
    depth, shapes = form(tag)
    kind, frames = dtype_of(depth), []
    _, _, body = data.partition(b"\n")
    while body:
        line, _, body = body.partition(b"\n")
        assert line.startswith(b"FRAME"), line
        planes = []
        for rows, columns in shapes:
            size = rows * columns * kind.itemsize
            assert len(body) >= size
            planes.append(np.frombuffer(body[:size], kind).reshape(rows, columns).astype(int))
            body = body[size:]
        frames.append(planes)
    return frames


def words_of(data):
    """The parameters of a stream's header."""
    return data.partition(b"\n")[0].decode().split()


@pytest.mark.parametrize("tag", FAMILIES + DEEP)
def test_every_layout_is_relighted_and_keeps_its_form(tag):
    data = b"".join(stream(tag))
    done = run(data)
    assert done.returncode == 0, done.stderr
    assert {f"W{WIDTH}", f"H{HEIGHT}", "F25:1", "Ip"} <= set(words_of(done.stdout))
    chroma = next(word[1:] for word in words_of(done.stdout) if word[0] == "C")
    assert form(chroma) == form(tag)
    depth, _ = form(tag)
    before, after = frames_of(data, tag), frames_of(done.stdout, tag)
    assert len(after) == FRAMES
    for old, new in zip(before, after, strict=True):
        dark = new[0][HEIGHT // 2 :] - old[0][HEIGHT // 2 :]
        assert dark.min() >= 0
        assert dark.mean() > 5 << (depth - 8), "the shade is not brighter"


@pytest.mark.parametrize("tag", ["420jpeg", "411", "mono", "420p10"])
def test_strength_0_copies(tag):
    data = b"".join(stream(tag))
    for old, new in zip(frames_of(data, tag), frames_of(run(data, "--strength", "0").stdout, tag), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(old, new, strict=True))


@pytest.mark.parametrize("options", [[], ["--quality", "exact"], ["--temporal", "0"], ["--time-constant", "0.7"]])
@pytest.mark.parametrize("tag", ["420jpeg", "422p10"])
def test_the_frames_are_those_of_cliplit_video(tag, options):
    data = b"".join(stream(tag, frames=5))
    filtered = run(data, *options)
    video = run(data, "-", "-", "--pipe-format", "y4m", *options, command=VIDEO)
    assert filtered.returncode == video.returncode == 0, filtered.stderr + video.stderr
    assert filtered.stdout == video.stdout


def test_interlaced_chroma_follows_its_own_field():
    """A dark field and a bright one: the chroma lines of the dark one, and they alone, are raised."""
    rows = np.full((HEIGHT - 2, WIDTH), 220, np.uint8)
    rows[22::2], rows[23::2] = 24, 48
    chroma = np.full(((HEIGHT - 2) // 2, -(-WIDTH // 2)), 144, np.uint8)
    body = b"FRAME\n" + rows.tobytes() + 2 * chroma.tobytes()
    found = {}
    for scan in ("It", "Ib", "Ip"):
        line = f"YUV4MPEG2 W{WIDTH} H{HEIGHT - 2} F25:1 {scan} C420jpeg\n".encode()
        done = run(line + body, "--temporal", "0")
        assert done.returncode == 0, done.stderr
        assert scan in words_of(done.stdout)
        _, _, after = done.stdout.partition(b"FRAME\n")
        cb = np.frombuffer(after, np.uint8)[rows.size : rows.size + chroma.size].reshape(chroma.shape).astype(int)
        found[scan] = cb[14::2].mean() - cb[15::2].mean()
    assert found["It"] == found["Ib"] > found["Ip"] + 1


def test_range_and_matrix_matter_and_the_mark_is_obeyed():
    line, body = stream("444", frames=1)
    marked = line.replace(b"\n", b" XCOLORRANGE=FULL\n")
    limited, full = run(line + body).stdout, run(line + body, "--input-color", "bt601:full").stdout
    assert frames_of(limited, "444")[0][0].tolist() != frames_of(full, "444")[0][0].tolist()
    assert frames_of(run(marked + body).stdout, "444")[0][0].tolist() == frames_of(full, "444")[0][0].tolist()
    assert "XCOLORRANGE=FULL" in words_of(run(marked + body).stdout)
    wide = run(line + body, "--input-color", "bt2020").stdout
    assert frames_of(wide, "444")[0][0].tolist() != frames_of(limited, "444")[0][0].tolist()


@pytest.mark.parametrize(
    "data", [b"", b"RIFF....AVI LIST", b"YUV4MPEG2 W0 H10\n", b"YUV4MPEG2 H10\n", b"YUV4MPEG2 W4 H4 C999\n"]
)
def test_damaged_input_ends_in_one_line(data):
    done = run(data)
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.startswith(b"cliplit-filter: error: ") and done.stderr.count(b"\n") == 1


def test_whole_frames_before_a_break_are_written():
    line, body = stream("420jpeg")
    done = run((line + body)[:-10])
    assert done.returncode == 1, "the input breaks off"
    assert b"Traceback" not in done.stderr and b"inside a frame" in done.stderr
    assert len(frames_of(done.stdout, "420jpeg")) == FRAMES - 1


def test_wrong_options_are_wrong_usage():
    assert run(b"", "--temporal", "-1").returncode == 2
    assert run(b"", "--temporal", "1.5").returncode == 2
    assert run(b"", "--time-constant", "-1").returncode == 2
