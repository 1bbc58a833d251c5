"""The light map over time: still when the scene is still, quick when it changes, fresh after a cut (R6.5)."""

from __future__ import annotations

import numpy as np
from cliplit.runtime.proxy import rgb_proxy
from cliplit.runtime.temporal import TemporalFilter, is_cut
from made import backlit


def maps_of(enhancer, frames):
    """[(log light, luma)] of each frame by itself."""
    proxies = [rgb_proxy(f, enhancer.proxy_size(*f.shape[:2])) for f in frames]
    return [(enhancer.log_light(p), p.luma) for p in proxies]


def smoothed(maps, rate=25.0):
    smooth = TemporalFilter()
    return [smooth(light, luma, i / rate).copy() for i, (light, luma) in enumerate(maps)]


def noisy(picture, count, sigma=10.0, seed=0):
    rng = np.random.default_rng(seed)
    return [np.clip(picture + rng.normal(0, sigma, picture.shape), 0, 255).astype(np.uint8) for _ in range(count)]


def test_a_static_noisy_shot_does_not_pulse(enhancer):
    """Frame to frame the map moves at least five times less than without the filter, as a whole and in blocks."""
    maps = maps_of(enhancer, noisy(backlit(), 30))
    raw, steady = np.array([m[0] for m in maps])[5:], np.array(smoothed(maps))[5:]
    for view in (
        lambda x: x.mean(axis=(1, 2)),
        lambda x: x[:, :176, :320].reshape(len(x), 11, 16, 20, 16).mean(axis=(2, 4)),
    ):
        assert np.diff(view(steady), axis=0).std() < 0.2 * np.diff(view(raw), axis=0).std()


def test_no_lag_after_a_cut(enhancer):
    maps = maps_of(enhancer, [np.full((180, 320, 3), 190, np.uint8)] * 6 + [backlit()] * 2)
    assert np.array_equal(smoothed(maps)[6], maps[6][0])


def test_a_step_in_exposure_is_followed_within_eight_frames(enhancer):
    dark = (backlit().astype(np.float32) * 0.55).astype(np.uint8)
    maps = maps_of(enhancer, [backlit()] * 10 + [dark] * 12)
    steady = smoothed(maps)
    start, end = maps[9][0].mean(), maps[-1][0].mean()
    done = (steady[9 + 8].mean() - start) / (end - start)
    assert done > 0.9


def test_moving_objects_leave_no_trace(enhancer):
    """Where a bright object has left, the light is that of the ground again within half a second."""
    frames = []
    for i in range(25):
        frame = np.full((180, 320, 3), 25, np.uint8)
        if i < 12:
            frame[60:120, 100:160] = 240
        frames.append(frame)
    maps = maps_of(enhancer, frames)
    left = np.abs(smoothed(maps)[-1] - maps[-1][0])
    assert left.max() - np.median(left) < 0.2  # in stops


def test_a_pan_is_no_cut_and_another_scene_is():
    pan = [backlit(180, 400)[:, i : i + 320].mean(axis=2, dtype=np.float32) / 255 for i in (0, 8)]
    assert not is_cut(*pan)
    other = np.full((180, 320), 0.1, np.float32)
    assert is_cut(pan[0], other)


def test_the_first_frame_and_a_gap_start_anew():
    smooth = TemporalFilter()
    luma = np.full((16, 16), 0.5, np.float32)
    first, second = np.full((16, 16), -1.0, np.float32), np.full((16, 16), -2.0, np.float32)
    assert np.array_equal(smooth(first, luma, 0.0), first)
    assert smooth(second, luma, 0.04).mean() > -1.2
    assert np.array_equal(smooth(second, luma, 10.0), second)
