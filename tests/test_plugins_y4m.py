"""`cliplit-filter`: YUV4MPEG2 of every layout in, the same out, relighted."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cliplit.errors import InputError
from cliplit.plugins.plane_relighter import PlaneRelighter, apply_any
from cliplit.plugins.y4m import Header, Layout
from cliplit.runtime.enhancer import Enhancer
from cliplit.runtime.light.colour import Coding
from cliplit.runtime.light.light_map import Coefficients

FILTER = [sys.executable, "-c", "from cliplit.plugins.filter_cli import main; main(prog_name='cliplit-filter')"]
FAMILIES = ["mono", "420jpeg", "420mpeg2", "420paldv", "411", "422", "440", "444", "444alpha"]
DEEP = [f"{family}{depth}" for family in ("mono", "420p", "422p", "444p") for depth in (9, 10, 12, 14, 16)]
HEIGHT, WIDTH, FRAMES = 66, 101, 3


def stream(tag, extra="", frame_line=b"FRAME\n", frames=FRAMES, height=HEIGHT):
    """A backlit stream: bright above, dark below, a little colour."""
    line = f"YUV4MPEG2 W{WIDTH} H{height} F25:1 Ip A1:1 C{tag}{extra}\n".encode()
    layout = Layout.from_tag(tag)
    unit = 1 << (layout.depth - 8)
    rng = np.random.default_rng(4)
    body = b""
    for _ in range(frames):
        body += frame_line
        for number, (rows, columns) in enumerate(layout.shapes(height, WIDTH)):
            chroma = number in (1, 2)
            plane = rng.integers(120 if chroma else 30, 140 if chroma else 40, (rows, columns)) * unit
            if not chroma:
                plane[: rows // 3] = 220 * unit
            body += plane.astype(layout.dtype).tobytes()
    return line, body


def run(data, *options):
    return subprocess.run([*FILTER, *options], input=data, capture_output=True, timeout=60)


def frames_of(data):
    line, _, body = data.partition(b"\n")
    header = Header.parse(line + b"\n")
    size = header.frame_bytes + 6
    assert len(body) % size == 0
    return [
        [plane.astype(float) for plane in header.planes(np.frombuffer(body[at + 6 : at + size], np.uint8))]
        for at in range(0, len(body), size)
    ]


@pytest.mark.parametrize("tag", FAMILIES + DEEP)
def test_every_layout_is_relighted_and_keeps_its_form(tag):
    line, body = stream(tag)
    done = run(line + body)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(line)
    assert len(done.stdout) == len(line + body)
    unit = 1 << (Layout.from_tag(tag).depth - 8)
    for before, after in zip(frames_of(line + body), frames_of(done.stdout), strict=True):
        dark = after[0][HEIGHT // 2 :] - before[0][HEIGHT // 2 :]
        assert dark.min() >= 0
        assert dark.mean() > 5 * unit, "the shade is not brighter"
        if tag == "444alpha":
            np.testing.assert_array_equal(before[3], after[3])


@pytest.mark.parametrize("tag", ["420jpeg", "411", "444alpha", "mono", "420p10"])
def test_strength_0_copies(tag):
    data = b"".join(stream(tag))
    assert run(data, "--strength", "0").stdout == data


def relighted(planes, interlaced=False, coding=None):
    out = [np.zeros_like(plane) for plane in planes]
    PlaneRelighter(Enhancer(), coding or Coding(0.299, 0.114), 0.0)(planes, out, 0.0, interlaced)
    return out


def planes_of(tag, height=HEIGHT):
    line, body = stream(tag, frames=1, height=height)
    return Header.parse(line).planes(np.frombuffer(body[6:], np.uint8))


def test_411_gets_the_mean_gain_of_the_four_samples():
    narrow = planes_of("411")
    wide = [narrow[0], *(plane.repeat(2, axis=1)[:, : (WIDTH + 1) // 2] for plane in narrow[1:])]
    y, cb, cr = relighted(narrow)
    y2, cb2, cr2 = relighted(wide)
    assert np.abs(y.astype(int) - y2).max() <= 1  # the proxies are not quite the same
    columns = WIDTH // 4  # whole groups of four
    for plane, double in ((cb, cb2), (cr, cr2)):
        pairs = double[:, : 2 * columns].astype(float).reshape(HEIGHT, columns, 2).mean(axis=2)
        assert np.abs(plane[:, :columns] - pairs).max() <= 1.5


def test_grey_is_relighted_as_colourless_444():
    grey = planes_of("mono")
    neutral = np.full_like(grey[0], 128)
    np.testing.assert_array_equal(relighted(grey)[0], relighted([grey[0], neutral, neutral])[0])


def test_interlaced_chroma_follows_its_own_field():
    y = np.full((64, 100), 220, np.uint8)
    y[0::2] = 30  # a dark field and a bright one
    planes = (y, *(np.full((32, 50), 140, np.uint8) for _ in range(2)))
    light = Coefficients(np.zeros((4, 4), np.float32), np.full((4, 4), -3, np.float32), -4.0)  # an eighth, everywhere
    for interlaced, raised in ((True, True), (False, False)):
        out = tuple(np.zeros_like(plane) for plane in planes)
        apply_any(planes, out, light, Coding(), interlaced)
        assert (out[1][0::2] > out[1][1::2] + 20).all() == raised
        assert (out[0][0::2] > 60).all()


@pytest.mark.parametrize(
    "scan,flags,fields", [("It", b"", 2), ("Ib", b"", 2), ("Ip", b"", 1), ("Im", b" Ipii", 2), ("Im", b" Ippp", 1)]
)
def test_interlace_flags_are_kept_and_obeyed(scan, flags, fields):
    line, body = stream("420jpeg", frame_line=b"FRAME" + flags + b"\n", frames=1, height=64)
    line = line.replace(b"Ip", scan.encode())
    done = run(line + body, "--matrix", "bt601", "--temporal", "0")
    assert done.stdout.startswith(line + b"FRAME" + flags + b"\n")
    planes = Header.parse(line).planes(np.frombuffer(body[6 + len(flags) :], np.uint8))
    wanted = b"".join(plane.tobytes() for plane in relighted(planes, interlaced=fields == 2))
    assert done.stdout.endswith(wanted)


def test_range_and_matrix_matter_and_the_mark_is_obeyed():
    line, body = stream("444", frames=1)
    marked = line.replace(b"\n", b" XCOLORRANGE=FULL\n")
    limited, full = run(line + body).stdout, run(line + body, "--range", "full").stdout
    assert limited != full
    assert run(marked + body).stdout[len(marked) :] == full[len(line) :]
    assert run(line + body, "--matrix", "bt2020").stdout != limited


@pytest.mark.parametrize(
    "data,words",
    [
        (b"", "not YUV4MPEG2"),
        (b"RIFF....AVI LIST", "not YUV4MPEG2"),
        (b"YUV4MPEG2 W0 H10\n", "names 0 pixels"),
        (b"YUV4MPEG2 W99999999999 H10\n", "names 99999999999 pixels"),
        (b"YUV4MPEG2 H10\n", "names no pixels"),
        (b"YUV4MPEG2 W4 H4 C410\n", "chroma format C410"),
        (b"YUV4MPEG2 W4 H4\nFRAME\n123", "breaks off in frame 0: 3 of 24 bytes"),
        (b"YUV4MPEG2 W4 H4\nHELLO\n", "no frame header where frame 0"),
    ],
)
def test_damaged_input_ends_in_one_line(data, words):
    done = run(data)
    assert done.returncode == 1
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_whole_frames_before_a_break_are_written():
    line, body = stream("420jpeg")
    done = run((line + body)[:-10])
    assert done.returncode == 1
    assert len(frames_of(done.stdout)) == FRAMES - 1


def test_wrong_options_are_wrong_usage():
    assert run(b"", "--temporal", "-1").returncode == 2
    assert run(b"", "--strength", "3").returncode == 1


@pytest.mark.parametrize("tag", ["", "42", "420p8", "420p17", "rgb", "mono8"])
def test_unknown_layouts_are_named(tag):
    with pytest.raises(InputError, match="chroma format"):
        Layout.from_tag(tag)
