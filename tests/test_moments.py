"""Looking at a moment of a clip, at a sheet of it, and saying what would be written, before a long job."""

from __future__ import annotations

import subprocess
from fractions import Fraction

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cliplit.runtime import Enhancer
from cliplit.runtime.image.picture import upright
from cliplit.runtime.light.colour import Coding, Colour
from cliplit.runtime.video.first_look import FRAMES, PLACES, Sample, bytes_of
from cliplit.runtime.video.frames import Clip
from cliplit.runtime.video.moments import GAP, Moment, OutsideClip, clock, pairs_at
from cliplit.runtime.video.request import Steps
from made import moving, read_clip, write_clip


def command(*arguments):
    """Run `cliplit-video` in this process: its libraries are loaded already."""
    from cliplit.runtime.video.cli import main

    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("moments") / "in.mp4", moving(30), rate=10)


@pytest.mark.parametrize(
    "text, moment",
    [("12.5", Moment(12.5)), ("1:30", Moment(90)), ("10%", Moment(0.1, True)), ("end", Moment(1.0, True))],
)
def test_a_moment_is_seconds_or_a_share(text, moment):
    assert Moment.parse(text) == moment


@pytest.mark.parametrize("times, seconds", [(59.96, "1:00.0"), (3599.98, "1:00:00.0"), (2.04, "0:02.0")])
def test_times_are_rounded_before_they_are_taken_apart(times, seconds):
    assert clock(times) == seconds


def test_the_frame_is_the_one_that_is_shown_then_and_its_light_the_clips(clip, tmp_path):
    """0.55 s of a clip of 10 frames/s is frame 5; what the whole clip makes of it is read from a lossless file."""
    from cliplit.runtime.video.clip import enhance_video
    from cliplit.runtime.video.codecs import Encoding

    enhancer = Enhancer(threads=1)
    pair = next(pairs_at(clip, [Moment(0.55)], enhancer, Steps()))
    assert pair.time == pytest.approx(0.5)
    enhance_video(clip, tmp_path / "out.mkv", enhancer, Encoding(codec="ffv1"))
    for frames, picture in ((read_clip(clip)[0], pair.before), (read_clip(tmp_path / "out.mkv")[0], pair.after)):
        nearest = min(range(len(frames)), key=lambda n: np.abs(frames[n].astype(int) - picture).mean())
        assert nearest == 5
        assert np.abs(frames[5].astype(int) - picture).mean() < 1.5  # FFmpeg's conversion to RGB is another
    assert pair.after.mean() > pair.before.mean() + 5


@pytest.mark.parametrize("turn, expected", [(90, 1), (180, 2), (270, 3)])
def test_pictures_stand_upright_as_ffmpeg_shows_them(turn, expected):
    """The matrices of a turn by FFmpeg's av_display_rotation_set, 16.16; the turn is counterclockwise."""
    cos, sin = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[turn]
    one = 1 << 16

    matrix = (cos * one, -sin * one, 0, sin * one, cos * one, 0, 0, 0, 1 << 30)
    turned = Clip(4, 2, "yuv420p", Coding(), Colour(), Fraction(1, 25), display_matrix=matrix)
    picture = np.arange(24).reshape(2, 4, 3)
    assert np.array_equal(upright(picture, turned.orientation), np.rot90(picture, expected))


def test_moments_after_the_end_are_wrong_values(clip):
    enhancer = Enhancer(threads=1)
    for second in (3.6, 100.0):
        with pytest.raises(OutsideClip, match="after its end"):
            list(pairs_at(clip, [Moment(second)], enhancer, Steps()))


def test_the_command_writes_rows_of_pairs(clip, tmp_path):
    done = command(clip, "--at", "0.5,50%", "-o", tmp_path / "f.png")
    assert done.exit_code == 0, done.stderr
    with Image.open(tmp_path / "f.png") as picture:
        assert picture.size == (2 * 192 + GAP, 2 * 120 + GAP)
    again = command(clip, tmp_path / "f.png", "--at", "0")
    assert again.exit_code == 1 and "--overwrite" in again.stderr


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--at", "x"], "'x' is no moment"), (["--at", "101%"], "more than 100%"), (["--at", "9"], "after its end"),
        (["--at", "1", "--sheet"], "exclude each other"), (["--sheet", "o.mp4"], "write a picture"),
    ],
)  # fmt: skip
def test_wrong_moments_are_exit_code_2(clip, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    done = command(clip, *arguments)
    assert done.exit_code == 2 and said in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


def test_a_dry_run_tells_the_streams_and_writes_nothing(clip, tmp_path):
    done = command(clip, tmp_path / "o.mp4", "--dry-run")
    assert done.exit_code == 0, done.stderr
    assert "192x120 h264 yuv420p, 10 frames/s" in done.stdout and "libx264" in done.stdout
    assert "(audio, aac): copied" in done.stdout and "nothing was written" in done.stdout
    assert "by 30 of 30 frames" in done.stdout
    assert not list(tmp_path.iterdir())


def test_the_size_counts_key_frames_as_seldom_as_encoders_set_them():
    assert bytes_of([Sample(1.0, (100,), (10, 10)), Sample(1.0, (300,), (10,))], 500) == 2 * 200 + 498 * 10
    assert bytes_of([Sample(1.0, (7, 9), ())], 10) == 80
    assert PLACES * FRAMES < 250


def test_ffprobe_reads_a_sheet(clip, tmp_path):
    done = command(clip, tmp_path / "sheet.jpg", "--sheet", "--compare", "split")
    assert done.exit_code == 0, done.stderr
    line = ["ffprobe", "-v", "error", "-show_entries", "stream=width,height", "-of", "csv=p=0", tmp_path / "sheet.jpg"]
    width, height = map(int, subprocess.run(line, capture_output=True, text=True).stdout.split(","))
    assert width > 3 * 192 and height > 4 * 120
