"""Sizes that a clip may ask for, names that a file system allows, and what OUT may be."""

from __future__ import annotations

import struct
import subprocess

import av
import pytest
from test_video_changes import FFMPEG, joined, made, pytestmark  # noqa: F401 - FFmpeg makes the clips

from cliplit.errors import InputError
from cliplit.runtime.video.clip import enhance_video
from cliplit.runtime.video.codecs import Encoding
from cliplit.runtime.video.opening import Reading
from cliplit.runtime.video.pyav_reader import PyAVReader
from made import moving, video_command, write_clip

FAST = Encoding(preset="ultrafast")


def jpeg_header(side):
    """The start of a JPEG (ITU-T T.81, B.2.2) of 65535x65535, and a scan without a picture in it."""
    frame = b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", side, side) + b"\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01"
    return b"\xff\xd8" + frame + b"\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00" + b"\0" * 200 + b"\xff\xd9"


@pytest.mark.parametrize(("name", "data"), [
    ("in.y4m", b"YUV4MPEG2 W65535 H65535 F25:1 Ip A1:1 C420jpeg\nFRAME\n" + b"\0" * 1000),
    ("in.mjpeg", jpeg_header(65535)),
])  # fmt: skip
def test_a_header_that_asks_for_all_memory(tmp_path, enhancer, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=r"65535x65535 .*--max-pixels"):
        enhance_video(tmp_path / name, tmp_path / "out.mp4", enhancer, FAST)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("resume", [None, {}])
@pytest.mark.parametrize("container", ["mkv", "ts"])
def test_a_later_picture_that_is_larger(tmp_path, enhancer, container, resume):
    source = joined(tmp_path / "in.ts", made(tmp_path / "a.ts"), made(tmp_path / "b.ts", size="1280x800"))
    if container == "mkv":
        subprocess.run([*FFMPEG, "-i", source, "-c", "copy", tmp_path / "in.mkv"], check=True)
    source = tmp_path / f"in.{container}"
    with pytest.raises(InputError, match=r"1280x800 are more than 100000 pixels; --max-pixels"):
        enhance_video(source, tmp_path / "o.mp4", enhancer, FAST, reading=Reading(max_pixels=100000), resume=resume)
    assert not list(tmp_path.glob("*o.mp4*"))
    limit = Reading(max_pixels=1280 * 800)
    assert enhance_video(source, tmp_path / "o.mp4", enhancer, FAST, reading=limit).frames == 50


@pytest.mark.parametrize(("codec", "name"), [("libx264", "a.mp4"), ("libx265", "a.mkv"), ("mpeg2video", "a.mpg"),
                                             ("libvpx-vp9", "a.webm"), ("mpeg4", "a.avi")])  # fmt: skip
def test_the_limit_counts_the_pixels_that_are_shown(tmp_path, codec, name):
    """Codecs code whole blocks: HEVC's are up to 64 wide."""
    source = made(tmp_path / name, "-c:v", codec, size="162x98", seconds=0.2)
    with PyAVReader(source, Reading(max_pixels=162 * 98)) as reader:
        assert sum(1 for item in reader if hasattr(item, "planes")) == 5
    with pytest.raises(InputError, match="162x98"), PyAVReader(source, Reading(max_pixels=162 * 98 - 1)) as reader:
        list(reader)


@pytest.mark.parametrize(("out", "code", "said"), [
    ("", 2, b"OUT is empty"), ("new/", 2, b"new/: no such folder"), ("name", 1, b"name: has no suffix"),
    ("name.", 1, b"name.: has no suffix"), ("no/o.mp4", 1, b"no such folder to write o.mp4 to"),
])  # fmt: skip
def test_messages_say_what_was_typed(tmp_path, out, code, said):
    source = write_clip(tmp_path / "in.mp4", moving(2, 64, 96), sound=False)
    done = video_command("in.mp4", out, cwd=tmp_path)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert [file.name for file in tmp_path.iterdir()] == [source.name]


def test_an_encrypted_clip_that_cannot_be_opened(tmp_path, enhancer):
    """Common encryption in fragments (ISO/IEC 23001-7), which FFmpeg writes and does not read."""
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
           "encryption_kid": "a7e61c373e219033c21091fa607bf3b8"}  # fmt: skip
    write_clip(tmp_path / "plain.mp4", moving(5, 64, 96))
    for name, options in (("whole.mp4", key), ("parts.mp4", key | {"movflags": "frag_keyframe+empty_moov"})):
        with av.open(str(tmp_path / "plain.mp4")) as old, av.open(str(tmp_path / name), "w", options=options) as new:
            targets = {s.index: new.add_stream_from_template(s) for s in old.streams}
            for item in old.demux():
                if item.size:
                    item.stream = targets[item.stream.index]
                    new.mux(item)
        with pytest.raises(InputError, match="is encrypted"):
            enhance_video(tmp_path / name, tmp_path / "out.mp4", enhancer)
