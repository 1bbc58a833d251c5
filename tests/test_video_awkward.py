"""The team's awkward and damaged clips: stream lists, times, tags before and after; skipped where they are not."""

from __future__ import annotations

import subprocess
import sys

import av
import pytest

from cliplit.runtime.video.clip import enhance_video
from cliplit.runtime.video.codecs import Encoding
from cliplit.runtime.video.pyav_reader import PyAVReader

FAST = Encoding(preset="ultrafast")
AWKWARD = [
    "audio_delayed_1500ms.mkv", "audio_longer_than_video.mp4", "fullrange_noaudio.mp4", "interlaced_bff_h264.mp4",
    "media3_hdr10_av1_portrait.mp4", "media3_hlg10_colorchart.mp4", "media3_odd_161x121_vp9.webm",
    "media3_srt_subs.mkv", "multi_audio_subs_chapters_attach.mkv", "odd_853x479_yuv444.mp4",
    "rotated90_displaymatrix.mov", "single_frame.mp4", "torchcodec_fullrange_yuvj.mp4", "torchcodec_h265_10bit.mp4",
    "torchcodec_var_fps.mp4", "vfr_30_to_10_with_gap.mkv",
]  # fmt: skip


def described(path):
    """What must be the same before and after, by stream."""
    with av.open(str(path)) as container:
        kinds = []
        for s in container.streams:
            context = s.codec_context
            kinds.append(
                (s.type, context.codec.canonical_name if context else s.name, s.metadata.get("language"),
                 int(s.disposition), context.pix_fmt.replace("yuvj", "yuv") if s.type == "video" else None)
            )  # fmt: skip
        return kinds, [(c["start"], c["end"], c["metadata"]) for c in container.chapters()]


def packet_times(path):
    with av.open(str(path)) as container:
        found = {s.index: [] for s in container.streams if s.type in ("video", "audio", "subtitle")}
        for packet in container.demux([container.streams[i] for i in found]):
            if packet.size:
                found[packet.stream.index].append(packet.pts * packet.time_base)
    return {index: sorted(times) for index, times in found.items()}


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_clips_lose_nothing(tmp_path, enhancer, shared, name):
    source = shared / "video" / "awkward" / name
    target = tmp_path / f"out{source.suffix}"
    summary = enhance_video(source, target, enhancer, FAST)
    assert summary.frames == summary.decoded > 0
    assert not summary.problems
    assert described(target) == described(source)
    assert packet_times(target) == packet_times(source)
    with PyAVReader(source) as before, PyAVReader(target) as after:
        for fact in ("width", "height", "colour", "display_matrix", "sample_aspect_ratio", "field_order", "mastering"):
            assert getattr(after.clip, fact) == getattr(before.clip, fact), fact


def run(*arguments):
    code = "from cliplit.runtime.video.cli import main; main(prog_name='cliplit-video')"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name,said", [("bitflips_in_mdat.mp4", "of 360 frames damaged"),
                                       ("truncated_faststart_60pct.mp4", "of 360 frames missing")])  # fmt: skip
def test_damaged_clips_give_what_can_be_decoded_at_its_time(tmp_path, shared, name, said):
    source = shared / "video" / "corrupt" / name
    result = run(source, tmp_path / "out.mp4", "--preset", "ultrafast")
    assert result.returncode == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        expected = []
        for packet in container.demux(stream):
            try:
                expected += [f.pts * f.time_base for f in packet.decode()]
            except av.FFmpegError:
                continue
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [f.pts * f.time_base for f in container.decode(video=0)] == expected


@pytest.mark.parametrize("name", ["corrupt/empty.mp4", "corrupt/text_renamed.mp4", "awkward/audio_only.mp4"])
def test_what_is_no_video_gets_one_line(tmp_path, shared, name):
    result = run(shared / "video" / name, tmp_path / "out.mp4")
    assert result.returncode == 1
    assert len([line for line in result.stderr.splitlines() if "error:" in line]) == 1
    assert not list(tmp_path.iterdir())
