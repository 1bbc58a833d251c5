"""R2 of the user requests: depth, sampling, range, tags, HDR, transparency, interlacing, rotation."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from cliplit.errors import InputError
from cliplit.runtime.light import hdr
from cliplit.runtime.light.colour import HLG, PQ, Coding
from cliplit.runtime.light.light_map import plain_coefficients
from cliplit.runtime.light.pixels import PlanarPixels
from cliplit.runtime.video.clip import enhance_video
from cliplit.runtime.video.codecs import Encoding
from cliplit.runtime.video.fields import FieldOrder
from cliplit.runtime.video.frames import Frame
from cliplit.runtime.video.opening import Reading
from cliplit.runtime.video.pixels import PLANAR, alpha_of, closest, layout_of, losses, planes_of
from cliplit.runtime.video.pyav_frame import frame_of
from cliplit.runtime.video.pyav_reader import PyAVReader
from cliplit.runtime.video.request import Steps
from made import backlit, enhanced, identity, write_clip

LOSSLESS = Encoding("ffv1")
FORMATS = [
    "yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv420p10le", "yuv422p10le", "yuv444p10le", "yuv420p12le",
    "yuv422p12le", "yuv444p12le", "yuv420p16le", "gray", "gray10le", "gray12le", "yuva420p", "yuva444p10le",
    "gbrp10le", "gbrp12le", "gbrap10le", "bgr0", "bgra",
]  # fmt: skip


def pictures(path):
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def samples(picture):
    planar = picture.reformat(format=layout_of(picture.format.name).name)
    return [plane.copy() for plane in planes_of(planar)] + [a.copy() for a in [alpha_of(planar)] if a is not None]


@pytest.mark.parametrize("size", [(48, 64), (49, 65)])
@pytest.mark.parametrize("form", FORMATS)
def test_light_of_one_leaves_every_plane_untouched(tmp_path, enhancer, form, size):
    """R2.1, R2.5, R6.4: 8 to 16 bits, all samplings, gray, RGB, alpha, even and odd sizes."""
    source = write_clip(tmp_path / "in.mkv", [backlit(*size)] * 2, sound=False, codec="ffv1", pixel_format=form)
    enhance_video(source, tmp_path / "out.mkv", identity(enhancer), LOSSLESS)
    before, after = pictures(source), pictures(tmp_path / "out.mkv")
    assert [p.format.name for p in after] == [p.format.name for p in before] == [form] * 2
    for old, new in zip(before, after, strict=True):
        for a, b in zip(samples(old), samples(new), strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("form", ["yuv420p10le", "yuv444p12le", "gbrp10le", "gray10le", "yuv422p"])
def test_every_depth_is_relighted_alike(tmp_path, enhancer, form):
    """The same picture at any depth and sampling becomes as bright as at eight bits."""
    frames = [backlit(96, 160)] * 2
    levels = []
    eight_bits = "gray" if form.startswith("gray") else "yuv420p"  # without colour the network sees another picture
    for pixel_format in (eight_bits, form):
        source = tmp_path / f"{pixel_format}.mkv"
        write_clip(source, frames, sound=False, codec="ffv1", pixel_format=pixel_format)
        enhance_video(source, tmp_path / "out.mkv", enhancer, LOSSLESS)
        levels.append(pictures(tmp_path / "out.mkv")[1].reformat(format="gray").to_ndarray().mean())
        (tmp_path / "out.mkv").unlink()
    before = pictures(tmp_path / f"{eight_bits}.mkv")[1].reformat(format="gray").to_ndarray().mean()
    assert levels[0] > before * 1.1
    assert abs(levels[1] - levels[0]) < 0.04 * levels[0]


@pytest.mark.parametrize("packed,planar", sorted(PLANAR.items()))
def test_packed_formats_are_rearranged_without_loss(packed, planar):
    if planar == "gray":
        pytest.skip("one bit")
    try:
        picture = av.VideoFrame(32, 16, packed)
    except ValueError:
        pytest.skip(f"this FFmpeg does not know {packed}")
    rng = np.random.default_rng(0)
    for plane in picture.planes:
        plane.update(rng.integers(0, 256, plane.buffer_size, dtype=np.uint8).tobytes())
    try:
        once = picture.reformat(format=planar)
        again = once.reformat(format=packed).reformat(format=planar)
    except OSError:
        pytest.skip(f"this FFmpeg does not convert {packed}")
    for a, b in zip(planes_of(once), planes_of(again), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("form", ["grayf32le", "bayer_rggb8", "xyz12le", "gbrpf32le", "cuda"])
def test_formats_that_cannot_be_relighted_are_refused(form):
    with pytest.raises(InputError, match=form):
        layout_of(form)


@pytest.mark.parametrize(
    "wanted,available,chosen",
    [
        ("yuv420p10le", ["yuv420p", "yuv444p", "p010le"], "p010le"),
        ("yuv422p", ["yuv420p", "yuv444p"], "yuv444p"),
        ("yuva420p", ["yuv420p", "yuva444p10le"], "yuva444p10le"),
        ("gray", ["gbrp", "yuv420p"], "yuv420p"),
        ("yuv420p", ["yuvj420p", "nv12", "yuv420p"], "yuv420p"),
        ("gbrp", ["yuv444p", "bgr24", "gray"], "bgr24"),
    ],
)
def test_the_closest_format_loses_least(wanted, available, chosen):
    assert closest(wanted, available) == chosen
    assert not losses(wanted, chosen)


def test_losses_are_named():
    assert losses("yuva444p12le", "yuv420p") == [
        "transparency", "12 bits a sample (written with 8)", "the chroma resolution (written as yuv420p)"
    ]  # fmt: skip


# ------------------------------------------------------------------ tags


@pytest.mark.parametrize("matrix", [(9, 9, 14), (1, 1, 1), (6, 6, 6)])
@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9"])
def test_tags_reach_every_codec(tmp_path, enhancer, codec, matrix):
    """R2.1"""
    space, primaries, transfer = matrix
    source = write_clip(tmp_path / "in.mkv", [backlit(64, 96)] * 2, sound=False, colorspace=space, color_range=1,
                        color_primaries=primaries, color_trc=transfer, sample_aspect_ratio=Fraction(4, 3))  # fmt: skip
    enhance_video(source, tmp_path / "out.mp4", enhancer, Encoding(codec, preset="ultrafast"))
    with av.open(str(tmp_path / "out.mp4")) as out:
        stream = out.streams.video[0]
        picture = next(out.decode(stream))
        assert stream.sample_aspect_ratio == Fraction(4, 3)
    assert (picture.colorspace, picture.color_primaries, picture.color_trc) == matrix
    assert picture.color_range == 1


@pytest.mark.parametrize("location", ["left", "center", "topleft"])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_chroma_location_is_kept(tmp_path, enhancer, codec, location):
    source = tmp_path / "in.mp4"
    with av.open(str(source), "w") as container:
        options = {"chroma_sample_location": location, "preset": "ultrafast"}
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.options = {**options, **({"x265-params": "log-level=error"} if "265" in codec else {})}
        frame = av.VideoFrame.from_ndarray(backlit(64, 96), format="rgb24").reformat(format="yuv420p")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    enhance_video(source, tmp_path / "out.mp4", enhancer, Encoding(preset="ultrafast"))
    for path in (source, tmp_path / "out.mp4"):
        with PyAVReader(path) as reader:
            written = None if (codec, location) == ("libx264", "left") else location  # H.264's default is not written
            assert reader.clip.colour.chroma_location == written, path


def test_untagged_clips_follow_the_usual_rule_and_it_is_said(tmp_path):
    """R2.2: BT.709 from 720 lines up, BT.601 below; --input-color overrides and is tagged."""
    for height, name, kr in ((720, "BT.709", 0.2126), (576, "BT.601", 0.299)):
        source = write_clip(tmp_path / f"{height}.mkv", [backlit(height, 64)], sound=False)
        with PyAVReader(source) as reader:
            assert reader.clip.coding.kr == kr
            assert any(f"taken as {name}" in note for note in reader.notes)
        with PyAVReader(source, Reading(input_color="bt2020:full")) as reader:
            assert (reader.clip.coding.kr, reader.clip.coding.full_range) == (0.2627, True)
            assert (reader.clip.colour.matrix, reader.clip.colour.color_range) == (9, 2)
    with pytest.raises(InputError, match="--input-color mauve"):
        PyAVReader(source, Reading(input_color="mauve"))


@pytest.mark.parametrize("turn", [(90, False), (180, False), (270, False), (0, True), (90, True)])
@pytest.mark.parametrize("container", [".mp4", ".mov", ".mkv"])
def test_display_matrix_is_kept(tmp_path, enhancer, turn, container):
    """R2.7: rotations and mirrored pictures; the pixels are not turned."""
    degrees, mirrored = turn
    plain = write_clip(tmp_path / "plain.mp4", [backlit(64, 96)] * 2, sound=False)
    source = tmp_path / "in.mp4"
    with av.open(str(plain)) as old, av.open(str(source), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
        stream.set_display_rotation(degrees, hflip=mirrored)
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    target = tmp_path / f"out{container}"
    enhance_video(source, target, enhancer, Encoding(preset="ultrafast"))
    with PyAVReader(source) as before, PyAVReader(target) as after:
        assert before.clip.display_matrix is not None
        if mirrored and container == ".mkv":  # Matroska knows turns only
            return
        assert after.clip.display_matrix == before.clip.display_matrix
        assert (after.clip.width, after.clip.height) == (96, 64)


# ------------------------------------------------------------------ HDR


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_transfer_functions_invert_each_other(transfer):
    """SMPTE ST 2084 and ITU-R BT.2100, at values the standards name."""
    t = hdr.TRANSFERS[transfer]
    signal = np.linspace(0, 1, 1001)
    assert np.allclose(t.to_signal(t.to_light(signal)), signal, atol=1e-6)
    assert t.to_light(np.float64(1.0)) == pytest.approx({PQ: 10000, HLG: 1000}[transfer], rel=1e-4)
    assert t.white == pytest.approx({PQ: 0.58, HLG: 0.75}[transfer], abs=2e-3)  # BT.2408 table 1


def hdr_clip(path, transfer, frames=3, master=True):
    """A dark ground under a light of 1000 cd/m2, HEVC with static metadata."""
    t = hdr.TRANSFERS[transfer]
    light = np.where(np.arange(96)[:, None] > 48, 4.0, 1000.0) * np.ones((96, 160))
    y = np.round(64 + 876 * t.to_signal(light)).astype(np.uint16)
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    parameters = f"log-level=error:master-display={display}:max-cll=1000,300"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p10le"
        context = stream.codec_context
        context.options = {"crf": "6", "x265-params": parameters if master else "log-level=error"}
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 9, 9, transfer, 1
        for number in range(frames):
            picture = av.VideoFrame(160, 96, "yuv420p10le")
            planes = planes_of(picture)
            planes[0][...] = y
            planes[1][...] = planes[2][...] = 512
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_hdr_stays_hdr(tmp_path, enhancer, transfer):
    """R2.4: tags and static metadata stay, the ground is lifted, the light above reference white stays."""
    source = hdr_clip(tmp_path / "in.mp4", transfer)
    summary = enhance_video(source, tmp_path / "out.mkv", enhancer, LOSSLESS)
    before, after = pictures(source)[0], pictures(tmp_path / "out.mkv")[0]
    assert (after.color_trc, after.colorspace, after.format.name) == (transfer, 9, "yuv420p10le")
    old, new = planes_of(before)[0].astype(int), planes_of(after)[0].astype(int)
    assert np.array_equal(new[:40], old[:40])
    t = hdr.TRANSFERS[transfer]
    lifted = t.to_light((new[60:].mean() - 64) / 876) / t.to_light((old[60:].mean() - 64) / 876)
    assert lifted > 2
    assert any("stays HDR" in note for note in summary.notes)
    with pytest.raises(InputError, match="--hdr refuse"):
        PyAVReader(source, Reading(hdr="refuse"))


@pytest.mark.parametrize("codec", ["hevc", "av1", "h264"])
def test_static_metadata_reaches_the_stream(tmp_path, enhancer, codec):
    source = hdr_clip(tmp_path / "in.mp4", PQ)
    enhance_video(source, tmp_path / "out.mp4", enhancer, Encoding(codec, preset="ultrafast"))
    with PyAVReader(source) as before, PyAVReader(tmp_path / "out.mp4") as after:
        assert before.clip.mastering is not None
        assert after.clip.mastering.content == before.clip.mastering.content == (1000, 300)
        for a, b in zip(after.clip.mastering.primaries, before.clip.mastering.primaries, strict=True):
            assert [float(x) for x in a] == pytest.approx([float(x) for x in b], abs=1e-4)
        assert float(after.clip.mastering.luminance[1]) == 1000


def test_what_a_codec_cannot_hold_of_hdr_is_named(tmp_path, enhancer):
    source = hdr_clip(tmp_path / "in.mp4", PQ)
    summary = enhance_video(source, tmp_path / "out.mov", enhancer, Encoding("prores"))
    assert any("mastering display" in note and "left out" in note for note in summary.notes)


def test_sdr_light_map_means_the_same_light_in_hdr():
    """Gray of 2 to 100 cd/m2 is lifted in PQ to the light its SDR picture would be lifted to."""
    t = hdr.TRANSFERS[PQ]
    light = np.linspace(2, 100, 50)[None].repeat(4, 0)
    luma = (t.to_signal(light) / t.white).astype(np.float32)
    log_light = np.full(luma.shape, -1.5, np.float32)
    sdr = (light / hdr.REFERENCE_WHITE) ** (1 / hdr.GAMMA)
    expected = light * hdr.gain(np.exp2(log_light), sdr) ** hdr.GAMMA
    got = hdr.gain(np.exp2(hdr.signal_log_light(log_light, luma, t)), luma)
    assert np.allclose(t.to_light(luma * got * t.white)[:, 2:-2], expected[:, 2:-2], rtol=0.02)


# ------------------------------------------------------------------ interlaced


def interlaced(path, upper_first=True, codec="libx264", pixel_format="yuv420p"):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, pixel_format
        context = stream.codec_context
        context.flags |= av.codec.context.Flags.interlaced_dct | av.codec.context.Flags.interlaced_me
        context.field_order = 2 if upper_first else 3
        context.options = {"x264-params": "tff=1" if upper_first else "bff=1", "preset": "ultrafast"}
        for number in range(4):
            frame = av.VideoFrame.from_ndarray(backlit(96, 160, seed=number), format="rgb24")
            frame = frame.reformat(format=pixel_format)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(FieldOrder().marked(frame, "tff" if upper_first else "bff")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("upper_first", [True, False])
@pytest.mark.parametrize("container", [".mkv", ".mov", ".mp4"])
def test_interlaced_stays_interlaced(tmp_path, enhancer, container, upper_first):
    source = interlaced(tmp_path / "in.mkv", upper_first)
    enhance_video(source, tmp_path / f"out{container}", enhancer, Encoding(preset="ultrafast"))
    with PyAVReader(source) as before, PyAVReader(tmp_path / f"out{container}") as after:
        assert before.clip.field_order == ("tff" if upper_first else "bff")
        assert after.clip.field_order == before.clip.field_order
        assert [item.interlaced for item in after if isinstance(item, Frame)] == [True] * 4


@pytest.mark.parametrize("codec", ["hevc", "av1", "vp9"])
def test_codecs_without_fields_refuse_interlaced_clips(tmp_path, enhancer, codec):
    source = interlaced(tmp_path / "in.mkv")
    with pytest.raises(InputError, match="interlaced"):
        enhance_video(source, tmp_path / "out.mkv", enhancer, Encoding(codec))
    assert list(tmp_path.iterdir()) == [source]


def test_chroma_follows_its_own_field():
    """A bright upper and a dark lower field: no chroma line gets the gain of the other field's luma."""
    picture = av.VideoFrame(32, 32, "yuv420p")
    y, cb, cr = planes_of(picture)
    y[0::2], y[1::2] = 230, 40
    cb[...], cr[...] = 140, 110
    picture.pts, picture.time_base = 0, Fraction(1, 25)
    frame = frame_of(picture, Coding()).copy()
    log_light = np.full((4, 4), -1.0, np.float32)
    pixels = PlanarPixels(frame.planes, frame.coding, interlaced=True)
    pixels.relight(plain_coefficients(log_light, 4.0), pixels)
    upper, lower = frame.planes[1][0::2], frame.planes[1][1::2]
    assert np.ptp(upper) == np.ptp(lower) == 0
    assert int(lower[0, 0]) - 128 > 1.25 * (int(upper[0, 0]) - 128)


def test_frames_are_views_not_copies(tmp_path, enhancer):
    source = write_clip(tmp_path / "in.mkv", [backlit(64, 96)] * 2, sound=False)
    with PyAVReader(source) as reader:
        frame = next(f for f in enhanced(reader.clip, reader, enhancer, Steps(0.0)) if isinstance(f, Frame))
        assert np.shares_memory(frame.planes[0], planes_of(frame.picture)[0])


@pytest.mark.parametrize(
    "codec,form,container",
    [("prores_ks", "yuva444p10le", ".mov"), ("libvpx-vp9", "yuva420p", ".webm"), ("png", "rgba", ".mov"),
     ("qtrle", "argb", ".mov"), ("ffv1", "yuva422p10le", ".mkv")],
)  # fmt: skip
def test_transparency_is_kept_by_the_codecs_that_have_it(tmp_path, enhancer, codec, form, container):
    """Where the encoder is lossless the plane is equal, elsewhere close."""
    source = tmp_path / f"in{container}"
    shape = np.zeros((64, 96), np.uint8)
    shape[16:48, 24:72] = 200
    with av.open(str(source), "w") as out:
        stream = out.add_stream(codec, rate=25, options={"crf": "4", "b": "0"} if "vpx" in codec else {})
        stream.width, stream.height, stream.pix_fmt = 96, 64, form
        for number in range(3):
            rgba = np.dstack([backlit(64, 96), shape])
            frame = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format=form)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    quality = {"crf": 4} if "vpx" in codec else {}
    summary = enhance_video(source, tmp_path / f"out{container}", enhancer, Encoding(**quality))
    planes = []
    for path in (source, tmp_path / f"out{container}"):
        with PyAVReader(path) as reader:
            frame = next(item for item in reader if isinstance(item, Frame))
            planes.append(frame.alpha.astype(float) / ((1 << frame.coding.depth) - 1))
    assert planes[0].max() > 0.7
    assert np.abs(planes[0] - planes[1]).mean() < 0.005
    assert not any("transparency" in note for note in summary.notes)
