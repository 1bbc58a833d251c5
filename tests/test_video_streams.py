"""R1 of the user requests: time, sound, subtitles, chapters and everything else that comes with the pictures."""

from __future__ import annotations

import socket
from fractions import Fraction
from itertools import pairwise

import av
import pytest

from cliplit.errors import InputError
from cliplit.runtime.video.clip import enhance_video
from cliplit.runtime.video.codecs import Encoding
from cliplit.runtime.video.frames import Frame
from cliplit.runtime.video.opening import Reading
from cliplit.runtime.video.pyav_reader import PyAVReader
from cliplit.runtime.video.rate import constant_rate
from made import backlit, packets, read_clip, write_clip, write_rich_clip

FAST = Encoding(preset="ultrafast", crf=20)


def times(path):
    with av.open(str(path)) as container:
        return [f.pts * f.time_base for f in container.decode(video=0)]


def streams(path):
    with av.open(str(path)) as c:
        return [(s.type, s.codec_context.codec.canonical_name if s.codec_context else s.name) for s in c.streams]


@pytest.fixture
def rich(tmp_path):
    return write_rich_clip(tmp_path / "in.mkv", [backlit(64, 96)] * 20)


def test_every_stream_comes_along_in_its_order(tmp_path, enhancer, rich):
    """R1.7: sound, subtitles, attachment, chapters, languages, titles, dispositions, tags."""
    summary = enhance_video(rich, tmp_path / "out.mkv", enhancer, FAST)
    assert streams(tmp_path / "out.mkv") == streams(rich)
    with av.open(str(rich)) as before, av.open(str(tmp_path / "out.mkv")) as after:
        for old, new in zip(before.streams, after.streams, strict=True):
            for tag in ("language", "title", "filename", "mimetype"):
                assert new.metadata.get(tag) == old.metadata.get(tag)
            assert new.disposition == old.disposition
        assert after.metadata["title"] == "A rich clip"
        assert after.chapters() == before.chapters()
        assert after.streams.attachments[0].data == b"not really a font"
    for kind in ("audio", "subtitle"):
        assert packets(tmp_path / "out.mkv", kind) == packets(rich, kind)
    assert not any("left out" in note for note in summary.notes)


def test_what_the_container_does_not_hold_is_converted_or_named(tmp_path, enhancer, rich):
    """R1.7, R1.8: MP4 takes the text as mov_text, and no attachment."""
    summary = enhance_video(rich, tmp_path / "out.mp4", enhancer, FAST)
    notes = "\n".join(summary.notes)
    assert "stream 3 (subtitle, subrip, fra) becomes mov_text" in notes
    assert "stream 4 (attachment, font.ttf) is left out" in notes
    with av.open(str(tmp_path / "out.mp4")) as out:
        text = out.streams.subtitles[0]
        assert text.metadata["language"] == "fra"
        said = [(p.pts * p.time_base, bytes(p)[2:]) for p in out.demux(text) if p.size > 2]
        assert [chapter["metadata"]["title"] for chapter in out.chapters()] == ["One", "Two"]
    assert said == [(Fraction(1, 10), b"Bonjour"), (Fraction(1, 2), b"Au revoir")]


def test_sound_that_the_container_refuses_becomes_opus(tmp_path, enhancer, rich):
    """R1.8: a trial shows that WebM takes neither AAC nor FLAC; both become Opus, in sync and as long."""
    summary = enhance_video(rich, tmp_path / "out.webm", enhancer, Encoding(preset="ultrafast"))
    assert [codec for kind, codec in streams(tmp_path / "out.webm") if kind == "audio"] == ["opus", "opus"]
    assert sum("becomes opus" in note for note in summary.notes) == 2
    for sound in packets(tmp_path / "out.webm", "audio"):
        assert abs(sound[0][0]) < Fraction(1, 50)
        assert abs(sound[-1][0] - Fraction(20, 25)) < Fraction(1, 10)


@pytest.mark.parametrize("container", [".mkv", ".mp4"])
@pytest.mark.parametrize("sound,pictures", [(0, 640), (700, 0), (200, 40)])
def test_streams_keep_their_distance(tmp_path, enhancer, container, sound, pictures):
    """R1.3: start offsets of both signs."""
    source = write_rich_clip(tmp_path / "in.mkv", [backlit(64, 96)] * 10, 25, sound, pictures)
    enhance_video(source, tmp_path / f"out{container}", enhancer, FAST)
    for path in (source, tmp_path / f"out{container}"):
        start = times(path)[0] - packets(path, "audio")[1][0][0]  # FLAC has no priming samples
        assert abs(start - Fraction(pictures - sound, 1000)) < Fraction(2, 1000), path


def test_variable_frame_rate_passes_through_and_frames_are_counted(tmp_path, enhancer):
    """R1.1, R1.2, R1.4, R1.5: gaps and irregular steps, in ticks that no frame rate has."""
    pts = [0, 7, 101, 333, 334, 1200, 1201, 5000, 5101, 5102]
    source = write_clip(tmp_path / "in.mp4", [backlit(64, 96)] * 10, pts=pts, sound=False)
    summary = enhance_video(source, tmp_path / "out.mp4", enhancer, FAST)
    assert times(tmp_path / "out.mp4") == times(source)
    assert summary.frames == summary.decoded == 10


def test_constant_rate_on_request(tmp_path, enhancer):
    """R1.4 --cfr: each moment shows what the source showed then."""
    pts = [0, 100, 200, 700, 800]  # 25 a second, a gap of four frames
    source = write_clip(tmp_path / "in.mp4", [backlit(64, 96)] * 5, pts=pts, sound=True)
    summary = enhance_video(source, tmp_path / "out.mp4", enhancer, FAST, cfr=Fraction(50))
    assert times(tmp_path / "out.mp4") == [Fraction(n, 50) for n in range(17)]
    assert (summary.decoded, summary.frames, summary.counted) == (5, 17, "17 frames from 5")


def test_constant_rate_repeats_and_drops():
    """Frames at 0, 10, 20 ms, 0.5 s and 0.6 s, shown ten times a second."""
    frames = [Frame((), None, str(pts), pts, Fraction(1, 100)) for pts in (0, 1, 2, 50, 60)]
    shown = [(f.pts, f.pixel_format) for f in constant_rate(frames, Fraction(10))]
    assert shown == [(0, "2"), (1, "2"), (2, "2"), (3, "2"), (4, "2"), (5, "50"), (6, "60")]


def test_second_video_stream(tmp_path, enhancer):
    """--video-stream: the other one is copied."""
    first = write_clip(tmp_path / "a.mkv", [backlit(64, 96)] * 5, sound=False)
    second = write_clip(tmp_path / "b.mkv", [backlit(48, 80, seed=1)] * 5, sound=False)
    source = tmp_path / "two.mkv"
    with av.open(str(source), "w") as out, av.open(str(first)) as a, av.open(str(second)) as b:
        targets = [out.add_stream_from_template(c.streams.video[0], opaque=True) for c in (a, b)]
        for target, container in zip(targets, (a, b), strict=True):
            for packet in container.demux(video=0):
                if packet.size:
                    packet.stream = target
                    out.mux(packet)
    summary = enhance_video(source, tmp_path / "out.mkv", enhancer, FAST, reading=Reading(video_stream=1))
    assert (summary.width, summary.height) == (80, 48)
    kept, enhanced = packets(tmp_path / "out.mkv", "video")
    assert kept == packets(source, "video")[0]
    assert len(enhanced) == 5
    with pytest.raises(InputError, match="no video stream 2"):
        enhance_video(source, tmp_path / "out.mkv", enhancer, FAST, reading=Reading(video_stream=2))


@pytest.mark.parametrize("container", [".mp4", ".mkv"])
def test_cover_art_stays(tmp_path, enhancer, container):
    picture = write_clip(tmp_path / "cover.mkv", [backlit(64, 64)], sound=False, codec="mjpeg", pixel_format="yuvj420p")
    clip = write_clip(tmp_path / "plain.mp4", [backlit(64, 96)] * 4)
    source = tmp_path / "in.mp4"
    with av.open(str(source), "w") as out, av.open(str(clip)) as a, av.open(str(picture)) as b:
        targets = {s: out.add_stream_from_template(s, opaque=True) for s in (*a.streams, b.streams.video[0])}
        targets[b.streams.video[0]].disposition = av.stream.Disposition.attached_pic
        for container_in in (a, b):
            for packet in container_in.demux():
                if packet.size:
                    packet.stream = targets[packet.stream]
                    out.mux(packet)
    enhance_video(source, tmp_path / f"out{container}", enhancer, FAST)
    with av.open(str(source)) as before, av.open(str(tmp_path / f"out{container}")) as after:
        covers = [
            [bytes(p) for s in c.streams.video if s.disposition & av.stream.Disposition.attached_pic
             for p in c.demux(s) if p.size]
            for c in (before, after)
        ]  # fmt: skip
    assert len(covers[0]) == 1
    assert covers[1] == covers[0]


def test_raw_streams_without_times(tmp_path, enhancer):
    """R1.6: an elementary stream has neither times nor a length."""
    source = write_clip(tmp_path / "in.h264", [backlit(64, 96)] * 10, sound=False)
    summary = enhance_video(source, tmp_path / "out.mp4", enhancer, FAST)
    assert summary.frames == 10
    assert any("without a time stamp" in note for note in summary.notes)
    steps = {b - a for a, b in zip(times(tmp_path / "out.mp4"), times(tmp_path / "out.mp4")[1:], strict=False)}
    assert steps == {Fraction(1, 25)}


def test_transport_stream(tmp_path, enhancer):
    """Starts at 1.4 s, AAC in ADTS: both go into MP4 and back."""
    source = write_clip(tmp_path / "in.ts", [backlit(64, 96)] * 20)
    enhance_video(source, tmp_path / "out.ts", enhancer, FAST)
    enhance_video(source, tmp_path / "out.mp4", enhancer, FAST)
    assert len(read_clip(tmp_path / "out.mp4")[0]) == len(read_clip(tmp_path / "out.ts")[0]) == 20
    assert len(packets(tmp_path / "out.mp4", "audio")[0]) == len(packets(source, "audio")[0])
    offset = [times(p)[0] - packets(p, "audio")[0][0][0] for p in (source, tmp_path / "out.ts", tmp_path / "out.mp4")]
    assert max(offset) - min(offset) < Fraction(3, 1000)


def test_a_clock_that_starts_again_goes_on(tmp_path, enhancer):
    """Two recordings put one behind the other: the second half follows the first, sound and pictures alike."""
    part = write_clip(tmp_path / "part.ts", [backlit(64, 96)] * 50)
    (tmp_path / "in.ts").write_bytes(part.read_bytes() * 2)
    summary = enhance_video(tmp_path / "in.ts", tmp_path / "out.mp4", enhancer, FAST)
    shown = times(tmp_path / "out.mp4")
    assert summary.frames == len(shown) == 100
    steps = [b - a for a, b in pairwise(shown)]
    assert min(steps) > 0
    assert Fraction(38, 10) < shown[-1] - shown[0] < Fraction(42, 10)
    sound = packets(tmp_path / "out.mp4", "audio")[0]
    assert abs(sound[-1][0] - shown[-1]) < Fraction(1, 4)
    assert any("clock starts again" in note for note in summary.notes)


def test_an_address_that_does_not_answer_is_given_up():
    """A server that takes the connection and says nothing; another one that is not there."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/clip.mp4"
        with pytest.raises(InputError, match="not a video that can be read"):
            PyAVReader(address, Reading(timeout=1.0))
    with pytest.raises(InputError, match="not a video that can be read"):
        PyAVReader(address, Reading(timeout=1.0))


def test_a_file_that_breaks_off_without_an_error_is_noticed(tmp_path, enhancer):
    """Matroska ends wherever it ends; its header knows how long it should be."""
    source = write_clip(tmp_path / "in.mkv", [backlit(96, 160, seed=i) for i in range(50)])
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    summary = enhance_video(source, tmp_path / "out.mkv", enhancer, FAST)
    assert 5 < summary.frames < 45
    assert "the file breaks off at" in summary.problems
