"""The steps between the network and the pixels, by numbers worked out by hand: maps, noise, areas."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields
from types import SimpleNamespace

import numpy as np
import pytest

from cliplit.errors import InputError
from cliplit.runtime.light.colour import Coding, Colour
from cliplit.runtime.light.hdr import TRANSFERS, light_to_pq, pq_to_light
from cliplit.runtime.light.light_map import (
    Coefficients,
    guided_coefficients,
    log_light,
    plain_coefficients,
    softly_bounded,
)
from cliplit.runtime.light.noise import (
    GainLimit,
    grid_steps,
    level_of_blocks,
    noise_gain_limit,
    picture_noise,
    plane_noise,
    sample_blocks,
)
from cliplit.runtime.light.pixels import PackedRGB, PlanarPixels
from cliplit.runtime.light.proxy import Proxy, planes_proxy, proxy_size, rgb_proxy, shrink
from cliplit.runtime.light.region import Region, ramp
from cliplit.runtime.light.relighting import Light, LightSettings, Relighting
from cliplit.runtime.light.temporal import Steady
from cliplit.runtime.video.mastering import Mastering
from cliplit.runtime.video.pixels import layout_of

# ------------------------------------------------------------------ light map


def test_a_light_map_is_bounded_and_in_stops():
    light = np.array([[1.0, 0.5, 0.25, 1 / 16, 1 / 64, 0.0, 2.0, np.nan]])
    assert log_light(light, 16.0).tolist() == [[0, -1, -2, -4, -4, -4, 0, 0]]
    assert log_light(light, 16.0).dtype == np.float32


def test_a_soft_bound_by_hand():
    """s / (1 + (s / b)^4)^(1/4): at the bound itself 2^(-1/4) of it, far above nearly all of it."""
    bent = softly_bounded(np.array([[0.0, -1.0, -2.0, -20.0]], np.float32), 4.0)
    assert bent[0] == pytest.approx([0, -((1 + 1 / 16) ** -0.25), -(2 * 2**-0.25), -2.0], abs=1e-4)
    assert softly_bounded(np.array([[-3.0]], np.float32), 1.0)[0, 0] == pytest.approx(-1e-3, rel=1e-3)


def test_edge_aware_coefficients_are_those_of_the_guided_filter():
    """He, Sun and Tang: a = cov(I, p) / (var(I) + eps), b = mean(p) - a mean(I), each averaged; windows of 7 x 7."""
    rng = np.random.default_rng(0)
    luma, light = rng.random((15, 17)).astype(np.float32), -rng.random((15, 17)).astype(np.float32)
    found = guided_coefficients(light, luma, 8.0)

    def mean(x, row, column):
        rows, columns = (np.clip(np.arange(c - 3, c + 4), 0, n - 1) for c, n in ((row, 15), (column, 17)))
        return x[np.ix_(rows, columns)].astype(np.float64).mean()

    a, b = np.zeros((15, 17)), np.zeros((15, 17))
    for row in range(15):
        for column in range(17):
            y, p = mean(luma, row, column), mean(light, row, column)
            variance = mean(luma.astype(np.float64) ** 2, row, column) - y * y
            a[row, column] = (mean(luma.astype(np.float64) * light, row, column) - y * p) / (variance + 2e-3)
            b[row, column] = p - a[row, column] * y
    for row, column in ((7, 8), (0, 0), (14, 3)):
        assert found.slope[row, column] == pytest.approx(mean(a, row, column), rel=1e-3, abs=1e-4)
        assert found.offset[row, column] == pytest.approx(mean(b, row, column), rel=1e-3, abs=1e-4)
    assert found.floor == -3.0


def test_strength_multiplies_stops():
    whole = Coefficients(np.full((2, 2), 3.0, np.float32), np.full((2, 2), -2.0, np.float32), -4.0)
    half = whole.scaled(0.5)
    assert (half.slope == 1.5).all() and (half.offset == -1.0).all() and half.floor == -4.0
    assert whole.scaled(1.0) is whole
    assert half.slope.dtype == np.float32
    plain = plain_coefficients(whole.offset, 16.0)
    assert (plain.slope == 0).all() and np.array_equal(plain.offset, whole.offset) and plain.floor == -4.0


# ------------------------------------------------------------------ proxy


@pytest.mark.parametrize(
    "picture,wanted",
    [
        ((1080, 1920), (192, 341)), ((1920, 1080), (341, 192)), ((100, 150), (100, 150)), ((192, 192), (192, 192)),
        ((1000, 20000), (51, 1024)), ((1, 5000), (1, 1024)), ((4000, 1), (1024, 1)),
    ],
)  # fmt: skip
def test_the_size_of_a_proxy(picture, wanted):
    """A short side of 192, never more than 1024 on the long one, never more than there is."""
    assert proxy_size(*picture, 192, 1) == wanted  # type: ignore[call-arg]


def test_the_size_of_a_proxy_is_a_multiple():
    assert proxy_size(1080, 1920, 192, 32) == (192, 352)
    assert proxy_size(5, 7, 192, 32) == (32, 32)


@pytest.mark.parametrize("kind,white", [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_a_proxy_is_the_mean_of_its_pixels(kind, white):
    picture = np.zeros((4, 4, 4), kind)
    picture[:2, :2, 0], picture[2, 2, 1], picture[..., 3] = white, white, white
    proxy = rgb_proxy(picture, (2, 2))
    assert proxy.rgb[..., 0].tolist() == [[1, 0], [0, 0]]
    assert proxy.rgb[1, 1, 1] == pytest.approx(0.25, abs=2e-3)
    assert proxy.luma[0, 0] == pytest.approx(0.2126)
    assert proxy.luma[1, 1] == pytest.approx(0.7152 / 4, abs=2e-3)
    assert proxy.rgb.shape == (2, 2, 3) and proxy.rgb.dtype == proxy.luma.dtype == np.float32


def test_samples_that_are_no_numbers_are_black_and_lights_are_white():
    picture = np.array([[[np.nan, np.inf, -np.inf], [3.0, -2.0, 0.5]]], np.float32)
    assert rgb_proxy(picture, (1, 2)).rgb.tolist() == [[[0, 1, 0], [1, 0, 0.5]]]


def test_shrinking_averages_areas_and_enlarging_interpolates():
    steps = np.arange(64, dtype=np.float32).reshape(8, 8)
    assert shrink(steps, (2, 2)).tolist() == [[13.5, 17.5], [45.5, 49.5]]
    assert shrink(steps, (1, 2)).tolist() == [[29.5, 33.5]]
    assert shrink(np.float32([[0, 3, 6]]), (1, 2)).tolist() == [[1, 5]]
    assert shrink(np.float32([[0, 4]]), (2, 4)).tolist() == [[0, 1, 3, 4]] * 2
    assert shrink(np.float32([[0, 4], [0, 4]]), (1, 4)).tolist() == [[0, 1, 3, 4]]
    assert shrink(steps, (8, 8)).tolist() == steps.tolist()
    assert shrink(steps, (2, 8))[:, 0].tolist() == [12, 44]
    assert shrink(np.float32([[0] * 8, [4] * 8]), (4, 8))[:, 0].tolist() == [0, 1, 3, 4]
    odd = np.arange(9, dtype=np.float32)[:, None].repeat(6, 1)
    assert shrink(odd, (3, 3))[:, 0].tolist() == [1, 4, 7]


def test_codes_out_of_range_are_black():
    """Footroom, and colours that no light has: luma of black with the most red there is leaves green below black."""
    planes = np.full((2, 2), 1, np.uint8), np.full((2, 2), 128, np.uint8), np.full((2, 2), 240, np.uint8)
    proxy = planes_proxy(planes, Coding(), (2, 2))
    assert (proxy.luma == 0).all() and (proxy.rgb[..., 1] == 0).all()
    assert proxy.rgb[..., 0] == pytest.approx(1.5748 / 2)


def test_a_proxy_of_channels_is_in_their_own_colours():
    planes = tuple(np.full((4, 6), code, np.uint16) for code in (1023, 512, 0))
    proxy = planes_proxy(planes, Coding(full_range=True, depth=10, rgb=True), (2, 3))
    assert proxy.rgb[0, 0] == pytest.approx([1, 512 / 1023, 0])
    assert proxy.luma[1, 2] == pytest.approx(0.2126 + 0.7152 * 512 / 1023)


# ------------------------------------------------------------------ noise


def blocks_of(sigma, count=60, level=0.15, seed=0):
    rng = np.random.default_rng(seed)
    return (level + rng.normal(0, sigma, (count, 16, 16))).astype(np.float32)


def test_noise_is_told_by_dark_blocks_alone():
    """Mean luma from 0.012 to 0.30; at least eight of them."""
    assert level_of_blocks(blocks_of(0.01)) == pytest.approx(0.01, rel=0.1)
    assert level_of_blocks(blocks_of(0.004)) == pytest.approx(0.004, rel=0.1)
    for level in (0.28, 0.05):
        assert level_of_blocks(blocks_of(0.004, level=level)) == pytest.approx(0.004, rel=0.1)
    for level in (0.008, 0.32, 0.6):
        assert level_of_blocks(blocks_of(0.001, level=level)) is None
    assert level_of_blocks(blocks_of(0.01, count=8)) is not None
    assert level_of_blocks(blocks_of(0.01, count=7)) is None
    mixed = np.concatenate([blocks_of(0.004), blocks_of(0.05, level=0.7)])
    assert level_of_blocks(mixed) == pytest.approx(0.004, rel=0.1)
    assert level_of_blocks(np.empty((0, 16, 16), np.float32)) is None


def test_the_flattest_of_the_dark_blocks_tell_the_noise():
    """Seven of eight blocks hold texture; they do not count."""
    mixed = np.concatenate([blocks_of(0.003, 20), blocks_of(0.03, 60, seed=1)])
    assert level_of_blocks(mixed) < 0.006


def test_flat_and_sloping_light_is_no_noise():
    slope = np.linspace(0.05, 0.25, 16, dtype=np.float32)
    blocks = (slope[:, None] / 2 + slope[None] / 2)[None].repeat(20, 0)
    assert level_of_blocks(blocks) < 1e-4
    bent = 0.1 + 0.1 * np.linspace(0, 1, 16, dtype=np.float32) ** 2  # rows or columns that are all the same
    for stripes in (bent[:, None].repeat(16, 1), bent[None].repeat(16, 0)):
        assert level_of_blocks(stripes[None].repeat(20, 0)) < 1e-4


def test_clipped_blocks_say_nothing():
    """More than a fifth of a block at its lowest code, and that code near black."""
    clipped = np.maximum(blocks_of(0.02, 30, 0.02), 0.01)
    assert level_of_blocks(clipped) is None
    clean = blocks_of(0.004, 30, 0.1)
    assert level_of_blocks(np.concatenate([clipped, clean])) == pytest.approx(0.004, rel=0.15)
    few = blocks_of(0.004, 30, 0.1)
    few[:, :2] = few.min(axis=(1, 2))[:, None, None]  # an eighth of each
    assert level_of_blocks(few) is not None
    assert level_of_blocks(blocks_of(0.006, 60, 0.03)) == pytest.approx(0.006, rel=0.15)  # dark, but not clipped
    flat = np.maximum(blocks_of(0.02, 30, 0.1), 0.1)  # clipped, but far from black
    assert level_of_blocks(flat) is not None


def test_steps_on_the_grid_of_jpeg_count():
    """A step of 0.02 of luma between the two 8 x 8 halves, in both directions: its mean over both is 0.02."""
    across = np.full((20, 16, 16), 0.1, np.float32)
    across[:, :, 8:] += 0.02
    assert grid_steps(across) == pytest.approx(0.01, rel=1e-3)
    both = across.copy()
    both[:, 8:] += 0.02
    assert grid_steps(both) == pytest.approx(0.02, rel=1e-3)
    beside = np.full((20, 16, 16), 0.1, np.float32)
    beside[:, :, 7:] += 0.02  # an object's edge, not on the grid
    assert grid_steps(beside) == 0.0
    hard = np.full((20, 16, 16), 0.1, np.float32)
    hard[:, :, 8:] += 0.5
    assert grid_steps(hard) == pytest.approx(0.015, rel=1e-3)  # one block adds 0.03 at most
    one = np.full((20, 16, 16), 0.1, np.float32)
    one[0, :, 8:] += 0.5
    assert grid_steps(one) == pytest.approx(0.03 / 20 / 2, rel=1e-3)
    stairs = 0.05 + np.cumsum([0] * 6 + [0.01, 0.002, 0.02, 0.004, 0.006] + [0] * 5)
    stairs = np.broadcast_to(stairs.astype(np.float32), (20, 16, 16))
    assert grid_steps(stairs) == pytest.approx((0.02 - 0.022 / 4) / 2, rel=1e-3)
    assert level_of_blocks(both) == pytest.approx(0.02, rel=1e-3)
    black = np.zeros((20, 16, 16), np.float32)
    black[:, 8:] += 0.05
    assert level_of_blocks(black) == pytest.approx(0.015, rel=1e-3)  # half of each is clipped: the steps are left


@pytest.mark.parametrize(
    "noise,gain", [(None, 16), (0.0, 16), (0.001, 16), (0.0045, 10), (0.009, 5), (0.015, 3), (0.1, 3)]
)
def test_the_gain_that_noise_allows(noise, gain):
    """0.045 of white may be seen; at least 3, at most 16."""
    assert noise_gain_limit(noise) == pytest.approx(gain)


def test_the_least_gain_is_never_above_the_bound():
    assert noise_gain_limit(0.1, 2.0) == 2.0
    assert noise_gain_limit(0.0045, 64.0) == pytest.approx(10)
    assert noise_gain_limit(None, 64.0) == 64.0


def test_blocks_are_looked_at_evenly_on_the_grid_of_eight():
    marks = np.add.outer(np.arange(720) * 1000, np.arange(1280))
    blocks = sample_blocks(marks)
    assert blocks.shape == (300, 16, 16)
    tops, lefts = np.unique(blocks[:, 0, 0] // 1000), np.unique(blocks[:, 0, 0] % 1000)
    first = blocks[:, 0, 0]
    assert (blocks == first[:, None, None] + np.add.outer(np.arange(16) * 1000, np.arange(16))).all()
    assert tops[0] == 0 and len(tops) >= 15 and lefts[0] == 0
    plane = np.arange(720)[:, None].repeat(1280, 1)
    tops = np.unique(sample_blocks(plane)[:, 0, 0])
    assert len(tops) == 15 and (tops % 8 == 0).all() and tops[-1] == 704 and np.ptp(np.diff(tops)) <= 8
    lefts = np.unique(sample_blocks(np.arange(1280)[None].repeat(720, 0))[:, 0, 0])
    assert len(lefts) == 20 and (lefts % 8 == 0).all() and lefts[-1] == 1264 and np.ptp(np.diff(lefts)) <= 8
    assert sample_blocks(np.zeros((16, 40))).shape == (2, 16, 16)
    assert sample_blocks(np.zeros((15, 40))).shape == sample_blocks(np.zeros((40, 15))).shape == (0, 16, 16)
    assert sample_blocks(np.zeros((40, 16))).shape == sample_blocks(np.zeros((24, 40))).shape == (2, 16, 16)
    assert sample_blocks(np.zeros((32, 32, 3))).shape == (4, 16, 16, 3)


def test_codes_and_colours_are_measured_as_luma():
    rng = np.random.default_rng(4)
    luma = 0.22 + rng.normal(0, 0.01, (240, 320))
    limited = np.round((16 + 219 * luma) * 256).astype(np.uint16)
    assert plane_noise(limited, 16 * 256, 1 / (219 * 256)) == pytest.approx(0.01, rel=0.1)
    picture = np.zeros((240, 320, 4), np.uint16)
    picture[..., 1] = np.round(0.2 * 65535 + rng.normal(0, 0.01 * 65535, (240, 320)))
    assert picture_noise(picture) == pytest.approx(0.01 * 0.7152, rel=0.1)
    holes = np.full((240, 320, 3), np.nan, np.float32)
    holes[..., 1] = 0.2 + rng.normal(0, 0.01, (240, 320))
    assert picture_noise(holes) == pytest.approx(0.01 * 0.7152, rel=0.1)  # NaN is black
    holes[..., ::2] = np.inf
    assert picture_noise(holes) is None  # infinity is white
    spoiled = np.full((240, 320, 3), np.nan, np.float32)
    assert picture_noise(spoiled) is None
    spoiled[...] = np.inf
    assert picture_noise(spoiled) is None


def noisy_plane(sigma, seed=0, level=0.15):
    rng = np.random.default_rng(seed)
    return np.round((level + rng.normal(0, sigma, (240, 320))) * 65535).astype(np.uint16)


def test_the_limit_of_a_clip_follows_within_half_a_second():
    """After 0.5 s the difference is 1/e of what it was; noise is measured every 0.15 s."""
    quiet, loud = noisy_plane(0.0045), noisy_plane(0.009)
    goals = [math.log2(GainLimit()(plane, 0.0, 1 / 65535, 0.0)) for plane in (quiet, loud)]
    assert goals == pytest.approx([math.log2(10), math.log2(5)], abs=0.15)
    limit, gains = GainLimit(), []
    for number in range(26):
        gains.append(math.log2(limit(quiet if number == 0 else loud, 0.0, 1 / 65535, number / 25)))
    assert gains[:4] == [gains[0]] * 4  # not measured again before 0.15 s
    assert (np.diff(gains[3:]) < 0).all()  # and never beyond
    left = (gains[3 + 12] - goals[1]) / (goals[0] - goals[1])
    assert left == pytest.approx(math.exp(-12 / 25 / 0.5), rel=0.02)
    assert limit(loud, 0.0, 1 / 65535, 25 / 25) == pytest.approx(2 ** gains[25])  # no time, no change


def test_what_the_limit_remembers_can_be_continued():
    quiet, loud = noisy_plane(0.0045), noisy_plane(0.009)
    whole, first, second = GainLimit(), GainLimit(), GainLimit()
    wanted = [whole(quiet if n < 3 else loud, 0.0, 1 / 65535, n / 10) for n in range(6)]
    for n in range(3):
        first(quiet, 0.0, 1 / 65535, n / 10)
    second.restore({name: np.asarray(value) for name, value in first.state().items()})
    assert [second(loud, 0.0, 1 / 65535, n / 10) for n in range(3, 6)] == wanted[3:]
    fresh = GainLimit()
    fresh.restore(GainLimit().state())
    assert fresh(loud, 0.0, 1 / 65535, 0.0) == GainLimit()(loud, 0.0, 1 / 65535, 0.0)


def test_the_limit_starts_anew_after_a_gap_and_backwards():
    quiet, loud = noisy_plane(0.0045), noisy_plane(0.009)
    for time in (2.0, 1.5, 0.48, -1.0):
        limit = GainLimit()
        limit(quiet, 0.0, 1 / 65535, 0.5)
        assert limit(loud, 0.0, 1 / 65535, time) == GainLimit()(loud, 0.0, 1 / 65535, 0.0)
    limit = GainLimit()
    limit(quiet, 0.0, 1 / 65535, 0.5)
    assert limit(loud, 0.0, 1 / 65535, 1.4) != GainLimit()(loud, 0.0, 1 / 65535, 0.0)


# ------------------------------------------------------------------ areas


def test_a_ramp_by_hand():
    """A sample a pixel: half a pixel inside nothing, then smoothly (3 t^2 - 2 t^3) to 1 over the feather."""
    weights = ramp(2, 6, 12, 12, 2.0)
    t = np.array([0, 0.5, 1, 1, 0.5, 0])
    assert weights == pytest.approx([0, 0, *(t * t * (3 - 2 * t)), 0, 0, 0, 0])
    assert ramp(1, 6, 12, 12, 2.0)[:3] == pytest.approx([0, 0, 0.5])
    assert ramp(0, 6, 12, 12, 2.0)[:4] == pytest.approx(1)  # the picture's own edge is not faded
    assert ramp(4, 8, 12, 12, 2.0)[8:] == pytest.approx(1)
    assert ramp(0, 12, 12, 12, 2.0) == pytest.approx(1)
    assert ramp(-3, 40, 12, 12, 2.0) == pytest.approx(1)


def test_an_area_between_coarse_samples_reaches_one_sample_less():
    """Interpolation carries a sample's weight as far as the next one: that far inside the area nothing is done yet."""
    coarse = ramp(20, 60, 120, 12, 10.0)  # samples at 5, 15, 25 ...: 25 is 5 inside, 35 is 15 inside
    assert coarse[:3] == pytest.approx(0) and coarse[8:] == pytest.approx(0)
    t = 0.5  # 15 pixels inside, less the 10 between samples, of a feather of 10
    assert coarse[3] == coarse[6] == pytest.approx(t * t * (3 - 2 * t))
    assert coarse[4:6] == pytest.approx(1)


def test_an_area_by_hand():
    """A feather of 12 % of the shorter side; as many samples as the map has, more for an area under eight of them."""
    even = Coefficients(np.full((50, 50), 2.0, np.float32), np.full((50, 50), -2.0, np.float32), -4.0)
    masked = Region(50, 0, 50, 100).within(even, 100, 100)
    assert masked.slope.shape == (50, 50) and masked.floor == -4.0
    row = masked.offset[25] / -2.0  # samples at 51, 53, 55 ...: 1, 3, 5 inside, less 2; a feather of 6
    assert row[:26] == pytest.approx(0)
    t = np.array([1 / 6, 3 / 6, 5 / 6, 1])
    assert row[26:30] == pytest.approx(t * t * (3 - 2 * t), abs=1e-6)
    assert row[-1] == 1.0 and (masked.offset[:, 40] == -2.0).all()
    assert masked.slope[25] == pytest.approx(2.0 * row)
    small = Region(40, 40, 8, 12).within(even, 100, 100)
    assert small.offset.shape == (100, 100)  # a sample a pixel, the finest there is
    for area in (Region(40, 40, 10, 40), Region(40, 40, 40, 10)):
        assert area.within(even, 200, 200).offset.shape == (160, 160)  # eight samples over ten pixels


def test_areas_in_words():
    assert Region.parse("1, 2,30,40") == Region(1, 2, 30, 40)
    for text in ("1,2,0,40", "1,2,30,0", "1,2,30", "1,2,30,40,5", "1,2,-3,4", "1.5,2,3,4"):
        with pytest.raises(InputError, match="area"):
            Region.parse(text)
    Region(99, 49, 1, 1).check(100, 50)
    for area in (Region(100, 0, 5, 5), Region(0, 50, 5, 5)):
        with pytest.raises(InputError, match="lies outside 100x50"):
            area.check(100, 50)


# ------------------------------------------------------------------ pixels and their relighting


def test_packed_pixels_by_hand():
    samples = np.full((4, 6, 4), (51, 102, 153, 77), np.uint8)
    pixels = PackedRGB(samples, 18)
    assert (pixels.size, pixels.transfer, PackedRGB(samples).transfer) == ((4, 6), 18, 2)
    plane, black, scale = pixels.noise_plane()
    assert (plane == 102).all() and black == 0.0 and scale == pytest.approx(1 / 255)
    assert pixels.proxy((2, 3)).rgb[0, 0] == pytest.approx([0.2, 0.4, 0.6])
    out = pixels.like()
    assert out.samples is not samples and (out.samples.shape, out.samples.dtype) == ((4, 6, 4), np.uint8)
    assert out.transfer == 18
    pixels.relight(plain_coefficients(np.full((2, 2), -2.0, np.float32), 16.0), out)
    assert out.samples[0, 0].tolist() == [197, 219, 242, 77]  # test_standards has the formula
    pixels.copy_to(out)
    assert np.array_equal(out.samples, samples)


def test_planar_pixels_by_hand():
    """10 bits, limited: black is 64, white 940; grey has chroma of 512 for every 2 x 2 pixels, kept nowhere."""
    luma = np.full((5, 7), 64 + 219, np.uint16)
    grey = PlanarPixels([luma], Coding(depth=10), transfer=16)
    assert (grey.size, grey.transfer, grey.interlaced) == ((5, 7), 16, False)
    plane, black, scale = grey.noise_plane()
    assert plane is luma and black == 64 and scale == pytest.approx(1 / 876)
    y, cb, cr = grey.with_chroma
    assert y is luma and cb.shape == cr.shape == (3, 4) and (cb == 512).all() and (cr == 512).all()
    assert cb.dtype == np.uint16 and grey.proxy((5, 7)).rgb == pytest.approx(0.25)
    out = grey.like()
    grey.relight(plain_coefficients(np.full((2, 2), -2.0, np.float32), 16.0), out)
    assert len(out.planes) == 1 and (out.coding, out.transfer, out.interlaced) == (grey.coding, 16, False)
    wanted = 64 + 219 * (1 / 16 + 15 / 16 / 16) ** -0.5
    assert (np.abs(out.planes[0] - wanted) <= 0.5 + 1e-3).all()
    assert (grey.with_chroma[1] == 512).all()
    grey.copy_to(out)
    assert np.array_equal(out.planes[0], luma) and out.planes[0] is not luma


def test_planes_of_channels_and_of_alpha_by_hand():
    red, green, blue = (np.full((4, 6), code, np.uint8) for code in (51, 102, 153))
    pixels = PlanarPixels([red, green, blue, np.full((4, 6), 9, np.uint8)], Coding(full_range=True, rgb=True))
    assert pixels.noise_plane()[0] is green  # 72 % of luma
    assert len(pixels.with_chroma) == 3
    out = pixels.like()
    out.planes[3][...] = 9
    pixels.relight(plain_coefficients(np.full((2, 2), -2.0, np.float32), 16.0), out)
    assert [int(plane[0, 0]) for plane in out.planes] == [197, 219, 242, 9]


def test_fields_of_planar_pixels_keep_their_own_chroma():
    """A bright upper field, a dark lower one: chroma of each grows by the gain of its own lines."""
    y = np.full((8, 8), 40, np.uint8)
    y[::2] = 200
    chroma = np.full((4, 4), 138, np.uint8)
    pixels = PlanarPixels([y, chroma, np.full((4, 4), 128, np.uint8)], Coding(), interlaced=True)
    out = pixels.like()
    assert out.interlaced and pixels.size == (8, 8) and pixels.noise_plane()[0] is y
    pixels.relight(plain_coefficients(np.full((2, 2), -2.0, np.float32), 16.0), out)
    assert (out.planes[1][::2] == out.planes[1][0, 0]).all() and (out.planes[1][1::2] == out.planes[1][1, 0]).all()
    assert int(out.planes[1][1, 0]) - 128 > 2 * (int(out.planes[1][0, 0]) - 128)


class Answer:
    """What `Relighting` asks of an enhancer whose network gives one light everywhere."""

    cleans = True

    def __init__(self, stops=2.0, quality="fast", auto_max_gain=False, strength=1.0, card=None):
        self.stops, self.quality, self.auto_max_gain, self.strength = stops, quality, auto_max_gain, strength
        self.max_gain, self.limits, self.network = 16.0, [], SimpleNamespace(card=card)

    def proxy_size(self, height, width):
        return (height, width) if self.quality == "exact" else (height // 2, width // 2)

    def steady_size(self, height, width):
        return height // 2, width // 2

    def log_light(self, proxy):
        return np.full(proxy.luma.shape, -self.stops, np.float32)

    def refine(self, light, luma, limit=math.inf):
        self.limits.append(limit)
        return plain_coefficients(light, 16.0)

    def refine_steady(self, steady, limit=math.inf):
        return self.refine(steady.log_light, steady.luma, limit)

    def steady_change(self, steady, own, limit=math.inf):
        return steady.log_light - own


def dark_picture(level=10, height=32, width=48):
    return PackedRGB(np.full((height, width, 3), level, np.uint8))


@pytest.mark.parametrize("quality", ["fast", "exact"])
def test_relighting_is_a_running_mean_of_the_light(quality):
    """A still picture whose light map goes from 2 stops to 2.01: the mean of both; without the filter, its own."""
    for constant, wanted in ((1.0, 2.005), (0.0, 2.01)):
        enhancer = Answer(quality=quality)
        relighting = Relighting(enhancer, LightSettings(constant))
        picture = dark_picture()
        first = relighting.look([picture])[0]
        relighting.relight(picture, first, 0.0)
        enhancer.stops = 2.01
        (second,) = relighting.look([picture])
        coefficients = relighting.coefficients(second, 0.04)
        assert coefficients.offset == pytest.approx(-wanted, abs=1e-3)
        assert coefficients.offset.shape == ((32, 48) if quality == "exact" else (16, 24))


class Lighter:
    """In the place of the temporal filter: 0.3 stops more, whatever comes."""

    def __init__(self):
        self.seen = []

    def __call__(self, log_light, luma, time):
        self.seen.append((log_light.shape, luma.shape))
        return Steady(log_light - np.float32(0.3), luma, luma)

    def kept(self, own):
        return own


@pytest.mark.parametrize("quality", ["fast", "exact"])
@pytest.mark.parametrize("transfer", [2, 16])
def test_the_filter_works_at_its_own_size_and_what_it_changes_is_applied(quality, transfer):
    luma = np.full((32, 48), 500, np.uint16)
    picture = PlanarPixels([luma], Coding(0.2627, 0.0593, False, 10, white=0.5807), transfer=transfer)
    relighting = Relighting(Answer(1.0, quality), LightSettings(0.0))
    (light,) = relighting.look([picture])
    before = relighting.coefficients(light, 0.0).offset
    relighting.temporal = Lighter()
    after = relighting.coefficients(light, 0.0).offset
    assert relighting.temporal.seen == [((16, 24), (16, 24))]
    assert before.shape == after.shape == ((32, 48) if quality == "exact" else (16, 24))
    if transfer == 2:
        assert after - before == pytest.approx(-0.3, abs=1e-6)
    else:
        assert (after - before < -0.1).all()


def test_relighting_multiplies_both_strengths():
    """Code 10 of 255 at one stop: about twice; at half the enhancer's strength and half the frame's a quarter of it."""
    picture, relighting = dark_picture(), Relighting(Answer(stops=2.0, strength=0.5), LightSettings(0.0))
    (light,) = relighting.look([picture])
    assert relighting.relight(picture, light, 0.0).samples[0, 0, 0] == 20  # one stop, a gain of 1.993
    assert relighting.relight(picture, light, 0.0, 0.5).samples[0, 0, 0] == 14
    out = picture.like()
    assert relighting.relight(picture, light, 0.0, 1.0, out) is out and (out.samples == 20).all()
    assert (picture.samples == 10).all()


def test_relighting_stays_in_its_area():
    picture = dark_picture(height=64, width=96)
    relighting = Relighting(Answer(), LightSettings(0.0, Region(48, 0, 48, 64)))
    (light,) = relighting.look([picture])
    result = relighting.relight(picture, light, 0.0).samples
    assert (result[:, :48] == 10).all() and (result[:, 70:] == 40).all()


@pytest.mark.parametrize("auto", [False, True])
def test_relighting_measures_noise_if_the_gain_is_automatic(auto):
    rng = np.random.default_rng(0)
    picture = PackedRGB(np.round(0.15 * 255 + rng.normal(0, 0.009 * 255, (240, 320, 3))).astype(np.uint8))
    enhancer = Answer(auto_max_gain=auto)
    relighting = Relighting(enhancer)
    (light,) = relighting.look([picture])
    relighting.relight(picture, light, 0.0)
    assert enhancer.limits == [pytest.approx(5, rel=0.1) if auto else math.inf]
    assert Relighting(enhancer).settings == LightSettings(1.0, None)


@pytest.mark.parametrize("quality", ["fast", "exact"])
def test_relighting_of_hdr_lifts_to_the_light_of_its_sdr_picture(quality):
    """PQ of 10 cd/m2, one stop: see `test_hdr_is_lifted_to_the_light_its_sdr_picture_would_have`."""
    level = float(light_to_pq(np.array(10.0)))
    luma = np.full((32, 48), round(16 * 256 + 219 * 256 * level), np.uint16)
    coding = Coding(0.2627, 0.0593, False, 16, white=float(light_to_pq(np.array(203.0))))
    picture = PlanarPixels([luma], coding, transfer=16)
    relighting = Relighting(Answer(1.0, quality), LightSettings(0.0))
    (light,) = relighting.look([picture])
    assert light.transfer is not None and light.luma[0, 0] == pytest.approx((10 / 203) ** (1 / 2.2), rel=1e-3)
    assert light.signal[0, 0] == pytest.approx(level / coding.white, rel=1e-3)
    result = (relighting.relight(picture, light, 0.0).planes[0][16, 24] - 16 * 256) / (219 * 256)
    sdr = (10 / 203) ** (1 / 2.2)
    assert float(pq_to_light(np.array(result))) == pytest.approx(10 * (0.25 + 0.75 * sdr**2) ** -1.1, rel=0.01)


def test_what_relighting_remembers_can_be_continued():
    picture = dark_picture()
    first, enhancer = Relighting(Answer(2.0, auto_max_gain=True)), Answer(2.01, auto_max_gain=True)
    first.relight(picture, first.look([picture])[0], 0.0)
    second = Relighting(enhancer)
    second.restore({name: np.asarray(value) for name, value in first.state().items()})
    (light,) = second.look([picture])
    assert second.coefficients(light, 0.04).offset == pytest.approx(-2.005, abs=1e-3)
    names = set(first.state())
    assert {"temporal noise", "temporal light", "gain limit goal", "gain limit value", "grain value"} <= names


class Card:
    """A graphics card that takes 8-bit pictures only, two at once."""

    batch, area = 2, None

    def __init__(self):
        self.asked = []

    def takes(self, pixels):
        return pixels.samples.dtype == np.uint8

    def look(self, pictures, areas, max_gain, steady_size):
        self.asked.append((len(pictures), max_gain, steady_size(32, 48)))
        return [self for _ in pictures]

    def small_maps(self):
        return np.full((16, 24), -2.0, np.float32), np.full((16, 24), 0.04, np.float32)

    def relight(self, out, change, bound, strength, region):
        self.relighted = change, bound, strength, region
        out.samples[...] = 99


def test_at_full_size_a_card_does_the_work_it_takes():
    card = Card()
    relighting = Relighting(Answer(quality="exact", strength=0.5, card=card))
    assert relighting.batch == 2
    pictures = [dark_picture(), dark_picture()]
    lights = relighting.look(pictures)
    assert card.asked == [(2, 16.0, (16, 24))]
    assert (relighting.relight(pictures[0], lights[0], 0.0, 0.5).samples == 99).all()
    change, bound, strength, region = card.relighted
    assert (change == 0).all() and (bound, strength, region) == (16.0, 0.25, None)
    mixed = [dark_picture(), PackedRGB(np.zeros((32, 48, 3), np.uint16))]
    assert all(isinstance(light, Light) for light in relighting.look(mixed))
    fast = Relighting(Answer(card=card))
    assert fast.batch == 1 and isinstance(fast.look([dark_picture()])[0], Light)
    assert Relighting(Answer(quality="exact")).batch == 1


@pytest.mark.parametrize(
    "shared",
    [
        Coding(), Colour(), LightSettings(), Region(1, 2, 3, 4), PackedRGB(np.zeros((1, 1, 3), np.uint8)),
        PlanarPixels([], Coding()), plain_coefficients(np.zeros((1, 1), np.float32), 2.0), TRANSFERS[16],
        Proxy(np.zeros((1, 1, 3)), np.zeros((1, 1))), Mastering(), layout_of("yuv420p"),
        Light(*np.zeros((3, 1, 1))), Steady(*np.zeros((3, 1, 1))),
    ],
    ids=lambda shared: type(shared).__name__,
)  # fmt: skip
def test_what_threads_share_cannot_be_changed(shared):
    with pytest.raises(FrozenInstanceError):
        setattr(shared, fields(shared)[0].name, None)


def test_the_stages_of_relighting_are_told():
    stages = []
    relighting = Relighting(Answer(), profile=stages.append)
    picture = dark_picture()
    relighting.relight(picture, relighting.look([picture])[0], 0.0)
    assert stages == ["proxy", "network", "temporal filter, edges"]
