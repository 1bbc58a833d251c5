"""The way of a frame by processor at full size: the filter over time works at proxy size, and does its work there."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from cliplit.runtime import Enhancer
from cliplit.runtime.light.colour import PQ, Coding, Colour
from cliplit.runtime.light.hdr import TRANSFERS
from cliplit.runtime.light.temporal import TemporalFilter
from cliplit.runtime.video.frame_loop import FrameLoop
from cliplit.runtime.video.frames import Clip, Frame
from cliplit.runtime.video.request import Steps
from made import backlit, enhanced

SIZE = 300, 450
RATE = Fraction(1, 25)
HDR = Coding(kr=0.2627, kb=0.0593, depth=10, white=TRANSFERS[PQ].white)


@pytest.fixture(scope="module")
def exact():
    return Enhancer(quality="exact", backend="onnxruntime", device="cpu", threads=1)


def shot(count, coding, sigma=6.0, size=SIZE):
    """(clip, frames) of a still scene with sensor noise."""
    rng, unit = np.random.default_rng(2), 1 << (coding.depth - 8)
    dtype = np.uint8 if coding.depth == 8 else np.uint16
    still = backlit(*size).astype(np.float32)[..., 1]
    chroma = np.full((2, -(-size[0] // 2), -(-size[1] // 2)), 128 * unit, dtype)
    frames = []
    for number in range(count):
        signal = np.clip(still + rng.normal(0, sigma, still.shape), 0, 255) / 255
        luma = np.round((16 + 219 * signal * (0.6 if coding.white < 1 else 1)) * unit).astype(dtype)
        frames.append(Frame((luma, *chroma.copy()), coding, "made", number, RATE))
    colour = Colour(transfer=PQ) if coding.white < 1 else Colour()
    return Clip(size[1], size[0], "made", coding, colour, RATE), frames


def lumas(clip, frames, enhancer, smooth):
    """(n, H, W) lumas of the frames relighted with this temporal filter, or each by itself."""
    loop = FrameLoop(clip, enhancer, Steps(0.0))
    loop.relighting.temporal = smooth or loop.relighting.temporal
    return np.array([frame.planes[0] for frame in loop([frame.copy() for frame in frames])]).astype(np.float32)


def blocks(lumas, side):
    """(n, rows, columns): means of blocks of the dark ground."""
    dark = lumas[6:, 200:300, :400]
    return dark.reshape(len(dark), 100 // side, side, 400 // side, side).mean(axis=(2, 4))


def pulse(values):
    """Mean standard deviation over time."""
    return np.std(values, axis=0).mean()


def test_a_noisy_shot_pulses_less_at_full_size_too(exact):
    clip, frames = shot(18, Coding())
    own, steady = (lumas(clip, frames, exact, smooth) for smooth in (None, TemporalFilter()))
    assert own.mean() > 1.1 * np.mean([frame.planes[0] for frame in frames])
    for side in (20, 50):
        assert pulse(blocks(steady, side)) < 0.8 * pulse(blocks(own, side))
    assert abs(steady.mean() - own.mean()) < 0.01 * own.mean()
    assert pulse(steady) < 1.05 * pulse(own)  # and the grain is not more than it was


@pytest.mark.parametrize("coding", [Coding(), HDR], ids=["sdr", "hdr"])
def test_what_the_filter_changes_reaches_the_picture(exact, coding):
    """A filter that wants the right half, and it alone, lighter by 0.3 stops."""

    class Lighter(TemporalFilter):
        def __call__(self, log_light, luma, time):
            steady = super().__call__(log_light, luma, time)
            wanted = steady.log_light.copy()
            wanted[:, wanted.shape[1] // 2 :] -= 0.3
            return replace(steady, log_light=wanted)

    clip, frames = shot(1, coding, sigma=0.0)
    black = 16 << (coding.depth - 8)
    own, steady = (lumas(clip, frames, exact, smooth)[0] - black for smooth in (None, Lighter()))
    assert np.array_equal(own[:, :220], steady[:, :220])
    gain = steady[220:, 240:] / own[220:, 240:]
    assert 1.1 < gain.mean() < 2**0.3 + 0.01
    assert gain.min() >= 1.0


@pytest.mark.parametrize("coding", [Coding(), HDR], ids=["sdr", "hdr"])
def test_a_still_shot_without_noise_is_what_each_frame_is_by_itself(exact, coding):
    clip, frames = shot(4, coding, sigma=0.0)
    own, steady = (lumas(clip, frames, exact, smooth) for smooth in (None, TemporalFilter()))
    assert np.abs(own - steady).max() <= 1


def test_the_filter_sees_maps_of_proxy_size(exact):
    clip, frames = shot(2, Coding())
    seen = []

    class Watched(TemporalFilter):
        def __call__(self, log_light, luma, time):
            seen.append((log_light.shape, luma.shape))
            return super().__call__(log_light, luma, time)

    lumas(clip, frames, exact, Watched())
    assert exact.proxy_size(*SIZE) == SIZE
    assert seen == [((192, 288), (192, 288))] * 2


@pytest.mark.parametrize("size", [(300, 450), (20, 31), (2, 900)])
def test_the_size_of_the_filter(exact, size):
    """As what the network sees with quality "fast"; never more than the picture has."""
    height, width = exact.steady_size(*size)
    assert height <= size[0] and width <= size[1]
    fast = exact.adjusted(1.0, 16.0, "fast")
    assert fast.steady_size(*size) == fast.proxy_size(*size)


def test_frames_by_processor_do_not_wait_for_the_next(exact):
    clip, frames = shot(3, Coding(), size=(60, 90))
    asked = []

    def source():
        for frame in frames:
            asked.append(frame.pts)
            yield frame

    for item in enhanced(clip, source(), exact, Steps()):
        assert asked[-1] == item.pts


def test_the_benchmark_of_the_filters_size(exact):
    pytest.importorskip("torch")
    from cliplit.benchmarks import exact_filter

    frames = [np.random.default_rng(seed).integers(20, 40, (*SIZE, 3), np.uint8) for seed in range(16)]
    none, proxy, full = (exact_filter.pulses(exact, frames, where)[1] for where in ("none", "proxy size", "full size"))
    assert 0 < full < none and 0 < proxy < none and full != proxy
    assert exact_filter.milliseconds(exact, SIZE, "proxy size", 3) > 0
