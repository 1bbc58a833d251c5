"""What containers hold, read back; what is no container for a clip, refused before any work."""

from __future__ import annotations

import shutil
import subprocess

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
