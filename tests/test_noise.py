"""The gain bounded by the noise that is there (R6.7)."""

from __future__ import annotations

import math
import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliplit.runtime import Enhancer
from cliplit.runtime.light.light_map import softly_bounded
from cliplit.runtime.light.noise import GainLimit, noise_gain_limit, picture_noise, plane_noise
from made import backlit


def dark(height=360, width=640, seed=0):
    """Smooth dark luma in [0, 1] with a few objects: what a clean camera sees."""
    rng = np.random.default_rng(seed)
    coarse = 0.06 + 0.1 * rng.random((6, 10)).astype(np.float32)
    luma = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(30):
        top, left = rng.integers(0, height - 50), rng.integers(0, width - 80)
        luma[top : top + 50, left : left + 80] += rng.uniform(-0.04, 0.06)
    return np.clip(luma, 0.02, 1.0)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0, 8.0])
def test_noise_is_measured(sigma):
    rng = np.random.default_rng(1)
    codes = np.round(np.clip(dark() * 255 + rng.normal(0, sigma, (360, 640)), 0, 255)).astype(np.uint8)
    assert plane_noise(codes, 0.0, 1 / 255) * 255 == pytest.approx(math.hypot(sigma, 0.29), rel=0.15)


def test_a_clean_picture_has_none_and_keeps_its_gain():
    codes = np.round(dark() * 255).astype(np.uint8)
    assert plane_noise(codes, 0.0, 1 / 255) * 255 < 0.5
    assert noise_gain_limit(plane_noise(codes, 0.0, 1 / 255)) == 16.0


def test_texture_is_no_noise():
    """Fabric, foliage: soft texture over the whole picture, as lenses show it; half of it flat would be too easy."""
    rng = np.random.default_rng(2)
    texture = cv2.GaussianBlur(rng.normal(0, 1, (360, 640)).astype(np.float32), (0, 0), 2.0)
    luma = np.clip(0.12 + 0.03 * texture / texture.std(), 0, 1)
    assert plane_noise(luma, 0.0, 1.0) < 0.2 * 0.03
    assert noise_gain_limit(plane_noise(luma, 0.0, 1.0)) > 7.0


def test_kodak_pictures_are_clean(shared):
    gains = []
    for file in sorted((shared / "data/train/welllit/kodak24").iterdir()):
        picture = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR)
        if picture is not None:
            gains.append(noise_gain_limit(picture_noise(picture // 4)))
    assert len(gains) == 24 and np.median(gains) == 16.0 and min(gains) > 6.0


def test_clipped_black_does_not_hide_noise():
    """Half of the picture lies at black with clipped noise; the rest tells."""
    rng = np.random.default_rng(3)
    luma = dark() * 255
    luma[:, :320] = 0.0
    codes = np.round(np.clip(luma + rng.normal(0, 4, luma.shape), 0, 255)).astype(np.uint8)
    assert plane_noise(codes, 0.0, 1 / 255) * 255 == pytest.approx(4.0, rel=0.2)


def test_nothing_dark_nothing_measured():
    assert plane_noise(np.full((200, 200), 0.6, np.float32), 0.0, 1.0) is None
    assert plane_noise(np.zeros((200, 200), np.float32), 0.0, 1.0) is None
    assert plane_noise(np.zeros((4, 4), np.float32), 0.0, 1.0) is None
    assert noise_gain_limit(None) == 16.0


def test_jpeg_blocks_count():
    rng = np.random.default_rng(4)
    noisy = np.clip(dark() * 255 + rng.normal(0, 2, (360, 640)), 0, 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 15])
    blocky = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    assert noise_gain_limit(plane_noise(blocky, 0.0, 1 / 255)) < 12.0


def test_auto_brings_up_less_of_the_noise(enhancer):
    """Near-black with noise: what is left of it is about what may be seen; a clean picture is not touched."""
    rng = np.random.default_rng(5)
    picture = backlit(240, 320).astype(np.float32)
    picture[140:] *= 0.4
    clean = np.round(picture).astype(np.uint8)
    noisy = np.clip(np.round(picture + rng.normal(0, 6, picture.shape)), 0, 255).astype(np.uint8)
    auto = enhancer.adjusted(1.0, "auto")
    patch = (slice(190, 230), slice(100, 200))
    assert auto(noisy)[patch].std() < 0.85 * enhancer(noisy)[patch].std()
    smooth = cv2.GaussianBlur(clean, (0, 0), 2)
    assert np.array_equal(auto(smooth), enhancer(smooth))


def test_auto_is_a_setting_like_others():
    assert Enhancer(max_gain="auto", threads=1).auto_max_gain
    with pytest.raises(Exception, match=r"outside 1\.\.256 and not 'auto'"):
        Enhancer(max_gain="much")


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 8.0), st.floats(1.01, 16.0))
def test_the_soft_bound_bends_and_never_exceeds(stops, gain):
    bent = -float(softly_bounded(np.array([[-stops]], np.float32), gain)[0, 0])
    assert bent <= min(stops, math.log2(gain)) + 1e-5
    if stops <= math.log2(gain) / 2:
        assert bent >= 0.98 * stops


def test_the_limit_of_a_clip_is_steady_and_quick_to_compute():
    rng = np.random.default_rng(6)
    limit, luma = GainLimit(), dark(1080, 1920) * 255
    planes = [np.clip(luma + rng.normal(0, 3, luma.shape), 0, 255).astype(np.uint8) for _ in range(4)]
    gains = [limit(planes[i % 4], 0.0, 1 / 255, i / 25) for i in range(50)]
    assert np.ptp(np.log2(gains[10:])) < 0.1
    start = time.process_time()
    for i in range(50):
        limit(planes[0], 0.0, 1 / 255, 2 + i / 25)
    assert (time.process_time() - start) / 50 < 5e-3


def test_a_restored_limit_goes_on():
    rng = np.random.default_rng(7)
    luma = dark() * 255
    planes = [np.clip(luma + rng.normal(0, 2 + i / 5, luma.shape), 0, 255).astype(np.uint8) for i in range(12)]
    whole, first, second = GainLimit(), GainLimit(), GainLimit()
    expected = [whole(plane, 0.0, 1 / 255, i / 25) for i, plane in enumerate(planes)]
    for i in range(6):
        first(planes[i], 0.0, 1 / 255, i / 25)
    second.restore({name: np.asarray(value) for name, value in first.state().items()})
    assert [second(planes[i], 0.0, 1 / 255, i / 25) for i in range(6, 12)] == expected[6:]
