"""The compiled pixel loops with arguments that no caller of ours gives: refused, or computed inside of its memory.

`.ci/sanitizers.sh` runs this under AddressSanitizer.
"""

from __future__ import annotations

import numpy as np
import pytest

loop = pytest.importorskip("cliplit.runtime.light._relight")
shadows = pytest.importorskip("cliplit.runtime.light._shadows")
small = pytest.importorskip("cliplit.runtime.light._maps")
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


def corrections(chance, size, chroma):
    """Corrections of any size of number, or none, some of them left out."""
    if chance.random() < 0.3:
        return None
    fine = chance.integers(-128, 128, size).astype(np.int8)
    cb, cr = (chance.choice(NUMBERS, chroma).astype(np.float32) for _ in range(2))
    return *(part if chance.random() < 0.8 else None for part in (fine, cb, cr)), float(chance.choice(NUMBERS))


@pytest.mark.parametrize("seed", range(150))
def test_rgb(seed):
    chance = np.random.default_rng(seed)
    source = picture(chance)
    out = np.empty_like(source)
    start, stop = (int(row) for row in chance.choice([-(2**31), -1, 0, 1, 5, 2**31 - 1], 2))
    out[:] = 7
    clean = corrections(chance, source.shape[:2], source.shape[:2])
    loop.rgb(source, out, *maps(chance), float(chance.choice(NUMBERS)), clean, start, stop)
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
    clean = corrections(chance, (height, width), small)
    loop.planes(*planes, *out, *maps(chance), float(chance.choice(NUMBERS)), clean, coding)


def test_what_does_not_fit_is_refused():
    good, light = np.zeros((8, 8, 3), np.uint8), np.ones((2, 2), np.float32)
    for source, target in [
        (good, good[:7].copy()), (good, good[:, :7].copy()), (good, good.astype(np.uint16)),
        (good.astype(np.int8),) * 2,
        (good.astype(np.float64),) * 2, (good[..., :2].copy(),) * 2, (good[:, ::2],) * 2, (good[..., ::-1],) * 2,
        (good[..., 0].copy(),) * 2, (good, bytes(192)), (None, good), (good.astype(complex),) * 2,
    ]:  # fmt: skip
        with pytest.raises((ValueError, TypeError, BufferError)):
            loop.rgb(source, target, light, light, 1.0, None, 0, 8)
    for slope, offset in [
        (light, light[:1].copy()),
        (light.astype(float),) * 2,
        (light[:0],) * 2,
        (light[0],) * 2,
        (None, light),
    ]:
        with pytest.raises((ValueError, TypeError, BufferError)):
            loop.rgb(good, good.copy(), slope, offset, 1.0, None, 0, 8)
    plane = np.zeros((8, 8), np.uint8)
    for chroma in (plane[:3].copy(), plane[:, :3].copy(), plane.astype(np.uint16), plane[:0], plane.astype(float)):
        with pytest.raises((ValueError, TypeError, BufferError)):
            loop.planes(
                plane, chroma, chroma, plane.copy(), chroma.copy(), chroma.copy(), light, light, 1.0, None, CODING
            )
    fine, change = np.zeros((8, 8), np.int8), np.zeros((8, 8), np.float32)
    for clean in [
        (fine[:7].copy(), None, None, 1.0), (fine[:, ::2], None, None, 1.0), (change, None, None, 1.0),
        (None, change[:, :7].copy(), None, 1.0), (None, None, change.astype(float), 1.0), (None, fine, None, 1.0),
        (fine, change, change), (fine, change, change, "x"), 1, [fine, change, change, 1.0],
    ]:  # fmt: skip
        with pytest.raises((ValueError, TypeError, BufferError)):
            loop.rgb(good, good.copy(), light, light, 1.0, clean, 0, 8)


def star(chance, reach, count):
    return [(*(int(n) for n in chance.integers(-reach, reach + 1, 2)), 1 + number // 4) for number in range(count)]


def random_spans(chance, height, width):
    spans = np.sort(chance.integers(0, width + 1, (height, 2)), axis=1).astype(np.int32)
    column = np.arange(width)
    return spans, (column >= spans[:, :1]) & (column < spans[:, 1:])


@pytest.mark.parametrize("seed", range(60))
def test_steps(seed):
    chance = np.random.default_rng(seed)
    reach, (height, width) = int(chance.integers(0, 9)), chance.integers(1, 40, 2)
    padded = chance.integers(0, 255, (height + 2 * reach, width + 2 * reach)).astype(np.uint8)
    spans, inside = random_spans(chance, height, width)
    out = np.full((height, width), 7, np.int8)
    taps = star(chance, reach, 4 * int(chance.integers(1, 4)))
    shadows.steps(padded, reach, taps, spans, out)
    assert (out[~inside] == 0).all() and np.abs(out.astype(int)).max() < sum(tap[2] for tap in taps) / 2


@pytest.mark.parametrize("seed", range(60))
def test_alike(seed):
    chance = np.random.default_rng(seed)
    kind = chance.choice([np.uint8, np.uint16])
    reach, (height, width) = int(chance.integers(0, 9)), chance.integers(1, 40, 2)
    shape = 3, height + 2 * reach, width + 2 * reach
    planes = chance.integers(0, np.iinfo(kind).max + 1, shape).astype(kind)
    spans, inside = random_spans(chance, height, width)
    out = np.full((2, height, width), 7, np.float32)
    gate = int(chance.choice([0, 1, 15]))
    shadows.alike(*planes, reach, star(chance, reach, int(chance.integers(1, 33))), spans, 255, gate, *out)
    assert (out[:, ~inside] == 0).all() and np.abs(out).max() <= gate


def test_what_does_not_fit_a_star_is_refused():
    padded, out = np.zeros((10, 10), np.uint8), np.zeros((8, 8), np.int8)
    spans = np.array([[0, 8]] * 8, np.int32)
    change, taps = np.zeros((2, 8, 8), np.float32), [(0, 1, 1)] * 4
    for arguments in [
        (padded, 2, taps, spans, out), (padded, -1, taps, spans, out), (padded, 2**31 - 1, taps, spans, out),
        (padded, 1, [(0, 2, 1)] * 4, spans, out), (padded, 1, taps[:3], spans, out), (padded, 1, [], spans, out),
        (padded, 1, taps * 17, spans, out), (padded, 1, [(0, 1, 33)] * 4, spans, out),
        (padded, 1, [(0, 1)] * 4, spans, out), (padded, 1, [3] * 4, spans, out),
        (padded, 1, [(0, 1, 0)] * 4, spans, out), (padded, 1, taps, spans[:7].copy(), out), (padded, 1, 3, spans, out),
        (padded.astype(np.int8), 1, taps, spans, out), (padded, 1, taps, spans, out.astype(np.uint8)),
        (padded[:, ::2], 1, taps, spans, out), (padded, 1, [("x", 0, 1)] * 4, spans, out),
        (padded, 1, taps, spans[:, 0].copy(), out), (padded, 1, taps, spans.astype(np.int64), out),
        (padded, 1, taps, spans - 1, out), (padded, 1, taps, spans + 1, out),
        (padded, 1, taps, spans[:, ::-1].copy(), out),
        (padded, 1, taps, np.zeros((8, 3), np.int32), out),
    ]:  # fmt: skip
        with pytest.raises((ValueError, TypeError, BufferError)):
            shadows.steps(*arguments)
    for arguments in [
        (padded, padded, padded, 1, taps, spans, 8, 16, *change),
        (padded, padded, padded, 1, taps, spans, -1, 1, *change),
        (padded, padded, padded.astype(np.uint16), 1, taps, spans, 8, 1, *change),
        (padded, padded, padded[:9].copy(), 1, taps, spans, 8, 1, *change),
        (padded, padded, padded, 1, taps, spans, 8, 1, change[0], change[1, :7].copy()),
        (padded, padded, padded, 1, taps, spans + 1, 8, 1, *change),
        (padded, padded, padded, 1, taps, spans, 256, 1, *change),
        (padded, padded, padded, 1, taps, spans, 8, -1, *change),
    ]:  # fmt: skip
        with pytest.raises((ValueError, TypeError, BufferError)):
            shadows.alike(*arguments)


def wild(chance, size):
    values = chance.normal(0, 2, size).astype(np.float32)
    values.flat[:: int(chance.integers(1, 9))] = chance.choice(NUMBERS)
    return values


@pytest.mark.parametrize("seed", range(60))
def test_small_maps(seed):
    chance = np.random.default_rng(seed)
    size = tuple(int(side) for side in chance.integers(1, 40, 2))
    numbers = [float(chance.choice(NUMBERS)) for _ in range(10)]

    def some(count):
        return [wild(chance, size) for _ in range(count)]

    spare = [wild(chance, size) if chance.random() < 0.5 else None for _ in range(2)]
    bytes_of = chance.integers(0, 256, size).astype(np.uint8)
    small.change((*some(7), spare[0], *some(7), bytes_of), *numbers[:8], bool(chance.integers(0, 2)))
    small.take((*some(11), *spare, *some(5), bytes_of), *numbers[:8])
    small.flicker(tuple(some(5)), *numbers[:2])
    small.suppress(tuple(some(6)), float(chance.uniform(-60, 9)), *numbers[1:4])
    small.guide(tuple(some(4)), numbers[0])
    count = int(chance.integers(1, 8))
    small.warp(tuple(some(count)), tuple(some(count)), (*some(2), spare[0]))
    small.colours(tuple(some(4)), (wild(chance, (size[0], 3 * size[1])),), tuple(numbers[:9]), numbers[9])
    kind = chance.choice([np.uint8, np.uint16])
    plane = chance.integers(0, 256, (2 * size[0] + int(chance.integers(0, 50)), size[1] + int(chance.integers(0, 50))))
    small.shrink(plane.astype(kind)[:: int(chance.choice([1, 2]))], tuple(some(1)))


def test_small_maps_that_do_not_fit_are_refused():
    one, other, odd = (np.zeros(size, np.float32) for size in ((8, 9), (9, 8), (8, 9)))
    byte = np.zeros((8, 9), np.uint8)
    for maps in [
        (one,) * 4, [one] * 5, (one, one, one, one, other), (None, one, one, one, odd), (one, one, one, one, None),
        (one, one, one, one, one[:, ::2]), (one.astype(float),) * 5, (byte,) * 5, (one[0],) * 5, (one[:0],) * 5, 1,
        (one, one, one, one, b"x" * 288),
    ]:  # fmt: skip
        with pytest.raises((ValueError, TypeError, BufferError)):
            small.flicker(maps, 0.0, 1.0)
    for floor in (-61.0, float("nan"), float("-inf")):
        with pytest.raises(ValueError):
            small.suppress((one,) * 6, floor, 1.0, 1.0, 1.0)
    for maps, outs, flow in [
        ((one,), (one, odd), (one, one, None)), ((), (), (one, one, None)), ((one,), (other,), (one, one, None)),
        ((one,), (odd,), (other, other, None)), ((one,), (odd,), (None, one, None)),
        ((None,), (odd,), (one, one, None)),
        ((one,) * 25, (odd,) * 25, (one, one, None)), ([one], [odd], (one, one, None)), ((one,), (odd,), (one, one)),
    ]:  # fmt: skip
        with pytest.raises((ValueError, TypeError, BufferError)):
            small.warp(maps, outs, flow)
    for call, count, numbers in ((small.remember, 16, 4), (small.recall, 24, 4), (small.settle, 4, 2)):
        fitting = [*(one.copy() for _ in range(count - 1)), byte]
        call(tuple(fitting), *([0.5] * numbers))
        for wrong in (None, other, byte.astype(bool), one[:, ::2], one.astype(float), one[0]):
            for place in range(count):
                with pytest.raises((ValueError, TypeError, BufferError)):
                    call((*fitting[:place], wrong, *fitting[place + 1 :]), *([0.5] * numbers))
        with pytest.raises((ValueError, TypeError)):
            call(tuple(fitting[1:]), *([0.5] * numbers))
    for plane, out in [
        (byte, other), (byte[:, ::2], one[:4, :4].copy()), (byte[0], one), (byte.astype(np.int8), one), (one, one),
        (None, one), (byte.astype(complex), one),
    ]:  # fmt: skip
        with pytest.raises((ValueError, TypeError, BufferError)):
            small.shrink(plane, (out,))
    with pytest.raises(ValueError):
        small.colours((one,) * 4, (one,), (0.0,) * 9, 1.0)
    with pytest.raises(ValueError):
        small.change((one,) * 16, *([0.1] * 8), False)
