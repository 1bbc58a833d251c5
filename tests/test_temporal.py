"""The light over time: still when the scene is still, quick when it changes, fresh after a cut (R6.5)."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

from cliplit.benchmarks import flicker as benchmark
from cliplit.runtime.light.gain import apply_rgb
from cliplit.runtime.light.pixels import PackedRGB
from cliplit.runtime.light.proxy import rgb_proxy
from cliplit.runtime.light.relighting import Relighting
from cliplit.runtime.light.temporal import TEMPORAL, CutDetector, TemporalFilter, time_constant
from made import backlit

RATE = 25.0


def maps_of(enhancer, frames):
    """[(log light, luma)] of each frame by itself."""
    proxies = [rgb_proxy(f, enhancer.proxy_size(*f.shape[:2])) for f in frames]
    return [(enhancer.log_light(p), p.luma) for p in proxies]


def smoothed(maps, smooth=None, start=0):
    smooth = smooth or TemporalFilter()
    return [smooth(light, luma, (start + i) / RATE).log_light for i, (light, luma) in enumerate(maps)]


def noisy(picture, count, sigma=10.0, seed=0):
    rng = np.random.default_rng(seed)
    return [np.clip(picture + rng.normal(0, sigma, picture.shape), 0, 255).astype(np.uint8) for _ in range(count)]


def shot(enhancer, frames, smooth):
    """The frames, relighted."""
    pictures = []
    for number, frame in enumerate(frames):
        proxy = rgb_proxy(frame, enhancer.proxy_size(*frame.shape[:2]))
        steady = smooth(enhancer.log_light(proxy), proxy.luma, number / RATE)
        pictures.append(apply_rgb(frame, enhancer.refine_steady(steady)))
    return pictures


@pytest.mark.parametrize("sigma", [4.0, 10.0])
def test_a_static_noisy_shot_does_not_pulse(enhancer, sigma):
    """The map's flicker is at least five times less than without the filter, as a whole and in blocks."""
    maps = maps_of(enhancer, noisy(backlit(), 40, sigma))
    raw, steady = np.array([m[0] for m in maps])[12:], np.array(smoothed(maps))[12:]
    for view in (
        lambda x: x.mean(axis=(1, 2)),
        lambda x: x[:, :176, :320].reshape(len(x), 11, 16, 20, 16).mean(axis=(2, 4)),
    ):
        assert np.std(view(steady), axis=0).mean() < 0.2 * np.std(view(raw), axis=0).mean()


def test_what_is_brought_up_pulses_less_than_the_noise_in_it(enhancer):
    """Blocks of the dark ground: even a light map that stood still would show the sensor's noise, times the gain."""
    frames = noisy(backlit(), 40, 4.0)
    dark = [(slice(140, 156), slice(left, left + 16)) for left in range(0, 300, 16)]

    def flicker(pictures):
        return np.mean([np.std([p[block].mean() for p in pictures[12:]]) for block in dark])

    still = enhancer.coefficients(backlit())
    assert flicker(shot(enhancer, frames, TemporalFilter())) < 0.75 * flicker([apply_rgb(f, still) for f in frames])


def test_the_benchmark_itself(enhancer):
    """Its figures, as far as they are promised: flicker, cut, step."""
    before, after = (benchmark.static_shot(enhancer, temporal, 40) for temporal in (0.0, TEMPORAL))
    for name in ("light, mean luminance", "light, blocks"):
        assert after[name] < before[name] / 5
    first, second = benchmark.still_picture(seed=0), benchmark.still_picture(seed=5)[:, ::-1] * np.float32(0.5)
    assert benchmark.lag_after_cut(enhancer, TEMPORAL, first, second) == 0
    assert benchmark.lag_after_step(enhancer, TEMPORAL, -0.33) <= 8


def test_no_lag_after_a_cut(enhancer):
    maps = maps_of(enhancer, [np.full((180, 320, 3), 190, np.uint8)] * 6 + [backlit()] * 2)
    assert np.array_equal(smoothed(maps)[6], maps[6][0])


@pytest.mark.parametrize("factor", [0.55, 0.8, 1.3])
def test_a_step_in_exposure_is_followed_within_eight_frames(enhancer, factor):
    other = np.clip(backlit().astype(np.float32) * factor, 0, 255).astype(np.uint8)
    maps = maps_of(enhancer, [backlit()] * 10 + [other] * 12)
    steady = smoothed(maps)
    start, end = maps[9][0].mean(), maps[-1][0].mean()
    assert (steady[9 + 8].mean() - start) / (end - start) > 0.9


def levels_of(enhancer, frames, part=np.s_[:]):
    """Mean of a clip and of the relighted clip, or of a part of them, in codes."""
    relighting, after = Relighting(enhancer), []
    for number, frame in enumerate(frames):
        pixels = PackedRGB(frame)
        after.append(relighting.relight(pixels, relighting.look([pixels])[0], number / 25).samples[part].mean())
    return np.array([frame[part].mean() for frame in frames]), np.array(after)


def lit_room(height=180, width=320):
    """(H, W, 3) uint8, well lit, with no dark edge."""
    rng = np.random.default_rng(8)
    coarse = cv2.resize(rng.uniform(60, 190, (6, 10, 3)).astype(np.float32), (width, height))
    return np.clip(coarse + rng.normal(0, 4, (height, width, 1)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "scene, part, way", [(backlit, np.s_[150:], "out"), (lit_room, np.s_[:], "out"), (lit_room, np.s_[:], "in")]
)
def test_a_fade_stays_a_fade(enhancer, scene, part, way):
    """The ratio of output to input keeps within 10 % of what it is before the fade, or after it, until black.

    Of the backlit scene it is the shadow's, and within 15 %: the tone curve lifts by 1 / L in the end what it held back
    by (1 - y^2) L^2 + y^2. How bright a dark scene that fades in will be cannot be known before: it is lifted later.
    """
    shares = np.concatenate([np.ones(15), np.linspace(1.0, 0.0, 50), np.zeros(5)])
    shares = shares if way == "out" else shares[::-1]
    before, after = levels_of(enhancer, [np.round(scene() * share).astype(np.uint8) for share in shares], part)
    seen = before > 6
    ratio = (after[seen] / before[seen]) / (after / np.maximum(before, 1))[0 if way == "out" else -1]
    assert np.abs(ratio - 1).max() < (0.15 if scene is backlit else 0.1)
    steps = np.diff(after) if way == "out" else -np.diff(after)
    assert steps.max() < 1.0


def test_a_camera_that_hunts_is_not_amplified(enhancer):
    shares = 0.7 * 2.0 ** (0.045 * np.sin(2 * np.pi * np.arange(60) / 20))  # by 0.2 stops of light
    before, after = levels_of(enhancer, [np.round(backlit() * share).astype(np.uint8) for share in shares])
    assert np.ptp(np.log(after[20:])) < 1.05 * np.ptp(np.log(before[20:]))


def test_an_exposure_that_stays_darker_is_lifted_in_the_end(enhancer):
    """Automatic exposure over two seconds: held at first, and as each frame by itself some seconds later."""
    ramp = [1.0] * 10 + list(np.linspace(1.0, 0.6, 50)) + [0.6] * 120
    frames = [np.round(backlit() * share).astype(np.uint8) for share in ramp]
    _, after = levels_of(enhancer, frames)
    alone = enhancer(frames[-1]).mean()
    assert abs(after[-1] - alone) < 2.0
    assert after[60] < alone + 2.0


def test_a_dissolve_leaves_no_ghost(enhancer):
    other = backlit(seed=3)[::-1, ::-1]
    mixes = [(backlit() * (1 - t) + other * t).astype(np.uint8) for t in np.linspace(0, 1, 25)]
    maps = maps_of(enhancer, [backlit()] * 10 + mixes + [other] * 5)
    distance = [np.percentile(np.abs(s - m[0]), 95) for s, m in zip(smoothed(maps), maps, strict=True)]
    assert max(distance) < 0.35 and distance[-1] < 0.1  # stops


def test_moving_objects_leave_no_trace(enhancer):
    """A bright object stands before a dark ground for half a second, and then is gone: where it was is at once as light
    as the ground; what it made of the ground beside it is undone at a rate that does not show."""
    frames = [np.full((180, 320, 3), 60, np.uint8) for _ in range(80)]
    for frame in frames[15:27]:
        frame[60:120, 100:160] = 240
    relighting, results = Relighting(enhancer), []
    for number, frame in enumerate(frames):
        pixels = PackedRGB(frame)
        results.append(relighting.relight(pixels, relighting.look([pixels])[0], number / RATE).samples.astype(int))
    before, gone = results[14], [np.abs(result - results[14]) for result in results[27:]]
    assert before.mean() > 70
    assert gone[1][64:116, 104:156].mean() < 3.0  # of 255
    assert gone[-1].max() < 3.0


@pytest.mark.parametrize("speed,level,sigma", [(4, 6, 0.0), (10, 6, 0.0), (25, 6, 0.0), (10, 140, 0.0), (10, 6, 0.7)])
def test_the_ground_keeps_its_light_while_a_figure_crosses(enhancer, speed, level, sigma):
    """From two proxy pixels beside it on; where it has been, the light is that of before."""
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.uniform(10, 90, (9, 16, 3)), (320, 176), interpolation=cv2.INTER_CUBIC).clip(0, 255)
    frames, covered = [], []
    for number in range(20 + 380 // speed):
        left = speed * (number - 20) - 60
        frame, place = ground.copy(), np.zeros(ground.shape[:2], np.uint8)
        place[60:160, max(left, 0) : max(left + 60, 0)] = 1
        frame[place > 0] = level
        frames.append(np.clip(frame + rng.normal(0, sigma, frame.shape), 0, 255).astype(np.float32) / 255)
        covered.append(cv2.dilate(place, np.ones((5, 5))) > 0)
    smooth, lights = TemporalFilter(), []
    luma = rgb_proxy(ground.astype(np.float32) / 255, (176, 320)).luma
    for number, (log_light, own) in enumerate(maps_of(enhancer, frames)):
        steady = smooth(log_light, own, number / RATE)
        coefficients = smooth.kept(enhancer.refine(steady.log_light, steady.luma))
        lights.append(coefficients.slope * luma + coefficients.offset)
    assert lights[0].shape == luma.shape  # a proxy pixel is one of the picture's, so the ground's luma is known
    assert lights[19].mean() < -0.5
    steps = []
    for number in range(20, len(frames)):
        seen = ~(covered[number] | covered[number - 1])
        steps.append(np.quantile(np.abs(lights[number] - lights[number - 1])[seen], 0.995))
    assert max(steps) < 0.02  # stops
    assert np.quantile(np.abs(lights[-1] - lights[19])[~covered[-1]], 0.99) < 0.02


def test_two_that_pass_one_after_the_other_leave_no_trace(enhancer):
    """The ground is seen for six frames between them."""
    ground = cv2.resize(np.random.default_rng(3).uniform(10, 90, (9, 16, 3)), (320, 176)).astype(np.uint8)
    relighting, results = Relighting(enhancer), []
    for number in range(70):
        frame = ground.copy()
        for start, value in ((12, 6), (22, 240)):
            left = (number - start) * 16 - 60
            frame[40:, max(left, 0) : max(left + 60, 0)] = value
        pixels = PackedRGB(frame)
        results.append(relighting.relight(pixels, relighting.look([pixels])[0], number / RATE).samples.astype(int))
    gone = np.abs(results[50] - results[10])  # the second left in frame 46
    assert results[10].mean() > ground.mean() + 10
    assert gone.mean() < 0.2 and np.quantile(gone, 0.999) < 3  # of 255


@pytest.mark.parametrize("reach", [1.5, 3.0])
def test_waving_leaves_are_lit_as_one(reach):
    """They look as before here and there, for a moment; the network lights them otherwise than when they were still."""
    rng = np.random.default_rng(2)
    leaves = cv2.GaussianBlur(rng.uniform(-1.0, 2.0, (96, 160)).astype(np.float32), (0, 0), 1.5).clip(0.05, 0.9)
    y, x = np.mgrid[:96, :160].astype(np.float32)
    smooth, area, lights = TemporalFilter(), np.s_[20:76, 40:120], []
    for n in range(100):
        luma, log_light = leaves.copy(), np.full((96, 160), -1.0, np.float32)
        if n > 25:
            away = reach * np.sin(n * 0.9 + y / 7), reach * np.cos(n * 0.7 + x / 9)
            luma[area] = cv2.remap(leaves, x + away[0], y + away[1], cv2.INTER_LINEAR)[area]
        if n > 40:
            log_light[area] = -1.8
        lights.append(smooth(log_light, luma, n / RATE).log_light[area])
    apart = [np.mean(light > -1.5) for light in lights[70:]]  # as they were lit when they stood still
    assert max(apart) < 0.05


@pytest.mark.parametrize("seconds,light", [(1.0, -1.0), (3.0, -1.0), (8.0, -2.0)])
def test_what_has_stood_in_front_for_five_seconds_becomes_the_ground(seconds, light):
    """What it had covered is lit as the network says then, and not as it was before."""
    ground = np.random.default_rng(1).uniform(0.2, 0.5, (72, 128)).astype(np.float32)
    before, behind = np.full_like(ground, -1.0), np.full_like(ground, -1.0)
    with_object, area = ground.copy(), np.s_[26:46, 55:73]
    with_object[area], behind[area] = 0.02, -2.0
    smooth, standing = TemporalFilter(), 25 + round(seconds * RATE)
    for n in range(standing):
        smooth(before, ground if n < 25 else with_object, n / RATE)
    after = smooth(behind, ground, standing / RATE).log_light
    assert np.quantile(np.abs(after[28:44, 57:71] - light), 0.8) < 0.05
    assert np.abs(after[:20] + 1.0).max() < 0.01


def test_the_light_goes_with_a_pan(enhancer):
    """A textured scene that moves: the relighted picture is nearly the one each frame would get by itself."""
    wide = backlit(180, 440, seed=1)
    frames = [np.ascontiguousarray(wide[:, 3 * i : 3 * i + 320]) for i in range(30)]
    steady = shot(enhancer, frames, TemporalFilter())
    own = shot(enhancer, frames, TemporalFilter(0.0))
    difference = [np.abs(a.astype(float) - b).mean() for a, b in zip(steady, own, strict=True)]
    assert max(difference) < 3.0  # of 255


@pytest.mark.parametrize(("speed", "shake"), [(0.3, 0.0), (0.4, 0.5), (0.6, 0.6)])
def test_detail_of_a_slow_unsteady_pan_leaves_no_ghost(enhancer, speed, shake):
    """Dark shapes that creep by fractions of a pixel, now more, now less: what is taken back as flicker is no copy of
    the detail from where it was."""
    rng = np.random.default_rng(3)
    wide = backlit(400, 720, seed=2)
    for _ in range(300):
        top, left = rng.integers(240, 400), rng.integers(0, 720)
        wide[top : top + rng.integers(4, 40), left : left + rng.integers(4, 60)] = rng.integers(5, 50, 3)
    wide = cv2.GaussianBlur(wide, (0, 0), 3.0)
    smooth = TemporalFilter()
    for i in range(24):
        x, y = speed * i + shake * np.sin(2.1 * i), shake * np.cos(1.7 * i)
        move = np.array([[1, 0, -20 - x], [0, 1, -20 - y]], np.float32)
        frame = cv2.warpAffine(wide, move, (640, 360), flags=cv2.INTER_CUBIC)
        proxy = rgb_proxy(frame, enhancer.proxy_size(*frame.shape[:2]))
        steady = smooth(enhancer.log_light(proxy), proxy.luma, i / RATE)
        light = enhancer.refine(steady.log_light, steady.luma)
        taken = apply_rgb(frame, light).astype(float) - apply_rgb(frame, steady.flicker_suppressed(light))
        assert np.mean(np.abs(taken) > 3) < 2e-4, i


def test_a_pan_is_no_cut_and_another_scene_is():
    detector = CutDetector()
    pan = [backlit(180, 400)[:, i : i + 320].mean(axis=2, dtype=np.float32) / 255 for i in range(0, 64, 8)]
    assert not any([detector(luma) for luma in pan][3:])  # starting anew at the start costs nothing
    assert detector(np.full((180, 320), 0.1, np.float32))


@pytest.mark.parametrize("still, speed", [(5, 6), (30, 12), (30, 3)])
def test_a_camera_that_begins_to_move_is_no_cut(still, speed):
    """It stood still, so the first step is far from what is usual; what the light was made for goes on."""
    rng = np.random.default_rng(1)
    wide = cv2.resize(rng.uniform(0.1, 0.7, (12, 60)).astype(np.float32), (960, 192), interpolation=cv2.INTER_CUBIC)
    smooth, light = TemporalFilter(), np.full((192, 336), -1.0, np.float32)
    lefts = [0] * still + [speed * (i + 1) for i in range(4)]
    for number, left in enumerate(lefts):
        own = light if number < still else light + np.float32(0.5)  # the network says something else at once
        steady = smooth(own, np.ascontiguousarray(wide[:, left : left + 336]), number / RATE)
    assert steady.log_light[:, :300].mean() < -0.6


def test_a_cut_between_two_dark_scenes_is_seen():
    """Both about as dark and with the same layout; only the details differ."""
    detector = CutDetector()
    first, second = (backlit(seed=s).mean(axis=2, dtype=np.float32) / 600 for s in (0, 1))
    rng = np.random.default_rng(0)
    for _ in range(10):
        assert not detector(first + rng.normal(0, 0.01, first.shape).astype(np.float32))
    assert detector(second[:, ::-1] * np.float32(1.05))


def test_the_first_frame_and_a_gap_start_anew():
    smooth = TemporalFilter()
    luma = np.full((16, 16), 0.5, np.float32)
    first, second = np.full((16, 16), -1.0, np.float32), np.full((16, 16), -1.02, np.float32)
    assert np.array_equal(smooth(first, luma, 0.0).log_light, first)
    assert smooth(second, luma, 0.04).log_light.mean() > -1.015
    assert np.array_equal(smooth(second, luma, 10.0).log_light, second)


def test_zero_is_frame_by_frame_and_one_the_strongest(enhancer):
    maps = maps_of(enhancer, noisy(backlit(), 60))
    assert all(np.array_equal(a, b[0]) for a, b in zip(smoothed(maps, TemporalFilter(0.0)), maps, strict=True))
    spread = [np.std(smoothed(maps, TemporalFilter(time_constant(t)))[40:], axis=0).mean() for t in (0.2, 0.5, 1.0)]
    assert spread[0] > spread[1] > spread[2]


def test_a_restored_filter_continues_where_it_was(enhancer):
    frames = noisy(backlit(), 24)
    for number, frame in enumerate(frames[8:20]):
        frame[40:90, 12 * number : 12 * number + 40] = 5  # something passes
    maps = maps_of(enhancer, frames)
    whole, first, second = smoothed(maps), TemporalFilter(), TemporalFilter()
    smoothed(maps[:14], first)
    assert (first.state()["background blurred"] < 1).any()  # it knows what lies behind
    second.restore({name: np.asarray(value) for name, value in first.state().items()})
    assert all(np.array_equal(a, b) for a, b in zip(smoothed(maps[14:], second, start=14), whole[14:], strict=True))


WRONG_MAPS = np.zeros((3, 3), np.float32), np.zeros((96, 160)), np.array(1.0, np.float32)
WRONG = [
    (name, wrong) for name in ("background light", "kept", "before", "cells", "luma_drift") for wrong in WRONG_MAPS
]


@pytest.mark.parametrize("name,wrong", [*WRONG, ("background settled", None), ("cells", None), ("noise", None)])
def test_what_is_no_state_is_refused(name, wrong):
    smooth, luma = TemporalFilter(), np.full((48, 64), 0.3, np.float32)
    for n in range(20):
        smooth(np.full_like(luma, -1.0), luma, n / RATE)
    state = {key: np.asarray(value) for key, value in smooth.state().items()}
    TemporalFilter().restore(state)
    state[name] = wrong
    with pytest.raises((ValueError, TypeError, LookupError)):
        TemporalFilter().restore({key: value for key, value in state.items() if value is not None})


def test_thin_pictures_have_motion_too():
    """In a process of its own: OpenCV's optical flow ended it for pictures lower than 64 proxy pixels."""
    code = """
import numpy as np
from cliplit.runtime.light.motion import motion
rng = np.random.default_rng(0)
for height, width in ((48, 320), (20, 400), (16, 1024), (1024, 16), (56, 192), (2, 2), (63, 200)):
    before = rng.random((height, width), dtype=np.float32)
    for after in (np.zeros_like(before), np.roll(before, 5, axis=1), before[::-1].copy(), before):
        assert [plane.shape for plane in motion(before, after)] == [(height, width)] * 2
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr)
