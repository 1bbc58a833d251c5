"""What lifted shadows are cleaned of: steps between codes, and the noise of chroma."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cliplit.runtime import Enhancer
from cliplit.runtime.light import shadows
from cliplit.runtime.light.colour import Coding
from cliplit.runtime.light.gain import apply_planes, apply_rgb, planes_reference, rgb_reference
from cliplit.runtime.light.light_map import Coefficients
from cliplit.runtime.light.noise import ClipGrain, chroma_noise, rgb_grain
from cliplit.runtime.light.pixels import PackedRGB, PlanarPixels
from cliplit.runtime.light.shadows import Cleanup, Grain, lifted_spans, lifts, planes_cleanup, rgb_cleanup, rgb_planes

compiled = pytest.mark.skipif(shadows._shadows is None, reason="built without a compiler")
RNG = np.random.default_rng(7)


def even(stops, rows=5, columns=7):
    """Light that is the same everywhere."""
    shape = rows, columns
    return Coefficients(np.zeros(shape, np.float32), np.full(shape, -stops, np.float32), -8.0)


def staircase(width, codes=range(17, 37), height=64):
    """(H, W) uint8, each code `width` samples wide."""
    return np.repeat(np.repeat(np.array(codes, np.uint8), width)[None], height, axis=0)


def gray(luma):
    return np.ascontiguousarray(np.repeat(luma[..., None], 3, axis=2))


def whole(plane):
    """The span of all columns in each row."""
    return np.array([[0, plane.shape[1]]] * plane.shape[0], np.int32)


CLEAN = Grain(0.0, 0.0)


def cleaned(picture, coefficients, grain=CLEAN):
    return apply_rgb(picture, coefficients, cleanup=rgb_cleanup(picture, coefficients, grain))


@pytest.mark.parametrize("width", [3, 4, 6, 10, 16, 40, 96])
@pytest.mark.parametrize("turned", [False, True])
def test_no_step_of_one_code_becomes_more_than_three(width, turned):
    """A gain of 4 makes 4 of it, at most 4.0 - 1 / 4 after rounding; this is the bound of the issue."""
    picture = gray(staircase(width).T if turned else staircase(width))
    lifted = np.moveaxis(cleaned(picture, even(2)), 0, int(turned)).astype(int)
    rows = lifted[len(lifted) // 2, :, 0]
    assert np.abs(np.diff(rows)).max() <= 3
    plain = np.moveaxis(apply_rgb(picture, even(2)), 0, int(turned)).astype(int)
    assert np.abs(np.diff(plain[len(plain) // 2, :, 0])).max() == 4


@pytest.mark.parametrize("full_range", [False, True])
def test_steps_of_luma_planes_are_smoothed_alike(full_range):
    luma = staircase(16)
    planes = luma, *(np.full((32, luma.shape[1] // 2), 128, np.uint8) for _ in range(2))
    out = tuple(np.empty_like(plane) for plane in planes)
    PlanarPixels(planes, Coding(full_range=full_range)).relight(
        even(2), PlanarPixels(out, Coding(full_range=full_range)), CLEAN
    )
    assert np.abs(np.diff(out[0][32].astype(int))).max() <= 2
    assert (out[1] == 128).all() and (out[2] == 128).all()


def test_a_picture_without_gain_stays_as_it_is():
    """Debanding moves by less than half a code, and chroma's share is none at a gain of 1: every sample rounds back."""
    picture = RNG.integers(0, 256, (60, 90, 3)).astype(np.uint8)
    fine = RNG.integers(-15, 16, (60, 90)).astype(np.int8)
    change = RNG.normal(0, 9, (2, 60, 90)).astype(np.float32)
    assert np.array_equal(apply_rgb(picture, even(0), cleanup=Cleanup(fine, *change)), picture)
    planes = tuple(np.ascontiguousarray(picture[..., n]) for n in range(3))
    out = tuple(np.empty_like(plane) for plane in planes)
    apply_planes(planes, out, even(0), Coding(full_range=True), Cleanup(fine, *change))
    assert all(np.array_equal(a, b) for a, b in zip(planes, out, strict=True))


def test_steps_are_less_than_half_a_code():
    noisy = RNG.integers(10, 13, (80, 120)).astype(np.uint8)
    fine = shadows.steps(noisy, whole(noisy))
    assert 0 < np.abs(fine.astype(int)).max() < shadows.LUMA_UNIT / 2


def test_texture_of_luma_is_not_debanded():
    texture = np.where(np.indices((60, 80)).sum(axis=0) % 2, 20, 26).astype(np.uint8)
    assert not shadows.steps(texture, whole(texture)).any()


def test_black_and_white_are_no_neighbours():
    """Codes wrap around in the compiled loop: a difference of 255 is not one of -1."""
    checks = np.where(np.indices((60, 80)).sum(axis=0) % 2, 0, 255).astype(np.uint8)
    assert not shadows.steps(checks, whole(checks)).any()


@pytest.mark.parametrize("sigma", [2.0, 4.0])
@pytest.mark.parametrize("sampling", [1, 2])
def test_chroma_noise_grows_by_at_most_a_half(sigma, sampling):
    """A gain of 4 would make four times of it; the issue allows 1.5 times. Luma's noise is not touched."""
    size = 240 // sampling, 320 // sampling
    luma = np.clip(RNG.normal(40, 2, (240, 320)), 16, 235).round().astype(np.uint8)
    noisy = [np.clip(RNG.normal(mean, sigma, size), 16, 240).round().astype(np.uint8) for mean in (118, 140)]
    pixels = PlanarPixels((luma, *noisy), Coding())
    out, plain = pixels.like(), pixels.like()
    pixels.relight(even(2), out, pixels.grain())
    pixels.relight(even(2), plain)
    for before, uncleaned, after in zip(pixels.planes[1:], plain.planes[1:], out.planes[1:], strict=True):
        assert uncleaned.std() > 2 * before.std()  # the shoulder takes some of the four
        assert after.std() < 1.5 * before.std()
        assert after.mean() == pytest.approx(uncleaned.mean(), abs=1.0)
    assert np.abs(out.planes[0].astype(int) - plain.planes[0]).max() <= 2  # of 4 that one code becomes


def test_chroma_noise_of_rgb_grows_by_at_most_a_half():
    noise = RNG.normal(0, 3, (240, 320, 2))
    ycc = np.dstack([np.full((240, 320), 30.0), 135 + noise[..., 0], 122 + noise[..., 1]])
    picture = cv2.cvtColor(ycc.round().astype(np.uint8), cv2.COLOR_YCrCb2RGB)
    after = cleaned(picture, even(2), rgb_grain(rgb_planes(picture)))
    before, after = (cv2.cvtColor(p, cv2.COLOR_RGB2YCrCb)[..., 1:].std(axis=(0, 1)) for p in (picture, after))
    assert (after < 1.5 * before).all()


def test_an_edge_between_colours_stays():
    """Two colours further apart than the gate, of one luma: neither side takes from the other."""
    cb = np.where(np.arange(120) < 60, 110, 140).astype(np.uint8)[None].repeat(80, axis=0)
    luma = np.full((80, 120), 40, np.uint8)
    changes = shadows.alike(luma, cb, cb, 8, whole(cb), 0.0, shadows.FULL_CHROMA_TAPS)
    assert not np.any(changes)


def test_what_differs_in_luma_alone_does_not_mix():
    luma = np.where(np.arange(120) < 60, 20, 40).astype(np.uint8)[None].repeat(80, axis=0)
    cb = np.where(np.arange(120) < 60, 127, 129).astype(np.uint8)[None].repeat(80, axis=0)
    changes = shadows.alike(luma, cb, cb, 8, whole(cb), 0.0, shadows.FULL_CHROMA_TAPS)
    assert not np.any(changes)


@pytest.mark.parametrize("sigma", [1.5, 3.0, 6.0])
def test_noise_is_estimated(sigma):
    luma = np.full((480, 640), 40, np.uint8)
    cb, cr = (np.clip(RNG.normal(128, s, luma.shape), 0, 255).round().astype(np.uint8) for s in (sigma, sigma / 2))
    rounding = 1 / 12  # the variance of rounding to codes
    assert chroma_noise(luma, cb, cr, 0.0, 1 / 255) * 255 == pytest.approx((sigma**2 + rounding) ** 0.5, rel=0.12)
    assert chroma_noise(np.full_like(luma, 200), cb, cr, 0.0, 1 / 255) == 0  # bright: not looked at


def test_enlarged_noise_is_found_at_half_size():
    small = np.clip(RNG.normal(128, 3, (240, 320)), 0, 255).astype(np.float32)
    cb = cv2.resize(small, (640, 480), interpolation=cv2.INTER_LINEAR).round().astype(np.uint8)
    assert chroma_noise(np.full(cb.shape, 40, np.uint8), cb, cb, 0.0, 1 / 255) * 255 > 0.8  # at full size alone 0.4


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (15, 17), (31, 31)])
def test_small_pictures_have_no_noise_that_could_be_measured(size):
    assert rgb_grain(rgb_planes(RNG.integers(0, 60, (*size, 3)).astype(np.uint8))) == CLEAN
    assert Enhancer()(RNG.integers(0, 60, (*size, 3)).astype(np.uint8)).shape == (*size, 3)


def test_only_what_is_lifted_is_cleaned():
    """And a point of the map around it: 10 points are 100 rows and 120 columns."""
    coefficients = even(0, rows=10, columns=10)
    coefficients.offset[3:5, 4:6] = -1
    coefficients.offset[8, 9] = -1
    spans = lifted_spans(coefficients, (100, 120))
    assert (spans[20:60] == [36, 84]).all() and (spans[70:] == [96, 120]).all()
    assert (spans[:20, 0] == spans[:20, 1]).all() and (spans[60:70, 0] == spans[60:70, 1]).all()
    assert lifts(coefficients) and not lifts(even(0.2))
    cleanup = planes_cleanup([staircase(6, height=100)], 8, coefficients, CLEAN)
    inside = np.zeros((100, 120), bool)
    inside[20:60, 36:84] = inside[70:, 96:] = True
    assert cleanup.luma[20:60, 36:84].any() and cleanup.luma[70:, 96:].any() and not cleanup.luma[~inside].any()


def test_a_plane_narrower_than_the_map_has_spans_within_it():
    coefficients = even(0, rows=10, columns=10)
    coefficients.offset[0, 9] = -1
    assert (lifted_spans(coefficients, (3, 4)) == [[3, 4], [4, 4], [4, 4]]).all()


@compiled
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (31, 1), (45, 67)])
@pytest.mark.parametrize("depth", [8, 10])
def test_compiled_loops_are_the_reference(size, depth, monkeypatch):
    top = 1 << depth
    luma, cb, cr = RNG.integers(top // 3, top // 3 + 9, (3, *size)).astype(np.uint8 if depth == 8 else np.uint16)
    spans = np.sort(RNG.integers(0, size[1] + 1, (size[0], 2)), axis=1).astype(np.int32)
    taps = shadows.CHROMA_TAPS

    def both():
        fine = shadows.steps(luma, spans) if depth == 8 else np.zeros(1)
        return fine, *shadows.alike(luma, cb, cr, depth, spans, 0.003, taps)

    fast = both()
    monkeypatch.setattr(shadows, "_shadows", None)
    for one, other in zip(fast, both(), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize("kind,unit", [(np.uint8, 1), (np.uint16, 257), (np.float32, 1 / 255)])
def test_cleanup_is_added_as_the_reference_adds_it(kind, unit):
    top = 1.0 if kind == np.float32 else np.iinfo(kind).max
    picture = (RNG.random((40, 50, 4)) * top).astype(kind)
    fine = RNG.integers(-15, 16, (40, 50)).astype(np.int8) if kind == np.uint8 else None
    cleanup = Cleanup(fine, *(RNG.normal(0, 4 * unit, (2, 40, 50)).astype(np.float32)))
    fast = apply_rgb(picture, even(1.5), cleanup=cleanup).astype(np.float64)
    difference = np.abs(fast - rgb_reference(picture, even(1.5), cleanup))
    assert difference.max() <= {np.uint8: 1, np.uint16: 2, np.float32: 2e-5}[kind]
    assert (difference > 0).mean() < 5e-3 or kind != np.uint8
    assert np.abs(fast - apply_rgb(picture, even(1.5))).max() > 5 * unit


@pytest.mark.parametrize("sampling", [(1, 1), (1, 2), (2, 2)])
def test_cleanup_is_added_to_planes_as_the_reference_adds_it(sampling):
    size = 40, 52
    chroma = tuple(-(-s // f) for s, f in zip(size, sampling, strict=True))
    planes = tuple(RNG.integers(0, 256, s).astype(np.uint8) for s in (size, chroma, chroma))
    cleanup = Cleanup(RNG.integers(-15, 16, size).astype(np.int8), *(RNG.normal(0, 4, (2, *chroma)).astype(np.float32)))
    out = tuple(np.empty_like(plane) for plane in planes)
    apply_planes(planes, out, even(1.5), Coding(), cleanup)
    for fast, reference in zip(out, planes_reference(planes, even(1.5), Coding(), cleanup), strict=True):
        difference = np.abs(fast.astype(int) - reference)
        assert difference.max() <= 1 and (difference > 0).mean() < 5e-3


def test_rgb_and_planes_are_cleaned_of_the_same_noise():
    """Through Y'CbCr 4:4:4 and through RGB: only the rounding to codes lies between."""
    noise = RNG.normal(0, 3, (2, 120, 160))
    planes = np.full((120, 160), 40, np.uint8), *np.clip(128 + noise, 0, 255).round().astype(np.uint8)
    coding = Coding(0.299, 0.114, full_range=True)
    picture = cv2.cvtColor(np.dstack([planes[0], planes[2], planes[1]]), cv2.COLOR_YCrCb2RGB)
    pixels, packed = PlanarPixels(planes, coding), PackedRGB(picture)
    out, rgb = pixels.like(), packed.like()
    pixels.relight(even(2), out, Grain(0.0, 3 / 255))
    packed.relight(even(2), rgb, Grain(0.0, 3 / 255))
    through = cv2.cvtColor(np.dstack([out.planes[0], out.planes[2], out.planes[1]]), cv2.COLOR_YCrCb2RGB)
    assert np.abs(through.astype(float) - rgb.samples).mean() < 2


def test_grain_needs_no_debanding():
    picture = gray(staircase(16))
    assert planes_cleanup([picture[..., 0]], 8, even(2), CLEAN).luma is not None
    assert planes_cleanup([picture[..., 0]], 8, even(2), Grain(1 / 255, 0.0)).luma is None
    noisy = np.clip(RNG.normal(30, 1.2, (240, 320)), 0, 255).round().astype(np.uint8)
    assert PlanarPixels([noisy], Coding(full_range=True)).grain().luma * 255 == pytest.approx(1.2, rel=0.2)


def test_the_grain_of_a_clip_settles():
    follow = ClipGrain()
    values = [
        follow(lambda: Grain(0.0, 0.01), 0.0),
        *(follow(lambda: Grain(0.01, 0.03), n / 25) for n in range(1, 76)),
    ]
    assert values[0] == Grain(0.0, 0.01) and np.all(np.diff(values, axis=0) >= 0)
    assert values[-1] == pytest.approx((0.01, 0.03), rel=0.05)
    again = ClipGrain()
    again.restore(follow.state())
    assert again(lambda: Grain(0.0, 0.05), 76 / 25) == follow(lambda: Grain(0.0, 0.05), 76 / 25)
