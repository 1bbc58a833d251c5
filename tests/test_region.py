"""Where and when a clip is enhanced: `--roi`, `--range`, `--strength` over time."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliplit.errors import InputError
from cliplit.runtime import Enhancer
from cliplit.runtime.light.colour import Coding, Colour
from cliplit.runtime.light.gain import apply_planes, apply_rgb
from cliplit.runtime.light.light_map import Coefficients
from cliplit.runtime.light.pixels import PackedRGB
from cliplit.runtime.light.region import Region
from cliplit.runtime.light.relighting import LightSettings, Relighting
from cliplit.runtime.video.frame_loop import FrameLoop
from cliplit.runtime.video.frames import Clip, Frame
from cliplit.runtime.video.request import Steps
from cliplit.runtime.video.schedule import Schedule, StrengthCurve, seconds
from cliplit.runtime.video.segments import load_state, save_state
from made import backlit, moving, read_clip, video_command, write_clip


def even_light(rows=24, columns=32, stops=-2.0):
    return Coefficients(np.zeros((rows, columns), np.float32), np.full((rows, columns), stops, np.float32), -4.0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 180), st.integers(0, 110), st.integers(1, 300), st.integers(1, 200))
def test_outside_the_area_nothing_changes(x, y, width, height):
    """Odd numbers, areas that reach out of the picture, and tiny ones."""
    picture = np.full((121, 193, 3), 40, np.uint8)
    region = Region(x, y, width, height)
    enhanced = apply_rgb(picture, region.within(even_light(), 121, 193))
    outside = np.ones((121, 193), bool)
    outside[y : y + height, x : x + width] = False
    assert np.array_equal(enhanced[outside], picture[outside])


@pytest.mark.parametrize("area", [(50, 40, 61, 53), (0, 0, 100, 121), (31, 17, 12, 12)])
def test_inside_it_is_enhanced_and_the_edge_is_soft(area):
    x, y, width, height = area
    picture = np.full((121, 193, 3), 40, np.uint8)
    enhanced = apply_rgb(picture, Region(*area).within(even_light(), 121, 193)).astype(int)[..., 0]
    whole = apply_rgb(picture, even_light()).astype(int)[0, 0, 0]
    assert enhanced[y + height // 2, x + width // 2] == whole
    steps = np.abs(np.diff(enhanced, axis=1)).max()
    assert steps < 0.7 * (whole - 40)


@pytest.mark.parametrize("sampling", [(1, 1), (1, 2), (2, 2)])
def test_chroma_stays_with_its_pixels(sampling):
    """Chroma samples of pixels outside are untouched; inside they change with luma."""
    chroma = tuple(-(-side // factor) for side, factor in zip((121, 193), sampling, strict=True))
    planes = np.full((121, 193), 60, np.uint8), np.full(chroma, 110, np.uint8), np.full(chroma, 150, np.uint8)
    out = tuple(np.empty_like(plane) for plane in planes)
    apply_planes(planes, out, Region(51, 33, 80, 60).within(even_light(), 121, 193), Coding())
    rows, columns = sampling
    inside = np.zeros(chroma, bool)
    inside[33 // rows : -(-93 // rows), 51 // columns : -(-131 // columns)] = True
    assert (out[1][~inside] == 110).all() and (out[2][~inside] == 150).all()
    assert out[1][63 // rows, 91 // columns] < 110 and out[2][63 // rows, 91 // columns] > 150


@pytest.mark.parametrize("text", ["", "1,2,3", "a,b,c,d", "1,2,0,5", "-1,2,3,4", "1.5,2,3,4"])
def test_what_is_no_area(text):
    with pytest.raises(InputError, match="area"):
        Region.parse(text)


def test_an_area_outside_the_picture_is_an_error():
    Region(191, 119, 10, 10).check(192, 120)
    with pytest.raises(InputError, match="outside 192x120"):
        Region(192, 0, 10, 10).check(192, 120)


@pytest.mark.parametrize(
    "text,value", [("2", 2), ("2.5", 2.5), ("1:30", 90), ("01:00:00.5", 3600.5), ("75:00", None), ("end", float("inf"))]
)
def test_times(text, value):
    if value is None:
        with pytest.raises(InputError, match="time"):
            seconds(text)
    else:
        assert seconds(text) == value


@pytest.mark.parametrize("text", ["x", "0:0,2", "2:1,1:0", "0:0,1:3", "0:0,1:nan", "0:-0.1,2:1", ""])
def test_what_is_no_strength(text):
    with pytest.raises(InputError, match="strength"):
        StrengthCurve.parse(text)


def test_strength_goes_from_moment_to_moment():
    schedule = Schedule(StrengthCurve.parse("0:0,2:1,5:0.5"))
    assert [schedule(second) for second in (0, 1, 2, 3.5, 5, 99)] == [0, 0.5, 1, 0.75, 0.5, 0.5]


def test_seconds_count_from_the_first_frame_also_after_a_restart(tmp_path):
    """Clips need not start at zero; a run that is continued knows where the clip began."""
    coding, tick = Coding(), Fraction(1, 30)
    clip = Clip(48, 32, "yuv420p", coding, Colour(), tick)
    planes = np.full((32, 48), 40, np.uint8), *np.full((2, 16, 24), 128, np.uint8)
    frames = [Frame(planes, coding, "yuv420p", 3000 + n, tick) for n in range(4)]
    seen = []

    def strength(second):
        seen.append(second)
        return 0.0

    first, second = (FrameLoop(clip, Enhancer(threads=1), Steps(strength=strength)) for _ in range(2))
    list(first(frames[:2]))
    save_state(tmp_path / "state.npz", first)
    load_state(tmp_path / "state.npz", second)
    list(second(frames[2:]))
    assert seen == pytest.approx([0, 1 / 30, 2 / 30, 3 / 30])


def test_range_on_a_clip(tmp_path):
    """Outside the span every frame is there, with its time, and is the source's own."""
    source = write_clip(tmp_path / "in.mkv", moving(30), sound=False, codec="ffv1")
    result = video_command(source, tmp_path / "out.mkv", "--range", "0.4", "0:00:00.8", "--codec", "ffv1", "--quiet")
    assert result.returncode == 0, result.stderr
    before, times = read_clip(source, "yuv420p")
    after, new_times = read_clip(tmp_path / "out.mkv", "yuv420p")
    assert times == new_times
    same = [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert same == [True] * 10 + [False] * 10 + [True] * 10


def test_roi_and_strength_on_a_clip(tmp_path):
    source = write_clip(tmp_path / "in.mkv", [backlit(120, 192)] * 12, sound=False, codec="ffv1")
    options = "--roi", "33,61,101,47", "--strength", "0:0,0.4:1", "--codec", "ffv1", "--quiet"
    result = video_command(source, tmp_path / "out.mkv", *options)
    assert result.returncode == 0, result.stderr
    before, _ = read_clip(source, "yuv420p")
    after, _ = read_clip(tmp_path / "out.mkv", "yuv420p")
    luma = np.array(after)[:, :120].astype(int) - np.array(before)[:, :120]
    assert not luma[:, :61].any() and not luma[:, :, :33].any() and not luma[:, 108:].any()
    inside = luma[:, 75:95, 60:110].mean(axis=(1, 2))
    assert inside[0] == 0 and (np.diff(inside[:10]) > 0).all() and inside[-1] > 5


@pytest.mark.parametrize(
    "options",
    [["--range", "2", "1"], ["--roi", "1,2,3"], ["--strength", "0:9,1:1"], ["--strength", "x"], ["--temporal", "2"]],
)
def test_wrong_usage(tmp_path, options):
    source = write_clip(tmp_path / "in.mkv", moving(2), sound=False)
    result = video_command(source, tmp_path / "out.mkv", *options, text=True)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize("outside", [0, 255, "noise"])
def test_what_lies_outside_has_no_say(enhancer, outside):
    """The light in an area is that of its own picture; outside nothing changes, and the edge is soft."""
    picture = backlit(360, 640)
    other = np.random.default_rng(0).integers(0, 255, picture.shape, dtype=np.uint8)
    other = other if outside == "noise" else np.full_like(picture, outside)
    inside = np.s_[150:330, 100:400]
    other[inside] = picture[inside]
    results = []
    for pixels in (PackedRGB(picture), PackedRGB(other)):
        clip = Relighting(enhancer, LightSettings(0.0, Region(100, 150, 300, 180)))
        results.append(clip.relight(pixels, clip.look([pixels])[0], 0.0).samples.astype(int))
    assert np.abs(results[0][inside] - results[1][inside]).max() <= 1
    changed = np.abs(results[0] - picture)
    assert changed[:150].max() == 0 and changed[:, :100].max() == 0 and changed[200:300, 200:300].mean() > 10
    assert np.abs(np.diff(changed[200:300, 90:135].mean(axis=(0, 2)))).max() < 5
