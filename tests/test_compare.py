"""Original and enhanced in one picture (R6.8)."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from cliplit.runtime.light.colour import Coding
from cliplit.runtime.video.compare import comparison, divided, side_by_side, wipe_position
from cliplit.runtime.video.frames import Frame
from made import backlit, read_clip, video_command, write_clip

HALVES = {"yuv420p": (2, 2), "yuv422p": (1, 2), "yuv444p": (1, 1), "yuv420p10le": (2, 2)}


def frame(value, height, width, pixel_format="yuv420p", alpha=False, pts=0):
    rows, columns = HALVES[pixel_format]
    depth = 10 if "10" in pixel_format else 8
    dtype = np.uint16 if depth > 8 else np.uint8
    chroma = -(-height // rows), -(-width // columns)
    planes = tuple(np.full(shape, value + i, dtype) for i, shape in enumerate(((height, width), chroma, chroma)))
    extra = np.full((height, width), value, dtype) if alpha else None
    return Frame(planes, Coding(depth=depth), pixel_format, pts, Fraction(1, 25), alpha=extra)


@pytest.mark.parametrize("pixel_format", HALVES)
@pytest.mark.parametrize("size", [(24, 40), (25, 41), (3, 2)])
def test_split_is_left_original_right_enhanced(pixel_format, size):
    out = divided(frame(40, *size, pixel_format), frame(90, *size, pixel_format), 0.5)  # type: ignore[call-arg]
    for number, plane in enumerate(out.planes):
        assert (plane[:, 0] == 40 + number).all() or plane.shape[1] < 3
        assert (plane[:, -1] == 90 + number).all() or plane.shape[1] < 3
    assert out.planes[0].shape == size
    white = 940 if "10" in pixel_format else 235
    if size[1] > 10:
        assert (out.planes[0] == white).any(axis=1).all()  # the line runs from top to bottom


@pytest.mark.parametrize("pixel_format", HALVES)
@pytest.mark.parametrize("width", [40, 41])
def test_side_by_side_keeps_luma_and_chroma_together(pixel_format, width):
    out = side_by_side(frame(40, 25, width, pixel_format, alpha=True), frame(90, 25, width, pixel_format, alpha=True))
    columns = HALVES[pixel_format][1]
    half = width + width % 2
    for number, (plane, step) in enumerate(zip(out.planes, (1, columns, columns), strict=True)):
        assert plane.shape[1] == 2 * half // step
        assert (plane[:, : half // step] == 40 + number).all() and (plane[:, half // step :] == 90 + number).all()
    assert out.alpha.shape == out.planes[0].shape


def test_the_wipe_goes_to_and_fro():
    places = [wipe_position(second / 10) for second in range(61)]
    assert min(places) < 0.01 and max(places) > 0.99 and abs(places[0] - places[-1]) < 0.01
    assert max(np.abs(np.diff(places))) < 0.06
    wiped = [comparison("wipe")(frame(40, 24, 40), frame(90, 24, 40, pts=pts)).planes[0] for pts in (0, 25, 75)]
    shares = [(plane == 40).mean() for plane in wiped]
    assert shares[0] == 0 and 0.1 < shares[1] < 0.6 and shares[2] == 1


@pytest.mark.parametrize("kind,width", [("side", 384), ("split", 192), ("wipe", 192)])
def test_on_a_clip(tmp_path, kind, width):
    source = write_clip(tmp_path / "in.mkv", [backlit(120, 192)] * 40, sound=True, codec="ffv1")
    result = video_command(source, tmp_path / "out.mkv", "--compare", kind, "--codec", "ffv1", "--quiet")
    assert result.returncode == 0, result.stderr
    before, times = read_clip(source)
    after, new_times = read_clip(tmp_path / "out.mkv")
    assert times == new_times and after[0].shape == (120, width, 3)
    left = slice(0, 192 if kind == "side" else 90 if kind == "split" else 40)
    last = after[-1][:, left].astype(int) - before[-1][:, left]
    assert np.abs(last).max() <= 1
    assert after[-1][70:, -40:].mean() > before[-1][70:, -40:].mean() + 5


def test_the_original_of_a_denoised_clip_is_not_denoised(tmp_path):
    rng = np.random.default_rng(0)
    noisy = [np.clip(backlit(120, 192) + rng.normal(0, 6, (120, 192, 3)), 0, 255).astype(np.uint8) for _ in range(14)]
    source = write_clip(tmp_path / "in.mkv", noisy, sound=False, codec="ffv1")
    options = "--compare", "side", "--denoise", "0.5", "--codec", "ffv1", "--quiet"
    assert video_command(source, tmp_path / "out.mkv", *options).returncode == 0
    before, times = read_clip(source, "yuv420p")
    after, new_times = read_clip(tmp_path / "out.mkv", "yuv420p")
    assert times == new_times
    assert all(np.array_equal(a[:120], b[:120, :192]) for a, b in zip(before, after, strict=True))
