"""The gain: the compiled loop against its definition, and the laws that hold for every picture (R6.6)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliplit.constants import LUMA_WEIGHTS
from cliplit.runtime.light.colour import Coding
from cliplit.runtime.light.compiled import COMPILED
from cliplit.runtime.light.gain import apply_planes, apply_rgb, factors, gain, planes_reference, rgb_reference
from cliplit.runtime.light.light_map import Coefficients

DTYPES = [np.uint8, np.uint16, np.float32]
compiled = pytest.mark.skipif(not COMPILED, reason="installed without a C compiler")


def random_picture(shape, dtype, rng):
    top = 1.0 if dtype == np.float32 else np.iinfo(dtype).max
    return (rng.random(shape) * top).astype(dtype)


def random_coefficients(rng, rows=12, columns=17, max_gain=16.0):
    slope = rng.normal(0, 3, (rows, columns)).astype(np.float32)
    offset = rng.normal(-2, 1.5, (rows, columns)).astype(np.float32)
    return Coefficients(slope, offset, -math.log2(max_gain))


@compiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (31, 1), (45, 67), (701, 903)])
@pytest.mark.parametrize("channels", [3, 4])
def test_compiled_rgb_is_the_reference(dtype, size, channels):
    rng = np.random.default_rng(1)
    picture, coefficients = random_picture((*size, channels), dtype, rng), random_coefficients(rng)
    fast = apply_rgb(picture, coefficients).astype(np.float64)
    reference = rgb_reference(picture, coefficients).astype(np.float64)
    difference = np.abs(fast - reference)
    if dtype == np.uint8:
        assert difference.max() <= 1
        assert (difference > 0).mean() < 2e-3
    else:  # 16 bit: float32 rounding of two orders of summation
        assert difference.max() <= (2.0 if dtype == np.uint16 else 2e-5)


@compiled
@pytest.mark.parametrize("dtype,depth", [(np.uint8, 8), (np.uint16, 10)])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("sampling", [(1, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize("size", [(2, 2), (1, 1), (33, 47), (64, 96), (241, 319)])
def test_compiled_planes_are_the_reference(dtype, depth, full_range, sampling, size):
    rng = np.random.default_rng(2)
    chroma = tuple(-(-s // f) for s, f in zip(size, sampling, strict=True))
    planes = tuple(rng.integers(0, 1 << depth, s, dtype=dtype) for s in (size, chroma, chroma))
    out = tuple(np.full_like(p, 7) for p in planes)
    coefficients, coding = random_coefficients(rng), Coding(0.299, 0.114, full_range, depth)
    apply_planes(planes, out, coefficients, coding)
    for fast, reference in zip(out, planes_reference(planes, coefficients, coding), strict=True):
        difference = np.abs(fast.astype(int) - reference.astype(int))
        assert difference.max() <= 1
        assert (difference > 0).mean() < 5e-3


def test_planes_match_rgb():
    """The same gain through Y'CbCr 4:4:4 and through RGB: only rounding lies between."""
    rng = np.random.default_rng(3)
    coding = Coding(full_range=True, depth=8)
    rgb = rng.random((60, 80, 3)).astype(np.float32)
    kr, kb = coding.kr, coding.kb
    y = rgb @ np.array([kr, 1 - kr - kb, kb], np.float32)
    cb, cr = (rgb[..., 2] - y) / (2 * (1 - kb)), (rgb[..., 0] - y) / (2 * (1 - kr))
    fine = Coding(full_range=True, depth=16)
    planes = tuple(np.round(p).astype(np.uint16) for p in (y * 65535, 32768 + cb * 65535, 32768 + cr * 65535))
    out = tuple(np.empty_like(p) for p in planes)
    coefficients = random_coefficients(rng)
    apply_planes(planes, out, coefficients, fine)
    y2, cb2, cr2 = out[0] / 65535, (out[1] - 32768.0) / 65535, (out[2] - 32768.0) / 65535
    back = np.stack([y2 + 2 * (1 - kr) * cr2, np.zeros_like(y2), y2 + 2 * (1 - kb) * cb2], axis=-1)
    back[..., 1] = (y2 - kr * back[..., 0] - kb * back[..., 2]) / (1 - kr - kb)
    assert np.abs(back - apply_rgb(rgb, coefficients)).max() < 2e-3


@settings(max_examples=60, deadline=None)
@given(st.floats(1 / 64, 1.0), st.floats(0.0, 1.0))
def test_gain_never_darkens_never_exceeds_the_light_map_never_clips(light, peak):
    g = float(gain(np.float32(light), np.float32(peak)))
    assert 1.0 - 1e-6 <= g <= 1.0 / light * (1 + 1e-5)
    assert g * peak <= 1.0 + 1e-6


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([np.uint8, np.uint16]))
def test_integer_pictures_never_darken_and_never_clip_anew(seed, dtype):
    rng = np.random.default_rng(seed)
    picture = random_picture((9, 11, 3), dtype, rng)
    picture[0, 0] = np.iinfo(dtype).max
    enhanced = apply_rgb(picture, random_coefficients(rng))
    assert (enhanced >= picture).all()
    clipped = (picture == np.iinfo(dtype).max).any(axis=2)
    assert (enhanced[~clipped] < np.iinfo(dtype).max).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_light_of_one_is_the_identity(dtype):
    rng = np.random.default_rng(4)
    picture = random_picture((20, 30, 4), dtype, rng)
    ones = Coefficients(np.zeros((3, 4), np.float32), np.zeros((3, 4), np.float32), -4.0)
    assert np.array_equal(apply_rgb(picture, ones), picture)


@pytest.mark.parametrize("full_range", [False, True])
def test_light_of_one_leaves_planes_untouched(full_range):
    rng = np.random.default_rng(5)
    planes = tuple(rng.integers(0, 256, s, dtype=np.uint8) for s in ((20, 30), (10, 15), (10, 15)))
    out = tuple(np.empty_like(p) for p in planes)
    ones = Coefficients(np.zeros((3, 4), np.float32), np.zeros((3, 4), np.float32), -4.0)
    apply_planes(planes, out, ones, Coding(full_range=full_range))
    for before, after in zip(planes, out, strict=True):
        assert np.array_equal(before, after)


def test_hue_is_kept():
    """The channels' differences from luma keep their proportions."""
    rng = np.random.default_rng(6)
    picture = rng.random((40, 50, 3)).astype(np.float32)
    enhanced = apply_rgb(picture, random_coefficients(rng))
    before, after = (x - (x @ np.array(LUMA_WEIGHTS, np.float32))[..., None] for x in (picture, enhanced))
    across = np.linalg.norm(np.cross(before, after), axis=-1)
    assert (across < 1e-5).all()
    assert ((before * after).sum(axis=-1) >= 0).all()


@settings(max_examples=60, deadline=None)
@given(st.floats(1 / 64, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_chroma_is_scaled_by_the_slope_of_the_tone_curve(light, one, other):
    luma, peak = sorted((one, other))
    of_luma, of_chroma = factors(np.float64(light), np.float64(luma), np.float64(peak))
    rise = peak * gain(light, peak) - luma * of_luma
    assert of_luma * luma + of_chroma * (peak - luma) == pytest.approx(peak * gain(light, peak), abs=1e-6)
    assert of_chroma * (peak - luma) == pytest.approx(rise, abs=1e-6)
    assert 0.0 < of_chroma <= of_luma * (1 + 1e-6)


def test_signals_above_white_stay():
    """Codes beyond the nominal range, as HDR below its peak has them: a colour whose luma is white, and grey."""
    planes = tuple(np.full((2, 2), v, np.uint8) for v in (250, 90, 150))
    out = tuple(np.empty_like(p) for p in planes)
    dark = Coefficients(np.zeros((2, 2), np.float32), np.full((2, 2), -3.0, np.float32), -4.0)
    apply_planes(planes, out, dark, Coding())
    assert all(np.array_equal(a, b) for a, b in zip(planes, out, strict=True))
    grey = tuple(np.full((2, 2), v, np.uint8) for v in (250, 128, 128))
    apply_planes(grey, out, dark, Coding())
    assert all(np.array_equal(a, b) for a, b in zip(grey, out, strict=True))


def test_floats_above_one_and_what_is_no_number_stay():
    picture = np.float32([[[2.0, 0.1, 0.2], [np.nan, 0.1, 0.2], [np.inf, 0.1, 0.2], [1.0, 1.0, 1.0]]])
    dark = Coefficients(np.zeros((1, 1), np.float32), np.full((1, 1), -3.0, np.float32), -4.0)
    enhanced = apply_rgb(picture, dark)
    assert np.array_equal(enhanced[..., 0], picture[..., 0], equal_nan=True)
    assert (enhanced[..., :3, 1:] > picture[..., :3, 1:]).all()


@compiled
def test_compiled_loop_refuses_wrong_arrays():
    from cliplit.runtime.light import _relight

    maps = np.zeros((2, 2), np.float32)
    picture = np.zeros((4, 4, 3), np.uint8)
    for source, target in [
        (picture, picture[:2].copy()),
        (picture, picture.astype(np.uint16)),
        (picture[..., :2],) * 2,
    ]:
        with pytest.raises(ValueError, match=r"source|contiguous"):
            _relight.rgb(source, target, maps, maps, -4.0, None, 0, 4)
    with pytest.raises(ValueError, match="float32"):
        _relight.rgb(picture, picture.copy(), maps.astype(np.float64), maps, -4.0, None, 0, 4)
