"""Numbered pictures in and out, read back by OpenCV, tifffile, Pillow and FFmpeg."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from cliplit.errors import CliplitError, InputError
from cliplit.runtime.video.cli import main
from cliplit.runtime.video.clip import enhance_video
from cliplit.runtime.video.codecs import Encoding
from cliplit.runtime.video.numbered import numbered, ranges
from cliplit.runtime.video.opening import Reading
from made import backlit, identity, moving, video_command, write_clip

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def pictures(folder, suffix, deep, channels=3, count=4, first=1, height=48, width=64):
    """Write frames_0001 and so on with tifffile or OpenCV; return the pixels."""
    rng = np.random.default_rng(3)
    top, kind = (65536, np.uint16) if deep else (256, np.uint8)
    made = [rng.integers(0, top, (height, width, channels)).astype(kind) for _ in range(count)]
    for number, pixels in enumerate(made, first):
        path = folder / f"frames_{number:04d}{suffix}"
        if suffix == ".tif":
            tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["unassalpha"] if channels == 4 else None)
        else:
            cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA if channels == 4 else cv2.COLOR_RGB2BGR))
    return made


def by_opencv(path):
    """(H, W, 3 or 4) RGB(A) as stored."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def left(folder):
    return sorted(path.name for path in folder.iterdir())


# ------------------------------------------------------------------ round trips


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_untouched_pictures_keep_every_bit(tmp_path, enhancer, suffix, deep, channels):
    before = pictures(tmp_path, suffix, deep, channels)
    summary = enhance_video(tmp_path / f"frames_%04d{suffix}", tmp_path / f"out_%04d{suffix}", identity(enhancer))
    assert (summary.frames, summary.problems) == (4, "")
    for number, pixels in enumerate(before, 1):
        path = tmp_path / f"out_{number:04d}{suffix}"
        after = tifffile.imread(path) if suffix == ".tif" else by_opencv(path)
        assert after.dtype == pixels.dtype
        assert np.array_equal(after, pixels)


@needs_ffmpeg
@pytest.mark.parametrize("deep", [False, True])
def test_through_a_lossless_clip_and_back(tmp_path, enhancer, deep):
    before = pictures(tmp_path, ".png", deep)
    enhance_video(tmp_path / "frames_%04d.png", tmp_path / "clip.mkv", identity(enhancer), Encoding("ffv1"))
    form = "rgb48le" if deep else "rgb24"
    raw = subprocess.run(["ffmpeg", "-v", "error", "-i", str(tmp_path / "clip.mkv"), "-f", "rawvideo", "-pix_fmt", form,
                          "-"], check=True, capture_output=True).stdout  # fmt: skip
    by_ffmpeg = np.frombuffer(raw, before[0].dtype).reshape(4, 48, 64, 3)
    assert np.array_equal(by_ffmpeg, np.stack(before))
    enhance_video(tmp_path / "clip.mkv", tmp_path / "back_%02d.png", identity(enhancer))
    assert [np.array_equal(by_opencv(tmp_path / f"back_{n:02d}.png"), before[n - 1]) for n in (1, 2, 3, 4)] == [
        True
    ] * 4


@needs_ffmpeg
@pytest.mark.parametrize("form", ["yuv420p", "yuv422p10le", "yuv444p12le", "gray10le"])
def test_clips_become_the_pictures_that_ffmpeg_makes(tmp_path, enhancer, form):
    """Within two codes of 255 of swscale's exact conversion with BT.709's matrix."""
    source, tags = tmp_path / "in.mkv", ["-colorspace", "bt709", "-color_range", "tv"]
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=0.2", "-vf",
                    f"scale=out_color_matrix=bt709:out_range=tv,format={form}", "-c:v", "ffv1", *tags, str(source)],
                   check=True)  # fmt: skip
    flags = "flags=bicubic+accurate_rnd+full_chroma_int"
    raw = subprocess.run(["ffmpeg", "-v", "error", "-i", str(source), "-vf",
                          f"scale=in_color_matrix=bt709:in_range=tv:out_range=pc:{flags}", "-f", "rawvideo", "-pix_fmt",
                          "rgb48le", "-"], check=True, capture_output=True).stdout  # fmt: skip
    wanted = np.frombuffer(raw, np.uint16).reshape(5, 64, 96, 3) / 257
    enhance_video(source, tmp_path / "o_%d.png", identity(enhancer))
    for number in range(1, 6):
        pixels = cv2.imread(str(tmp_path / f"o_{number}.png"), cv2.IMREAD_UNCHANGED)
        assert pixels.dtype == (np.uint8 if form == "yuv420p" else np.uint16)
        assert pixels.ndim == (2 if form.startswith("gray") else 3)
        rgb = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        error = np.abs(rgb / (257 if rgb.dtype == np.uint16 else 1) - wanted[number - 1])
        assert error.max() <= 2 and error.mean() < 0.5


def test_pictures_are_relighted(tmp_path, enhancer):
    Image.fromarray(backlit()).save(tmp_path / "in_1.png")
    enhance_video(tmp_path / "in_%d.png", tmp_path / "out_%d.png", enhancer)
    before, after = by_opencv(tmp_path / "in_1.png"), by_opencv(tmp_path / "out_1.png")
    assert after[-40:].mean() > 1.5 * before[-40:].mean()  # the dark ground


def test_the_profile_and_gray_stay(tmp_path, enhancer):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(backlit()).save(tmp_path / "in_1.png", icc_profile=profile)
    enhance_video(tmp_path / "in_%d.png", tmp_path / "out_%d.png", identity(enhancer))
    with Image.open(tmp_path / "out_1.png") as image:
        assert image.info["icc_profile"] == profile
    summary = enhance_video(tmp_path / "in_%d.png", tmp_path / "out.mkv", identity(enhancer), Encoding("ffv1"))
    assert "the colour profile of the pictures is left out: clips hold none" in summary.notes
    Image.fromarray(backlit()[..., 0]).save(tmp_path / "gray_1.png")
    enhance_video(tmp_path / "gray_%d.png", tmp_path / "also_%d.png", identity(enhancer))
    with Image.open(tmp_path / "also_1.png") as image:
        assert image.mode == "L"


def with_cicp(path, primaries, transfer):
    """PNG third edition, 11.3.2.6: primaries, transfer, matrix 0, full range."""
    data, body = path.read_bytes(), b"cICP" + bytes([primaries, transfer, 0, 1])
    path.write_bytes(data[:33] + struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body)) + data[33:])


@pytest.mark.parametrize("deep", [False, True])
def test_hdr_pictures_stay_hdr(tmp_path, enhancer, deep):
    pictures(tmp_path, ".png", deep, count=2)
    for number in (1, 2):
        with_cicp(tmp_path / f"frames_000{number}.png", 9, 16)
    summary = enhance_video(tmp_path / "frames_%04d.png", tmp_path / "o_%d.png", enhancer)
    assert any(note.startswith("PQ (HDR10) stays HDR") for note in summary.notes)
    assert (tmp_path / "o_1.png").read_bytes().count(b"cICP\x09\x10\x00\x01") == 1
    assert cv2.imread(str(tmp_path / "o_1.png"), cv2.IMREAD_UNCHANGED) is not None
    with pytest.raises(InputError, match="--hdr refuse"):
        enhance_video(tmp_path / "frames_%04d.png", tmp_path / "p_%d.png", enhancer, reading=Reading(hdr="refuse"))


# ------------------------------------------------------------------ numbers and times


def test_numbers_and_the_rate_are_those_of_the_files(tmp_path, enhancer):
    pictures(tmp_path, ".png", False, first=1001)
    summary = enhance_video(tmp_path / "frames_%04d.png", tmp_path / "o_%06d.tif", identity(enhancer))
    assert [name for name in left(tmp_path) if name.startswith("o_")] == [f"o_00100{n}.tif" for n in (1, 2, 3, 4)]
    assert "numbered pictures do not say their rate; taken as 25 frames/s (--fps)" in summary.notes
    done = video_command("frames_%04d.png", "o.mkv", "--codec", "ffv1", "--fps", "24000/1001", cwd=tmp_path)
    assert (done.returncode, b"do not say" in done.stderr) == (0, False)
    with av.open(str(tmp_path / "o.mkv")) as file:
        assert str(file.streams.video[0].average_rate) == "24000/1001"
        assert sum(1 for _ in file.decode(video=0)) == 4


def test_missing_numbers_are_named_and_their_time_stays(tmp_path):
    pictures(tmp_path, ".png", False, count=8)
    for number in (3, 5, 6):
        (tmp_path / f"frames_000{number}.png").unlink()
    done = video_command("frames_%04d.png", "o.mkv", "--codec", "ffv1", cwd=tmp_path)
    assert done.returncode == 1
    assert b"numbers missing of 1 to 8: 3, 5 to 6" in done.stderr
    with av.open(str(tmp_path / "o.mkv")) as file:
        assert [round(frame.time * 25) for frame in file.decode(video=0)] == [0, 1, 3, 6, 7]
    assert video_command("frames_%04d.png", "o_%04d.png", cwd=tmp_path).returncode == 1
    assert not (tmp_path / "o_0003.png").exists() and (tmp_path / "o_0004.png").exists()


def test_a_damaged_picture_is_named_and_the_others_are_done(tmp_path):
    pictures(tmp_path, ".png", True)
    (tmp_path / "frames_0001.png").write_bytes(b"no picture")
    (tmp_path / "frames_0003.png").write_bytes((tmp_path / "frames_0003.png").read_bytes()[:900])
    done = video_command("frames_%04d.png", "o_%d.png", cwd=tmp_path)
    assert done.returncode == 1
    assert b"2 pictures cannot be read (frames_0001.png" in done.stderr and b"frames_0003.png" in done.stderr
    assert [name for name in left(tmp_path) if name.startswith("o_")] == ["o_2.png", "o_4.png"]


def test_the_richest_picture_decides(tmp_path, enhancer):
    """A transparent one among opaque ones, one with 16 bits among those with 8, one of another size."""
    Image.fromarray(backlit(48, 64)).save(tmp_path / "in_1.png")
    Image.fromarray(np.dstack([backlit(48, 64), np.full((48, 64), 77, np.uint8)])).save(tmp_path / "in_2.png")
    cv2.imwrite(str(tmp_path / "in_3.png"), np.full((48, 64, 3), 1000, np.uint16))
    Image.fromarray(backlit(96, 128)).save(tmp_path / "in_4.png")
    summary = enhance_video(tmp_path / "in_%d.png", tmp_path / "o_%d.png", identity(enhancer))
    found = [by_opencv(tmp_path / f"o_{n}.png") for n in (1, 2, 3, 4)]
    assert {(p.shape, str(p.dtype)) for p in found} == {((48, 64, 4), "uint16")}
    assert [p[..., 3].max() for p in found] == [65535, 77 * 257, 65535, 65535]
    assert "the size changes from 64x48 to 128x96 at in_4.png: pictures are scaled to the first size" in summary.notes


def test_what_pictures_cannot_hold_of_a_clip_is_named(tmp_path, enhancer):
    source = write_clip(tmp_path / "in.mp4", moving(6, 48, 64), pts=[0, 100, 200, 700, 800, 900])
    summary = enhance_video(source, tmp_path / "o_%d.jpg", identity(enhancer))
    notes = "; ".join(summary.notes)
    assert "stream 1 (audio, aac) is left out" in notes
    assert "3 pictures are not at their own times" in notes
    assert len([name for name in left(tmp_path) if name.startswith("o_")]) == 6
    enhance_video(source, tmp_path / "c_%d.png", identity(enhancer), cfr=Fraction(25))
    assert len([name for name in left(tmp_path) if name.startswith("c_")]) == 10


@needs_ffmpeg
@pytest.mark.parametrize("turn", [90, 180, 270])
def test_pictures_of_a_turned_clip_are_upright(tmp_path, enhancer, turn):
    """FFmpeg turns by the display matrix; what it does to the chroma of the test picture is within four codes."""
    plain = write_clip(tmp_path / "plain.mp4", moving(2, 48, 64), sound=False)
    turned(plain, tmp_path / "in.mp4", turn)
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(tmp_path / "in.mp4"), str(tmp_path / "f_%d.png")], check=True)
    enhance_video(tmp_path / "in.mp4", tmp_path / "o_%d.png", identity(enhancer))
    ours, theirs = (by_opencv(tmp_path / f"{name}_2.png").astype(int) for name in "of")
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).mean() < 4 < np.abs(np.rot90(ours, 2) - theirs).mean()


def turned(source, target, degrees):
    """Copy a clip with the display matrix of a turn: a, b, c, d of ISO/IEC 14496-12 section 8.2.2 in 16.16."""
    a, b = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        stream = after.add_stream_from_template(before.streams.video[0])
        stream.set_display_matrix([a << 16, b << 16, 0, -b << 16, a << 16, 0, 0, 0, 1 << 30])
        for packet in before.demux(video=0):
            if packet.size:
                packet.stream = stream
                after.mux(packet)


def test_pipes_and_pictures(tmp_path):
    before = pictures(tmp_path, ".png", False)
    out = video_command("frames_%04d.png", "-", "--codec", "ffv1", "--strength", "0", cwd=tmp_path)
    assert out.returncode == 0
    (tmp_path / "clip.mkv").write_bytes(out.stdout)
    with av.open(str(tmp_path / "clip.mkv")) as file:
        found = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert np.array_equal(np.stack(found), np.stack(before))


# ------------------------------------------------------------------ nothing is lost or destroyed


def test_pictures_that_exist_are_replaced_only_when_asked(tmp_path):
    pictures(tmp_path, ".png", False)
    (tmp_path / "o_0002.png").write_bytes(b"mine")
    (tmp_path / "o_0009.png").write_bytes(b"old")
    done = video_command("frames_%04d.png", "o_%04d.png", cwd=tmp_path)
    assert done.returncode == 1
    assert b"o_0002.png: exists already (2 pictures of these names do); use --overwrite" in done.stderr
    assert (tmp_path / "o_0002.png").read_bytes() == b"mine" and not (tmp_path / "o_0001.png").exists()
    done = video_command("frames_%04d.png", "o_%04d.png", "--overwrite", cwd=tmp_path)
    assert (done.returncode, b"older pictures of these names stay: 9" in done.stderr) == (0, True)
    assert by_opencv(tmp_path / "o_0002.png").shape == (48, 64, 3)
    assert (
        b"is the input itself"
        in video_command("frames_%04d.png", "frames_%04d.png", "--overwrite", cwd=tmp_path).stderr
    )


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_leaves_no_picture(tmp_path, kind):
    pictures(tmp_path, ".png", False, count=150, height=360, width=640)
    (tmp_path / "o_0001.png").write_bytes(b"mine")
    names = left(tmp_path)
    code = "from cliplit.runtime.video.cli import main; main()"
    with subprocess.Popen([sys.executable, "-c", code, "frames_%04d.png", "o_%04d.png", "--overwrite"], cwd=tmp_path,
                          stderr=subprocess.PIPE) as run:  # fmt: skip
        until = time.monotonic() + 300
        while len(left(tmp_path)) == len(names) or not any(list(p.iterdir()) for p in tmp_path.iterdir() if p.is_dir()):
            assert run.poll() is None and time.monotonic() < until
            time.sleep(0.02)
        os.kill(run.pid, kind)
        run.communicate()
    assert run.returncode == 130
    assert left(tmp_path) == names
    assert (tmp_path / "o_0001.png").read_bytes() == b"mine"


def test_a_name_that_is_taken_at_the_end_loses_nothing(tmp_path, enhancer):
    pictures(tmp_path, ".png", False)
    (tmp_path / "o_0003.png").mkdir()
    with pytest.raises(CliplitError, match="the finished pictures are in") as error:
        enhance_video(tmp_path / "frames_%04d.png", tmp_path / "o_%04d.png", identity(enhancer))
    kept = [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert str(kept[0]) in str(error.value)
    assert left(kept[0]) == ["o_0003.png", "o_0004.png"]


@pytest.mark.parametrize(
    "arguments,line",
    [(("x_%d.png", "o.mkv"), "x_%d.png: no picture of such a name (x_1.png would be one)"),
     (("x_%d.exr", "o.mkv"), ".exr holds linear light"),
     (("x_%d.dpx", "o.mkv"), "convert others first"),
     (("frames_%04d.png", "o_%d.exr"), ".exr holds linear light"),
     (("frames_%04d.png", "no/o_%d.png"), "no: no such folder"),
     (("frames_%04d.png", "o_%d_%d.png"), "has 2 numbers"),
     (("frames_%04d.png", "o_%d.png", "--codec", "h264"), "are for clips, not for pictures"),
     (("frames_%04d.png", "o.mkv", "--resume"), "--resume is for clips"),
     (("frames_%04d.png", "o.mkv", "--io", "opencv"), "--io opencv is for clips"),
     (("frames_%04d.png", "o.mkv", "--video-stream", "1"), "has no video stream 1"),
     (("frames_%04d.png", "o.mkv", "--max-pixels", "99"), "more than 99 pixels"),
     (("frames_%04d.png", "frames_0001.png", "o.mkv"), "one IN"),
     (("frames_0001.png", "o.png"), "cliplit-image relights pictures"),
     (("o.mkv", "o2.mkv", "--fps", "24"), "--fps is for numbered pictures")],
)  # fmt: skip
def test_one_line_that_says_what_is_wrong(tmp_path, monkeypatch, arguments, line):
    pictures(tmp_path, ".png", False, count=2)
    monkeypatch.chdir(tmp_path)
    before = left(tmp_path)
    done = CliRunner().invoke(main, arguments, prog_name="cliplit-video")
    assert done.exit_code in (1, 2)
    assert line in done.output
    assert isinstance(done.exception, SystemExit)
    assert left(tmp_path) == before


def test_names(tmp_path):
    assert numbered(tmp_path / "a_%04d.png").name(7) == "a_0007.png"
    assert numbered("a_%4d.b.TIF").name(12345) == "a_12345.b.TIF"
    assert numbered("%d.png").name(3) == "3.png"
    assert numbered("a_%04d.mp4") is None and numbered("a.png") is None
    (tmp_path / "b_%d.png").write_bytes(b"")
    assert numbered(tmp_path / "b_%d.png") is None  # a file that is really named so
    for name in ("a_0001.png", "a_1.png", "a_00001.png", "a_0002.png.part", "aa_0003.png", "a_12345.png"):
        (tmp_path / name).write_bytes(b"")
    assert numbered(tmp_path / "a_%04d.png").numbers() == [1, 12345]
    assert ranges([5, 1, 2, 3, 9, 10]) == "1 to 3, 5, 9 to 10"
