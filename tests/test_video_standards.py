"""What is written into files, by the numbers of the standards, read back from whole clips.

ISO/IEC 14496-15 (HEVC in MP4), ITU-T H.264 and the field order of containers, time stamps as muxers demand them, sound
that is encoded again, and what happens when a disk is full or an encoder keeps a frame.
"""

from __future__ import annotations

import itertools
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cliplit.errors import InputError
from cliplit.runtime.light import hdr
from cliplit.runtime.light.colour import PQ
from cliplit.runtime.video import encoder, segments
from cliplit.runtime.video.clip import enhance_video
from cliplit.runtime.video.codecs import Encoding
from cliplit.runtime.video.fields import FieldOrder
from cliplit.runtime.video.pixels import planes_of
from cliplit.runtime.video.work_folder import Segment, fingerprint, work_on
from made import Constant, backlit, packets, with_network, write_clip

FAST = Encoding(preset="ultrafast", crf=20)
LOSSLESS = Encoding("ffv1")


def decoded(path):
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


# ------------------------------------------------------------------ HEVC in MP4


@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_hevc_in_mp4_is_hvc1(tmp_path, enhancer, container):
    """ISO/IEC 14496-15 8.4.1: parameter sets in the sample entry only, which is what Apple's players open."""
    source = write_clip(tmp_path / "in.mkv", [backlit(64, 96)] * 2, sound=False)
    enhance_video(source, tmp_path / f"out.{container}", enhancer, Encoding("hevc", preset="ultrafast"))
    with av.open(str(tmp_path / f"out.{container}")) as out:
        assert out.streams.video[0].codec_context.codec_tag == "hvc1"
    data = (tmp_path / f"out.{container}").read_bytes()
    assert b"hvc1" in data and b"hev1" not in data


# ------------------------------------------------------------------ fields


def interlaced(path, upper_first, codec="libx264", pixel_format="yuv420p", height=96):
    """Upper lines bright, lower ones dark: whoever mixes or swaps fields is seen."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, height, pixel_format
        context = stream.codec_context
        context.flags |= av.codec.context.Flags.interlaced_dct | av.codec.context.Flags.interlaced_me
        context.field_order = 2 if upper_first else 3
        if codec == "libx264":
            context.options = {"x264-params": "tff=1" if upper_first else "bff=1", "preset": "ultrafast", "crf": "5"}
        for number in range(4):
            picture = backlit(height, 160, seed=number)
            picture[1::2] = picture[1::2] // 3
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(FieldOrder().marked(frame, "tff" if upper_first else "bff")))
        container.mux(stream.encode(None))
    return path


def field_order(path):
    """ "top" or "bottom", by the container's word or, where it has none, by the bitstream's (libavcodec's AVFieldOrder:
    2 and 4 for the top field first, 3 and 5 for the bottom one)."""
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        frames = list(container.decode(video=0))
        assert len(frames) == 4 and all(frame.interlaced_frame for frame in frames)
        return {2: "top", 4: "top", 3: "bottom", 5: "bottom"}[context.field_order]


@pytest.mark.parametrize("upper_first", [True, False])
@pytest.mark.parametrize("container", ["mkv", "mov", "mp4", "ts", "h264"])
def test_the_first_field_stays_the_first(tmp_path, enhancer, container, upper_first):
    """In .ts and .h264 the bitstream alone tells: pic_struct of H.264 table D-1."""
    source = interlaced(tmp_path / "in.mkv", upper_first)
    wanted = "top" if upper_first else "bottom"
    assert field_order(source) == wanted
    enhance_video(source, tmp_path / f"out.{container}", enhancer, FAST)
    assert field_order(tmp_path / f"out.{container}") == wanted


@pytest.mark.parametrize("upper_first", [True, False])
@pytest.mark.parametrize("codec,form,container", [("prores_ks", "yuv422p10le", "mov"), ("ffv1", "yuv420p", "mkv")])
def test_other_codecs_keep_the_order_of_fields(tmp_path, enhancer, codec, form, container, upper_first):
    source = interlaced(tmp_path / f"in.{container}", upper_first, codec, form)
    enhance_video(source, tmp_path / f"out.{container}", enhancer, Encoding(codec))
    with av.open(str(source)) as before, av.open(str(tmp_path / f"out.{container}")) as after:
        orders = [c.streams.video[0].codec_context.field_order for c in (before, after)]
    assert orders[0] == orders[1]
    assert orders[0] in ((2, 4) if upper_first else (3, 5))


# ------------------------------------------------------------------ time stamps


def test_packets_of_one_moment_all_arrive_in_mp4(tmp_path, enhancer):
    """MP4 wants each decoding time behind the last (ISO/IEC 14496-12 8.6.1.2: deltas of samples). Matroska does not:
    two subtitles of one moment, and sound with a time twice."""
    clip = write_clip(tmp_path / "clip.mkv", [backlit(64, 96)] * 20)
    source = tmp_path / "in.mkv"
    with av.open(str(clip)) as old, av.open(str(source), "w") as new:
        targets = {
            s: new.add_stream_from_template(s, opaque=True) for s in (old.streams.video[0], old.streams.audio[0])
        }
        text = new.add_mux_stream("subrip")
        text.time_base = Fraction(1, 1000)
        items = [p for p in old.demux() if p.size]
        sound = [p for p in items if p.stream.type == "audio"]
        sound[5].pts = sound[5].dts = sound[4].pts
        for packet in items:
            packet.stream = targets[packet.stream]
            new.mux(packet)
        for words in (b"Who is there?", b"Nobody."):
            packet = av.Packet(words)
            packet.pts = packet.dts = 300
            packet.duration, packet.time_base, packet.stream = 200, Fraction(1, 1000), text
            new.mux(packet)
    times = [time for time, _ in packets(source, "audio")[0]]
    assert len(set(times)) == len(times) - 1
    summary = enhance_video(source, tmp_path / "out.mp4", enhancer, FAST)
    assert not any("could not be copied" in note for note in summary.notes)
    before, after = (packets(path, "audio")[0] for path in (source, tmp_path / "out.mp4"))
    assert [data for _, data in after] == [data for _, data in before]
    said = [data[2:] for _, data in packets(tmp_path / "out.mp4", "subtitle")[0] if len(data) > 2]
    assert said == [b"Who is there?", b"Nobody."]
    with av.open(str(tmp_path / "out.mp4")) as out:
        for kind in ("audio", "subtitle"):
            dts = [p.dts for p in out.demux([s for s in out.streams if s.type == kind]) if p.size]
            assert all(a < b for a, b in itertools.pairwise(dts))
            out.seek(0)


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_a_resumable_file_is_interleaved(tmp_path, enhancer, monkeypatch, container):
    """What is shown together lies together: no packet comes a second behind one that is shown later."""
    monkeypatch.setattr(segments, "SECONDS", Fraction(2))
    frames = [backlit(48, 64, seed=n % 5) for n in range(130)]
    source = write_clip(tmp_path / "in.mkv", frames, rate=5, gop_size=10)  # 26 s: muxers sort ten by themselves
    enhance_video(source, tmp_path / f"out.{container}", enhancer, FAST, resume={})
    with av.open(str(tmp_path / f"out.{container}")) as out:
        items = sorted((p.pos, p.dts * p.time_base, p.stream.type) for p in out.demux() if p.size and p.dts is not None)
    assert {kind for *_, kind in items} == {"audio", "video"}
    latest = Fraction(-10)
    for _, time, _ in items:
        latest = max(latest, time)
        assert time > latest - Fraction(3, 2)


# ------------------------------------------------------------------ sound that is encoded again

LAYOUTS = {"stereo": (2, {"stereo"}), "5.1": (6, {"5.1", "5.1(side)"}), "mono": (1, {"mono"})}


def with_sound(path, layout, rate=48000, seconds=2):
    """A clip with FLAC: another tone and some noise in each channel, so that an encoder uses its bits."""
    channels, rng = LAYOUTS[layout][0], np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        sound = container.add_stream("flac", rate=rate, layout=layout)
        for number in range(25 * seconds):
            frame = av.VideoFrame.from_ndarray(backlit(64, 96), format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        t = np.arange(rate * seconds) / rate
        tones = [np.sin(2 * np.pi * 220 * (n + 1) * t) * 6000 + rng.normal(0, 2000, t.shape) for n in range(channels)]
        samples = np.stack(tones, axis=-1).astype(np.int16).reshape(1, -1)
        wave = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
        wave.sample_rate, wave.pts, wave.time_base = rate, 0, Fraction(1, rate)
        container.mux([*sound.encode(wave), *sound.encode(None)])
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("container,codec", [("webm", "opus"), ("ts", "aac")])
def test_sound_that_is_encoded_again_keeps_channels_and_quality(tmp_path, enhancer, layout, container, codec):
    """Neither mixed down nor starved: about 96 kbit/s a channel (what EBU R 128 s2 and Opus' own guide call
    transparent for stereo is 128 kbit/s and more for both)."""
    source = with_sound(tmp_path / "in.mkv", layout)
    summary = enhance_video(source, tmp_path / f"out.{container}", enhancer, Encoding(preset="ultrafast"))
    assert any(f"becomes {codec}" in note for note in summary.notes)
    channels, names = LAYOUTS[layout]
    with av.open(str(tmp_path / f"out.{container}")) as out:
        sound = out.streams.audio[0]
        assert sound.codec_context.codec.canonical_name == codec
        waves = list(out.decode(sound))
    assert waves[5].layout.name in names and waves[5].layout.nb_channels == channels
    assert waves[5].sample_rate == 48000
    bits = 8 * sum(len(data) for _, data in packets(tmp_path / f"out.{container}", "audio")[0])
    assert 40_000 * channels < bits / 2 < 140_000 * channels
    samples = np.concatenate([wave.to_ndarray() for wave in waves[10:60]], axis=-1)
    if waves[5].format.is_planar:
        spectrum = np.abs(np.fft.rfft(samples, axis=-1))[:, 50:]
        peaks = (50 + spectrum.argmax(axis=-1)) * 48000 / samples.shape[-1]
        if channels < 6:  # of 5.1, the codecs may filter the channel of low frequencies
            assert peaks == pytest.approx([220 * (n + 1) for n in range(channels)], abs=20)


# ------------------------------------------------------------------ what goes wrong while writing


def test_a_frame_that_an_encoder_keeps_is_noticed(tmp_path, enhancer, monkeypatch):
    """No frame is lost without being said: as many packets as frames, or no file."""
    source = write_clip(tmp_path / "in.mkv", [backlit(64, 96)] * 8, sound=False)
    real, calls = encoder.encoded, []

    def swallowing(context, picture):
        calls.append(picture)
        result = real(context, picture)
        return result[1:] if picture is None else result

    monkeypatch.setattr(encoder, "encoded", swallowing)
    with pytest.raises(InputError, match="libx264 returned 7 of 8 frames"):
        enhance_video(source, tmp_path / "out.mkv", enhancer, Encoding(preset="medium"))
    assert calls and sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
def test_a_full_disk_is_no_damaged_packet(tmp_path, enhancer):
    """ENOSPC ends the run at once and is named, also where sound comes along; no hint at another container."""
    source = with_sound(tmp_path / "in.mkv", "5.1", seconds=14)
    done = []
    with pytest.raises(InputError) as failure:
        enhance_video(source, "/dev/full", enhancer, Encoding("libx264", preset="ultrafast", crf=40),
                      lambda frames, expected: done.append(frames), container="matroska")  # fmt: skip
    assert str(failure.value).startswith(f"/dev/full: cannot write the output ({os.strerror(28)})")
    assert len(done) < 200  # of 350


def test_a_source_edited_in_its_middle_is_another_source(tmp_path, enhancer):
    """Of the same size, with the same first and last bytes: its time of change tells."""
    source, model = tmp_path / "in.mkv", enhancer.network.path
    source.write_bytes(bytes(3 << 20))
    os.utime(source, ns=(10**18, 10**18))
    with pytest.raises(InputError, match="kept"), work_on(source, tmp_path / "out.mkv", model, {}) as work:
        work.packets_file(0).touch()
        work.state_file(0).touch()
        work.add(0, Segment(10, 10, 0, 1000))
        raise InputError("stopped")
    with source.open("r+b") as file:
        file.seek(3 << 19)
        file.write(b"x")
    with work_on(source, tmp_path / "out.mkv", model, {}) as again:
        pass
    assert (again.frames, again.notes) == (0, ["earlier work was made with other source; everything is done anew"])
    for at in (0, (3 << 20) - 1):  # the ends tell even where the time was set back
        os.utime(source, ns=(10**18, 10**18))
        before = fingerprint(source)
        with source.open("r+b") as file:
            file.seek(at)
            file.write(b"y")
        os.utime(source, ns=(10**18, 10**18))
        assert fingerprint(source) != before


# ------------------------------------------------------------------ gain in whole clips


def hdr_edge(path, dark, bright, frames=2):
    """PQ, 10 bits, lossless: `dark` cd/m2 above and left of an edge, `bright` beyond it."""
    left = np.arange(256)[None, :] < 128
    light = np.where(left, dark, bright) * np.ones((192, 1))
    y = np.round(64 + 876 * hdr.light_to_pq(light)).astype(np.uint16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 256, 192, "yuv420p10le"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 9, 9, PQ, 1
        for number in range(frames):
            picture = av.VideoFrame(256, 192, "yuv420p10le")
            planes = planes_of(picture)
            planes[0][...] = y
            planes[1][...] = planes[2][...] = 512
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def test_both_sides_of_an_edge_in_hdr_are_lifted_as_each_by_itself(tmp_path, enhancer):
    """A light map of 1/2 everywhere. Each side's light is lifted as its SDR picture would be (by g^2.2), close to the
    edge, too: what guides the edge is the signal that is multiplied, not the picture that the network saw."""
    dark, bright = 2.0, 60.0
    source = hdr_edge(tmp_path / "in.mkv", dark, bright)
    enhance_video(source, tmp_path / "out.mkv", with_network(enhancer, Constant(enhancer.network, 0.5)), LOSSLESS)
    row = planes_of(decoded(tmp_path / "out.mkv")[1])[0][96].astype(float)
    light = hdr.pq_to_light((row - 64) / 876)
    for level, columns in ((dark, (20, 120, 124, 127)), (bright, (128, 131, 135, 230))):
        sdr = (level / 203) ** (1 / 2.2)
        wanted = level * (0.25 + 0.75 * sdr**2) ** -1.1
        for column in columns:
            assert light[column] == pytest.approx(wanted, rel=0.06), (level, column)


@pytest.mark.parametrize("noisy,bounded", [(0, False), (1, True)], ids=["red", "green"])
def test_rgb_clips_are_judged_by_the_noise_of_green(tmp_path, enhancer, noisy, bounded):
    """--max-gain auto: green makes 72 % of luma (BT.709); noise in red alone bounds nothing."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(3):
        picture = np.full((192, 256, 3), 10, np.uint8)
        picture[:, :, noisy] = np.clip(np.round(24 + rng.normal(0, 5, (192, 256))), 0, 255)
        frames.append(picture)
    source = write_clip(tmp_path / "in.mkv", frames, sound=False, codec="ffv1", pixel_format="bgr0")
    dark = with_network(enhancer, Constant(enhancer.network, 1 / 8))
    blue = []
    for name, limit in (("auto", "auto"), ("all", 16.0)):
        enhance_video(source, tmp_path / f"{name}.mkv", dark.adjusted(1.0, limit), LOSSLESS)
        blue.append(decoded(tmp_path / f"{name}.mkv")[1].to_ndarray(format="rgb24")[..., 2].mean())
    if bounded:
        assert blue[0] < 0.7 * blue[1]
    else:
        assert blue[0] == pytest.approx(blue[1], rel=0.02)


@pytest.mark.parametrize("size", [(97, 161), (96, 161), (97, 160)])
@pytest.mark.parametrize("codec", ["ffv1", "libx264"])
def test_odd_sizes_keep_their_last_row_and_column(tmp_path, enhancer, size, codec):
    """A bright frame of one pixel around the picture is still there, in its place, and nothing is moved."""
    picture = np.full((*size, 3), 40, np.uint8)
    picture[0] = picture[-1] = picture[:, 0] = picture[:, -1] = 230
    source = write_clip(tmp_path / "in.mkv", [picture] * 3, sound=False, codec="ffv1", pixel_format="yuv444p")
    unchanged = with_network(enhancer, Constant(enhancer.network, 1.0))
    quality = {} if codec == "ffv1" else {"crf": 4}
    enhance_video(source, tmp_path / "out.mkv", unchanged, Encoding(codec, **quality))
    result = decoded(tmp_path / "out.mkv")[1].to_ndarray(format="gray").astype(int)
    assert result.shape == size
    before = decoded(source)[1].to_ndarray(format="gray").astype(int)
    assert np.abs(result - before).max() <= (0 if codec == "ffv1" else 6)
    assert min(result[-1].min(), result[:, -1].min()) > 200 and result[-2, 1:-1].max() < 60
