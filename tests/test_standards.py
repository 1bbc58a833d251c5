"""What codes, signals and light mean, by the numbers of the standards themselves.

The numbers here are copied from the recommendations, never from the code: ITU-R BT.601, BT.709, BT.2020, BT.2087,
BT.2100 and BT.2408, ITU-T H.273, SMPTE ST 2084 and RP 219.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from cliplit.errors import InputError
from cliplit.runtime.light import colour, compiled, hdr
from cliplit.runtime.light import gain as gain_module
from cliplit.runtime.light.colour import HLG, MATRICES, PQ, Coding, Colour, assumed_matrix, stated
from cliplit.runtime.light.gain import apply_channels, apply_planes, apply_rgb, fields, full_size_log_light, gain
from cliplit.runtime.light.light_map import Coefficients
from cliplit.runtime.light.proxy import Proxy, planes_proxy

# Luma weights of R, G and B, then the divisors of B' - Y' and R' - Y': BT.601 (2.5.1, 2.5.2), BT.709 (item 3.2, 3.3),
# BT.2020 (table 4, non-constant luminance).
STANDARDS = {
    "BT.601": (6, (0.299, 0.587, 0.114), 1.772, 1.402),
    "BT.709": (1, (0.2126, 0.7152, 0.0722), 1.8556, 1.5748),
    "BT.2020": (9, (0.2627, 0.6780, 0.0593), 1.8814, 1.4746),
}
BARS = [(1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1), (1, 1, 1), (0, 0, 0)]  # yellow to black


@pytest.fixture(params=["compiled", "numpy"])
def loop(request, monkeypatch):
    """The compiled loop, and the numpy that defines what it computes."""
    if request.param == "numpy":
        monkeypatch.setattr(gain_module, "_relight", None)
        monkeypatch.setattr(compiled, "maps", None)
    elif not compiled.COMPILED:
        pytest.skip("installed without a C compiler")


def codes_of(rgb, standard, full_range, depth):
    """R'G'B' in [0, 1] as Y'CbCr codes, not rounded: H.273 equations 27 to 32 (limited) and 33 to 35 (full)."""
    _, weights, blue, red = STANDARDS[standard]
    y = sum(w * c for w, c in zip(weights, rgb, strict=True))
    cb, cr = (rgb[2] - y) / blue, (rgb[0] - y) / red
    if full_range:
        top, half = (1 << depth) - 1, 1 << (depth - 1)
        return top * y, top * cb + half, top * cr + half
    unit = 1 << (depth - 8)
    return (219 * y + 16) * unit, (224 * cb + 128) * unit, (224 * cr + 128) * unit


def planes_of_colour(rgb, standard, full_range, depth, size=(8, 8), sampling=1):
    kind = np.uint8 if depth == 8 else np.uint16
    y, cb, cr = (round(code) for code in codes_of(rgb, standard, full_range, depth))
    half = size[0] // sampling, size[1] // sampling
    return np.full(size, y, kind), np.full(half, cb, kind), np.full(half, cr, kind)


def coding_of(standard, full_range, depth):
    return Coding(*MATRICES[STANDARDS[standard][0]], full_range, depth)


def even(stops, rows=3, columns=4, slope=0.0):
    """A light map of 2^-stops everywhere."""
    return Coefficients(np.full((rows, columns), slope, np.float32), np.full((rows, columns), -stops, np.float32), -8.0)


def test_the_bars_of_this_file_are_those_of_the_standards():
    """SMPTE RP 219 names the 10-bit codes of 75 % bars in BT.709; EBU Tech 3325 those of BT.601 at 8 bits."""
    published = [(674, 176, 543), (581, 589, 176), (534, 253, 207), (251, 771, 817), (204, 435, 848), (111, 848, 481)]
    ours = [codes_of([0.75 * c for c in bar], "BT.709", False, 10) for bar in BARS[:6]]
    assert [tuple(round(code) for code in codes) for codes in ours] == published
    published = [(162, 44, 142), (131, 156, 44), (112, 72, 58), (84, 184, 198), (65, 100, 212), (35, 212, 114)]
    ours = [codes_of([0.75 * c for c in bar], "BT.601", False, 8) for bar in BARS[:6]]
    assert [tuple(round(code) for code in codes) for codes in ours] == published


@pytest.mark.parametrize("depth", [8, 10, 12, 16])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("standard", STANDARDS)
def test_colour_bars_are_seen_in_their_colours(standard, full_range, depth):
    """75 % bars: both ends of every channel lie inside what is clipped."""
    for bar in [*BARS, (0.4, 0.5, 0.6)]:
        wanted = [0.1 + 0.65 * channel for channel in bar]
        planes = planes_of_colour(wanted, standard, full_range, depth)
        seen = planes_proxy(planes, coding_of(standard, full_range, depth), (4, 4))
        rounding = 1.6 / (219 << (depth - 8))  # half a code of luma and one of chroma, times at most 1.88
        assert np.abs(seen.rgb - wanted).max() < rounding + 1e-6
        luma = sum(w * c for w, c in zip(STANDARDS[standard][1], wanted, strict=True))
        assert np.abs(seen.luma - luma).max() < rounding


def toned(x, light):
    """The tone curve x ((1 - x^2) L^2 + x^2)^(-1/2): x / L in the dark, 1 at 1."""
    return x / math.sqrt((1 - x * x) * light * light + x * x)


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("standard", STANDARDS)
def test_luma_and_the_brightest_channel_of_a_colour_go_through_the_tone_curve(loop, standard, full_range):
    """Chroma is scaled by the slope of the line between the two; 16 bits, so that the last digit counts."""
    depth, light = 16, 0.25
    low, mid = (0.0, 32768.0) if full_range else (16 * 256.0, 128 * 256.0)
    for bar in BARS[:6]:
        rgb = [0.6 * channel for channel in bar]
        luma = sum(w * c for w, c in zip(STANDARDS[standard][1], rgb, strict=True))
        planes = planes_of_colour(rgb, standard, full_range, depth)
        out = tuple(np.empty_like(plane) for plane in planes)
        apply_planes(planes, out, even(2), coding_of(standard, full_range, depth))
        of_luma = toned(luma, light) / luma
        of_chroma = (toned(0.6, light) - toned(luma, light)) / (0.6 - luma)
        before = codes_of(rgb, standard, full_range, depth)
        for code, plane, offset, factor in zip(
            before, out, (low, mid, mid), (of_luma, of_chroma, of_chroma), strict=True
        ):
            assert np.abs(plane - (offset + factor * (code - offset))).max() < 4.0  # of 65,535; rounded twice


def relit(rgb, light):
    """A pixel by the formula: luma (BT.709) and peak through the tone curve, the others on the line between them."""
    luma, peak = sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), rgb, strict=True)), max(rgb)
    slope = (toned(peak, light) - toned(luma, light)) / (peak - luma)
    return [toned(luma, light) + slope * (channel - luma) for channel in rgb]


def test_gains_by_hand(loop):
    """L = 1/4: a gain of 4 at black, 1 at white, 1.8353 at half; a pure blue becomes lighter, not only brighter."""
    assert gain(np.float32(0.25), np.array([0, 0.5, 1], np.float32)) == pytest.approx([4, 1.8353259, 1])
    assert gain(np.float32(1.0), np.array([0, 0.5, 1], np.float32)) == pytest.approx([1, 1, 1])
    picture = np.array([[[51, 102, 153], [0, 0, 255], [0, 0, 254], [0, 0, 1]]], np.uint8)
    assert apply_rgb(picture, even(2)).tolist() == [[[197, 219, 242], [57, 57, 255], [56, 56, 254], [0, 0, 4]]]
    wanted = relit([0.2, 0.4, 0.6], 0.25)
    assert wanted == pytest.approx([0.7728, 0.8610, 0.9487], abs=2e-3)
    deep = picture.astype(np.uint16) * 257
    assert np.abs(apply_rgb(deep, even(2))[0, 0] - np.array(wanted) * 65535).max() <= 1
    real = picture.astype(np.float32) / 255
    assert apply_rgb(real, even(2))[0, 0] == pytest.approx(wanted, rel=1e-5)


def test_nothing_below_white_becomes_white(loop):
    for kind in (np.uint8, np.uint16):
        top = np.iinfo(kind).max
        picture = np.full((4, 6, 3), top - 1, kind)
        picture[0] = top
        result = apply_rgb(picture, even(6))
        assert (result[0] == top).all() and (result[1:] == top - 1).all()


def test_floats_outside_of_black_and_white_pass(loop):
    """NaN and infinity stay what they are; what lies above white counts as white, what lies below black as black."""
    picture = np.array([[[np.nan, 0.25, 0.25], [2.0, 0.5, 0.5], [-1.0, -1.0, -1.0], [np.inf, 0, 0]]], np.float32)
    result = apply_rgb(picture, even(2))
    assert np.isnan(result[0, 0, 0]) and result[0, 3, 0] == np.inf
    assert result[0, 0, 1] == pytest.approx(0.25 * (0.0625 + 0.9375 * 0.0625) ** -0.5, rel=1e-5)
    assert result[0, 1] == pytest.approx([2.0, *relit([1.0, 0.5, 0.5], 0.25)[1:]], rel=1e-5)
    assert result[0, 2] == pytest.approx([-4.0, -4.0, -4.0], rel=1e-6)


@pytest.mark.parametrize("channel,weight", [(0, 0.2126), (1, 0.7152), (2, 0.0722)])
def test_what_guides_rgb_is_the_luma_of_bt709(loop, channel, weight):
    """One stop down for every eighth of luma."""
    picture = np.zeros((4, 4, 3), np.float32)
    picture[..., channel] = 0.5
    light = 2.0 ** (-8 * 0.5 * weight)
    wanted = (light**2 + (1 - light**2) * 0.25) ** -0.5
    assert apply_rgb(picture, even(0, slope=-8.0))[..., channel] == pytest.approx(0.5 * wanted, rel=1e-4)


def test_what_guides_planes_is_luma_from_black_to_white(loop):
    """Limited range: code 16 is 0, code 235 is 1 (BT.709 item 4.6), also where the gain is looked up."""
    for code, luma in ((16, 0.0), (235, 1.0), (126, 110 / 219)):
        planes = np.full((4, 4), code, np.uint16) * 256, *np.full((2, 4, 4), 128 * 256, np.uint16)
        out = tuple(np.empty_like(plane) for plane in planes)
        apply_planes(planes, out, even(0, slope=-2.0), Coding(depth=16))
        light = 4.0**-luma
        wanted = luma * (light**2 + (1 - light**2) * luma**2) ** -0.5
        assert (out[0] / 256 - 16) / 219 == pytest.approx(wanted, abs=2e-5)
        assert (out[1] == 128 * 256).all()


def test_maps_are_enlarged_between_the_centres_of_their_samples(loop):
    """Two columns over four: a quarter and three quarters of the way (pixel centres, as everywhere in this field)."""
    offset = np.array([[0, -1]], np.float32)
    coefficients = Coefficients(np.zeros_like(offset), offset, -8.0)
    picture = np.full((1, 4, 3), 1e-4, np.float32)
    stops = np.log2(apply_rgb(picture, coefficients)[0, :, 1] / 1e-4)
    assert stops == pytest.approx([0, 0.25, 0.75, 1], abs=2e-3)
    assert full_size_log_light(np.zeros((1, 4), np.float32), coefficients)[0] == pytest.approx([0, -0.25, -0.75, -1])


def test_large_pictures_are_divided_between_threads(monkeypatch):
    """Into bands of rows, which nothing of the result shows."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (37, 41, 3), dtype=np.uint8)
    coefficients = Coefficients(
        rng.normal(0, 3, (5, 6)).astype(np.float32), rng.normal(-2, 1, (5, 6)).astype(np.float32), -4.0
    )
    whole = apply_rgb(picture, coefficients)
    monkeypatch.setattr(gain_module, "BAND", 1000)
    for cores in (None, 1, 3, 64):
        monkeypatch.setattr(gain_module.os, "cpu_count", lambda cores=cores: cores)
        assert np.array_equal(apply_rgb(picture, coefficients, np.zeros_like(picture)), whole)


def test_light_stays_between_its_floor_and_one(loop):
    picture = np.full((2, 2, 3), 1e-4, np.float32)
    assert apply_rgb(picture, even(20)) == pytest.approx(256e-4, rel=1e-3)  # a floor of 8 stops
    assert apply_rgb(picture, even(-3)) == pytest.approx(1e-4)


def test_codes_below_black_stay_and_none_leaves_its_range(loop):
    """Footroom (1 to 15) is for filters' overshoots: it is not brought up. Chroma stops at the last code."""
    y = np.array([[1, 8, 16, 17]], np.uint8).repeat(2, 0)
    cb, cr = np.full((2, 4), 250, np.uint8), np.full((2, 4), 128, np.uint8)
    out = tuple(np.empty_like(plane) for plane in (y, cb, cr))
    apply_planes((y, cb, cr), out, even(3), Coding())
    assert out[0][0, :3].tolist() == [1, 8, 16] and out[0][0, 3] >= 17
    assert (out[1] > 128).all() and (out[2] == 128).all()
    dark = np.full((2, 4), 16, np.uint16), np.full((2, 4), 160, np.uint16), np.full((2, 4), 512, np.uint16)
    wide = tuple(np.empty_like(plane) for plane in dark)
    apply_planes(dark, wide, even(6), Coding(depth=10, full_range=True))
    assert (wide[1] >= 0).all() and (wide[1] < 160).all() and (wide[0] <= 1023).all()


def chord(light, luma, lift):
    """The slope of the tone curve between luma and the brightest channel, by its definition."""

    def curve(x):
        return x * ((1 - x * x) * light**2 + x * x) ** -0.5

    return (curve(luma + lift) - curve(luma)) / lift


LIFT = 10 / 224 * 2  # of blue above luma where Cb is 10 codes from none and blue weighs nothing


def test_chroma_takes_the_gain_of_the_mean_of_the_pixels_it_covers(loop):
    """4:2:0: three black pixels and a white one are a quarter of white; at an odd edge only those there count."""
    y = np.full((3, 3), 16, np.uint8)
    y[0, 0] = 235
    cb, cr = np.full((2, 2), 138, np.uint8), np.full((2, 2), 128, np.uint8)
    out = tuple(np.empty_like(plane) for plane in (y, cb, cr))
    coding = Coding(kr=0.2126, kb=1e-6, full_range=False)  # blue weighs nothing, so that chroma does not lift the peak
    apply_planes((y, cb, cr), out, even(2), coding)
    assert out[1][0, 0] == round(128 + 10 * chord(0.25, 0.25, LIFT))
    assert out[1][1, 1] == out[1][0, 1] == out[1][1, 0] == round(128 + 10 * chord(0.25, 0.0, LIFT))


def test_chroma_takes_the_mean_squared_light_of_the_pixels_it_covers(loop):
    """A column of light 1 beside one of 1 / 4, both black: the light is the root of (1 + 1 / 16) / 2."""
    offset = np.array([[0, -2]], np.float32)
    y, cb, cr = np.full((1, 2), 16, np.uint8), np.full((1, 1), 138, np.uint8), np.full((1, 1), 128, np.uint8)
    out = tuple(np.empty_like(plane) for plane in (y, cb, cr))
    apply_planes((y, cb, cr), out, Coefficients(np.zeros_like(offset), offset, -8.0), Coding(kr=0.2126, kb=1e-6))
    assert out[1][0, 0] == round(128 + 10 * chord((17 / 32) ** 0.5, 0.0, LIFT))


@pytest.mark.parametrize("width", [8, 9, 10, 11])
def test_chroma_of_411_takes_the_mean_gain_of_four_columns(loop, width):
    """DV's sampling (SMPTE ST 314): the mean of two pairs of columns, of which one has a white column in it."""
    y = np.full((2, width), 16, np.uint8)
    y[:, 0] = 235
    cb, cr = np.full((2, -(-width // 4)), 138, np.uint8), np.full((2, -(-width // 4)), 128, np.uint8)
    out = tuple(np.empty_like(plane) for plane in (y, cb, cr))
    coding = Coding(kr=0.2126, kb=1e-6)
    apply_planes((y, cb, cr), out, even(2), coding)
    own = chord(0.25, 0.0, LIFT)
    assert abs(out[1][0, 0] - (128 + 10 * (chord(0.25, 0.5, LIFT) + own) / 2)) <= 1
    assert (out[1][:, 1:] == round(128 + 10 * own)).all() and (out[2] == 128).all()
    assert out[0][0, 0] == 235
    y, cb = np.full_like(y, 16), cb.copy()
    cb[:] = 128 + 2 * np.arange(cb.shape[1])  # each sample stays with its own four columns
    apply_planes((y, cb, cr), out, even(0), coding)
    assert np.array_equal(out[1], cb)


def test_the_lines_of_a_field_belong_together():
    """4:2:0 interlaced: every second line of each plane (ISO/IEC 13818-2 figure 6-2); others are taken as they are."""
    y, chroma = np.arange(8 * 2).reshape(8, 2), np.arange(4).reshape(4, 1)
    upper, lower = fields((y, chroma, chroma), True)
    assert [plane[:, 0].tolist() for plane in upper] == [[0, 4, 8, 12], [0, 2], [0, 2]]
    assert [plane[:, 0].tolist() for plane in lower] == [[2, 6, 10, 14], [1, 3], [1, 3]]
    assert len(fields((y, chroma, chroma), False)) == 1
    assert len(fields((y, y, y), True)) == 1  # every line has its own chroma
    assert len(fields((y[:6], chroma[:3], chroma[:3]), True)) == 1  # no two fields of whole chroma lines
    assert len(fields((y[:4], chroma[:2], chroma[:2]), True)) == 2


@pytest.mark.parametrize("depth", [8, 10, 12, 16])
def test_channels_of_any_depth_reach_the_same_light(loop, depth):
    """R, G and B planes: all codes count, 0 to 2^n - 1 (H.273 for matrix 0 at full range)."""
    top = (1 << depth) - 1
    kind = np.uint8 if depth == 8 else np.uint16
    planes = tuple(np.full((3, 5), round(share * top), kind) for share in (0.2, 0.4, 0.6))
    out = tuple(np.empty_like(plane) for plane in planes)
    apply_channels(planes, out, even(2), depth)
    for plane, wanted in zip(out, relit([0.2, 0.4, 0.6], 0.25), strict=True):
        assert plane / top == pytest.approx(wanted, abs=2 / top)
    apply_channels(planes, out, even(0), depth)
    assert all(np.array_equal(a, b) for a, b in zip(planes, out, strict=True))


def test_channels_of_eight_bits_become_what_packed_pictures_become(loop):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    out = tuple(np.empty((40, 50), np.uint8) for _ in range(3))
    apply_channels(tuple(np.moveaxis(picture, 2, 0)), out, even(2), 8)
    assert np.array_equal(np.stack(out, axis=-1), apply_rgb(picture, even(2)))


# ------------------------------------------------------------------ tags


def test_code_points_are_those_of_h273():
    """Tables 2 to 4: primaries, transfer and matrix; the range as FFmpeg numbers it (1 limited, 2 full)."""
    assert MATRICES == {
        1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087),
        9: (0.2627, 0.0593), 10: (0.2627, 0.0593),
    }  # fmt: skip
    assert (PQ, HLG, colour.RGB_MATRIX, colour.UNSPECIFIED) == (16, 18, 0, 2)
    found = Colour()
    for name, tags in {
        "bt601": (6, 6, 6), "bt601-625": (5, 5, 6), "bt709": (1, 1, 1), "bt2020": (9, 9, 14),
        "pq": (9, 9, 16), "hlg": (9, 9, 18),
    }.items():  # fmt: skip
        told = stated(name, found)
        assert (told.matrix, told.primaries, told.transfer, told.color_range) == (*tags, 0)
    assert colour.MATRIX_NAMES == {1: "BT.709", 5: "BT.601", 6: "BT.601", 9: "BT.2020"}


def test_codes_mean_bt709_at_eight_bits_and_limited_range_unless_said():
    assert Coding() == Coding(0.2126, 0.0722, False, 8, False, 1.0)


def test_full_range_counts_from_the_first_code_to_the_last():
    """H.273: 255 codes, not 254 or 256, from black to white; chroma as many, about 128."""
    planes = np.full((2, 2), 51, np.uint8), np.full((2, 2), 128, np.uint8), np.full((2, 2), 179, np.uint8)
    seen = planes_proxy(planes, Coding(full_range=True), (2, 2))
    assert seen.luma == pytest.approx(0.2, abs=1e-6)
    assert seen.rgb[0, 0] == pytest.approx([0.2 + 1.5748 * 0.2, 0.2 - 0.2126 / 0.7152 * 1.5748 * 0.2, 0.2], abs=1e-5)


def test_ranges_are_stated_alone_or_behind_a_name():
    found = Colour(9, 9, 16, 1, "topleft")
    assert (found.hdr, found.full_range) == ("PQ (HDR10)", False)
    assert stated("full", found) == Colour(9, 9, 16, 2, "topleft")
    assert stated("full", found).full_range
    assert stated("bt709:limited", Colour()) == Colour(1, 1, 1, 1)
    assert stated("hlg:full", Colour()) == Colour(9, 9, 18, 2)
    assert (stated("hlg", found).hdr, Colour(1, 1, 1, 1).hdr) == ("HLG", "")
    for wrong in ("", ":", "full:limited", "bt709:wide", "mauve", "mauve:full"):
        with pytest.raises(InputError, match="expected bt601, bt601-625, bt709, bt2020, pq, hlg"):
            stated(wrong, found)


def test_broadcast_practice_ties_the_matrix_to_the_size():
    """BT.601 is for standard definition, BT.709 for high definition, which begins at 720 lines (SMPTE ST 296)."""
    assert [assumed_matrix(lines) for lines in (480, 576, 719, 720, 1080, 2160)] == [6, 6, 6, 1, 1, 1]


# ------------------------------------------------------------------ HDR


# cd/m2 and the PQ signal: BT.2100 table 4 evaluated, to four digits, as ST 2084 annexes and BT.2408 quote them.
PQ_LEVELS = [
    (0, 0.0),
    (1, 0.1499),
    (10, 0.2997),
    (100, 0.5081),
    (203, 0.5807),
    (1000, 0.7518),
    (4000, 0.9026),
    (10000, 1),
]
# Scene light and the HLG signal: BT.2100 table 5 (1/12 is where the square root ends), 1.2 the system gamma of table 5
# for a display of 1000 cd/m2.
HLG_SCENE = [(0, 0.0), (1 / 48, 0.25), (0.08, 0.489898), (1 / 12, 0.5), (0.088, 0.513475), (0.26496, 0.75), (1, 1.0)]


@pytest.mark.parametrize("light,signal", PQ_LEVELS)
def test_pq_is_that_of_st2084(light, signal):
    assert float(hdr.light_to_pq(np.array(float(light)))) == pytest.approx(signal, abs=6e-5)
    assert float(hdr.pq_to_light(np.array(hdr.light_to_pq(np.array(float(light)))))) == pytest.approx(light, rel=1e-6)


def test_pq_has_the_constants_that_st2084_prints():
    light = np.array([0.001, 0.05, 1, 50, 203, 2000, 9000])
    power = (light / 10000) ** 0.1593017578125
    signal = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    assert hdr.light_to_pq(light) == pytest.approx(signal, rel=1e-9)
    assert hdr.pq_to_light(signal) == pytest.approx(light, rel=1e-7)


@pytest.mark.parametrize("scene,signal", HLG_SCENE)
def test_hlg_is_that_of_bt2100(scene, signal):
    assert float(hdr.hlg_to_light(np.array(signal))) == pytest.approx(1000 * scene**1.2, rel=1e-4)
    assert float(hdr.light_to_hlg(np.array(1000 * scene**1.2))) == pytest.approx(signal, abs=1e-5)


def test_signals_out_of_range_are_no_numbers_out_of_range():
    assert float(hdr.pq_to_light(np.array(-0.1))) == 0.0
    assert float(hdr.light_to_pq(np.array(-5.0))) == pytest.approx(0.0, abs=1e-5)
    assert float(hdr.light_to_hlg(np.array(-5.0))) == 0.0


@pytest.mark.parametrize(
    "transfer,levels", [(PQ, {203: 0.58, 26: 0.38, 162: 0.56}), (HLG, {203: 0.75, 26: 0.38, 162: 0.71})]
)
def test_reference_levels_are_those_of_bt2408(transfer, levels):
    """Table 1: HDR reference white, 18 % gray card, 83 % of the gray scale, in per cent of the signal."""
    t = hdr.TRANSFERS[transfer]
    for light, signal in levels.items():
        assert float(t.to_signal(np.array(float(light)))) == pytest.approx(signal, abs=0.0052)
    assert t.white == pytest.approx(float(t.to_signal(np.array(203.0))))


def signals(light_of_channels, transfer):
    """A proxy, as made of a clip, of linear BT.2020 light in cd/m2: (h, w, 3)."""
    t = hdr.TRANSFERS[transfer]
    rgb = (t.to_signal(np.asarray(light_of_channels, np.float64)) / t.white).astype(np.float32)
    return Proxy(rgb, rgb @ np.array((0.2627, 0.6780, 0.0593), np.float32))


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize(
    "channel,in_bt2020",
    [(0, (0.6274, 0.0691, 0.0164)), (1, (0.3293, 0.9195, 0.0880)), (2, (0.0433, 0.0114, 0.8956))],
)
def test_a_primary_of_bt709_is_seen_as_that_primary(transfer, channel, in_bt2020):
    """BT.2087 table 1 gives the BT.709 primaries in linear BT.2020; the network must see them as pure again."""
    seen = hdr.tone_mapped(signals(np.array([[in_bt2020]]) * 100.0, transfer), hdr.TRANSFERS[transfer])
    wanted = np.zeros(3)
    wanted[channel] = 100 / 203
    assert seen.rgb[0, 0].astype(np.float64) ** 2.2 == pytest.approx(wanted, abs=4e-4)


def test_colours_that_bt709_lacks_are_clipped_to_its_edge():
    """A pure BT.2020 green of 100 cd/m2: BT.2087's second column, with nothing left of red and blue."""
    seen = hdr.tone_mapped(signals([[[0, 100.0, 0]]], PQ), hdr.TRANSFERS[PQ])
    assert seen.rgb[0, 0].astype(np.float64) ** 2.2 == pytest.approx([0, 1.1329 * 100 / 203, 0], abs=4e-4)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_what_the_network_sees_rolls_off_towards_white(transfer):
    """Up to 0.6 of reference white as it is; the rest of the range is left for reference white (203 cd/m2, seen as
    0.8), 1000 cd/m2 (0.966) and 4000 cd/m2 (0.992): v = 0.6 + 0.4 u / (u + 0.4), u the excess over 0.6."""
    levels = {20: 20 / 203, 100: 100 / 203, 121: 121 / 203, 203: 0.8, 406: 0.6 + 0.4 * 1.4 / 1.8, 1000: 0.966155}
    if transfer == PQ:
        levels[4000] = 0.991797
    light = np.array([[[float(level)] * 3 for level in levels]])
    seen = hdr.tone_mapped(signals(light, transfer), hdr.TRANSFERS[transfer])
    assert seen.rgb[0, :, 1].astype(np.float64) ** 2.2 == pytest.approx(list(levels.values()), abs=1.5e-3)
    assert seen.luma[0] == pytest.approx(seen.rgb[0].mean(axis=-1), abs=1e-3)  # gray
    assert seen.rgb.max() < 1.0


def test_luma_of_what_the_network_sees_is_that_of_bt709():
    light = np.array([[[40.0, 20.0, 10.0]]])
    seen = hdr.tone_mapped(signals(light, PQ), hdr.TRANSFERS[PQ])
    assert seen.luma[0, 0] == pytest.approx(float(seen.rgb[0, 0] @ np.array([0.2126, 0.7152, 0.0722])), rel=1e-5)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_reference_white_and_what_is_above_keep_their_light(transfer):
    """BT.2408: 203 cd/m2 is the white of graphics and paper; lights lie above it."""
    t = hdr.TRANSFERS[transfer]
    luma = np.full((5, 5), 1.0, np.float32)
    light = hdr.signal_log_light(np.full((5, 5), -2.0, np.float32), luma, t)
    lifted = gain(np.exp2(light), luma)
    assert lifted == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("level", [1.0, 10.0, 50.0])
def test_hdr_is_lifted_to_the_light_its_sdr_picture_would_have(transfer, level):
    """A gamma of 2.2: an SDR value lifted by g is g^2.2 times the light. HLG is steeper there than that and would need
    a gain above the light map's, which it does not get: 3 % of light are missing."""
    t = hdr.TRANSFERS[transfer]
    signal = float(t.to_signal(np.array(level)))
    luma = np.full((6, 6), signal / t.white, np.float32)
    light = 2.0**-1.0
    sdr = (level / 203) ** (1 / 2.2)
    factor = (light**2 + (1 - light**2) * sdr**2) ** -0.5
    log_light = hdr.signal_log_light(np.full((6, 6), -1.0, np.float32), luma, t)
    lifted = float(t.to_light(np.array(signal * float(gain(np.exp2(log_light[3, 3]), luma[3, 3])))))
    assert lifted == pytest.approx(level * factor**2.2, rel={PQ: 5e-3, HLG: 0.03}[transfer])


def test_light_of_hdr_is_smoothed_over_three_proxy_pixels():
    """One bright point in the dark: what it changes about the light map reaches its eight neighbours, a ninth each."""
    t, luma = hdr.TRANSFERS[PQ], np.full((7, 9), float(hdr.light_to_pq(np.array(10.0))) / hdr.TRANSFERS[PQ].white)
    luma = luma.astype(np.float32)
    dark = hdr.signal_log_light(np.full(luma.shape, -1.0, np.float32), luma, t)
    luma[3, 4] = 1.0
    both = hdr.signal_log_light(np.full(luma.shape, -1.0, np.float32), luma, t)
    changed = both - dark
    assert changed[2:5, 3:6] == pytest.approx(changed[3, 4], rel=1e-4) and changed[3, 4] != 0
    changed[2:5, 3:6] = 0
    assert np.abs(changed).max() < 1e-6
    corner = np.full((7, 9), 0.5, np.float32)
    corner[0, 0] = 1.0
    edge = hdr.signal_log_light(np.full(corner.shape, -1.0, np.float32), corner, t)
    inner = edge[4, 4]
    assert edge[0, 0] - inner == pytest.approx(4 * (edge[1, 1] - inner), rel=1e-3)  # the border is repeated


def test_the_darkest_signals_of_hdr_count_as_a_64th():
    """Below 1/64 of reference white's signal all is lifted as that; above it, as itself."""
    t = hdr.TRANSFERS[HLG]
    lights = [
        hdr.signal_log_light(np.full((5, 5), -3.0, np.float32), np.full((5, 5), y, np.float32), t)[2, 2]
        for y in (0.0, 1 / 128, 1 / 64, 1 / 48, 1 / 32)
    ]
    assert lights[0] == lights[1] == lights[2] != lights[3] != lights[4]
    dark = np.full((5, 5), 1 / 64, np.float32)  # PQ would need more light than there is
    bound = hdr.signal_log_light(np.full((5, 5), -1.0, np.float32), dark, hdr.TRANSFERS[PQ])
    assert bound == pytest.approx(-1.0, abs=1e-6)


def test_the_codes_of_hdr_are_relative_to_its_white():
    """10-bit PQ: 64 is black; gray of reference white is luma 1; above it luma stays at 1, colours go on."""
    white = hdr.TRANSFERS[PQ].white
    coding = Coding(0.2627, 0.0593, False, 10, white=white)
    for light, wanted in ((203.0, 1.0), (26.0, float(hdr.light_to_pq(np.array(26.0))) / white), (0.0, 0.0)):
        code = round(64 + 876 * float(hdr.light_to_pq(np.array(light))))
        planes = np.full((4, 4), code, np.uint16), *np.full((2, 2, 2), 512, np.uint16)
        seen = planes_proxy(planes, coding, (4, 4))
        assert seen.luma == pytest.approx(min(wanted, 1.0), abs=2e-3)
        assert seen.rgb == pytest.approx(wanted, abs=2e-3)
    planes = *np.full((1, 4, 4), 502, np.uint16), np.full((2, 2), 512, np.uint16), np.full((2, 2), 568, np.uint16)
    red = planes_proxy(planes, coding, (4, 4)).rgb[0, 0, 0]  # luma of half the signal, a sixteenth of it in Cr
    assert red == pytest.approx((0.5 + 1.4746 / 16) / white, rel=1e-3)
    bright = np.full((4, 4), 940, np.uint16), *np.full((2, 2, 2), 512, np.uint16)
    seen = planes_proxy(bright, coding, (4, 4))
    assert seen.luma == pytest.approx(1.0) and seen.rgb == pytest.approx(1 / white, rel=1e-5)
    red = *np.full((1, 4, 4), 800, np.uint16), np.full((2, 2), 512, np.uint16), np.full((2, 2), 940, np.uint16)
    assert planes_proxy(red, coding, (4, 4)).rgb[..., 0] == pytest.approx(1 / white, rel=1e-5)  # no more than there is
    assert math.isclose(white, 0.5807, abs_tol=6e-5)
