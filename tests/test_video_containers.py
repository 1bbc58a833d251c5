"""What containers hold, read back; what is no container for a clip, refused before any work."""

from __future__ import annotations

import av
import numpy as np
import pytest

from cliplit.errors import InputError
from cliplit.runtime.folders import passed_over
from cliplit.runtime.video.clip import enhance_video
from cliplit.runtime.video.codecs import Encoding
from cliplit.runtime.video.cropping import aperture_crops, matroska_crops
from made import moving, write_clip, write_rich_clip

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


@pytest.mark.parametrize("name", ["o.jpg", "o_%04d.png", "o.yuv", "o.m3u8", "o.gif", "o.mp3", "o.exr", "o", "o.xyz"])
def test_what_is_no_clip_is_refused(tmp_path, enhancer, name):
    source = write_clip(tmp_path / "in.mp4", moving(3, 64, 96), sound=False)
    with pytest.raises(InputError, match=r"use \.|try \.mp4"):
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
    entry = b"\xae" + bytes([0x80 + len(video)]) + video
    tracks = bytes.fromhex("1654AE6B") + bytes([0x80 + len(entry)]) + entry
    assert matroska_crops(b"\x53\xab\x84\x16\x54\xae\x6b" + tracks)
    assert not matroska_crops(tracks.replace(b"\x81\x08", b"\x81\x00"))
    clap = b"\0\0\0\x28clap" + b"".join(n.to_bytes(4, "big") for n in (96, 1, 48, 1, 0, 1, 0, 1))
    assert aperture_crops(b"moov" + clap, (96, 64))
    assert not aperture_crops(b"moov" + clap, (96, 48))
