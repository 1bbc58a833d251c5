"""One contract, two back ends: the same tests for PyAV and OpenCV."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from cliplit.errors import BackendError, InputError
from cliplit.runtime.video.clip import enhance_video
from cliplit.runtime.video.codecs import Encoding
from cliplit.runtime.video.frames import Frame
from cliplit.runtime.video.opencv_io import OpenCVReader, OpenCVWriter, bgr_of, has
from cliplit.runtime.video.pyav_reader import PyAVReader
from cliplit.runtime.video.pyav_writer import PyAVWriter
from made import backlit, moving, read_clip, video_command, write_clip

READERS = {"pyav": PyAVReader, "opencv": OpenCVReader}
FAST = Encoding("h264", 12, "ultrafast")


def tagged(path, pictures, **options):
    return write_clip(path, pictures, colorspace=5, color_range=1, **options)


def frames_of(reader):
    return [item for item in reader if isinstance(item, Frame)]


@pytest.fixture(params=READERS)
def reader_of(request):
    return READERS[request.param]


def test_every_frame_in_order_with_increasing_time(reader_of, tmp_path):
    source = tagged(tmp_path / "in.mp4", moving(20))
    with reader_of(source) as reader:
        frames = [(f.time, f.planes[0].shape, f.planes[1].shape) for f in frames_of(reader)]
        assert (reader.decoded, reader.damaged, reader.problems) == (20, 0, "")
        assert (reader.clip.width, reader.clip.height) == (192, 120)
        assert reader.clip.expected_frames == 20 and reader.clip.rate == 25
    assert [shape for _, *shape in frames] == [[(120, 192), (60, 96)]] * 20
    for number, (time, *_) in enumerate(frames):
        assert abs(time - Fraction(number, 25)) <= Fraction(1, 1000)


def test_variable_frame_rate(reader_of, tmp_path):
    pts = [i * 100 + (i % 3) * 17 + (900 if i > 6 else 0) for i in range(12)]
    source = tagged(tmp_path / "in.mkv", moving(12), pts=pts, sound=False)
    with reader_of(source) as reader:
        times = [float(frame.time) for frame in frames_of(reader)]
    assert np.allclose(times, np.array(pts) / 2500, atol=1.1e-3)


def test_pictures_are_those_of_the_file(reader_of, tmp_path):
    """Red is red and dark is dark, whatever codes a back end uses."""
    picture = backlit(120, 192)
    picture[:40, :60] = [200, 30, 30]
    source = tagged(tmp_path / "in.mkv", [picture] * 2, sound=False, codec="ffv1")
    with reader_of(source) as reader:
        frame = frames_of(reader)[0]
        rgb = bgr_of(frame, reader.clip)[..., ::-1].astype(int)
    assert np.abs(rgb[4:36, 4:56] - [200, 30, 30]).max() <= 6
    smooth = cv2.blur(rgb.astype(np.float32), (9, 9)) - cv2.blur(picture.astype(np.float32), (9, 9))
    assert np.abs(smooth[10:30, 70:180]).max() < 4


@pytest.mark.parametrize("size", [(121, 161), (120, 161), (64, 64)])
def test_odd_sizes(reader_of, tmp_path, size):
    source = tagged(tmp_path / "in.mkv", [backlit(*size)] * 3, sound=False, codec="ffv1")
    with reader_of(source) as reader:
        frames = frames_of(reader)
    assert len(frames) == 3 and frames[0].planes[0].shape == size


def test_a_frame_can_be_made_writable(reader_of, tmp_path):
    source = tagged(tmp_path / "in.mp4", moving(3), sound=False)
    with reader_of(source) as reader:
        for item in reader:
            kept = item.copy()
            changed = item.writable()
            changed.planes[0][...] = 16
            assert (kept.planes[0] != 16).any()


@pytest.mark.parametrize("name", ["é 你好 'x.mp4", "%d.mp4", "-x.mp4", "a!b.mp4"])
def test_names(reader_of, tmp_path, name):
    """R3.5, and names that OpenCV takes for number patterns or pipelines."""
    source = tagged(tmp_path / "plain.mp4", moving(3), sound=False).rename(tmp_path / name)
    with reader_of(source) as reader:
        assert len(frames_of(reader)) == 3


@pytest.mark.parametrize("content", [b"", b"this is no video\n" * 50, None])
def test_what_is_no_video_is_one_line(reader_of, tmp_path, content, capfd):
    source = tmp_path / "x.mp4"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(InputError) as raised:
        reader_of(source)
    assert "x.mp4" in str(raised.value) and "\n" not in str(raised.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_turned_clips_come_out_upright(reader_of, tmp_path, angle, enhancer):
    """R2.7: a corner that is red in the stored picture is where a player shows it, whichever back end wrote it."""
    picture = np.full((96, 160, 3), 60, np.uint8)
    picture[:40, :40] = [220, 20, 20]
    plain, source = tagged(tmp_path / "plain.mp4", [picture] * 4, sound=False), tmp_path / "turned.mp4"
    with av.open(str(plain)) as old, av.open(str(source), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        stream.set_display_rotation(angle)
        for packet in old.demux():
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    back_end = next(name for name, reader in READERS.items() if reader is reader_of)
    enhance_video(source, tmp_path / "out.mp4", enhancer, FAST, io=back_end)
    shown = [upright(path) for path in (source, tmp_path / "out.mp4")]
    reds = [(p[..., 0].astype(int) - p[..., 1] > 60) for p in shown]
    assert shown[0].shape == shown[1].shape
    assert (reds[0] & reds[1]).sum() > 0.8 * max(reds[0].sum(), reds[1].sum())


def upright(path):
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi"])
def test_sinks_write_what_they_are_given(tmp_path, suffix):
    source = tagged(tmp_path / "in.mp4", moving(10))
    for name in READERS:
        with READERS[name](source) as reader:
            target = tmp_path / f"é {name}{suffix}"
            opencv = name == "opencv"
            with OpenCVWriter(target, reader.clip) if opencv else PyAVWriter(target, reader.clip, FAST) as sink:
                for frame in frames_of(reader):
                    sink.write(frame)
            assert sink.written == 10
        before, after = read_clip(source)[0], read_clip(target)[0]
        assert len(after) == 10
        assert np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(before, after, strict=True)]) < 8


def test_a_failed_opencv_file_leaves_nothing(tmp_path):
    source = tagged(tmp_path / "in.mp4", moving(2))
    with OpenCVReader(source) as reader, pytest.raises(InputError, match="OpenCV writes"):
        OpenCVWriter(tmp_path / "out.xyz", reader.clip)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4"]


def test_a_gstreamer_pipeline_without_gstreamer():
    if has("GStreamer"):
        pytest.skip("this OpenCV has GStreamer")
    with pytest.raises(BackendError, match="GStreamer"):
        OpenCVReader("videotestsrc ! videoconvert ! appsink")


def test_io_opencv_on_a_clip(tmp_path):
    """8 bit, no sound, and it says so."""
    source = tagged(tmp_path / "in.mp4", moving(12))
    result = video_command(source, tmp_path / "é out.mp4", "--io", "opencv", text=True)
    assert result.returncode == 0, result.stderr
    assert "no sound" in result.stderr and "8-bit" in result.stderr
    assert len(read_clip(tmp_path / "é out.mp4")[0]) == 12
    with av.open(str(tmp_path / "é out.mp4")) as container:
        assert not container.streams.audio


def test_io_opencv_counts_pictures_of_variable_rate(tmp_path):
    """Matroska has no count of pictures; OpenCV takes the length at the highest rate for one."""
    pts = [100 * n for n in range(20)] + [2000 + 1000 * n for n in range(20)]
    source = write_clip(tmp_path / "in.mkv", moving(40), pts=pts, sound=False)
    result = video_command(source, tmp_path / "out.mkv", "--io", "opencv", text=True)
    assert result.returncode == 0, result.stderr
    assert len(read_clip(tmp_path / "out.mkv")[0]) == 40
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
    result = video_command(source, tmp_path / "cut.mkv", "--io", "opencv", text=True)
    assert result.returncode == 1 and "the file breaks off" in result.stderr


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_a_decoder_with_a_hole_is_kept_from_opencv(tmp_path):
    """CVE-2026-8461 is in the FFmpeg 8.1.1 of OpenCV's wheels, and mended in PyAV's 8.1.2."""
    source = tmp_path / "in.avi"
    making = [
        "ffmpeg",
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc=size=64x48:duration=0.2",
        "-c:v",
        "magicyuv",
        source,
    ]
    subprocess.run(making, check=True)
    with pytest.raises(InputError, match="magicyuv has a known hole; --io pyav"):
        OpenCVReader(source)
    with PyAVReader(source) as reader:
        assert sum(1 for item in reader if hasattr(item, "planes")) == 5
