"""Files cut in their last picture: what is lost is said, though no decoder and no demuxer raises."""

from __future__ import annotations

import shutil
import struct

import pytest

from cliplit.runtime.video.endings import cut_off, end_of_segment, ends_inside_page, footer
from made import backlit, read_clip, video_command, write_clip

FRAMES = 12
KINDS = [
    ("a.mp4", "libx264", {"movflags": "faststart"}), ("a.mov", "prores_ks", {"movflags": "faststart"}),
    ("a.mkv", "libx264", {}), ("b.mkv", "ffv1", {}), ("a.webm", "libvpx-vp9", {}), ("a.flv", "libx264", {}),
    ("a.mxf", "libx264", {}), ("f.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
]  # fmt: skip


def clip(path, codec, **settings):
    form = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
    return write_clip(path, [backlit(96, 160, n) for n in range(FRAMES)], sound=False, codec=codec, pixel_format=form,
                      **settings)  # fmt: skip


@pytest.mark.parametrize("name, codec, settings", KINDS)
def test_a_cut_in_the_last_picture_is_said(tmp_path, name, codec, settings):
    source, target = clip(tmp_path / name, codec, **settings), tmp_path / "out.mkv"
    assert video_command(source, target, "--quiet").returncode == 0
    data = source.read_bytes()
    source.write_bytes(data[: data.rfind(b"mfra") - 4 - 40] if name == "f.mp4" else data[: last_picture(source) + 40])
    done = video_command(source, target, "--quiet", "--overwrite")
    assert done.returncode == 1
    said = done.stderr.decode()
    assert "the file breaks off" in said and "(inside a frame)" in said and "packets could not be" not in said
    assert len(read_clip(target)[0]) >= FRAMES - 2


def last_picture(path):
    """Where the last packet lies in the file."""
    import av

    with av.open(str(path)) as container:
        return max(packet.pos or 0 for packet in container.demux(video=0) if packet.size)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_ogg_that_ends_inside_a_page(tmp_path):
    import subprocess

    source = tmp_path / "a.ogv"
    shot = ["-f", "lavfi", "-i", "testsrc2=s=160x96:r=25:d=0.4", "-c:v", "libtheora"]
    subprocess.run(["ffmpeg", "-v", "error", *shot, str(source)], check=True)
    assert not cut_off(source, "ogg")
    data = source.read_bytes()
    for lost in (1, 40, 300):
        source.write_bytes(data[:-lost])
        assert cut_off(source, "ogg")
    done = video_command(source, tmp_path / "out.mkv", "--quiet")
    assert done.returncode == 1 and b"the file breaks off" in done.stderr


@pytest.mark.parametrize("cut, frames", [(0, 10), (1, 10)])
def test_what_loses_only_an_index_is_whole(tmp_path, cut, frames):
    """An AVI's index stands behind its pictures."""
    source = clip(tmp_path / "a.avi", "mpeg4")
    source.write_bytes(source.read_bytes()[: -cut or None])
    assert video_command(source, tmp_path / "out.mkv", "--quiet").returncode == 0


def test_sizes_of_matroska_are_read_as_ebml_says():
    """RFC 8794: 1 + n zeros in front of a number of 7 (n + 1) bits; all ones are no number."""
    head = bytes.fromhex("1a45dfa3") + b"\x84" + bytes(4)
    assert end_of_segment(head + bytes.fromhex("18538067") + b"\x8a" + bytes(20)) == 9 + 5 + 10
    assert end_of_segment(head + b"\xec\x82\0\0" + bytes.fromhex("18538067") + b"\x41\x00" + bytes(20)) == 13 + 6 + 256
    eight = b"\x01" + struct.pack(">Q", 1 << 40)[1:]
    assert end_of_segment(head + bytes.fromhex("18538067") + eight + bytes(9)) == 9 + 12 + (1 << 40)
    for unknown in (b"\xff", b"\x01" + b"\xff" * 7):
        assert end_of_segment(head + bytes.fromhex("18538067") + unknown + bytes(20)) == 0
    assert end_of_segment(b"") == end_of_segment(bytes(100)) == end_of_segment(head) == 0


def test_pages_of_ogg_are_as_long_as_their_lacing_says():
    """RFC 3533, section 6: 27 bytes, the number of segments in the last of them, their lengths, and they themselves."""
    page = b"OggS" + bytes(22) + b"\x02" + b"\xff\x10" + bytes(255 + 16)
    assert not ends_inside_page(page) and not ends_inside_page(b"\0" * 50 + page)
    assert all(ends_inside_page(page[:length]) for length in (4, 26, 27, 28, 29, 299))
    assert not ends_inside_page(b"nothing of the kind")


def test_the_footer_of_mxf_is_where_its_header_says():
    """SMPTE ST 377-1, table 5: key, length in BER, versions, grid, this partition, the one before, the footer."""
    key = bytes.fromhex("060e2b34020501010d01020101020400")
    numbers = struct.pack(">HHIQQQ", 1, 3, 512, 0, 0, 70_000)
    for length in (b"\x58", b"\x83\x00\x00\x58", b"\x87" + bytes(6) + b"\x58"):
        assert footer(key + length + numbers + bytes(64)) == 70_000
        assert footer(b"run-in" + key + length + numbers + bytes(64)) == 70_006
        assert footer(key + length + numbers[:-8] + bytes(64)) == -1
    assert footer(b"") == footer(key) == footer(bytes(200)) == -1
