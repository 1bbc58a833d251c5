"""The compiled pixel loop with arguments that no caller of ours gives: refused, or computed inside of its memory.

`.ci/sanitizers.sh` runs this under AddressSanitizer.
"""

from __future__ import annotations

import numpy as np
import pytest

loop = pytest.importorskip("cliplit.runtime.light._relight")
CODING = (0.0, 1 / 255, 128.0, 1 / 255, 1.5, 0.2, 0.4, 1.8, 255.0)
NUMBERS = [0.0, 1.0, -1.0, 1e30, -1e30, float("nan"), float("inf"), float("-inf"), 1e-40]


def picture(chance):
    kind = chance.choice([np.uint8, np.uint16, np.float32])
    height, width = chance.integers(1, 40, 2)
    channels = int(chance.choice([3, 4]))
    values = chance.integers(0, 256, (height * 2, width, channels)).astype(kind)
    if kind is np.float32:
        values.flat[:: int(chance.integers(1, 9))] = chance.choice(NUMBERS)
    return values[:: int(chance.choice([1, 2]))][:height]


def maps(chance):
    shape = tuple(chance.integers(1, 12, 2))
    made = [chance.normal(1, 2, shape).astype(np.float32) for _ in range(2)]
    for one in made:
        one.flat[:: int(chance.integers(1, 9))] = chance.choice(NUMBERS)
    return made


@pytest.mark.parametrize("seed", range(150))
def test_rgb(seed):
    chance = np.random.default_rng(seed)
    source = picture(chance)
    out = np.empty_like(source)
    start, stop = (int(row) for row in chance.choice([-(2**31), -1, 0, 1, 5, 2**31 - 1], 2))
    out[:] = 7
    loop.rgb(source, out, *maps(chance), float(chance.choice(NUMBERS)), start, stop)
    rows = range(max(start, 0), min(stop, len(source)))
    assert all((out[row] == 7).all() for row in range(len(source)) if row not in rows)
    if source.shape[2] == 4 and source.dtype != np.float32:
        assert all((out[row, :, 3] == source[row, :, 3]).all() for row in rows)


@pytest.mark.parametrize("seed", range(150))
def test_planes(seed):
    chance = np.random.default_rng(seed)
    kind = chance.choice([np.uint8, np.uint16])
    height, width = chance.integers(1, 40, 2)
    fy, fx = chance.choice([1, 2], 2)
    small = -(-height // fy), -(-width // fx)
    planes = [chance.integers(0, np.iinfo(kind).max + 1, size).astype(kind) for size in ((height, width), small, small)]
    out = [np.empty_like(plane) for plane in planes]
    coding = tuple(float(chance.choice(NUMBERS)) if chance.random() < 0.3 else value for value in CODING)
    loop.planes(*planes, *out, *maps(chance), float(chance.choice(NUMBERS)), coding)


def test_what_does_not_fit_is_refused():
    good, light = np.zeros((8, 8, 3), np.uint8), np.ones((2, 2), np.float32)
    for source, target in [
        (good, good[:7].copy()), (good, good[:, :7].copy()), (good, good.astype(np.uint16)),
        (good.astype(np.int8),) * 2,
        (good.astype(np.float64),) * 2, (good[..., :2].copy(),) * 2, (good[:, ::2],) * 2, (good[..., ::-1],) * 2,
        (good[..., 0].copy(),) * 2, (good, bytes(192)), (None, good), (good.astype(complex),) * 2,
    ]:  # fmt: skip
        with pytest.raises((ValueError, TypeError, BufferError)):
            loop.rgb(source, target, light, light, 1.0, 0, 8)
    for slope, offset in [
        (light, light[:1].copy()),
        (light.astype(float),) * 2,
        (light[:0],) * 2,
        (light[0],) * 2,
        (None, light),
    ]:
        with pytest.raises((ValueError, TypeError, BufferError)):
            loop.rgb(good, good.copy(), slope, offset, 1.0, 0, 8)
    plane = np.zeros((8, 8), np.uint8)
    for chroma in (plane[:3].copy(), plane[:, :3].copy(), plane.astype(np.uint16), plane[:0], plane.astype(float)):
        with pytest.raises((ValueError, TypeError, BufferError)):
            loop.planes(plane, chroma, chroma, plane.copy(), chroma.copy(), chroma.copy(), light, light, 1.0, CODING)
