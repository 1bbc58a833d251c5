"""The model of the clock: outliers, jumps both ways, gaps, late starts, rates."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace

import av
import pytest

from cliplit.runtime.video.clip import enhance_video
from cliplit.runtime.video.clock import Clock, common_start, in_order, start_of_untimed
from cliplit.runtime.video.codecs import Encoding
from made import moving, read_clip, write_clip, write_rich_clip

FAST = Encoding(preset="ultrafast")
KINDS = {0: "video", 1: "audio", 2: "subtitle"}


def packet(index, time, duration=Fraction(1, 25)):
    ticks = round(time * 1000)
    return SimpleNamespace(stream=SimpleNamespace(index=index, type=KINDS[index]), pts=ticks, dts=ticks,
                           duration=round(duration * 1000), time_base=Fraction(1, 1000))  # fmt: skip


def through(packets, start=0, jumps=True):
    said = []
    clock = Clock(Fraction(start), jumps, said.append, (0, 1), 0)
    found = [(p.stream.index, None if p.pts is None else p.pts / 1000) for p in clock(packets)]
    return found, list(dict.fromkeys(said))


def recording(start=0.0, count=50):
    """Pictures and sound by turns, 25 a second; their times begin at `start`."""
    return [packet(index, start + n / 25) for n in range(count) for index in (0, 1)]


def test_a_late_clock_begins_at_zero():
    times, notes = through(recording(36000), 36000)
    assert times == [(p.stream.index, p.pts / 1000) for p in recording()]
    assert not notes


def test_streams_keep_their_distance():
    assert common_start([Fraction(7, 5), None, Fraction(3, 2)]) == Fraction(7, 5)
    assert common_start([Fraction(1)], [Fraction(-1, 50)]) == 0  # the priming of sound
    assert common_start([Fraction(-1, 50)], [Fraction(-1)]) == -1


@pytest.mark.parametrize("second", [18000.0, 0.0, 500.0], ids=["ahead", "back", "minutes"])
def test_joined_recordings_go_on(second):
    times, notes = through(recording(3600) + recording(second), 3600)
    assert [t for i, t in times if i == 0] == [n / 25 for n in range(100)]
    assert [t for i, t in times if i == 1] == [n / 25 for n in range(100)]
    assert len(notes) == 1
    assert "clock" in notes[0]


def test_three_recordings_and_their_subtitles():
    parts = [[*recording(s), packet(2, s + 1.5)] for s in (100, 5000, 20)]
    times, _ = through([p for part in parts for p in part], 100)
    assert [t for i, t in times if i == 0] == [n / 25 for n in range(150)]
    assert [t for i, t in times if i == 2] == [1.5, 3.5, 5.5]


def test_a_gap_stays_where_clocks_do_not_jump():
    packets = recording() + recording(1002)
    expected = [(p.stream.index, p.pts / 1000) for p in packets]
    assert through(packets, jumps=False) == (expected, [])


@pytest.mark.parametrize("off", [7200.0, -7200.0])
@pytest.mark.parametrize("jumps", [True, False])
def test_one_time_that_is_off(off, jumps):
    packets = recording(10000)
    packets[31].pts = packets[31].dts = packets[31].pts + round(off * 1000)  # of the sound
    packets[60].pts = packets[60].dts = packets[60].pts + round(off * 1000)  # of a picture: it gets one later
    times, notes = through(packets, 10000, jumps)
    assert [t for i, t in times if i == 1] == [n / 25 for n in range(50)]
    assert [t for i, t in times if i == 0] == [n / 25 if n != 30 else None for n in range(50)]
    assert len(notes) == 1


def test_low_rates_with_reordering_do_not_jump():
    """One picture a second, Matroska's times without decoding times: I P B B P B B."""
    packets = [packet(0, t, Fraction(1)) for t in (0, 3, 1, 2, 6, 4, 5, 9, 7, 8)]
    expected = [(0, p.pts / 1000) for p in packets]
    assert through(packets, jumps=False) == (expected, [])


@pytest.mark.parametrize(("given", "right"), [
    ([0, 40, 7_200_000, 120, 160], [0, 40, 80, 120, 160]),
    ([0, 40, 7_200_000, 7_200_040, 160, 200, 240], [0, 40, 80, 120, 160, 200, 240]),
    ([0, 40, None, 120, 160], [0, 40, 80, 120, 160]),
    ([0, 40, -5000, 120, 160], [0, 40, 80, 120, 160]),
    ([9000, 40, 80, 120], [0, 40, 80, 120]),
    ([None, None, None], [0, 40, 80]),
    ([0, 40, 1_000_000, 1_000_040, 1_000_080, 1_000_120], [0, 40, 1_000_000, 1_000_040, 1_000_080, 1_000_120]),
    ([0, 60_000, 120_000, 180_000], [0, 60_000, 120_000, 180_000]),
])  # fmt: skip
def test_pictures_in_order(given, right):
    pictures = [SimpleNamespace(pts=pts) for pts in given]
    out = in_order(pictures, lambda item: True, lambda: 40, lambda note: None)
    assert [p.pts for p in out] == right


def test_a_cut_without_encoding_is_whole(tmp_path, enhancer):
    """What an edit list hides (ISO/IEC 14496-12, 8.6.6) is not missing."""
    source = write_clip(tmp_path / "in.mp4", moving(50, 64, 96), sound=False)
    data = bytearray(source.read_bytes())
    at = data.index(b"elst")  # version, count, duration of the movie, start in the media
    assert data[at + 8 : at + 12] == (1).to_bytes(4, "big")
    start = int.from_bytes(data[at + 16 : at + 20], "big")
    with av.open(str(source)) as container:
        base = container.streams.video[0].time_base
    data[at + 12 : at + 16] = (1000).to_bytes(4, "big")
    data[at + 16 : at + 20] = (start + round(1 / base)).to_bytes(4, "big")
    (tmp_path / "cut.mp4").write_bytes(data)
    summary = enhance_video(tmp_path / "cut.mp4", tmp_path / "out.mkv", enhancer, FAST)
    assert (summary.frames, summary.problems) == (25, "")
    assert read_clip(tmp_path / "out.mkv")[1] == [Fraction(n, 25) for n in range(25)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_gap_of_1000_s(tmp_path, enhancer, suffix):
    pts = [n * 100 + (n >= 10) * 2_500_000 for n in range(20)]
    source = write_clip(tmp_path / "in.mkv", moving(20, 64, 96), sound=False, pts=pts)
    enhance_video(source, tmp_path / f"out{suffix}", enhancer, Encoding())
    times = read_clip(tmp_path / f"out{suffix}")[1]
    assert [t - times[0] for t in times] == [Fraction(n, 25) + (n >= 10) * 1000 for n in range(20)]


@pytest.mark.parametrize("suffix", [".avi", ".h264", ".hevc", ".y4m"])
def test_containers_without_times_get_the_rate(tmp_path, enhancer, suffix):
    source = write_clip(tmp_path / "in.mp4", moving(10, 64, 96), rate=24, sound=False)
    enhance_video(source, tmp_path / f"out{suffix}", enhancer, Encoding())
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        assert container.streams.video[0].guessed_rate == 24
        assert len(list(container.decode(video=0))) == 10


def test_reordered_pictures_of_an_avi(tmp_path, enhancer):
    """AVI numbers its packets and knows no other times: with B-frames, pictures are still 1/25 s apart."""
    source = write_clip(tmp_path / "in.mp4", moving(20, 64, 96), sound=False, max_b_frames=2)
    with av.open(str(source)) as old, av.open(str(tmp_path / "in.avi"), "w") as new:
        target = new.add_stream("libx264", rate=25, options={"bf": "2"})
        target.width, target.height, target.pix_fmt = 96, 64, "yuv420p"
        for number, frame in enumerate(old.decode(video=0)):
            frame.pts, frame.time_base, frame.pict_type = number, Fraction(1, 25), 0
            new.mux(target.encode(frame))
        new.mux(target.encode(None))
    enhance_video(tmp_path / "in.avi", tmp_path / "out.mkv", enhancer, FAST)
    times = read_clip(tmp_path / "out.mkv")[1]
    assert [t - times[0] for t in times] == [Fraction(n, 25) for n in range(20)]


def test_the_rate_in_the_headers_of_h264(tmp_path, enhancer):
    source = write_clip(tmp_path / "in.mp4", moving(10, 64, 96), rate=24, sound=False)
    enhance_video(source, tmp_path / "out.mp4", enhancer, Encoding())
    with av.open(str(tmp_path / "out.mp4")) as old, av.open(str(tmp_path / "bare.h264"), "w") as new:
        target = new.add_stream_from_template(old.streams.video[0])
        for item in old.demux(video=0):
            if item.size:
                item.stream = target
                new.mux(item)
    with av.open(str(tmp_path / "bare.h264")) as bare:
        assert bare.streams.video[0].guessed_rate == 24


def test_short_recordings_that_are_joined(tmp_path, enhancer):
    """The clock goes back by less than a second."""
    parts = [write_clip(tmp_path / f"{n}.ts", moving(count, 64, 96), codec="libx264", sound=n != 1, max_b_frames=2)
             for n, count in enumerate((12, 9, 15))]  # fmt: skip
    (tmp_path / "in.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    enhance_video(tmp_path / "in.ts", tmp_path / "out.mkv", enhancer, FAST)
    times = read_clip(tmp_path / "out.mkv")[1]
    steps = [round(float(b - a) * 1000) for a, b in pairwise(times)]
    assert len(times) == 36
    assert all(39 <= step <= 101 for step in steps), steps  # the sound of a part may be a little longer
    assert sum(step > 41 for step in steps) <= 2


def test_a_stream_whose_decoding_times_begin_late():
    """What FFmpeg makes of HEVC in Matroska: the second picture, shown fifth, has no decoding time yet."""
    times = [(0, None), (200, None), (120, 0), (40, 40), (80, 80), (160, 120), (400, 160)]
    packets = []
    for pts, dts in times:
        packets.append(packet(0, 0, Fraction(1, 25)))
        packets[-1].pts, packets[-1].dts = pts, dts
    assert through(packets, jumps=False) == ([(0, pts / 1000) for pts, _ in times], [])


def test_a_copied_stream_with_a_wrong_time_to_show(tmp_path, enhancer):
    """A packet that is decoded in its turn, and whose time to be shown is two hours off."""
    packets = recording(10000)
    packets[31].pts += 7_200_000  # of the sound
    times, notes = through(packets, 10000)
    assert [t for i, t in times if i == 1] == [n / 25 for n in range(50)]
    assert notes == ["time stamps that are off are set between their neighbours'"]


@pytest.mark.parametrize("rate", [None, Fraction(50), Fraction(10)])
@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv"])
def test_a_clip_is_as_long_as_its_pictures(tmp_path, enhancer, suffix, rate):
    """The header of an AVI said 562 pictures for 50: a duration in the ticks of the MP4 they came from."""
    source = write_clip(tmp_path / "in.mp4", moving(20, 64, 96), sound=suffix != ".mkv")
    summary = enhance_video(source, tmp_path / f"out{suffix}", enhancer, FAST, cfr=rate)
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        video = container.streams.video[0]
        if suffix == ".avi":
            assert video.frames == summary.frames  # no empty ones before the first, for the priming of sound
        length = container.duration / 1e6
    assert abs(length - 0.8) < 0.12


def shifted(path, source, seconds, sound=True):
    """The packets of a clip, all of them `seconds` later."""
    with av.open(str(source)) as old, av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as new:
        streams = [s for s in old.streams if sound or s.type == "video"]
        targets = {s.index: new.add_stream_from_template(s) for s in streams}
        for item in old.demux(streams):
            if item.size:
                ticks = round(seconds / item.time_base)
                item.stream, item.pts, item.dts = targets[item.stream.index], item.pts + ticks, item.dts + ticks
                new.mux(item)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_counter_of_33_bits_begins_anew(tmp_path, enhancer, suffix):
    """MPEG-TS counts to 2^33 / 90000 = 95443.7 s (ISO/IEC 13818-1); FFmpeg gives what comes before times below 0.

    An MP4 whose pictures begin before 0 hides them: 8 of 50 were lost.
    """
    plain = write_clip(tmp_path / "in.mp4", moving(50, 64, 96), max_b_frames=2)
    source = shifted(tmp_path / "in.ts", plain, Fraction(95442))
    with av.open(str(source)) as container:
        assert container.streams.video[0].start_time < 0
    assert enhance_video(source, tmp_path / f"out{suffix}", enhancer, FAST).frames == 50
    times = read_clip(tmp_path / f"out{suffix}")[1]
    assert [round(float(t - times[0]), 2) for t in times] == [n / 25 for n in range(50)]
    assert 0 <= times[0] < Fraction(1, 10)


@pytest.mark.parametrize("sound", [True, False])
def test_matroska_before_0(tmp_path, enhancer, sound):
    """FFmpeg gives no times to pictures before 0; they are as far apart as the others, and sound keeps its distance."""
    source = shifted(tmp_path / "in.mkv", write_clip(tmp_path / "in.mp4", moving(50, 64, 96)), Fraction(-1, 2), sound)
    enhance_video(source, tmp_path / "out.mp4", enhancer, FAST)
    times = read_clip(tmp_path / "out.mp4")[1]
    assert [round(float(t - times[0]), 2) for t in times] == [n / 25 for n in range(50)]
    with av.open(str(tmp_path / "out.mp4")) as container:
        starts = [s.start_time * s.time_base for s in container.streams]
    assert all(0 <= start <= Fraction(1, 20) for start in starts), starts


def test_the_start_of_packets_without_times():
    packets = recording(count=8)
    for p in packets[:6:2]:
        p.pts = p.dts = None
    for p in packets:
        p.size = 1
    packets[6].pts, packets[8].pts = packets[8].pts, packets[6].pts  # the one decoded first is shown second
    start, again = start_of_untimed(packets, 0, Fraction(1, 25))
    assert start == 0
    assert list(again) == packets
    assert start_of_untimed(recording(count=2) and [packets[6]], 0, Fraction(1, 25))[0] is None


@pytest.mark.parametrize(("suffix", "codec"), [(".hevc", "libx265"), (".h264", "libx264"), (".m2v", "mpeg2video")])
def test_raw_streams_have_the_rate_that_they_name(tmp_path, enhancer, suffix, codec):
    """FFmpeg assumes 25 frames/s of such files, and the codec's own headers know better; the first picture is at 0."""
    with av.open(str(tmp_path / f"in{suffix}"), "w") as container:
        video = container.add_stream(codec, rate=50)
        video.width, video.height, video.pix_fmt, video.codec_context.max_b_frames = 96, 64, "yuv420p", 2
        for number, picture in enumerate(moving(20, 64, 96)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    enhance_video(tmp_path / f"in{suffix}", tmp_path / "out.mp4", enhancer, FAST)
    assert read_clip(tmp_path / "out.mp4")[1] == [Fraction(n, 50) for n in range(20)]


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffmpeg is not installed")
def test_an_avi_whose_pictures_begin_late(tmp_path, enhancer):
    """FFmpeg's muxer shows the first picture at 0, whatever its time."""
    source = write_rich_clip(tmp_path / "in.mkv", moving(20, 64, 96), video_start=700)
    enhance_video(source, tmp_path / "out.avi", enhancer, FAST)
    what = ["-select_streams", "v", "-show_entries", "frame=best_effort_timestamp_time", "-of", "csv=p=0"]
    said = subprocess.run(["ffprobe", "-v", "error", *what, tmp_path / "out.avi"], capture_output=True, text=True)
    times = [float(line.strip(",")) for line in said.stdout.split()]
    assert len(times) == 20
    assert times[0] == pytest.approx(0.7, abs=0.021)  # half a tick
    assert times[1:] == pytest.approx([times[0] + n / 25 for n in range(1, 20)], abs=1e-6)


def test_a_variable_rate_in_an_avi(tmp_path, enhancer):
    """The average rate has ticks that fit no picture; the finest one fits all."""
    pts = [n * 100 for n in range(60) if n % 7 not in (3, 4) and not 20 <= n <= 29]
    source = write_clip(tmp_path / "in.mp4", moving(len(pts), 64, 96), rate=30, sound=False, pts=pts)
    summary = enhance_video(source, tmp_path / "out.avi", enhancer, FAST)
    assert not any("their own times" in note for note in summary.notes)
    with av.open(str(tmp_path / "out.avi")) as container:
        ticks = [p.dts for p in container.demux(video=0) if p.size]
        assert container.streams.video[0].average_rate == 30
    assert ticks == [n // 100 for n in pts]


@pytest.mark.parametrize(("codec", "suffix"), [("mpeg2video", ".mpg"), ("mpeg2video", ".mkv"), ("mpeg4", ".mkv")])
def test_encoders_that_count_no_ticks_of_90_khz(tmp_path, enhancer, codec, suffix):
    """MPEG-2 knows few rates, MPEG-4 part 2 65535 ticks a second: clips of a transport stream were refused."""
    source = write_clip(tmp_path / "in.ts", moving(20, 64, 96), max_b_frames=2)
    enhance_video(source, tmp_path / f"out{suffix}", enhancer, Encoding(codec))
    times = read_clip(tmp_path / f"out{suffix}")[1]
    assert [round(float(t - times[0]), 2) for t in times] == [n / 25 for n in range(20)]


def test_mpeg4_keeps_a_variable_rate(tmp_path, enhancer):
    pts = [0, 100, 250, 300, 700, 710, 1500]
    source = write_clip(tmp_path / "in.ts", moving(7, 64, 96), sound=False, pts=pts)
    enhance_video(source, tmp_path / "out.mkv", enhancer, Encoding("mpeg4"))
    assert [float(t) for t in read_clip(tmp_path / "out.mkv")[1]] == pytest.approx([n / 2500 for n in pts], abs=6e-4)
