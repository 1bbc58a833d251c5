"""What containers hold, read back; what is no container for a clip, refused before any work."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest

from cliplit.errors import InputError
from cliplit.runtime.folders import passed_over
from cliplit.runtime.video.clip import enhance_video
from cliplit.runtime.video.codecs import Encoding
from cliplit.runtime.video.cropping import aperture_crops, matroska_crops
from made import identity, moving, read_clip, write_clip, write_rich_clip

FAST = Encoding(preset="ultrafast")


def with_sound(path, codec, rate=48000, pixel_format="s16"):
    """A short clip with sound that can be told from silence."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        sound = container.add_stream(codec, rate=rate, layout="stereo")
        for number, picture in enumerate(moving(10, 64, 96)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        wave = (np.sin(np.arange(rate * 4 // 10) / 9) * 9000).astype(np.int16)
        samples = av.AudioFrame.from_ndarray(
            np.stack([wave, wave // 2], 1).reshape(1, -1), format="s16", layout="stereo"
        )
        samples.sample_rate, samples.pts = rate, 0
        container.mux(sound.encode(samples))
        container.mux(sound.encode(None))
    return path


def sound_of(path):
    """(codec, decoded samples as floats) of the first stream of sound."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="flt", layout="stereo")
        parts = [r.to_ndarray() for frame in container.decode(stream) for r in resampler.resample(frame)]
        return stream.codec_context.codec.canonical_name, np.concatenate(parts, axis=1)


@pytest.mark.parametrize("codec", ["pcm_s16le", "flac", "alac"])
@pytest.mark.parametrize(("suffix", "lossless"), [(".mkv", True), (".mov", True), (".mp4", True), (".avi", True),
                                                  (".mxf", True), (".m4v", True), (".ts", False), (".m2ts", False),
                                                  (".webm", False), (".mpg", False)])  # fmt: skip
def test_sound_is_read_back(tmp_path, enhancer, codec, suffix, lossless):
    source = with_sound(tmp_path / "in.mkv", codec)
    enhance_video(source, tmp_path / f"out{suffix}", enhancer, Encoding())
    held, after = sound_of(tmp_path / f"out{suffix}")
    assert (
        held in {True: ("pcm_s16le", "pcm_s24le", "pcm_s32le", "flac", "alac"), False: ("aac", "opus", "mp2")}[lossless]
    )
    assert np.abs(after).max() > 0.2
    if lossless:
        before = sound_of(source)[1]
        count = min(before.shape[1], after.shape[1])
        assert count > before.shape[1] * 0.9
        assert np.array_equal(before[:, :count], after[:, :count])


@pytest.mark.parametrize("suffix", [".ts", ".m2ts", ".avi", ".mxf", ".mpg"])
def test_text_that_has_no_place_is_named(tmp_path, enhancer, suffix):
    source = write_rich_clip(tmp_path / "in.mkv", moving(10, 64, 96))
    summary = enhance_video(source, tmp_path / f"out{suffix}", enhancer, Encoding())
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        assert not container.streams.subtitles
        assert not container.streams.data
        count = len(container.streams.audio)
    assert any("subrip" in note and "left out" in note for note in summary.notes), summary.notes
    assert count == 2 or any("audio" in note and "left out" in note for note in summary.notes)


@pytest.mark.parametrize("name", ["o.jpg", "o_%04d.exr", "o.yuv", "o.m3u8", "o.gif", "o.mp3", "o.exr", "o", "o.xyz"])
def test_what_is_no_clip_is_refused(tmp_path, enhancer, name):
    source = write_clip(tmp_path / "in.mp4", moving(3, 64, 96), sound=False)
    with pytest.raises(InputError, match=r"use \.|try \.mp4|numbered pictures are \.png"):
        enhance_video(source, tmp_path / name, enhancer, FAST)
    assert list(tmp_path.iterdir()) == [source]


def test_ten_bits_with_the_automatic_codec(tmp_path, enhancer):
    source = write_clip(tmp_path / "in.mp4", moving(3, 64, 96), sound=False)
    enhance_video(source, tmp_path / "out.mp4", enhancer, Encoding(pixel_format="yuv420p10le"))
    with av.open(str(tmp_path / "out.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.codec.canonical_name, context.pix_fmt) == ("h264", "yuv420p10le")


def test_every_file_of_a_folder_is_done_or_listed(tmp_path):
    for name in ("a.mp4", "b.vob", "c.jpg", "d.txt", ".hidden", "e.MTS", "f.srt"):
        (tmp_path / name).touch()
    said = passed_over([str(tmp_path)], tmp_path / "out")
    assert sorted(line.split(" is ")[0].rpartition("/")[2] for line in said) == [".hidden", "c.jpg", "d.txt", "f.srt"]


def test_cropping_of_containers():
    """Bytes by RFC 9559 and ISO/IEC 14496-12: a TrackEntry with Video with PixelCropTop 8; a clap of 96x48 in 96x64."""
    crop = bytes.fromhex("54BB") + b"\x81\x08"
    video = b"\xe0" + bytes([0x80 + len(crop)]) + crop
    entry = b"\x83\x81\x01" + video
    tracks = bytes.fromhex("1654AE6B") + bytes([0x80 + len(entry) + 2]) + b"\xae" + bytes([0x80 + len(entry)]) + entry
    assert list(matroska_crops(b"\x53\xab\x84\x16\x54\xae\x6b" + tracks)) == [(0, 8, 0, 0)]
    assert list(matroska_crops(tracks.replace(b"\x83\x81\x01", b"\x83\x81\x02"))) == []
    numbers = (96, 1, 48, 1, 0, 1, -4, 1)
    clap = b"trak hdlr vide \0\0\0\x28clap" + b"".join(n.to_bytes(4, "big", signed=True) for n in numbers)
    assert list(aperture_crops(b"moov" + clap, (96, 64))) == [(0, 4, 0, 12)]
    assert list(aperture_crops(b"moov trak hdlr soun" + clap, (96, 48))) == [(0, -4, 0, 4)]


@pytest.mark.skipif(shutil.which("mkvpropedit") is None, reason="mkvtoolnix is not installed")
@pytest.mark.parametrize(("sides", "size", "first"), [
    ({"top": 8, "bottom": 8}, (96, 48), (8, 0)), ({"left": 10, "right": 6, "bottom": 2}, (80, 62), (0, 10)),
    ({"top": 7, "left": 3}, (94, 58), (6, 2)),
])  # fmt: skip
def test_the_cropping_of_a_container_is_applied(tmp_path, enhancer, sides, size, first):
    """What is shown are the rows and columns that the container names; 4:2:0 begins at an even one."""
    source = write_clip(tmp_path / "in.mkv", moving(5, 64, 96))
    before = read_clip(source, "gray")[0]
    edits = [f"pixel-crop-{side}={count}" for side, count in sides.items()]
    subprocess.run(["mkvpropedit", "-q", source, "--edit", "track:v1",
                    *(word for edit in edits for word in ("--set", edit))], check=True)  # fmt: skip
    summary = enhance_video(source, tmp_path / "out.mkv", identity(enhancer), Encoding("ffv1"))
    after = read_clip(tmp_path / "out.mkv", "gray")[0]
    assert (after[0].shape[1], after[0].shape[0]) == size
    row, column = first
    for old, new in zip(before, after, strict=True):
        assert np.array_equal(old[row : row + size[1], column : column + size[0]], new)
    assert any("cropping is applied" in note for note in summary.notes)


def of_mxf(path):
    """(pictures, samples of sound as (channels, N) int16) by what is in the file."""
    with av.open(str(path)) as container:
        pictures = sum(1 for packet in container.demux(video=0) if packet.size)
    with av.open(str(path)) as container:
        sound = np.concatenate([f.to_ndarray().reshape(-1, 2).T for f in container.decode(audio=0)], axis=1)
    return pictures, sound


def clip_for_mxf(path, sound_from, sound_to, video_from=0.0):
    """Ten pictures at 25 frames/s and a loud tone between two times, in seconds."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        tone = container.add_stream("pcm_s16le", rate=48000, layout="stereo")
        for number, picture in enumerate(moving(10, 64, 96)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = round(1000 * video_from) + number * 40, Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        first, last = round(sound_from * 48000), round(sound_to * 48000)
        for at in range(first, last, 1920):
            piece = av.AudioFrame.from_ndarray(
                np.full((1, 2 * min(1920, last - at)), 9000, np.int16), format="s16", layout="stereo"
            )
            piece.sample_rate, piece.pts, piece.time_base = 48000, at, Fraction(1, 48000)
            container.mux(tone.encode(piece))
        container.mux(tone.encode(None))
    return path


@pytest.mark.parametrize(("sound", "video_from", "pictures", "loud"), [
    ((0, 0.2), 0, 10, (0, 0.2)),  # FFmpeg drops the pictures behind the end of the sound
    ((0.2, 0.4), 0, 10, (0.2, 0.4)),  # ... and puts what begins late at 0
    ((0, 0.6), 0.2, 15, (0, 0.6)),
    ((0, 1.0), 0, 10, (0, 0.4)),
])  # fmt: skip
def test_mxf_begins_and_ends_with_all_its_streams(tmp_path, enhancer, sound, video_from, pictures, loud):
    """OP1a has no times (SMPTE ST 378): pictures are repeated and sound is silent where the other goes on."""
    source = clip_for_mxf(tmp_path / "in.mkv", sound[0], sound[1], video_from)
    summary = enhance_video(source, tmp_path / "out.mxf", enhancer, FAST)
    count, samples = of_mxf(tmp_path / "out.mxf")
    assert (count, samples.shape[1]) == (pictures, pictures * 1920)
    at = np.flatnonzero(samples[0])
    assert (at[0], at[-1] + 1) == (round(loud[0] * 48000), round(loud[1] * 48000))
    assert any("pictures are repeated" in note for note in summary.notes) == (pictures > 10)
    assert any("outlasts the pictures" in note for note in summary.notes) == (sound[1] - video_from > 0.5)


def test_mxf_holds_a_picture_in_a_gap(tmp_path, enhancer):
    pts = [n * 100 for n in range(30) if n % 7 not in (3, 4)]
    source = write_clip(tmp_path / "in.mp4", moving(len(pts), 64, 96), rate=30, sound=False, pts=pts)
    enhance_video(source, tmp_path / "out.mxf", enhancer, FAST)
    with av.open(str(tmp_path / "out.mxf")) as container:
        assert container.streams.video[0].average_rate == 30
        assert len(list(container.decode(video=0))) == 30
    with pytest.raises(InputError, match=r"cannot write \.mxf"):
        enhance_video(source, tmp_path / "again.mxf", enhancer, FAST, resume={})


@pytest.mark.parametrize("codec", ["ac3", "flac", "libopus"])
def test_flv_holds_what_players_know(tmp_path, enhancer, codec):
    """FFmpeg 8 writes more by Enhanced RTMP; FFmpeg 5 takes that for PCM at 5512 Hz."""
    source = with_sound(tmp_path / "in.mkv", codec)
    enhance_video(source, tmp_path / "out.flv", enhancer, FAST)
    assert sound_of(tmp_path / "out.flv")[0] == "aac"


@pytest.mark.parametrize("suffix", [".m2ts", ".mpg", ".avi", ".mxf", ".flv"])
def test_a_second_video_stream_that_has_no_place(tmp_path, enhancer, suffix):
    """FFmpeg crashed (m2ts), shifted the first stream (AVI), or wrote what is read as sound (mpg)."""
    with av.open(str(tmp_path / "in.mkv"), "w") as container:
        videos = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for video in videos:
            video.width, video.height, video.pix_fmt, video.codec_context.max_b_frames = 96, 64, "yuv420p", 2
        for number, picture in enumerate(moving(10, 64, 96)):
            for video in videos:
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
                frame.pts = number
                container.mux(video.encode(frame))
        for video in videos:
            container.mux(video.encode(None))
    summary = enhance_video(tmp_path / "in.mkv", tmp_path / f"out{suffix}", enhancer, FAST)
    assert any("stream 1 (video, h264) is left out" in note for note in summary.notes), summary.notes
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        times = [None if f.pts is None else float(f.pts * f.time_base) for f in container.decode(video=0)]
    assert len(times) == 10
    if suffix != ".mpg":  # FFmpeg reads few times of H.264 from a program stream
        assert [t - times[0] for t in times] == pytest.approx([n / 25 for n in range(10)], abs=1e-3)


def test_headers_that_are_refused_end_in_one_line(tmp_path, enhancer, monkeypatch):
    """FFmpeg crashes where a container that refused its streams is asked to begin again."""
    from cliplit.runtime.video import containers

    monkeypatch.setitem(containers.FACTS, "m2ts", containers.Facts(sound=frozenset({"aac"})))
    write_clip(tmp_path / "one.mp4", moving(5, 64, 96))
    with av.open(str(tmp_path / "one.mp4")) as old, av.open(str(tmp_path / "two.mkv"), "w") as new:
        video = old.streams.video[0]
        targets = [new.add_stream_from_template(video) for _ in range(2)]
        for item in old.demux(video):
            for target in targets if item.size else ():
                copy = av.Packet(bytes(item))
                copy.pts, copy.dts, copy.time_base, copy.stream = item.pts, item.dts, item.time_base, target
                new.mux(copy)
    with pytest.raises(InputError, match="cannot write the output"):
        enhance_video(tmp_path / "two.mkv", tmp_path / "out.m2ts", enhancer, FAST)
    assert not (tmp_path / "out.m2ts").exists()


def test_layers_of_mpeg_audio_in_mp4(tmp_path, enhancer):
    """MP4 has one number for layers II and III: what is read back as MP3 is no loss."""
    source = with_sound(tmp_path / "in.mkv", "mp2")
    summary = enhance_video(source, tmp_path / "out.mp4", enhancer, FAST)
    assert not any("read back" in note for note in summary.notes)
    assert np.abs(sound_of(tmp_path / "out.mp4")[1]).max() > 0.2


def test_sound_that_cannot_be_decoded_is_a_problem(tmp_path, enhancer):
    """To be converted, and nothing comes out: a silent track and exit 0 before."""
    with_sound(tmp_path / "in.mkv", "flac")
    with av.open(str(tmp_path / "in.mkv")) as old, av.open(str(tmp_path / "bad.mkv"), "w") as new:
        targets = {s.index: new.add_stream_from_template(s) for s in old.streams}
        for item in old.demux():
            if item.size:
                copy = av.Packet(b"\0" * item.size if item.stream.type == "audio" else bytes(item))
                copy.pts, copy.dts, copy.time_base = item.pts, item.dts, item.time_base
                copy.duration, copy.stream = item.duration, targets[item.stream.index]
                new.mux(copy)
    summary = enhance_video(tmp_path / "bad.mkv", tmp_path / "out.ts", enhancer, FAST)
    assert "of stream 1 (audio, flac) could not be decoded" in summary.problems
    assert summary.frames == 10


def test_short_pieces_of_sound_are_not_refused(tmp_path, enhancer):
    """40 samples a packet, as in TrueHD, are less than a millisecond, which is a tick of .wmv: every sixth was lost."""
    tone = (np.sin(np.arange(48000 * 4 // 10) / 9) * 9000).astype(np.int16)
    with av.open(str(tmp_path / "in.mov"), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        sound = container.add_stream("pcm_s16be", rate=48000, layout="mono")
        for number, picture in enumerate(moving(10, 64, 96)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for at in range(0, len(tone), 40):
            piece = av.AudioFrame.from_ndarray(tone[None, at : at + 40], format="s16", layout="mono")
            piece.sample_rate, piece.pts, piece.time_base = 48000, at, Fraction(1, 48000)
            container.mux(sound.encode(piece))
        container.mux(sound.encode(None))
    summary = enhance_video(tmp_path / "in.mov", tmp_path / "out.wmv", enhancer, FAST)
    assert not any("could not be copied" in note for note in summary.notes), summary.notes
    with av.open(str(tmp_path / "out.wmv")) as container:
        after = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert np.array_equal(after, tone)
