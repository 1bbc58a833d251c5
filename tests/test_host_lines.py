"""The lines for ffmpeg and melt in the documentation: run, and their files read back by another program."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cliplit.errors import BackendError
from cliplit.plugins import frei0r_install
from made import backlit, write_clip

ROOT = Path(__file__).resolve().parents[1]
COLOUR = (200, 60, 40)
BT709 = 1  # of matrix, primaries and transfer in ITU-T H.273
LINES = sorted(
    {
        line.replace("\\|", "|")
        for page in ("README.md", "docs/plugins.md")
        for line in re.findall(r"`((?:ffmpeg|melt) [^`]*in\.mp4[^`]*)`", (ROOT / page).read_text(encoding="utf-8"))
    }
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with the frei0r filter installed."""
    try:
        frei0r_install.built_library()
    except BackendError:
        pytest.skip("without a C compiler")
    folder = tmp_path_factory.mktemp("home")
    command = [sys.executable, "-m", "cliplit.plugins", "install", "frei0r"]
    done = subprocess.run(command, env=environment(folder), capture_output=True, text=True)
    assert done.returncode == 0 and f"try: {frei0r_install.FFMPEG_LINE}" in done.stdout
    return folder


def environment(home):
    import os

    return {**os.environ, "HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A second of one colour in BT.709, limited range, tagged so, as cameras write it."""
    path = tmp_path_factory.mktemp("clip") / "in.mp4"
    red, green, blue = (value / 255 for value in COLOUR)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue  # BT.709
    codes = 16 + 219 * luma, 128 + 224 * (blue - luma) / 1.8556, 128 + 224 * (red - luma) / 1.5748
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5, options={"crf": "1", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        stream.codec_context.colorspace = stream.codec_context.color_primaries = BT709
        stream.codec_context.color_trc, stream.codec_context.color_range = BT709, 1
        for number in range(3):
            frame = av.VideoFrame(1280, 720, "yuv420p")
            for plane, code in zip(frame.planes, codes, strict=True):
                plane.update(np.full(plane.buffer_size, round(code), np.uint8))
            frame.pts, frame.time_base = number, Fraction(1, 5)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def seen(path):
    """(pixel format, tags, colour by BT.709) of the first frame."""
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        frame = next(container.decode(video=0))
        tags = int(frame.colorspace), int(context.color_primaries), int(context.color_trc)
        y, cb, cr = (float(np.median(np.frombuffer(bytes(plane), np.uint8))) for plane in frame.planes[:3])
    luma, blue, red = (y - 16) / 219, (cb - 128) / 224 * 1.8556, (cr - 128) / 224 * 1.5748
    green = luma - (0.2126 * red + 0.0722 * blue) / 0.7152
    return frame.format.name, tags, 255 * np.array([luma + red, green, luma + blue])


def test_there_are_lines():
    assert len(LINES) >= 3 and frei0r_install.FFMPEG_LINE in LINES


@pytest.mark.parametrize("line", LINES)
def test_a_line_keeps_pixel_format_tags_and_colours(home, clip, tmp_path, line):
    """At strength 0 the colour must be that of the source; the bound is a rounding or two of 8-bit RGB."""
    program = line.split()[0]
    if not shutil.which(program):
        pytest.skip(f"{program} is not here")
    shutil.copy(clip, tmp_path / "in.mp4")
    unchanged = re.sub(r"(cliplit:|0=|--strength )0\.8", r"\g<1>0", line)
    assert unchanged != line
    quick = unchanged.replace("out.mp4", "-preset ultrafast -crf 4 out.mp4") if program == "ffmpeg" else unchanged
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", quick], cwd=tmp_path, env=environment(home), capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    form, tags, colour = seen(tmp_path / "out.mp4")
    before = seen(clip)
    assert (form, tags) == before[:2] == ("yuv420p", (BT709,) * 3)
    assert np.abs(colour - COLOUR).max() <= 3


PROJECT = """<?xml version="1.0" encoding="utf-8"?>
<mlt LC_NUMERIC="C" version="7.12.0" root="{root}">
  <profile width="1280" height="720" frame_rate_num="5" frame_rate_den="1" colorspace="709" progressive="1"/>
  <producer id="clip"><property name="resource">in.mp4</property><property name="mlt_service">avformat</property>
    <filter id="effect"><property name="mlt_service">frei0r.cliplit</property>
      <property name="kdenlive_id">frei0r.cliplit</property>
      <property name="strength">{strength}</property></filter>
  </producer>
  <playlist id="main"><entry producer="clip" in="0" out="2"/></playlist>
  <tractor id="project"><track producer="main"/></tractor>
</mlt>
"""


def test_melt_renders_a_project_with_the_filter_in_it(home, tmp_path):
    """A project as Kdenlive and Shotcut hand it to melt."""
    if not shutil.which("melt"):
        pytest.skip("melt is not here")
    frames = [backlit(720, 1280)] * 3  # of one colour, all would be a bar, and stay as it is
    write_clip(tmp_path / "in.mp4", frames, rate=5, sound=False, colorspace=BT709, color_range=1)
    luma = {}
    for strength in ("0", "1"):
        (tmp_path / "project.mlt").write_text(PROJECT.format(root=tmp_path, strength=strength))
        command = [
            "melt",
            "project.mlt",
            "-consumer",
            "avformat:out.mp4",
            "vcodec=libx264",
            "crf=4",
            "preset=ultrafast",
        ]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(home), capture_output=True, text=True, stdin=subprocess.DEVNULL,
            timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        luma[strength] = np.mean([plane[0].mean() for plane in planes_of(tmp_path / "out.mp4")])
    source = np.mean([plane[0].mean() for plane in planes_of(tmp_path / "in.mp4")])
    assert abs(luma["0"] - source) < 1.5
    assert luma["1"] > luma["0"] + 5


def planes_of(path):
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield [np.frombuffer(bytes(plane), np.uint8) for plane in frame.planes]
