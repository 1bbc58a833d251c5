"""Pixel formats and static metadata: depth, sampling and units as FFmpeg and the standards define them."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from cliplit.errors import InputError
from cliplit.runtime.video.mastering import Mastering, encoder_parameters, mastering_of
from cliplit.runtime.video.pixels import CONVERTED, PLANAR, Layout, alpha_of, closest, layout_of, losses, planes_of


def form_of(name):
    """(bits of each component, columns and rows of chroma for 16 x 16 pixels, RGB, components) by FFmpeg's own word."""
    form = av.VideoFormat(name, 16, 16)
    bits = {component.bits for component in form.components}
    return bits, form.chroma_width(), form.chroma_height(), form.is_rgb, len(form.components)


@pytest.mark.parametrize("packed,planar", sorted(PLANAR.items()))
def test_rearranging_keeps_depth_sampling_and_number_of_components(packed, planar):
    """A semi-planar or packed format becomes the planar one of its own depth and sampling: nothing is lost silently."""
    try:
        before = form_of(packed)
    except ValueError:
        pytest.skip(f"this FFmpeg does not know {packed}")
    if packed.startswith("mono"):
        assert before[0] == {1} and planar == "gray"
        return
    unused = packed in ("rgb0", "bgr0", "0rgb", "0bgr", "vuyx", "xv30le", "v30xle", "xv36le", "xv48le")
    bits, width, height, rgb, components = before
    assert form_of(planar)[:4] == (bits, width, height, rgb)
    assert form_of(planar)[4] == components - (unused and components == 4)
    assert layout_of(packed).depth == max(bits)


@pytest.mark.parametrize(
    "name,layout",
    [
        ("yuv420p", Layout("yuv420p", 8, False, False, False, (2, 2))),
        ("yuvj422p", Layout("yuv422p", 8, False, False, False, (2, 1))),
        ("yuv440p10be", Layout("yuv440p10le", 10, False, False, False, (1, 2))),
        ("yuv444p16le", Layout("yuv444p16le", 16, False, False, False, (1, 1))),
        ("yuva420p", Layout("yuva420p", 8, False, False, True, (2, 2))),
        ("p012le", Layout("yuv420p12le", 12, False, False, False, (2, 2))),
        ("gray", Layout("gray", 8, False, True, False, (1, 1))),
        ("gray12le", Layout("gray12le", 12, False, True, False, (1, 1))),
        ("bgra", Layout("gbrap", 8, True, False, True, (1, 1))),
        ("gbrp14le", Layout("gbrp14le", 14, True, False, False, (1, 1))),
        ("yuv411p", Layout("yuv411p", 8, False, False, False, (4, 1))),
        ("uyyvyy411", Layout("yuv411p", 8, False, False, False, (4, 1))),
        ("yuv410p", Layout("yuv420p", 8, False, False, False, (2, 2))),
        ("pal8", Layout("gbrap", 8, True, False, True, (1, 1))),
    ],
)
def test_layouts_by_hand(name, layout):
    assert layout_of(name) == layout


@pytest.mark.parametrize(
    "name",
    [
        "",
        "mauve",
        "cuda",
        "grayf32le",
        "gbrpf32le",
        "bayer_rggb8",
        "xyz12le",
        "yuv444p10msble",
        "grayf16le",
        "gbrpf16le",
        "gray32le",
    ],
)
def test_other_formats_are_refused_by_name(name):
    with pytest.raises(InputError, match=f"pixel format {name or 'unknown'}"):
        layout_of(name)


@pytest.mark.parametrize("name,there", sorted(CONVERTED.items()))
def test_what_is_converted_loses_no_colour_sample_of_what_it_had(name, there):
    """4:1:0, palettes and 4 to 6 bits: as many bits and chroma samples as before, or more."""
    try:
        bits, width, height, _, _ = form_of(name)
    except ValueError:
        pytest.skip(f"this FFmpeg does not know {name}")
    new_bits, new_width, new_height, _, _ = form_of(there)
    assert max(new_bits) >= max(bits) and new_width >= width and new_height >= height


def test_planes_come_in_the_order_of_their_names():
    """Y', Cb, Cr; R, G, B of FFmpeg's G, B, R; of gray its luma, and chroma that holds no colour."""
    picture = av.VideoFrame(6, 4, "gbrap10le")
    for number, plane in enumerate(picture.planes):
        plane.update(np.full(plane.buffer_size // 2, 100 * (number + 1), np.uint16).tobytes())
    assert [int(plane[0, 0]) for plane in planes_of(picture)] == [300, 100, 200]
    assert [plane.shape for plane in planes_of(picture)] == [(4, 6)] * 3
    alpha = alpha_of(picture)
    assert alpha is not None and (alpha.shape, alpha.dtype, int(alpha[0, 0])) == ((4, 6), np.uint16, 400)
    gray = av.VideoFrame(7, 5, "gray10le")
    luma, cb, cr = planes_of(gray)
    assert (luma.shape, cb.shape, cr.shape, alpha_of(gray)) == ((5, 7), (3, 4), (3, 4), None)
    assert (cb == 512).all() and (cr == 512).all()
    small = planes_of(av.VideoFrame(7, 5, "gray"))
    assert (small[1] == 128).all() and small[1].dtype == np.uint8 and small[1] is not small[2]
    even = planes_of(av.VideoFrame(8, 6, "gray"))
    assert [plane.shape for plane in even] == [(6, 8), (3, 4), (3, 4)]
    colours = av.VideoFrame(8, 6, "yuv444p")
    for number, plane in enumerate(colours.planes):
        plane.update(np.full(plane.buffer_size, 100 + number, np.uint8).tobytes())
    assert [int(plane[5, 7]) for plane in planes_of(colours)] == [100, 101, 102]
    assert {plane.dtype for plane in planes_of(colours)} == {np.dtype(np.uint8)}
    chroma = planes_of(av.VideoFrame(7, 5, "yuv422p"))
    assert [plane.shape for plane in chroma] == [(5, 7), (5, 4), (5, 4)]


@pytest.mark.parametrize(
    "wanted,available,chosen",
    [
        ("yuv420p", ["yuv422p", "yuv444p", "yuv420p10le"], "yuv422p"),
        ("yuv420p10le", ["yuv420p12le", "yuv422p10le"], "yuv422p10le"),
        ("yuv420p12le", ["yuv420p", "yuv420p10le"], "yuv420p10le"),
        ("yuv422p", ["yuv420p", "yuv440p"], "yuv420p"),
        ("yuv444p", ["gbrp", "yuv420p"], "yuv420p"),
        ("gbrp", ["yuv444p", "gbrp10le"], "gbrp10le"),
        ("gbrp", ["yuv420p", "yuv444p"], "yuv444p"),
        ("gray", ["yuv420p", "gray10le"], "gray10le"),
        ("gray", ["yuva420p", "yuv444p"], "yuv444p"),
        ("yuva444p", ["yuv444p", "yuva420p"], "yuva420p"),
        ("yuv420p", ["p010le", "yuv420p10le"], "yuv420p10le"),
        ("yuv420p", ["yuvj420p"], "yuvj420p"),
        ("yuv420p", ["yuv410p", "yuv420p10be", "cuda"], None),
        ("yuv411p", ["yuv420p", "yuv422p", "yuv444p"], "yuv422p"),
        ("yuv420p", ["yuv411p"], "yuv411p"),
        ("yuv422p", ["yuv411p", "yuv444p"], "yuv444p"),
        ("yuv420p", [], None),
        ("yuv420p9le", ["yuv420p", "yuv420p10le"], "yuv420p10le"),
        ("yuv420p", ["yuvj420p", "yuv420p9le"], "yuvj420p"),
        ("yuv420p", ["yuvj420p", "yuv422p"], "yuvj420p"),
        ("yuv420p", ["yuva420p", "yuv444p"], "yuv444p"),
    ],
)
def test_what_is_lost_counts_before_what_is_wasted(wanted, available, chosen):
    assert closest(wanted, available) == chosen
    assert closest(wanted, available[::-1]) == chosen


@pytest.mark.parametrize(
    "wanted,chosen,lost",
    [
        ("yuv420p", "yuv420p", []),
        ("yuv420p", "yuv444p10le", []),
        ("gray", "yuv420p", []),
        ("yuva420p", "yuv420p", ["transparency"]),
        ("yuv420p10le", "yuv420p", ["10 bits a sample (written with 8)"]),
        ("yuv420p", "gray", ["colour"]),
        ("yuv422p", "yuv420p", ["the chroma resolution (written as yuv420p)"]),
        ("yuv440p", "yuv422p", ["the chroma resolution (written as yuv422p)"]),
        ("yuv422p", "yuv411p", ["the chroma resolution (written as yuv411p)"]),
        ("yuv411p", "yuv422p", []),
        ("gbrp", "yuv444p", ["RGB (written as Y'CbCr)"]),
        ("gbrap12le", "yuv420p", ["transparency", "12 bits a sample (written with 8)",
                                  "the chroma resolution (written as yuv420p)", "RGB (written as Y'CbCr)"]),
    ],
)  # fmt: skip
def test_losses_in_words(wanted, chosen, lost):
    assert losses(wanted, chosen) == lost


# ------------------------------------------------------------------ static metadata of HDR10

# BT.2020's red, green, blue and the white D65, as SMPTE ST 2086 stores them: units of 0.00002; light of 0.0001 cd/m2.
BT2020 = ((35400, 14600), (8500, 39850), (6550, 2300), (15635, 16450))


def display_data(luminance=True, primaries=True):
    """libavutil's AVMasteringDisplayMetadata: eight rationals of primaries, white, lowest, highest light; two flags."""
    pairs = [number for point in BT2020 for axis in point for number in (axis, 50000)]
    return struct.pack("<22i", *pairs, 50, 10000, 10000000, 10000, primaries, luminance)


def test_static_metadata_is_read_as_ffmpeg_stores_it():
    found = mastering_of(display_data(), struct.pack("<2I", 1000, 300))
    assert found is not None
    assert found.primaries[0] == (Fraction(708, 1000), Fraction(292, 1000))  # BT.2020 table 3
    assert found.primaries[3] == (Fraction(3127, 10000), Fraction(3290, 10000))
    assert len(found.primaries) == 4
    assert found.luminance == (Fraction(5, 1000), 1000)
    assert found.content == (1000, 300)


def test_parts_of_static_metadata_may_be_absent():
    assert mastering_of(None, None) is None
    assert mastering_of(None, struct.pack("<2I", 1000, 300)) == Mastering(content=(1000, 300))
    display = mastering_of(display_data(luminance=False), None)
    assert display is not None and (display.luminance, display.content, len(display.primaries)) == (None, None, 4)
    display = mastering_of(display_data(primaries=False), None)
    assert display is not None and (display.primaries, display.luminance) == ((), (Fraction(1, 200), 1000))
    assert mastering_of(bytes(88), None) == Mastering()  # denominators of zero


def test_static_metadata_goes_to_each_encoder_in_its_units():
    """x264 and x265 count as ST 2086 does; SVT-AV1 takes cd/m2 and coordinates as they are."""
    whole = mastering_of(display_data(), struct.pack("<2I", 1000, 300))
    display = "G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L(10000000,50)"
    assert encoder_parameters(whole, "libx265") == {"x265-params": f"master-display={display}:max-cll=1000,300"}
    assert encoder_parameters(whole, "libx264") == {"x264-params": f"mastering-display={display}:cll=1000,300"}
    assert encoder_parameters(whole, "libsvtav1") == {
        "svtav1-params": "mastering-display=G(0.17000,0.79700)B(0.13100,0.04600)R(0.70800,0.29200)WP(0.31270,0.32900)"
        "L(1000.00000,0.00500):content-light=1000,300"
    }
    assert encoder_parameters(whole, "prores_ks") == {}
    assert encoder_parameters(Mastering(content=(400, 100)), "libx265") == {"x265-params": "max-cll=400,100"}
    assert encoder_parameters(Mastering(whole.primaries), "libx265") == {}  # a display without its light is none
    assert encoder_parameters(Mastering(luminance=whole.luminance), "libx265") == {}
