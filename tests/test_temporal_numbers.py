"""The filter over time against its description, in plain numpy and with the numbers written out, and by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cliplit.runtime.light import temporal
from cliplit.runtime.light.light_map import Coefficients, plain_coefficients
from cliplit.runtime.light.motion import islands_filled, motion
from cliplit.runtime.light.temporal import CutDetector, Steady, TemporalFilter, time_constant

SIZE = 36, 48


@pytest.fixture(autouse=True)
def one_exposure(monkeypatch):
    """Changes of exposure are brought back to one before what this file describes; they are another file's."""
    monkeypatch.setattr(temporal.Exposure, "__call__", lambda self, luma, elapsed, cut: 0.0)


def box(x):
    padded = np.pad(x, 1, mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9


def spread(values, weight):
    """Weighted means over half the picture around each point; over all of it where little around has weight."""
    if not weight.any():
        return np.zeros_like(values)
    height, width = values.shape
    blocks = height // 4, 4, width // 4, 4  # means of 4 x 4 points tell as much
    weighted, weights = ((x.reshape(blocks)).mean(axis=(1, 3)) for x in (weight * values, weight))
    size = (width // 4) // 2 | 1, (height // 4) // 2 | 1
    around, share = (cv2.blur(cv2.blur(x, size), size) for x in (weighted, weights))
    near = (around + 0.05 * weighted.mean() / weights.mean()) / (share + 0.05) * min(1.0, weight.mean() / 0.1)
    return cv2.resize(near, (width, height))


class Described:
    """What stands still. Running means at each point; `constant` is the longest time they go back, in seconds."""

    def __init__(self, constant):
        self.constant, self.noise, self.time = constant, 0.0, None

    def __call__(self, light, luma, time):
        light, luma = light.astype(np.float64), luma.astype(np.float64)
        blurred = box(luma)
        if self.time is None or not -1.0 < time - self.time < 1.0:
            self.light, self.luma, self.blurred, self.kept = light, luma, blurred, luma
            self.age, self.drift, self.unrest, self.disturbed = np.zeros((4, *luma.shape))
            self.before, self.time = blurred, time
            self.settled, self.ground, self.dissolved = np.zeros_like(luma), np.full((4, *luma.shape), np.nan), 0.0
            return light, luma, luma
        elapsed = max(time - self.time, 0.001)
        self.learn_noise(np.abs(blurred - self.before)[::3, ::3], light[::3, ::3])
        self.before, self.time = blurred, time
        # Still below 3.5 standard deviations of the noise, new from 12 on; 0.003 to 0.035 of luma.
        still = min(max(3.5 * self.noise, 0.003), 0.035)
        new = still * 12 / 3.5
        self.return_to_the_ground(luma, blurred, still, elapsed)
        difference = blurred - self.blurred
        self.drift = 0.7 * self.drift + 0.3 * difference
        self.unrest = 0.7 * self.unrest + 0.3 * np.abs(difference)
        change = np.maximum(np.abs(difference), np.abs(self.drift) / 0.6)
        change = np.maximum(change, np.abs(blurred - box(self.kept)))  # from what the light was made for
        change = np.minimum(change, np.abs(luma - self.kept))  # unless it is its neighbours that have changed
        changed = np.clip((change - still) / (new - still), 0, 1)
        age = np.maximum(self.age, elapsed) + elapsed
        rate = np.minimum(np.maximum(elapsed / np.minimum(age, self.constant), changed), 1)
        self.age = elapsed / rate
        self.relight(light, luma, changed, rate, elapsed)
        self.blurred = self.blurred + rate * difference
        fine = luma - self.luma
        thin = np.clip((np.abs(fine) / 4 - still) / (new - still), 0, 1)  # luma itself is noisier than its blur
        self.luma = self.luma + np.maximum(rate, thin) * fine
        drift, unrest = (cv2.blur(x, (15, 15)) for x in (np.abs(self.drift), self.unrest))
        flickers = np.clip((0.75 - drift / (unrest + 1e-6)) / 0.2, 0, 1)  # 1 up to a share of 0.55, 0 from 0.75 on
        return self.light, self.luma, self.luma + flickers * (luma - self.luma)

    def return_to_the_ground(self, luma, blurred, still, elapsed):
        """A point that looks as it did when it last stood still, unless something else has stood there for 5 s."""
        moves = np.minimum(np.abs(blurred - self.blurred), np.abs(luma - self.kept)) > still
        unknown = np.isnan(self.ground[0])
        leaves = moves & (self.settled > np.where(unknown, 0, 5))
        self.ground[:, leaves] = np.stack([self.luma, self.blurred, self.light, self.kept])[:, leaves]
        self.ground[:, moves & (self.settled > 0) & (self.settled <= 0.15) & ~leaves] = np.nan  # it waves to and fro
        self.settled = np.where(moves, 0, self.settled)
        known = np.abs(blurred - self.ground[1]) < still
        alike = (known | (self.settled > 0)) & known.any()
        whole = cv2.erode(alike.astype(np.uint8), np.ones((3, 3)))  # not here and there, as waving leaves do
        alike = cv2.dilate(whole, np.ones((9, 9))) > 0
        back = alike & (np.abs(luma - self.ground[0]) < 4 * still) & (self.settled == 0)
        self.luma, self.blurred, self.light, self.kept = (
            np.where(back, known, own)
            for known, own in zip(self.ground, (self.luma, self.blurred, self.light, self.kept), strict=True)
        )
        self.age, self.settled = (
            np.where(back, self.constant, self.age),
            np.where(back, elapsed, self.settled),
        )
        self.drift, self.unrest = np.where(back, 0, self.drift), np.where(back, 0, self.unrest)

    def relight(self, light, luma, changed, rate, elapsed):
        """Light where luma stands still is kept after 0.3 of the constant, and comes to the network's in a minute."""
        still = np.clip(1 - 5 * changed, 0, 1)
        dissolving = max(0.0, 1 - still.mean() / 0.4)
        self.dissolved = self.dissolved + elapsed if dissolving else 0.0
        if self.dissolved > 0.2:
            self.settled[:], self.ground[:] = 0, np.nan
        self.disturbed = np.maximum(self.disturbed - elapsed / 2.0, still == 0)  # for two seconds
        beside = cv2.dilate(self.disturbed, np.ones((25, 25))) > 0
        keep = (self.age >= 0.3 * self.constant * (1 - 1e-6)) & ~beside & (still > 0.5)
        drift = spread(self.light - light, still * keep)  # of the network as a whole
        settled = (keep | (self.settled > 0)) & (still > 0.5)
        self.settled = np.where(settled, self.settled + elapsed, 0)
        beside &= ~settled
        keep = (self.age >= 0.3 * self.constant * (1 - 1e-6)) & ~beside & (still > 0.5)
        wanted = np.minimum(np.where(keep, light, light + drift), 0)
        taken = np.where(beside & (still > 0.5), np.maximum(rate, min(1.0, elapsed / 0.4)), rate)
        taken = np.maximum(np.where(keep, np.maximum(changed, elapsed / 60), taken), dissolving)
        most = 0.007 + 100 * np.maximum(1 - still, dissolving)
        self.light = self.light + np.clip(taken * (wanted - self.light), -most, most)
        self.kept = self.kept + taken * (luma - self.kept)

    def learn_noise(self, change, light):
        dark = change[light < -0.5]
        quartile = np.percentile(dark if dark.size > change.size // 50 else change, 25)
        found = max(quartile / 0.3186 / np.sqrt(2), 1e-4)  # a quarter of |x| lies below 0.3186 standard deviations
        self.noise = min(found, 1.02 * self.noise) if self.noise else found


class Settled:
    """In the place of what follows a shot's exposure: it never changes. What it does is another matter."""

    stops, unsettled, returning = 0.0, False, False

    def __call__(self, luma, elapsed, cut):
        return 0.0

    def state(self):
        return {}


def settled(constant):
    """A filter that takes no change of luma for one of exposure."""
    smooth = TemporalFilter(constant)
    smooth._exposure = Settled()
    return smooth


def compare(lights, lumas, times, constant=1.0, close=2e-4):
    """Both, frame by frame."""
    smooth, described = settled(constant), Described(constant)
    for light, luma, time in zip(lights, lumas, times, strict=True):
        steady = smooth(light.astype(np.float32), luma.astype(np.float32), float(time))
        wanted = described(light.astype(np.float32), luma.astype(np.float32), float(time))
        for found, value in zip((steady.log_light, steady.luma, steady.own), wanted, strict=True):
            assert np.abs(found - value).max() < close, time
    assert smooth.state()["noise"] == pytest.approx(described.noise, rel=1e-3, abs=1e-6)


def flat(values):
    return [np.full(SIZE, value) for value in values]


@pytest.mark.parametrize("sigma", [0.0004, 0.004, 0.03])
@pytest.mark.parametrize("constant", [0.3, 1.0])
def test_noise_is_averaged_as_described(sigma, constant):
    """Below, within and above the bounds of what counts as still; the map as noisy as luma."""
    rng, size = np.random.default_rng(0), (144, 256)  # large enough for noise to be no cut
    base = rng.uniform(0.4, 0.6, size)
    lumas = [base + rng.normal(0, sigma, size) for _ in range(8)]
    lights = [-1.0 + rng.normal(0, 0.01, size) for _ in range(8)]
    compare(lights, lumas, np.arange(8) / 25, constant)


@pytest.mark.parametrize("step", [0.002, 0.0045, 0.0066, 0.009, 0.012])
def test_a_step_of_luma_counts_as_described(step):
    """From 0.003, where all is still, to 0.0103, where it is new, of a clip without noise."""
    lumas = flat([0.5] * 5 + [0.5 + step] * 6)
    compare(flat(np.linspace(-1, -1.02, 11)), lumas, np.arange(11) / 25)


@pytest.mark.parametrize("pace", [0.0004, 0.0008, 0.0015])
def test_a_drift_of_luma_counts_as_described(pace):
    compare(flat(np.linspace(-1, -1.3, 25)), flat(0.4 + pace * np.arange(25)), np.arange(25) / 25, 4.0)


@pytest.mark.parametrize("pace", [0.0005, 0.003, 0.01, 0.1])
def test_a_drift_of_the_network_counts_as_described(pace):
    """Where luma stands still: averaged at first, by 0.007 a frame at most, and then kept."""
    compare(flat(-1 - pace * np.arange(20)), flat([0.4] * 20), np.arange(20) / 25, 1.0)


def test_a_figure_that_crosses_counts_as_described(monkeypatch):
    """The network says something else of all the picture while it is there, and most beside it; then it is gone."""
    monkeypatch.setattr(
        "cliplit.runtime.light.motion.motion", lambda before, after: np.zeros((2, *after.shape), np.float32)
    )
    lights, lumas, rng = [], [], np.random.default_rng(4)
    ground, far = rng.uniform(0.3, 0.6, (72, 128)), np.hypot(*np.mgrid[-36:36, -64:64]) / 60
    for n in range(30):
        light, luma = np.full((72, 128), -1.0), ground.copy()
        if 10 < n < 20:
            light -= 0.2 + 0.3 * np.exp(-far)
            luma[26:46, 55:73] = 0.02 + 0.01 * rng.random()
        lights.append(light)
        lumas.append(luma)
    compare(lights, lumas, np.arange(30) / 25)


@pytest.mark.parametrize("seed,constant", [(0, 1.0), (1, 1.0), (2, 0.3)])
def test_frames_at_any_time_count_as_described(seed, constant):
    """Irregular steps, two frames of one time, small steps back."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.choice([0.0, 0.01, 0.04, 0.3, -0.02, 0.97], 25))
    lumas = flat(0.4 + 0.002 * rng.normal(size=25))
    compare(flat(-1 + 0.02 * rng.normal(size=25)), lumas, times, constant)


@pytest.mark.parametrize("elapsed", [1.0, -1.0, 1.2])
def test_a_second_without_a_frame_starts_anew(elapsed):
    smooth = settled(4.0)
    for n, luma in enumerate(flat([0.4] * 4)):
        smooth(luma.astype(np.float32), luma.astype(np.float32), n / 25)
    other = np.full(SIZE, 0.402, np.float32)
    assert np.array_equal(smooth(other, other, 3 / 25 + elapsed).log_light, other)


@pytest.mark.parametrize("share", [0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8])
def test_what_flickers_and_what_drifts_is_told_as_described(share):
    """Luma to and fro about its mean, and on one side of it, in all mixtures."""
    n = np.arange(30)
    lumas = 0.4 + 0.0012 * (np.where(n % 2 == 0, 1, -1) * (1 - share) + share * np.sin(n / 4))
    compare(flat([-1.0] * 30), flat(lumas), n / 25, 4.0)


def test_thin_detail_that_appears_is_new_at_once():
    """One pixel: a ninth in the blurred luma, all of it in luma; from four times what is still there."""
    for step in (0.01, 0.02, 0.03, 0.05):
        lumas = flat([0.4] * 12)
        for luma in lumas[6:]:
            luma[10, 10] += step
        compare(flat([-1.0] * 12), lumas, np.arange(12) / 25, 4.0)


def test_a_ground_too_small_does_not_tell_the_noise():
    """A fiftieth of the picture is needed; below it all of the picture tells."""
    rng = np.random.default_rng(0)
    for rows in (0, 1, 12):
        light = np.zeros(SIZE)
        light[:rows] = -1.0
        lumas = [0.4 + rng.normal(0, np.where(light < -0.5, 0.0005, 0.004)) for _ in range(8)]
        smooth, described = TemporalFilter(), Described(1.0)
        for n, luma in enumerate(lumas):
            smooth(light.astype(np.float32), luma.astype(np.float32), n / 25)
            described(light, luma, n / 25)
        assert smooth.state()["noise"] == pytest.approx(described.noise, rel=1e-3)


@pytest.mark.parametrize("y", [0.02, 0.1, 0.3, 0.7, 0.9])
@pytest.mark.parametrize("stops", [0.5, 2.0])
@pytest.mark.parametrize("slope", [0.0, 1.5])
def test_flicker_is_taken_out_to_first_order(y, stops, slope):
    """log2 of y ((1 - y^2) L^2 + y^2)^(-1/2), derived by y (what a code adds to the dark is counted from 0.004 on) and
    by log2 L, which may not weigh less than a twentieth."""
    own = y + 0.0005
    coefficients = Coefficients(*(np.full((2, 2), v, np.float32) for v in (slope, -stops - slope * y)), -8.0)  # type: ignore[call-arg]
    light, mean = (np.full((2, 2), v, np.float32) for v in (-stops, y))

    def divisor(luma, log_light):
        return (1 - luma**2) * 4.0**log_light + luma**2

    h = 1e-5
    by_luma = 1 / (y + 0.004) / np.log(2) - (np.log2(divisor(y + h, -stops)) - np.log2(divisor(y - h, -stops))) / (
        4 * h
    )
    by_light = (np.log2(divisor(y, -stops + h)) - np.log2(divisor(y, -stops - h))) / (4 * h)
    calm = Steady(light, mean, np.full((2, 2), own, np.float32)).flicker_suppressed(coefficients)
    wanted = 0.0005 * (by_luma / max(by_light, 0.05) - slope)
    assert calm.offset - coefficients.offset == pytest.approx(wanted, rel=2e-2, abs=2e-6)
    assert np.array_equal(calm.slope, coefficients.slope)


def test_light_above_one_counts_as_one_for_flicker():
    """Beside an edge the coefficients may say so; the gain is 1 there, and its logarithm grows as luma's own."""
    y, own = 0.3, 0.301
    light, mean = (np.full((2, 2), v, np.float32) for v in (-1.0, y))
    over = plain_coefficients(np.full((2, 2), 0.5, np.float32), 16.0)
    calm = Steady(light, mean, np.full((2, 2), own, np.float32)).flicker_suppressed(over)
    assert calm.offset - 0.5 == pytest.approx(0.001 / (y + 0.004) / np.log(2) / (1 - y * y), rel=1e-2)


def test_islands_in_what_moves_move_along():
    """Where most of 63 x 63 points around move; where 0.4 of the picture does, all of it: then the camera moves."""
    moved = np.zeros((150, 300), bool)
    moved[:, :100] = True
    moved[60:70, 40:50] = False  # an island
    whole = islands_filled(moved)
    assert whole[:, :95].all() and not whole[:, 105:].any()
    moved[:, 120:125] = True
    assert islands_filled(moved)[:, 120:125].all() and not islands_filled(moved)[:, 140:].any()
    assert islands_filled(np.zeros((150, 300), bool)).sum() == 0
    for share, whole in ((0.39, False), (0.4, False), (0.41, True)):
        part = np.zeros((100, 100), bool)
        part[:, : round(100 * share)] = True
        assert islands_filled(part).all() == whole


def scene(seed, height=90, width=240):
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0.1, 0.6, (height // 6, width // 6)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("speed", [1, 3])
def test_in_a_pan_the_light_goes_along_and_luma_is_the_frames_own(speed):
    """One and three proxy pixels a frame; the light map alternates by 0.1 stops, which goes on being averaged."""
    wide, smooth = scene(0), TemporalFilter(4.0)
    for n in range(16):
        left = speed * n
        luma = wide[:, left : left + 160]
        light = -1.0 - luma + np.float32(0.02 * (-1) ** n)
        steady = smooth(light, luma.copy(), n / 25)
        if n > 9:  # a camera that begins to move may be a cut
            assert np.array_equal(steady.luma, luma) and np.array_equal(steady.own, luma)
            error = (steady.log_light + 1.0 + luma)[10:-10, 10:-20]
            assert np.abs(error).mean() < 0.012, n  # 0.02 by itself


def test_behind_something_that_moves_the_scene_is_still():
    """A bright patch crosses a still textured ground: around it nothing moves, and averaging goes on."""
    ground, smooth, rng = scene(1)[:, :160], TemporalFilter(4.0), np.random.default_rng(0)
    for n in range(16):
        luma = ground.copy()
        left = 10 + 5 * n
        luma[30:60, left : left + 30] = 0.8 + 0.1 * scene(2)[:30, :30]
        light = -1.0 + np.float32(0.02) * rng.normal(size=luma.shape).astype(np.float32)
        steady = smooth(light, luma, n / 25)
        if n == 15:
            still = np.zeros(luma.shape, bool)
            still[70:, :], still[:20, :] = True, True
            assert np.std(steady.log_light[still]) < 0.01  # of 0.02, over 16 frames a quarter
            assert np.abs(steady.luma - luma)[still].max() < 1e-3
            assert np.abs(steady.luma - luma)[32:58, left + 2 : left + 28].mean() < 0.01


# ------------------------------------------------------------------ by hand

RATE = 25.0


def textured(seed=0, height=90, width=160, low=0.1, high=0.6):
    """Luma with patches a few pixels wide."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(low, high, (height // 10, width // 10)).astype(np.float32)
    return np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0.0, 1.0)


def constant(stops, like):
    return np.full_like(like, -stops)


def test_a_cut_starts_anew_also_where_both_shots_are_alike():
    """The left half of both is the same; its light is that of the new shot at once."""
    first, second = textured(0), textured(1)
    second[:, :80] = first[:, :80]
    smooth = TemporalFilter(4.0)
    for n in range(5):
        smooth(constant(1.0, first), first, n / RATE)
    assert np.array_equal(smooth(constant(1.02, second), second, 5 / RATE).log_light, constant(1.02, second))


def test_no_time_is_no_filter():
    smooth, luma = TemporalFilter(0.0), textured()
    for n, stops in enumerate((1.0, 1.02)):
        light = constant(stops, luma)
        steady = smooth(light, luma, n / RATE)
        assert steady.log_light is light and steady.luma is steady.own is luma


def test_pictures_of_another_size_start_anew():
    smooth, small, large = TemporalFilter(), textured(height=60, width=80), textured()
    smooth(constant(1.0, small), small, 0.0)
    light = constant(1.01, large)
    assert np.array_equal(smooth(light, large, 0.04).log_light, light)
    assert smooth(constant(1.0, large), large, 0.08).log_light.mean() == pytest.approx(-1.005, abs=1e-4)


def test_what_the_filter_remembers_is_all_it_needs():
    rng = np.random.default_rng(0)
    frames = [(-1 + 0.02 * rng.normal(size=SIZE), 0.4 + 0.002 * rng.normal(size=SIZE)) for _ in range(12)]
    frames = [(light.astype(np.float32), luma.astype(np.float32)) for light, luma in frames]
    whole, first, second = TemporalFilter(4.0), TemporalFilter(4.0), TemporalFilter(4.0)
    wanted = [whole(*frame, n / 25) for n, frame in enumerate(frames)]
    for n in range(6):
        first(*frames[n], n / 25)
    second.restore({name: np.asarray(value) for name, value in first.state().items()})
    for n in range(6, 12):
        steady = second(*frames[n], n / 25)
        for found, value in zip(
            (steady.log_light, steady.luma, steady.own),
            (wanted[n].log_light, wanted[n].luma, wanted[n].own),
            strict=True,
        ):
            assert np.array_equal(found, value)
    fresh = TemporalFilter()
    fresh.restore({name: np.asarray(value) for name, value in TemporalFilter().state().items()})
    begun = {"noise": 0.0, "time": 0.0, "usual": 0.0, "last": 0.0}
    assert fresh.state() == TemporalFilter().state()
    assert begun.items() <= fresh.state().items()


def test_a_second_is_averaged_unless_said():
    assert TemporalFilter().time_constant == 1.0
    assert temporal.TEMPORAL == 0.5


@pytest.mark.parametrize("ratio,cut", [(3.6, False), (4.4, True)])
def test_a_cut_changes_more_than_four_times_as_much_as_is_usual(ratio, cut):
    """A fade of 0.03 stops a frame, up and down; then one step that much larger."""
    detector, level = CutDetector(), np.log2(0.5)
    for n in range(14):
        level += 0.03 * (-1) ** n
        assert not detector(np.full((90, 160), 2.0**level - 0.03, np.float32))
    assert detector(np.full((90, 160), 2.0 ** (level + 0.03 * ratio) - 0.03, np.float32)) == cut


def test_detail_finer_than_the_cells_of_cuts_is_none():
    """32 x 18 cells: what changes inside of each, with its mean the same, is motion of small things."""
    stripes = np.full((36, 64), 0.02, np.float32)
    stripes[:, ::2] = 0.9
    for first, second in ((stripes, 0.92 - stripes), (stripes[:36, :36].T.repeat(2, 1)[:36, :64], None)):
        detector = CutDetector()
        second = 0.92 - first if second is None else second
        for _ in range(4):
            assert not detector(np.ascontiguousarray(first))
        assert not detector(np.ascontiguousarray(second))


def test_seconds_of_temporal():
    assert [time_constant(share) for share in (0.0, 0.25, 0.5, 1.0)] == [0.0, 0.25, 1.0, 4.0]


def test_a_running_mean_by_hand():
    """A still scene: after n frames the mean of all n; from 0.3 seconds on it is kept, whatever the network says."""
    smooth, luma = TemporalFilter(1.0), textured()
    stops = np.random.default_rng(0).uniform(1.0, 1.008, 60)
    found = [-float(smooth(constant(s, luma), luma, n / RATE).log_light.mean()) for n, s in enumerate(stops)]
    for n in (1, 2, 5):
        assert found[n] == pytest.approx(stops[: n + 1].mean(), abs=3e-5)
    assert found[30] == pytest.approx(stops[:8].mean(), abs=3e-4)
    assert found[50] == pytest.approx(found[49] + (stops[50] - found[49]) / (25 * 60), abs=1e-6)


def test_what_is_kept_comes_to_what_the_network_says():
    """Half a stop off: by at most 0.007 a frame at first, by 1/60 of it a second once it is kept."""
    smooth, luma = TemporalFilter(1.0), textured()
    smooth(constant(1.0, luma), luma, 0.0)
    levels = [-float(smooth(constant(1.5, luma), luma, n / RATE).log_light.mean()) for n in range(1, 1500)]
    assert np.diff([1.0, *levels]).max() <= 0.007 + 1e-5
    assert levels[20] < 1.06
    settled_off = 1.5 - levels[20]
    assert 1.5 - levels[20 + 750] == pytest.approx(settled_off * np.exp(-30 / 60), rel=0.01)


def test_light_stands_still_while_a_figure_crosses_and_none_stays_where_it_was():
    """Far from it: by less than 0.02 stops of light a frame, a hundredth of a stop in all. Beside it and where it was
    the light is the ground's two seconds after it has left."""
    ground, smooth = textured(6, 108, 192), TemporalFilter(1.0)
    steps, last, first = [], None, None
    for n in range(110):
        luma, light = ground.copy(), constant(1.0, ground)
        if 15 <= n < 50:
            left = 5 * (n - 15)
            luma[30:, left : left + 40] = 0.01
            light -= np.float32(0.2)  # the whole picture seems darker
            light[30:, left : left + 40] = -2.5
            light[25:30, left : left + 40] -= 0.4  # what a coarse network makes of the edge
        now = smooth(light, luma, n / RATE).log_light
        if last is not None:
            steps.append(np.abs(now - last)[:10].max())
        first = now if n == 14 else first
        last = now
    assert max(steps) * 2.2 < 0.02
    assert np.abs(last - first)[:10].max() < 0.02
    assert np.abs(last - first).max() < 0.2


def test_frames_count_by_their_time():
    """A frame shown three times as long weighs three times as much."""
    smooth, luma = TemporalFilter(4.0), textured()
    smooth(constant(1.0, luma), luma, 0.0)
    smooth(constant(1.0, luma), luma, 0.04)
    result = smooth(constant(1.01, luma), luma, 0.16)
    assert -float(result.log_light.mean()) == pytest.approx(1.0 + 0.01 * 0.12 / 0.24, abs=1e-4)


@pytest.mark.parametrize("gap,carried", [(0.9, True), (1.1, False), (1.5, False), (-0.5, True), (-1.1, False)])
def test_nothing_is_carried_over_a_gap_of_more_than_a_second(gap, carried):
    smooth, luma = TemporalFilter(4.0), textured()
    for n in range(5):
        smooth(constant(1.0, luma), luma, n / RATE)
    result = smooth(constant(1.03, luma), luma, 4 / RATE + gap)
    assert np.array_equal(result.log_light, constant(1.03, luma)) != carried


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_second_cut_shortly_behind_the_first_is_seen(length):
    """Back to the first shot after one to three frames: a cut by itself is not the motion that is usual in a shot."""
    shots = [textured(0)] * 10 + [textured(1)] * length + [textured(0)] * 3
    detector = CutDetector()
    assert [n for n, luma in enumerate(shots) if detector(luma)] == [10, 10 + length]


def test_a_shot_that_always_moves_much_is_no_row_of_cuts():
    """Every frame another picture: from the third on that is what is usual."""
    detector = CutDetector()
    assert not any([detector(textured(seed)) for seed in range(12)][4:])


@pytest.mark.parametrize("stops,cut", [(0.03, False), (0.05, True), (0.3, True), (-0.3, True)])
def test_a_change_of_a_twentieth_of_a_stop_may_be_a_cut(stops, cut):
    """0.04 stops in the mean of a shot that stood still."""
    detector = CutDetector()
    luma = np.full((90, 160), 0.5, np.float32)
    for _ in range(4):
        assert not detector(luma)
    assert detector((luma + 0.03) * np.float32(2.0**stops) - 0.03) == cut


def test_noise_is_learnt_from_what_will_be_lightened():
    """A noisy sky, four fifths of the picture, over a still ground; the light map is dark on the ground alone."""
    rng = np.random.default_rng(0)
    luma = np.full((90, 160), 0.7, np.float32)
    luma[72:] = 0.1
    light = np.zeros_like(luma)
    light[72:] = -2.0
    smooth = TemporalFilter(1.0)
    for n in range(6):
        shaken = luma + rng.normal(0, 0.03, luma.shape).astype(np.float32) * (luma > 0.5)
        shaken[72:] += rng.normal(0, 0.003, (18, 160)).astype(np.float32)
        smooth(light, shaken, n / RATE)
    assert smooth.state()["noise"] == pytest.approx(0.001, rel=0.3)  # a third: the mean of 3 x 3 pixels


def test_noise_is_what_blurred_luma_deviates_by():
    rng = np.random.default_rng(1)
    smooth, luma = TemporalFilter(1.0), np.full((90, 160), 0.3, np.float32)
    for n in range(6):
        smooth(constant(1.0, luma), luma + rng.normal(0, 0.03, luma.shape).astype(np.float32), n / RATE)
    assert smooth.state()["noise"] == pytest.approx(0.01, rel=0.1)


def test_a_pan_is_not_taken_for_noise():
    """What is counted as noise grows by 2 % a frame at most, however much the picture changes."""
    rng = np.random.default_rng(2)
    wide = textured(3, 90, 400)
    smooth, levels = TemporalFilter(1.0), []
    for n in range(16):
        left = max(0, n - 5) * 6
        frame = wide[:, left : left + 160] + rng.normal(0, 0.003, (90, 160)).astype(np.float32)
        smooth(constant(1.0, frame), frame, n / RATE)
        levels.append(smooth.state()["noise"])
    still = levels[5]
    assert 0.0005 < still < 0.002
    assert levels[15] <= still * 1.02**10 * (1 + 1e-6)
    assert levels[15] > still * 1.02**7


def test_what_has_moved_keeps_its_light():
    """Six proxy pixels a frame to the right: the light goes along, it is neither left behind nor started anew."""
    wide = textured(4, 90, 400)
    light = -1.0 - wide
    smooth = TemporalFilter(1.0)
    for n in range(8):
        smooth(light[:, :160], wide[:, :160], n / RATE)
    for n in range(8, 14):
        left = (n - 7) * 4
        steady = smooth(light[:, left : left + 160], wide[:, left : left + 160].copy(), n / RATE)
        error = np.abs(steady.log_light - light[:, left : left + 160])[10:-10, 20:-20]
        assert error.mean() < 0.03, n


def test_motion_points_to_where_each_point_was():
    """The picture moves 4 right and 2 down: each point was 4 further left and 2 further up."""
    wide = textured(5, 120, 240)
    before, after = wide[20:110, 40:200], wide[18:108, 36:196]
    right, down = motion(before, after)
    assert right.shape == down.shape == (90, 160)
    assert np.median(right[20:-20, 20:-20]) == pytest.approx(-4, abs=0.4)
    assert np.median(down[20:-20, 20:-20]) == pytest.approx(-2, abs=0.4)


def test_flicker_is_taken_out_where_light_is_lifted():
    """Relighted luma y g grows with y; what the frame is above its mean is taken from the light, to first order."""
    mean, own = np.full((4, 4), 0.1, np.float32), np.full((4, 4), 0.102, np.float32)
    light = np.full((4, 4), -2.0, np.float32)
    flat = plain_coefficients(light, 16.0)
    steady = Steady(light, mean, own)

    def relighted(luma, coefficients):
        square = np.exp2(2 * (coefficients.slope * luma + coefficients.offset))
        return luma * (square + (1 - square) * luma * luma) ** -0.5

    wanted, uncorrected = relighted(mean, flat), relighted(own, flat)
    corrected = relighted(own, steady.flicker_suppressed(flat))
    assert np.abs(corrected - wanted).max() < 0.08 * np.abs(uncorrected - wanted).max()
    sloped = Coefficients(np.full((4, 4), 4.0, np.float32), light - 0.4, -4.0)
    wanted, uncorrected = relighted(mean, sloped), relighted(own, sloped)
    assert (
        np.abs(relighted(own, steady.flicker_suppressed(sloped)) - wanted).max()
        < 0.08 * np.abs(uncorrected - wanted).max()
    )


def test_flicker_is_taken_out_by_a_quarter_of_a_stop_at_most():
    mean, light = np.full((4, 4), 0.1, np.float32), np.full((4, 4), -2.0, np.float32)
    flat = plain_coefficients(light, 16.0)
    for own, change in ((0.3, 0.25), (0.01, -0.25)):
        calm = Steady(light, mean, np.full((4, 4), own, np.float32)).flicker_suppressed(flat)
        assert calm.offset - flat.offset == pytest.approx(change)
    slight = np.full((4, 4), -0.1, np.float32)  # never more than there is light to take
    calm = Steady(slight, mean, np.full((4, 4), 0.3, np.float32)).flicker_suppressed(plain_coefficients(slight, 16.0))
    assert calm.offset == pytest.approx(0.0, abs=1e-6)
    assert Steady(light, mean, mean).flicker_suppressed(flat) is flat
