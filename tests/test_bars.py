"""Bars, frames and margins are no part of the scene: what lies between them comes out as it does without them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliplit.runtime import Enhancer
from cliplit.runtime.light.bars import Area, picture_area, whole
from cliplit.runtime.light.colour import Coding
from cliplit.runtime.light.pixels import PackedRGB, PlanarPixels
from cliplit.runtime.light.relighting import LightSettings, Relighting
from made import backlit

SIDES = {"letterbox": (24, 24, 0, 0), "pillarbox": (0, 0, 40, 40), "frame": (9, 30, 17, 4), "top": (50, 0, 0, 0)}
COLOURS = {"black": (0, 0, 0), "video black": (16, 16, 16), "white": (255, 255, 255), "blue": (30, 60, 200)}


@pytest.fixture(scope="module")
def enhancer():
    return Enhancer("lite", device="cpu", threads=1)


def scene(height=180, width=320):
    """The made picture with a sky that is not the same along its edges."""
    picture = backlit(height, width).astype(np.int16)
    clouds = np.random.default_rng(5).normal(0, 9, (height // 6, width // 6, 1)).astype(np.float32)
    picture += cv2.resize(clouds, (width, height)).astype(np.int16)[..., None]
    return np.clip(picture, 0, 250).astype(np.uint8)


def framed(picture, sides, colour):
    top, bottom, left, right = sides
    return cv2.copyMakeBorder(picture, top, bottom, left, right, cv2.BORDER_CONSTANT, value=colour)


def inside(picture, sides):
    top, bottom, left, right = sides
    return picture[top : picture.shape[0] - bottom, left : picture.shape[1] - right]


@pytest.mark.parametrize("colour", COLOURS.values(), ids=COLOURS)
@pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES)
def test_bars_change_nothing_and_stay(enhancer, sides, colour):
    picture = scene()
    before = framed(picture, sides, colour)
    after = enhancer(before)
    assert np.array_equal(inside(after, sides), enhancer(picture))
    mask = framed(np.zeros_like(picture), sides, (1, 1, 1)) > 0
    assert np.array_equal(after[mask], before[mask])
    light = framed(np.zeros(picture.shape[:2], np.uint8), sides, (1,)) > 0
    assert (enhancer.light_map(before)[light] == 1).all()


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.sampled_from([0, 0, 3, 12, 40, 90])] * 4), st.tuples(*[st.integers(0, 255)] * 3))
def test_bars_of_any_size_and_colour_are_found(sides, colour):
    picture = scene()
    if (np.abs(picture.astype(int) - colour).max(axis=2) < 9).any(axis=None):
        colour = (255, 0, 255)  # of no colour that the scene has
    area = picture_area(framed(picture, sides, colour), 255.0)
    top, _, left, _ = sides
    assert area == Area(top, top + 180, left, left + 320)


@pytest.mark.parametrize("soften", ["blur", "jpeg"])
@pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES)
def test_soft_bars_are_found_within_what_is_soft(sides, soften):
    picture = framed(scene(), sides, (16, 16, 16))
    if soften == "blur":
        picture = cv2.GaussianBlur(picture, (0, 0), 1.0)
    else:
        picture = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1], cv2.IMREAD_COLOR)
    area, (top, _, left, _) = picture_area(picture, 255.0), sides
    wanted = Area(top, top + 180, left, left + 320)
    for edge, right in zip(
        (area.top, area.bottom, area.left, area.right),
        (wanted.top, wanted.bottom, wanted.left, wanted.right),
        strict=True,
    ):
        assert abs(edge - right) <= 8


def test_subtitles_in_a_bar_do_not_end_it():
    sides = (40, 40, 0, 0)
    picture = framed(scene(), sides, (0, 0, 0))
    cv2.putText(picture, "what is it?", (90, 245), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
    assert picture_area(picture, 255.0) == Area(40, 220, 0, 320)


def test_what_has_no_straight_edge_is_no_bar():
    sky = np.full((180, 320, 3), 255, np.uint8)
    rows = np.arange(180)[:, None]
    hills = rows > 60 + 50 * np.sin(np.arange(320) / 40)
    sky[hills] = 40
    assert picture_area(sky, 255.0) == whole(180, 320)
    assert picture_area(np.zeros((90, 160, 3), np.uint8), 255.0) == whole(90, 160)


def planar(picture):
    """4:2:0, limited range."""
    height, width = picture.shape[:2]
    yuv = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
    luma, chroma = yuv[:height], yuv[height:].reshape(2, height // 2, width // 2)
    return PlanarPixels([luma, chroma[0].copy(), chroma[1].copy()], Coding(0.299, 0.114))


FORMS = {"rgb": PackedRGB, "planes": planar}


def relighted(relighting, picture, form, time):
    """Packed RGB, or luma."""
    pixels = FORMS[form](picture)
    out = relighting.relight(pixels, relighting.look([pixels])[0], time)
    return (out.samples if form == "rgb" else out.planes[0]).astype(float)


@pytest.mark.parametrize("form", FORMS)
def test_a_clip_with_bars_is_the_clip_without(enhancer, form):
    picture, sides = scene(), SIDES["letterbox"]
    clean, barred = Relighting(enhancer), Relighting(enhancer)
    for number in range(8):
        frame = np.roll(picture, number, axis=1)
        after = relighted(barred, framed(frame, sides, (0, 0, 0)), form, number / 25)
        assert np.abs(inside(after, sides) - relighted(clean, frame, form, number / 25)).max() < 1
        assert np.ptp(after[: sides[0]]) == 0


@pytest.mark.parametrize("form", FORMS)
def test_bars_that_come_and_go_leave_the_light_where_it_was(enhancer, form):
    picture, sides = scene(), SIDES["letterbox"]
    relighting, means = Relighting(enhancer), []
    for number in range(18):
        shown = framed(inside(picture, sides), sides, (0, 0, 0)) if number // 6 == 1 else picture
        means.append(inside(relighted(relighting, shown, form, number / 25), sides).mean())
    assert np.abs(np.diff(means)).max() < 2.0
    assert np.ptp(means) < 6.0  # what the bars hide is content, too


def test_a_host_may_refuse_to_look_for_bars(enhancer):
    pixels = PackedRGB(framed(scene(), SIDES["letterbox"], (0, 0, 0)))
    light = Relighting(enhancer, LightSettings(bars=False)).look([pixels])[0]
    assert light.area is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_what_transparent_pixels_hide_changes_nothing_that_is_seen(enhancer, dtype):
    white = 1.0 if dtype == np.float32 else np.iinfo(dtype).max
    picture = (scene() / 255.0 * white).astype(dtype)
    alpha = np.zeros((180, 320, 1), dtype)
    cv2.circle(alpha, (150, 90), 70, float(white), -1)
    results = []
    for hidden in (0.0, 0.5, 1.0):
        shown = np.where(alpha > 0, picture, dtype(hidden * white))
        results.append(enhancer(np.concatenate([shown, alpha], axis=2))[alpha[..., 0] > 0])
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])
    assert results[0][:, :3].mean() > 1.05 * picture[alpha[..., 0] > 0].mean()  # its dark half was lifted


def test_a_picture_of_which_nothing_is_seen_is_let_through(enhancer):
    picture = np.dstack([scene(), np.zeros((180, 320), np.uint8)])
    assert enhancer(picture).shape == picture.shape
