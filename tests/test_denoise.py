"""Noise taken out before it is brought up (R6.7): every frame with its time, less crawling, no ghosts."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from cliplit.runtime.light.colour import MATRICES, Coding
from cliplit.runtime.video.denoise import chain_of, denoised
from cliplit.runtime.video.pyav_frame import frame_of
from made import camera_noise, read_clip, video_command, write_clip


def ground(height=144, width=192):
    y, x = np.mgrid[0:height, 0:width]
    return np.repeat((30 + 8 * (((x // 24) + (y // 24)) % 2) + 4 * np.sin(x / 9))[..., None], 3, axis=2)


def frames_of(pictures, pixel_format="yuv420p", pts=None):
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixel_format)
        frame.pts, frame.time_base = number * 7 + number % 3 if pts is None else pts[number], Fraction(1, 200)
        yield frame_of(frame, Coding(*MATRICES[6], depth=10 if "10" in pixel_format else 8))


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuv422p10le"])
def test_crawling_noise_is_less_and_every_frame_is_there(pixel_format):
    pairs = list(denoised(frames_of(camera_noise(ground(), 30), pixel_format), 0.5))
    assert (
        [original.pts for original, _, _ in pairs]
        == [clean.pts for _, clean, _ in pairs]
        == [n * 7 + n % 3 for n in range(30)]
    )
    before, after = (np.array([pair[i].planes[0] for pair in pairs]).astype(float)[6:-6] for i in (0, 1))
    assert after.std(axis=0).mean() < before.std(axis=0).mean() / 3
    assert np.abs(after.mean(axis=0) - before.mean(axis=0)).mean() < 0.5 * before.std(axis=0).mean()


def test_what_moves_leaves_no_ghost():
    """A bright square in the dark goes eight pixels a frame; where it was, the ground is as it was."""
    rng = np.random.default_rng(0)
    pictures = []
    for number in range(20):
        picture = ground()
        picture[60:90, 8 * number : 8 * number + 30] = 120
        pictures.append(np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8))
    pairs = list(denoised(frames_of(pictures), 0.5))
    clean = next(frames_of([ground().astype(np.uint8)])).planes[0].astype(float)
    behind = pairs[12][1].planes[0][62:88, 60:90].astype(float)
    assert abs((behind - clean[62:88, 60:90]).mean()) < 1.5


def test_a_clean_clip_stays_nearly_as_it_is():
    pictures = [ground().astype(np.uint8)] * 12
    difference = [
        np.abs(a.planes[0].astype(int) - b.planes[0]).mean() for a, b, _ in denoised(frames_of(pictures), 0.5)
    ]
    assert len(difference) == 12 and max(difference) <= 0.6


def test_packets_pass_and_nothing_happens_at_zero():
    items = ["packet", *frames_of(camera_noise(ground(), 3)), "end"]
    assert [pair[0] for pair in denoised(items, 0.0)] == items
    assert [pair[0] for pair in denoised(items, 0.5) if isinstance(pair[0], str)] == ["packet", "end"]


def test_the_filters_go_on_where_they_were():
    """From the memory of any frame on, the same pictures come out, also where the noise has changed."""
    rng = np.random.default_rng(1)
    noisy = [np.clip(ground() + rng.normal(0, 2 if n < 20 else 9, (144, 192, 3)), 0, 255).astype(np.uint8)
             for n in range(40)]  # fmt: skip
    whole = [(o.pts, c.planes[0].copy(), memory) for o, c, memory in denoised(frames_of(noisy), 0.5)]
    pts = [time for time, _, _ in whole]
    for begin in (1, 5, 12, 19, 24, 25, 30, 38):
        memory = whole[begin][2]
        first = pts.index(memory.start)
        assert begin - 4 <= first <= begin
        frames = (f for n, f in enumerate(frames_of(noisy)) if n >= first)
        again = [(o.pts, c.planes[0]) for o, c, _ in denoised(frames, 0.5, memory, pts[begin])]
        assert [time for time, _ in again] == pts[begin:]
        for (_, expected, _), (_, found) in zip(whole[begin:], again, strict=True):
            assert np.array_equal(expected, found), begin


def test_hqdn3d_is_taken_where_it_is():
    assert chain_of(0.5, 0.01, {"hqdn3d", "atadenoise"})[0][0] == "hqdn3d"
    assert [name for name, _ in chain_of(0.5, 0.01, {"atadenoise"})] == ["atadenoise", "fftdnoiz"]


def test_on_a_clip(tmp_path):
    """The whole command: the noise that the gain brings up is 0.4 times or less, nothing is lost or shifted."""
    source = write_clip(tmp_path / "in.mkv", camera_noise(ground(), 24), sound=True, codec="ffv1")
    results = {}
    for name, options in {"plain": ["--keep-grain"], "denoised": ["--keep-grain", "--denoise", "0.5"]}.items():
        target = tmp_path / f"{name}.mkv"
        result = video_command(source, target, *options, "--codec", "ffv1", "--quiet")
        assert result.returncode == 0, result.stderr
        frames, times = read_clip(target, "yuv420p")
        assert times == read_clip(source)[1]
        results[name] = np.array(frames)[6:-6, :144].astype(float).std(axis=0).mean()
    assert results["denoised"] < 0.4 * results["plain"]
