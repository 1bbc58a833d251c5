"""`cliplit-video` on clips the tests make and, where present, on the team's real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from fractions import Fraction

import av
import numpy as np
import pytest

from cliplit.runtime.video.clip import enhance_video
from cliplit.runtime.video.codecs import Encoding
from cliplit.runtime.video.frames import Frame
from cliplit.runtime.video.pixels import planes_of
from cliplit.runtime.video.pyav_reader import PyAVReader
from cliplit.runtime.video.request import Steps
from made import backlit, enhanced, float_rgb, packets, read_clip, write_clip

FAST = Encoding(preset="ultrafast", crf=12)


def command(*arguments, **options):
    # The entry point itself, in a process of its own: exit codes, streams and signals are what is tested.
    code = "from cliplit.runtime.video.cli import main; main(prog_name='cliplit-video')"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=300, **options
    )


def one_line_error(result, code):
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if "error:" in line]
    assert len(errors) == 1
    return errors[0]


def moving(count=20, height=120, width=192):
    wide = backlit(height, width + count * 2)
    return [np.ascontiguousarray(wide[:, 2 * i : 2 * i + width]) for i in range(count)]


def psnr(a, b):
    return 10 * np.log10(255**2 / max(np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2), 1e-9))


def test_clip_is_relighted_with_its_own_time_stamps_and_sound(tmp_path, enhancer):
    """R1.1, R1.2, R1.4, R1.7: variable frame rate with a late start, every frame, every audio packet."""
    pts = [3 * 100 + i * 100 + (i % 3) * 17 + (900 if i > 12 else 0) for i in range(20)]
    source = write_clip(tmp_path / "in.mp4", moving(), pts=pts)
    summary = enhance_video(source, tmp_path / "out.mp4", enhancer, FAST)
    before, times = read_clip(source)
    after, new_times = read_clip(tmp_path / "out.mp4")
    assert summary.frames == len(after) == 20
    assert new_times == times
    assert packets(tmp_path / "out.mp4", "audio") == packets(source, "audio")
    assert np.mean(after) > 1.1 * np.mean(before)


@pytest.mark.parametrize("container", [".mkv", ".mov", ".webm"])
def test_other_containers(tmp_path, enhancer, container):
    source = write_clip(tmp_path / "in.mkv", moving(6), sound=False)
    target = tmp_path / f"out{container}"
    enhance_video(source, target, enhancer, Encoding(crf=20, preset="ultrafast"))
    with av.open(str(target)) as opened:
        assert opened.streams.video[0].codec_context.name == ("vp9" if container == ".webm" else "h264")
    assert len(read_clip(target)[0]) == 6


@pytest.mark.parametrize("matrix,full", [(1, False), (1, True), (6, False), (5, True)])
def test_colour_tags_are_kept_and_honoured(tmp_path, enhancer, matrix, full):
    """R2.1 to R2.3: the planes path equals RGB through `Enhancer`, whatever the matrix and the range."""
    frames = moving(3)
    source = write_clip(tmp_path / "in.mkv", frames, sound=False, colorspace=matrix, color_range=2 if full else 1,
                        color_primaries=matrix, color_trc=6)  # fmt: skip
    enhance_video(source, tmp_path / "out.mkv", enhancer, FAST)
    with av.open(str(tmp_path / "out.mkv")) as out:
        context = out.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (matrix, 2 if full else 1)
        assert (context.color_primaries, context.color_trc) == (matrix, 6)
    with PyAVReader(source) as reader:
        relighted = next(f for f in enhanced(reader.clip, reader, enhancer, Steps(0.0)) if isinstance(f, Frame))
        weights = {1: (0.2126, 0.0722)}.get(matrix, (0.299, 0.114))
    with av.open(str(source)) as container:
        decoded = next(container.decode(video=0))
        through_rgb = enhancer(float_rgb(decoded, *weights, full))
    assert psnr(float_rgb(relighted.picture, *weights, full) * 255, through_rgb * 255) > 40


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_full_range_planes_are_written_as_computed(tmp_path, strength):
    """R2.3: no conversion between the gain and the encoder."""
    from cliplit.runtime import Enhancer

    enhancer = Enhancer(strength=strength)
    source = write_clip(tmp_path / "in.mkv", moving(3), sound=False, colorspace=1, color_range=2)
    enhance_video(source, tmp_path / "out.mkv", enhancer, Encoding("ffv1", None, None))
    with PyAVReader(source) as reader, av.open(str(tmp_path / "out.mkv")) as out:
        assert reader.clip.coding.full_range
        computed = enhanced(reader.clip, reader, enhancer, Steps())
        for expected, written in zip(computed, out.decode(video=0), strict=True):
            for a, b in zip(expected.planes, planes_of(written), strict=True):
                assert np.array_equal(a, b)


def test_strength_zero_leaves_the_planes_untouched(tmp_path):
    from cliplit.runtime import Enhancer

    source = write_clip(tmp_path / "in.mp4", moving(5))
    enhance_video(source, tmp_path / "out.mkv", Enhancer(strength=0), Encoding(codec="ffv1", crf=None, preset=None))
    for before, after in zip(
        read_clip(source, "yuv420p")[0], read_clip(tmp_path / "out.mkv", "yuv420p")[0], strict=True
    ):
        assert np.array_equal(before, after)


@pytest.mark.parametrize("size", [(121, 161), (120, 161), (121, 160)])
def test_odd_sizes_lose_no_row_or_column(tmp_path, enhancer, size):
    """R6.4"""
    picture = backlit(*size)
    picture[-1], picture[:, -1] = 250, 250
    source = write_clip(tmp_path / "in.mkv", [picture] * 3, sound=False, codec="ffv1", pixel_format="yuv444p")
    enhance_video(source, tmp_path / "out.mp4", enhancer, FAST)
    frames, _ = read_clip(tmp_path / "out.mp4", "gray")
    assert [frame.shape for frame in frames] == [size] * 3
    lines = frames[1][-1], frames[1][:, -1]
    assert min(line.min() for line in lines) > 200 > frames[1][-4, -40:-4].max()  # there, and nowhere else


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p"])
def test_chroma_sampling_is_kept(tmp_path, enhancer, pixel_format):
    source = write_clip(tmp_path / "in.mkv", moving(3), sound=False, pixel_format=pixel_format)
    enhance_video(source, tmp_path / "out.mkv", enhancer, FAST)
    with av.open(str(tmp_path / "out.mkv")) as out:
        assert out.streams.video[0].codec_context.pix_fmt == pixel_format


def test_light_is_fresh_after_a_cut(tmp_path, enhancer):
    dark, bright = backlit(), np.full((180, 320, 3), 190, np.uint8)
    results = []
    for before in (10, 0):
        source = write_clip(tmp_path / "in.mkv", [bright] * before + [dark] * 4, sound=False, codec="ffv1")
        enhance_video(source, tmp_path / f"{before}.mkv", enhancer, Encoding("ffv1", None, None))
        results.append(read_clip(tmp_path / f"{before}.mkv")[0][before])
    assert psnr(*results) > 60
    assert psnr(results[0], enhancer(read_clip(source)[0][0])) > 35  # but for the chroma that a clip shares


def test_what_is_no_video_is_refused_in_one_line(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video\n" * 50)
    with av.open(str(tmp_path / "sound.m4a"), "w") as container:
        audio = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 48000
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    for name in ("empty.mp4", "text.mp4", "sound.m4a", "missing.mp4"):
        assert name in one_line_error(command(tmp_path / name, tmp_path / "out.mp4"), 1)
    assert not (tmp_path / "out.mp4").exists()


def test_a_truncated_clip_gives_what_can_be_decoded(tmp_path):
    """The index of the file announces 40 frames; the data behind it ends early."""
    source = write_clip(tmp_path / "whole.mp4", moving(40), sound=False, movflags="faststart", gop_size=10)
    data = source.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 6 // 10])
    line = one_line_error(command(tmp_path / "cut.mp4", tmp_path / "out.mp4"), 1)
    assert "of 40 frames missing" in line
    assert 5 < len(read_clip(tmp_path / "out.mp4")[0]) < 40


def test_existing_files_are_not_destroyed(tmp_path):
    """Neither without --overwrite, nor with it when the run fails, nor when IN is OUT."""
    source = write_clip(tmp_path / "in.mp4", moving(4))
    target = tmp_path / "out.mp4"
    target.write_bytes(b"precious")
    assert "--overwrite" in one_line_error(command(source, target), 1)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    one_line_error(command(tmp_path / "bad.mp4", target, "--overwrite"), 1)
    assert target.read_bytes() == b"precious"
    original = source.read_bytes()
    one_line_error(command(source, source, "--overwrite"), 1)
    assert source.read_bytes() == original
    assert command(source, target, "--overwrite").returncode == 0
    assert len(read_clip(target)[0]) == 4


WRONG = [
    (["--codec", "nonsense"], 1),
    (["--model", "nonsense"], 1),
    (["--strength", "9"], 2),
    (["--preset", "nonsense"], 1),
    (["--quality", "best"], 2),
]


@pytest.mark.parametrize("options,code", WRONG)
def test_wrong_options_leave_nothing_behind(tmp_path, options, code):
    source = write_clip(tmp_path / "in.mp4", moving(3))
    result = command(source, tmp_path / "out.mp4", *options)
    assert result.returncode == code
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == [source]


def test_a_container_that_does_not_exist(tmp_path):
    source = write_clip(tmp_path / "in.mp4", moving(3))
    assert ".xyz" in one_line_error(command(source, tmp_path / "out.xyz"), 1)
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_leaves_no_half_file(tmp_path, number):
    source = write_clip(tmp_path / "in.mp4", moving(50, 360, 640) * 8)
    code = "from cliplit.runtime.video.cli import main; main(prog_name='cliplit-video')"
    process = subprocess.Popen(
        [sys.executable, "-c", code, source, tmp_path / "out.mp4", "--preset", "veryslow"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in background shells
    )
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob(".out.*.mp4")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == [source]


def test_unicode_paths(tmp_path):
    """R3.5"""
    folder = tmp_path / "é 你好 'x"
    folder.mkdir()
    source = write_clip(folder / "ein Clip.mp4", moving(3))
    assert command(source, folder / "größer.mp4").returncode == 0
    assert len(read_clip(folder / "größer.mp4")[0]) == 3


def test_demo_needs_nothing(tmp_path):
    result = command("--demo", tmp_path / "demo.mp4")
    assert result.returncode == 0, result.stderr
    frames, times = read_clip(tmp_path / "demo.mp4")
    assert len(frames) == 150
    assert times[1] - times[0] == Fraction(1, 25)
    assert packets(tmp_path / "demo.mp4", "audio")


# ------------------------------------------------------------------ the team's real clips


REAL = ["media3_london_360p_vfr_aac.mp4", "sam2_dog_720p_aac_tmcd.mp4", "udacity_road_540p_aac.mp4"]


@pytest.mark.long
@pytest.mark.parametrize("name", REAL)
def test_real_clips_keep_their_frames_and_sound(tmp_path, enhancer, shared, name):
    source = shared / "video" / "real" / name
    enhance_video(source, tmp_path / "out.mp4", enhancer, FAST)
    assert read_times(tmp_path / "out.mp4") == read_times(source)
    assert packets(tmp_path / "out.mp4", "audio") == packets(source, "audio")


def read_times(path):
    with av.open(str(path)) as container:
        return [f.pts * f.time_base for f in container.decode(video=0)]


@pytest.mark.long
@pytest.mark.parametrize("name", [f"real/{n}" for n in REAL] + ["synthetic/backlit_powerplant_pan.mp4"])
def test_planes_path_is_within_42_db_of_the_rgb_path(shared, enhancer, name):
    scores = []
    with PyAVReader(shared / "video" / name) as reader, av.open(str(shared / "video" / name)) as second:
        coding = reader.clip.coding.kr, reader.clip.coding.kb, reader.clip.coding.full_range
        frames = (item for item in enhanced(reader.clip, reader, enhancer, Steps(0.0)) if isinstance(item, Frame))
        for number, (relighted, decoded) in enumerate(zip(frames, second.decode(video=0), strict=False)):
            if number % 40 == 0:
                exact = enhancer(float_rgb(decoded, *coding))
                scores.append(psnr(float_rgb(relighted.picture, *coding) * 255, exact * 255))
            if number > 160:
                break
    assert min(scores) > 42, scores


@pytest.mark.long
def test_backlit_pan_gains_4_db_and_more(tmp_path, enhancer, shared):
    folder = shared / "video" / "synthetic"
    enhance_video(folder / "backlit_powerplant_pan.mp4", tmp_path / "out.mp4", enhancer, FAST)
    sequences = [
        read_clip(path)[0][::20]
        for path in (
            folder / "backlit_powerplant_pan.mp4",
            tmp_path / "out.mp4",
            folder / "backlit_powerplant_pan_gt.mp4",
        )
    ]
    scores = [(psnr(before, truth), psnr(after, truth)) for before, after, truth in zip(*sequences, strict=True)]
    before, after = np.mean(scores, axis=0)
    assert after > before + 10
