"""R6.1 to R6.4 of the user requests: which encoder, what quality, and what happens to options it does not know."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest

from cliplit.errors import InputError
from cliplit.runtime.backends.devices import cores
from cliplit.runtime.light.colour import Coding, Colour
from cliplit.runtime.video import codecs
from cliplit.runtime.video.clip import enhance_video
from cliplit.runtime.video.codecs import BY_NAME, ENCODERS, Choice, Encoding, choose, options_of
from cliplit.runtime.video.encoder import configure
from cliplit.runtime.video.frames import Clip
from cliplit.runtime.video.pixels import layout_of
from made import backlit, write_clip


def clip(codec="h264", pixel_format="yuv420p", size=(96, 64), field_order="progressive"):
    depth = layout_of(pixel_format).depth
    return Clip(*size, pixel_format, Coding(depth=depth), Colour(1, 1, 1, 1), Fraction(1, 25), codec=codec,  # type: ignore[call-arg, misc]
                field_order=field_order)  # fmt: skip


@pytest.mark.parametrize(
    "source,container,encoder",
    [
        ("h264", "mp4", "libx264"), ("hevc", "mp4", "libx265"), ("av1", "matroska", "libsvtav1"),
        ("vp9", "webm", "libvpx-vp9"), ("prores", "mov", "prores_ks"), ("ffv1", "matroska", "ffv1"),
        ("ffv1", "mp4", "libx264"), ("mpeg2video", "mpegts", "libx264"), ("h264", "webm", "libvpx-vp9"),
        ("rawvideo", "matroska", "ffv1"), ("h264", "yuv4mpegpipe", "rawvideo"), ("", "mp4", "libx264"),
    ],
)  # fmt: skip
def test_auto_keeps_the_family_where_the_container_holds_it(source, container, encoder):
    assert choose(clip(source), Encoding(), container).encoder.name == encoder


def test_auto_keeps_more_than_eight_bits():
    """R2.5: this VP9 encoder may be built for eight bits only; WebM then gets AV1."""
    choice = choose(clip("vp9", "yuv420p10le"), Encoding(), "webm")
    assert layout_of(choice.pixel_format).depth == 10


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9", "ffv1"])
@pytest.mark.parametrize("form", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "gray"])
@pytest.mark.parametrize("size", [(96, 64), (97, 64), (96, 65), (97, 65)])
def test_every_size_and_sampling_is_written_whole(tmp_path, enhancer, codec, form, size):
    """R6.4"""
    source = write_clip(
        tmp_path / "in.mkv", [backlit(size[1], size[0])] * 2, sound=False, codec="ffv1", pixel_format=form
    )
    enhance_video(source, tmp_path / "out.mkv", enhancer, Encoding(codec))
    with av.open(str(tmp_path / "out.mkv")) as out:
        frames = list(out.decode(video=0))
    assert [(f.width, f.height) for f in frames] == [size] * 2
    if codec != "vp9":
        assert layout_of(frames[0].format.name).depth == layout_of(form).depth


def test_quality_reaches_every_kind_of_encoder():
    """R6.2: NVENC, Quick Sync and AMF get the number in their own terms and no bit rate of their own."""
    expected = {
        "libx264": {"crf": "23"}, "h264_nvenc": {"rc": "vbr", "cq": "23", "b": "0"},
        "h264_qsv": {"global_quality": "23"}, "h264_amf": {"rc": "cqp", "qp_i": "23", "qp_p": "23"},
        "libvpx-vp9": {"crf": "23", "b": "0"},
    }  # fmt: skip
    for name, quality in expected.items():
        if codecs.exists(name):
            options = options_of(Choice(BY_NAME[name], "yuv420p"), Encoding(crf=23))
            assert quality.items() <= options.items(), name


@pytest.mark.parametrize("encoder", [e for e in ENCODERS if e.presets], ids=lambda e: e.name)
def test_preset_words_mean_something_to_every_encoder(encoder):
    if not codecs.exists(encoder.name):
        pytest.skip("not in this FFmpeg")
    assert len(encoder.presets[1]) == len(codecs.SPEEDS)
    option = encoder.presets[0]
    assert option in codecs.option_names(encoder.name)
    fast, slow = (options_of(Choice(encoder, "yuv420p"), Encoding(preset=p))[option] for p in ("ultrafast", "veryslow"))
    assert fast != slow


def test_quality_is_what_decides_the_size(tmp_path, enhancer):
    """R6.1, R6.2: with every family that has one."""
    source = write_clip(tmp_path / "in.mkv", [backlit(96, 160, seed=i) for i in range(6)], sound=False)
    for family in ("h264", "hevc", "av1", "vp9"):
        sizes = []
        for crf in (10, 45):
            out = tmp_path / f"{family}{crf}.mkv"
            enhance_video(source, out, enhancer, Encoding(family, crf, "ultrafast"))
            sizes.append(out.stat().st_size)
        assert sizes[0] > 1.8 * sizes[1], family


WRONG = [
    (Encoding("h265x"), "no such video encoder"),
    (Encoding("libx264", options={"crff": "1"}), "no such option; did you mean crf"),
    (Encoding("libx264", preset="turbo"), "libx264 knows ultrafast"),
    (Encoding("libx264", pixel_format="yuv420p12le"), "does not take pixel format"),
    (Encoding("ffv1", crf=3), "no constant quality"),
    (Encoding("prores", preset="fast"), "no presets"),
]


@pytest.mark.parametrize("encoding,message", WRONG)
def test_wrong_encodings_are_refused_with_a_reason(tmp_path, enhancer, encoding, message):
    source = write_clip(tmp_path / "in.mkv", [backlit(64, 96)] * 2, sound=False)
    with pytest.raises(InputError, match=message):
        enhance_video(source, tmp_path / "out.mov" if encoding.codec == "prores" else tmp_path / "out.mkv",
                      enhancer, encoding)  # fmt: skip
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("codec,container", [("prores", "mp4"), ("h264", "webm"), ("libx264", "webm")])
def test_codecs_the_container_refuses(codec, container):
    with pytest.raises(InputError, match="cannot hold"):
        choose(clip(), Encoding(codec), container)


def test_hardware_encoders_are_tried_before_use():
    """R6.3: an encoder that exists without its hardware is refused with the driver's reason, and `auto` goes on."""
    broken = [e for e in ENCODERS if e.hardware and codecs.exists(e.name) and codecs.trial(e.name, "yuv420p")]
    if not broken:
        pytest.skip("no hardware encoder here, or all of them work")
    with pytest.raises(InputError, match="does not work on this machine"):
        choose(clip(), Encoding(broken[0].name), "matroska")
    assert broken[0].name not in codecs.installed()


def test_own_options_win():
    options = options_of(
        Choice(BY_NAME["libx264"], "yuv420p"), Encoding(crf=20, options={"crf": "30", "tune": "grain"})
    )
    assert (options["crf"], options["tune"]) == ("30", "grain")
    options = options_of(Choice(BY_NAME["libx265"], "yuv420p"), Encoding(options={"x265-params": "aq-mode=3"}))
    assert options["x265-params"] == "log-level=error:aq-mode=3"


def test_x264_keeps_pictures_whole_and_looks_ahead_as_far_as_memory_allows(tmp_path, enhancer):
    """Cut into slices, which PyAV asks for by default, it is slower and needs more bits. The stream says how it was
    made."""
    write_clip(tmp_path / "in.mp4", [backlit(720, 1280)] * 3, sound=False)
    enhance_video(tmp_path / "in.mp4", tmp_path / "out.mp4", enhancer, Encoding(preset="veryfast"))
    said = (tmp_path / "out.mp4").read_bytes()
    assert b"sliced_threads=0" in said and b"rc_lookahead=10" in said
    live = Encoding(preset="veryfast", options={"tune": "zerolatency"})
    enhance_video(tmp_path / "in.mp4", tmp_path / "live.mp4", enhancer, live)
    assert (b"sliced_threads=1" in (tmp_path / "live.mp4").read_bytes()) == (cores() > 1)

    def lookahead(size, **options):
        context = av.CodecContext.create("libx264", "w")
        configure(context, clip(size=size), Choice(BY_NAME["libx264"], "yuv420p"), options)
        return context.options.get("rc-lookahead")

    assert lookahead((1280, 720)) is None  # x264's own
    assert lookahead((1920, 1080), preset="medium") == "29"
    assert lookahead((3840, 2160), preset="slow") == "16"
    assert lookahead((3840, 2160), preset="veryfast") is None  # that is 10
    assert lookahead((3840, 2160), **{"rc-lookahead": "60"}) == "60"
