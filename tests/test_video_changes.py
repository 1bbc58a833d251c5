"""What changes within a clip: followed, or said once with the time. The right values are those that FFmpeg reads."""

from __future__ import annotations

import re
import shutil
import subprocess
from fractions import Fraction
from itertools import groupby

import av
import numpy as np
import pytest

from cliplit.runtime.video.clip import enhance_video
from cliplit.runtime.video.codecs import Encoding
from made import identity

FFMPEG = ("ffmpeg", "-nostdin", "-hide_banner", "-v", "error", "-y")
INTERLACED = {order: ["-vf", f"interlace=scan={order}", "-flags", "+ildct+ilme", "-x264-params", f"{order}=1"]
              for order in ("tff", "bff")}  # fmt: skip

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def made(path, *options, size="96x64", rate=25, seconds=1):
    """A clip by FFmpeg, x264 unless the options say another encoder."""
    source = ["-f", "lavfi", "-i", f"testsrc2=s={size}:r={rate}:d={seconds}", "-c:v", "libx264", "-crf", "20"]
    subprocess.run([*FFMPEG, *source, *options, str(path)], check=True)
    return path


def joined(path, *parts):
    """Transport streams one behind the other, as recorders and `cat` make them."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def scans(path):
    """Runs of (interlaced, upper field first) by ffprobe: [((1, 1), 25), ...]."""
    what = ["-select_streams", "v:0", "-show_entries", "frame=interlaced_frame,top_field_first", "-of", "csv=p=0"]
    said = subprocess.run(["ffprobe", "-v", "error", *what, str(path)], check=True, capture_output=True, text=True)
    found = [tuple(int(n) for n in line.split(",")[:2]) for line in said.stdout.split()]
    return [(scan, len(list(run))) for scan, run in groupby(found)]


def order_of(path):
    what = ["-select_streams", "v:0", "-show_entries", "stream=field_order", "-of", "csv=p=0"]
    said = subprocess.run(["ffprobe", "-v", "error", *what, str(path)], check=True, capture_output=True, text=True)
    return said.stdout.strip()


@pytest.mark.parametrize("codec", ["h264", "prores", "ffv1"])
def test_the_order_of_fields_comes_from_the_pictures(tmp_path, enhancer, codec):
    """ProRes whose `fiel` atom says the upper field first, and whose pictures say the lower one."""
    source = made(tmp_path / "in.mov", "-vf", "interlace=scan=bff", "-c:v", "prores_ks", "-flags", "+ildct", "-top",
                  "0", "-field_order", "tt", rate=50, seconds=0.4)  # fmt: skip
    assert (order_of(source), scans(source)) == ("tt", [((1, 0), 10)])
    enhance_video(source, tmp_path / "out.mkv", enhancer, Encoding(codec))
    assert scans(tmp_path / "out.mkv") == [((1, 0), 10)]
    enhance_video(source, tmp_path / "out.mov", enhancer, Encoding("prores"))
    assert (order_of(tmp_path / "out.mov"), scans(tmp_path / "out.mov")) == ("bb", [((1, 0), 10)])


def test_progressive_pictures_under_an_interlaced_tag(tmp_path, enhancer):
    """x264's fake-interlaced: the stream may hold fields, its pictures hold none; HEVC can take it."""
    source = made(tmp_path / "in.mp4", "-x264-params", "fake-interlaced=1:pic-struct=1")
    summary = enhance_video(source, tmp_path / "out.mp4", enhancer, Encoding("hevc"))
    assert summary.frames == 25
    assert scans(tmp_path / "out.mp4") == [((0, 0), 25)]


@pytest.mark.parametrize("resume", [None, {"kind": "test"}])
@pytest.mark.parametrize(("first", "second", "after"), [("tff", "bff", (1, 0)), ("bff", "tff", (1, 1))])
def test_the_order_of_fields_changes(tmp_path, enhancer, first, second, after, resume):
    """Every picture keeps its own order: x264 by itself turns those it still holds as well."""
    parts = [made(tmp_path / f"{order}.ts", *INTERLACED[order], rate=50) for order in (first, second)]
    source = joined(tmp_path / "in.ts", *parts)
    summary = enhance_video(source, tmp_path / "out.mkv", enhancer, Encoding(), resume=resume)
    assert summary.frames == 50
    assert scans(tmp_path / "out.mkv") == [((1, 1 - after[1]), 25), (after, 25)]
    with av.open(str(tmp_path / "out.mkv")) as container:
        times = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    assert np.allclose(np.diff([float(t) for t in times]), 0.04, atol=0.0011)


def test_progressive_becomes_interlaced_and_back(tmp_path, enhancer):
    plain, woven = made(tmp_path / "p.ts"), made(tmp_path / "i.ts", *INTERLACED["tff"], rate=50)
    summary = enhance_video(joined(tmp_path / "pi.ts", plain, woven), tmp_path / "pi.mkv", enhancer, Encoding())
    assert sum("scan changes from progressive to interlaced at 1.00 s" in note for note in summary.notes) == 1
    assert scans(tmp_path / "pi.mkv") == [((0, 0), 50)]
    summary = enhance_video(joined(tmp_path / "ip.ts", woven, plain), tmp_path / "ip.mkv", enhancer, Encoding())
    assert sum("scan changes from interlaced to progressive at 1.00 s" in note for note in summary.notes) == 1
    assert scans(tmp_path / "ip.mkv") == [((1, 1), 50)]


@pytest.mark.parametrize(("options", "size", "note"), [
    (["-vf", "setsar=2"], "96x64", "the sample aspect changes from 1 to 2 at 1.00 s"),
    ([], "128x96", "the size changes from 96x64 to 128x96 at 1.00 s: the clip is scaled"),
    (["-pix_fmt", "yuv422p10le"], "96x64", "the pixel format changes from yuv420p to yuv422p10le at 1.00 s"),
    (["-colorspace", "bt709"], "96x64", "the matrix changes from 6 to 1 at 1.00 s"),
    (["-vf", "scale=out_range=pc", "-color_range", "pc"], "96x64", "the range changes from limited to full at 1.00 s"),
])  # fmt: skip
def test_what_changes_is_said_once_with_the_time(tmp_path, enhancer, options, size, note):
    before = made(tmp_path / "a.ts")
    source = joined(tmp_path / "in.ts", before, made(tmp_path / "b.ts", *options, size=size), before)
    summary = enhance_video(source, tmp_path / "out.mp4", enhancer, Encoding())
    assert summary.frames == 75
    assert sum(note in line for line in summary.notes) == 1, summary.notes
    assert sum("changes from" in line for line in summary.notes) == 1, summary.notes


def test_a_changed_range_is_converted_from_its_first_picture_on(tmp_path, enhancer):
    """A gray of 128 in limited range is 130 in full range (ITU-R BT.709, 219 steps for 255); tags may come early."""
    gray = ["-f", "lavfi", "-i", "color=0x808080:s=96x64:r=25:d=1"]
    for name, span in (("a", "tv"), ("b", "pc")):
        subprocess.run(
            [*FFMPEG, *gray, "-vf", f"scale=out_range={span}", "-color_range", span, "-c:v", "libx264", "-qp", "0",
             "-bf", "2", str(tmp_path / f"{name}.ts")], check=True)  # fmt: skip
    source = joined(tmp_path / "in.ts", tmp_path / "a.ts", tmp_path / "b.ts")
    enhance_video(source, tmp_path / "out.mkv", identity(enhancer), Encoding("ffv1"))
    with av.open(str(tmp_path / "out.mkv")) as container:
        levels = [int(np.median(frame.to_ndarray()[:64])) for frame in container.decode(video=0)]
    expected = round(16 + 128 / 255 * 219)
    assert set(levels) <= {expected, expected - 1, expected + 1}
    assert len(levels) == 50


def test_fields_keep_their_order_beside_the_original(tmp_path, enhancer):
    from cliplit.runtime.video.request import Steps

    source = made(tmp_path / "in.mp4", *INTERLACED["tff"], rate=50)
    enhance_video(source, tmp_path / "out.mkv", enhancer, Encoding(), steps=Steps(compare="side"))
    assert scans(tmp_path / "out.mkv") == [((1, 1), 25)]
    enhance_video(source, tmp_path / "slow.mkv", enhancer, Encoding(), cfr=Fraction(50))
    assert scans(tmp_path / "slow.mkv") == [((1, 1), 49)]


def with_hdr10_plus(path, source, first):
    """HEVC with metadata of SMPTE ST 2094-40 (CTA-861.4: ITU-T T.35, provider 0x3C) from one picture on."""
    fields = [(0xB5, 8), (0x3C, 16), (1, 16), (4, 8), (1, 8), (1, 2), (400, 27), (0, 1), *[(5000, 17)] * 3, (3000, 17),
              (1, 4), (50, 7), (2000, 17), (10, 10), (0, 3)]  # fmt: skip
    bits = "".join(format(value, f"0{count}b") for value, count in fields)
    bits += "0" * (-len(bits) % 8)
    message = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    units = re.split(b"\0*\0\0\1", source.read_bytes())[1:]
    out, number = b"", 0
    for unit in units:
        if (unit[0] >> 1 & 63) < 32 and unit[2] & 0x80:  # the first slice of a picture
            if number >= first:
                body = re.sub(b"\0\0(?=[\0-\3])", b"\0\0\3", bytes([4, len(message)]) + message)
                out += b"\0\0\0\1" + bytes([39 << 1, 1]) + body + b"\x80"
            number += 1
        out += b"\0\0\0\1" + unit
    path.write_bytes(out)
    return path


@pytest.mark.parametrize("codec", ["hevc", "av1", "ffv1"])
def test_hdr10_plus_that_begins_later_is_named(tmp_path, enhancer, codec):
    """It describes pictures before they were relighted, so it must not come along either."""
    plain = made(tmp_path / "in.hevc", "-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params",
                 "log-level=none:bframes=0", "-colorspace", "bt2020nc", "-color_primaries", "bt2020",
                 "-color_trc", "smpte2084", seconds=0.8)  # fmt: skip
    source = with_hdr10_plus(tmp_path / "plus.hevc", plain, 12)
    with av.open(str(source)) as container:
        assert ["DYNAMIC_HDR_PLUS" in {d.type.name for d in f.side_data} for f in container.decode(video=0)] == [
            number >= 12 for number in range(20)
        ]
    summary = enhance_video(source, tmp_path / "out.mkv", enhancer, Encoding(codec))
    assert [note for note in summary.notes if "HDR10+" in note] == [
        "HDR10+ metadata is left out, from 0.48 s on: it cannot be written again"
    ]
    with av.open(str(tmp_path / "out.mkv")) as container:
        kinds = {d.type.name for f in container.decode(video=0) for d in f.side_data}
    assert "DYNAMIC_HDR_PLUS" not in kinds


def test_mpeg2_without_pan_and_scan_gets_no_note_of_it(tmp_path, enhancer):
    """FFmpeg hangs that on every picture of MPEG-2, all 0 where the stream has no picture display extension."""
    source = made(tmp_path / "in.mpg", "-c:v", "mpeg2video", "-q:v", "5", seconds=0.4)
    summary = enhance_video(source, tmp_path / "out.mkv", enhancer, Encoding())
    assert not any("pan and scan" in note for note in summary.notes)
