"""What is compiled for small maps against its definition in numpy and OpenCV, and against numbers worked out apart."""

from __future__ import annotations

from dataclasses import asdict, fields, replace

import cv2
import numpy as np
import pytest

from cliplit.runtime.light import compiled
from cliplit.runtime.light.background import UNKNOWN, Background
from cliplit.runtime.light.colour import Coding
from cliplit.runtime.light.light_map import Coefficients, guided_coefficients, guided_reference
from cliplit.runtime.light.means import (
    Changes,
    Means,
    Pace,
    changes,
    changes_reference,
    flickering,
    take,
    take_reference,
)
from cliplit.runtime.light.motion import warped, warped_reference
from cliplit.runtime.light.proxy import colours_reference, planes_proxy, shrink, shrunk
from cliplit.runtime.light.quantile import quantile
from cliplit.runtime.light.temporal import Steady, TemporalFilter

SIZES = [(37, 53), (1, 1), (1, 40), (40, 1), (16, 16), (19, 7)]
needs_compiler = pytest.mark.skipif(compiled.maps is None, reason="installed without a compiler")


def near(found, wanted, close=1e-5):
    return np.abs(found - wanted).max() <= close


def map_of(rng, size, low=0.0, high=1.0):
    return rng.uniform(low, high, size).astype(np.float32)


def state_of(rng, size):
    values = {field.name: map_of(rng, size) for field in fields(Means)}
    values["light"] *= -3
    values["blurred"] = values["luma"] + map_of(rng, size, -0.02, 0.02)
    values["kept"] = np.where(map_of(rng, size) < 0.5, values["luma"], map_of(rng, size)).astype(np.float32)
    values["age"] *= np.float32(4)
    values["luma_drift"] = map_of(rng, size, -0.02, 0.02)
    values["deviation"] *= np.float32(0.03)
    return Means(**values)


def copied(state):
    return replace(state, **{field.name: getattr(state, field.name).copy() for field in fields(Means)})


def same_states(found, wanted):
    return all(near(getattr(found, field.name), getattr(wanted, field.name), 2e-5) for field in fields(found))


@needs_compiler
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize("returning", [False, True])
def test_changes(size, carried, returning):
    rng = np.random.default_rng(0)
    state = state_of(rng, size)
    luma = state.luma + map_of(rng, size, -0.05, 0.05)
    blurred = cv2.blur(luma, (3, 3))
    along = (map_of(rng, size) > 0.5).astype(np.float32) if carried else None
    pace = Pace(0.005, 0.02, 0.04, 1.0, returning)
    other = copied(state)
    around = cv2.blur(other.kept, (3, 3), borderType=cv2.BORDER_REPLICATE)
    wanted = changes_reference(other, luma, blurred, around, along, pace)
    found = changes(state, luma, blurred, along, pace)
    assert same_states(state, other)
    assert near(found.changed, wanted.changed) and near(found.rate, wanted.rate) and near(found.quiet, wanted.quiet)
    assert found.share == pytest.approx(wanted.share, abs=1e-6)
    assert np.array_equal(found.disturbed, wanted.disturbed)


@needs_compiler
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dissolving", [0.0, 0.3])
@pytest.mark.parametrize("moving", [False, True])
def test_take(size, dissolving, moving):
    rng = np.random.default_rng(1)
    state = state_of(rng, size)
    log_light, luma = map_of(rng, size, -3, 0), state.luma + map_of(rng, size, -0.05, 0.05)
    blurred = cv2.blur(luma, (3, 3))
    found = Changes(map_of(rng, size), map_of(rng, size), map_of(rng, size), 0.5, None)
    beside = rng.integers(0, 2, size).astype(np.uint8)
    drifted = map_of(rng, size, -0.5, 0.5) if moving else None
    moved = rng.integers(0, 2, size).astype(np.float32) if moving else None
    arguments = log_light, luma, blurred, found, beside, drifted, moved, dissolving, Pace(0.005, 0.02, 0.04, 1.0, False)
    other, before = copied(state), copied(state)
    held = state.light, state.luma
    take_reference(other, *arguments)
    take(state, *arguments)
    assert same_states(state, other)
    assert np.array_equal(held[0], before.light) and np.array_equal(held[1], before.luma)  # whoever holds them


def ground_of(rng, size, state):
    """What is known of half of the points; of half of those, what the state has."""
    values = {field.name: map_of(rng, size) for field in fields(Background)}
    for name in ("luma", "blurred"):
        now = getattr(state, name) + map_of(rng, size, -0.01, 0.01)
        values[name] = np.where(map_of(rng, size) < 0.5, now, values[name]).astype(np.float32)
    values["blurred"] = np.where(map_of(rng, size) < 0.5, values["blurred"], UNKNOWN).astype(np.float32)
    values["settled"] = np.where(map_of(rng, size) < 0.4, 0, map_of(rng, size, 0, 10)).astype(np.float32)
    return Background(**values)


@needs_compiler
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("still", [0.005, 0.02])
def test_background(size, still):
    rng = np.random.default_rng(12)
    state, pace = state_of(rng, size), Pace(still, 4 * still, 0.04, 1.0, False)
    ground = ground_of(rng, size, state)
    luma = state.luma + map_of(rng, size, -0.05, 0.05)
    blurred = state.blurred + map_of(rng, size, -0.03, 0.03)
    other, other_state = replace(ground, **asdict(ground)), copied(state)
    held, before = state.light, state.light.copy()
    found, wanted = (
        ground.remember(state, luma, blurred, pace),
        other.remember_reference(other_state, luma, blurred, pace),
    )
    assert same_states(ground, other) and same_states(state, other_state)
    assert (found is None) == (wanted is None)
    if found is not None:
        assert np.array_equal(found, wanted)
        ground.recall(state, luma, found, pace)
        other.recall_reference(other_state, luma, cv2.dilate(cv2.erode(wanted, np.ones((3, 3))), np.ones((9, 9))), pace)
        assert same_states(ground, other) and same_states(state, other_state)
        assert np.array_equal(held, before)  # whoever holds it
    changes = Changes(luma, luma, map_of(rng, size), 0.5, None)
    beside = rng.integers(0, 2, size).astype(np.uint8)
    others = beside.copy()
    ground.settle(state, changes, beside, pace)
    other.settle_reference(other_state, changes, others, pace)
    assert same_states(ground, other) and np.array_equal(beside, others)


@needs_compiler
def test_flicker(monkeypatch):
    rng = np.random.default_rng(2)
    state = state_of(rng, (37, 53))
    luma = state.luma + map_of(rng, (37, 53), -0.02, 0.02)
    found = flickering(state, luma)
    monkeypatch.setattr(compiled, "maps", None)
    assert near(found, flickering(state, luma))


@needs_compiler
@pytest.mark.parametrize("floor", [-8.0, -4.0, -0.5])
def test_flicker_suppressed(floor):
    rng = np.random.default_rng(3)
    luma = map_of(rng, (37, 53))
    steady = Steady(map_of(rng, (37, 53), -4, 0), luma, luma + map_of(rng, (37, 53), -0.01, 0.01))
    coefficients = Coefficients(map_of(rng, (37, 53), -2, 4), map_of(rng, (37, 53), -5, 0.5), floor)
    found, wanted = steady.flicker_suppressed(coefficients), steady.suppressed_reference(coefficients)
    assert near(found.offset, wanted.offset, 1e-4) and found.slope is coefficients.slope and found.floor == floor


@needs_compiler
@pytest.mark.parametrize("size", SIZES)
def test_guided_coefficients(size):
    rng = np.random.default_rng(4)
    luma, log_light = map_of(rng, size), map_of(rng, size, -4, 0)
    found, wanted = guided_coefficients(log_light, luma, 16.0), guided_reference(log_light, luma, 16.0)
    assert near(found.slope, wanted.slope, 2e-4) and near(found.offset, wanted.offset, 2e-4)
    assert found.floor == wanted.floor == -4.0


@pytest.mark.parametrize("compile", [pytest.param(True, marks=needs_compiler), False])
def test_warped_maps_come_from_where_the_flow_says(monkeypatch, compile):
    """A ramp fetched from anywhere is the place itself, and what would lie outside of it is the border."""
    if not compile:
        monkeypatch.setattr(compiled, "maps", None)
    rng = np.random.default_rng(5)
    size = 37, 53
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    right, down = map_of(rng, size, -9, 9), map_of(rng, size, -9, 9)
    for share in (None, rng.integers(0, 2, size).astype(np.float32), np.zeros(size, np.float32)):
        part = 1.0 if share is None else share
        across, along = warped([x, y], (right, down), share)
        assert near(across, np.clip(x + right * part, 0, size[1] - 1), 1 / 64 + 1e-4)
        assert near(along, np.clip(y + down * part, 0, size[0] - 1), 1 / 64 + 1e-4)


@needs_compiler
@pytest.mark.parametrize("size", SIZES)
def test_warped_as_opencv_does(size):
    rng = np.random.default_rng(6)
    maps = [map_of(rng, size) for _ in range(6)]
    flow = np.round(map_of(rng, size, -9, 9) * 32) / 32, np.round(map_of(rng, size, -9, 9) * 32) / 32
    for found, wanted in zip(warped(maps, flow), warped_reference(maps, flow), strict=True):
        assert near(found, wanted)


def area_means(plane, size):
    """Integrate the plane, constant over each sample, between the borders of the new ones: exact but for rounding."""
    for axis, count in enumerate(size):
        length = plane.shape[axis]
        sums = np.concatenate([[0.0 * plane.take(0, axis)], np.cumsum(np.moveaxis(plane, axis, 0), axis=0)])
        edges = np.arange(count + 1) * length / count
        below = np.minimum(edges.astype(int), length - 1)
        part = (edges - below)[:, None]
        at = sums[below] * (1 - part) + sums[np.minimum(below + 1, length)] * part
        plane = np.moveaxis(np.diff(at, axis=0) * count / length, 0, axis)
    return plane


@needs_compiler
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "plane,size", [((108, 192), (19, 34)), ((100, 100), (100, 100)), ((7, 9), (1, 1)), ((64, 48), (16, 12)),
                   ((5, 3), (4, 3)), ((1, 300), (1, 7)), ((300, 1), (7, 1)), ((211, 97), (13, 96))]
)  # fmt: skip
def test_shrunk_planes_are_the_means_of_areas(kind, plane, size):
    samples = np.random.default_rng(7).integers(0, np.iinfo(kind).max + 1, plane).astype(kind)
    for view in (samples, np.repeat(samples, 2, axis=0)[::2]):  # of an interlaced frame's field, too
        found = shrunk(view, size)
        assert found.dtype == np.float32
        assert near(found, area_means(samples.astype(float), size), np.iinfo(kind).max * 2e-6)


def test_planes_that_are_too_small_to_shrink_are_interpolated():
    plane = np.random.default_rng(8).integers(0, 256, (10, 300)).astype(np.uint8)
    assert np.array_equal(shrunk(plane, (20, 30)), shrink(plane, (20, 30)).astype(np.float32))


@needs_compiler
@pytest.mark.parametrize("coding", [Coding(), Coding(0.299, 0.114, full_range=True), Coding(depth=10, white=0.5)])
def test_colours_of_the_proxy(coding):
    rng, top = np.random.default_rng(9), (1 << coding.depth) - 1
    kind = np.uint8 if coding.depth == 8 else np.uint16
    planes = [rng.integers(0, top + 1, size).astype(kind) for size in ((54, 96), (27, 48), (27, 48))]
    found = planes_proxy(planes, coding, (18, 32))
    y, cb, cr = (shrunk(plane, (18, 32)) for plane in planes)
    wanted = colours_reference(y, cb, cr, coding)
    assert near(found.rgb, wanted.rgb) and near(found.luma, wanted.luma)


@needs_compiler
def test_a_clip_filtered_without_a_compiler_is_the_same(monkeypatch):
    """A noisy pan with a figure: the differences of rounding do not grow."""
    rng = np.random.default_rng(10)
    wide = cv2.resize(map_of(rng, (12, 60), 0.1, 0.6), (480, 96), interpolation=cv2.INTER_CUBIC)

    def filtered():
        rng, smooth, out = np.random.default_rng(11), TemporalFilter(1.0), []
        for n in range(40):
            left = 2 * max(0, n - 20)
            luma = wide[:, left : left + 160] + rng.normal(0, 0.003, (96, 160)).astype(np.float32)
            luma[40:60, 4 * n : 4 * n + 12] = 0.02
            steady = smooth(-2 + luma, luma, n / 25)
            out.append(smooth.kept(guided_coefficients(steady.log_light, steady.luma, 16.0)))
        return out

    found = filtered()
    monkeypatch.setattr(compiled, "maps", None)
    for one, other in zip(found, filtered(), strict=True):
        light, reference = (c.slope * 0.3 + c.offset for c in (one, other))
        assert np.abs(light - reference).mean() < 2e-3 and np.abs(light - reference).max() < 0.1


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 100, 101])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_quantiles_are_numpys(count, share):
    values = map_of(np.random.default_rng(count), count)
    assert quantile(values, share) == pytest.approx(float(np.quantile(values.astype(float), share)), abs=1e-6)
