"""Every host relights alike: the same frames in, the same bits out, fast and at full size, 8 and 10 bits.

The frei0r filter and VapourSynth are held to the same in tests/integration, in the real programs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from cliplit.plugins.client import Worker
from cliplit.plugins.protocol import STILL, Pixels, Request
from cliplit.runtime import Enhancer, LightSettings, Relighting
from cliplit.runtime.light.colour import Coding, Colour
from cliplit.runtime.light.pixels import PackedRGB, PlanarPixels
from cliplit.runtime.video.frame_loop import FrameLoop
from cliplit.runtime.video.frames import Clip, Frame
from cliplit.runtime.video.request import Steps

HEIGHT, WIDTH, FRAMES = 130, 201, 6
RATE = Fraction(1, 25)
TIME_CONSTANT = 1.0  # what --temporal 0.5 stands for
FILTER = [sys.executable, "-c", "from cliplit.plugins.filter_cli import main; main(prog_name='cliplit-filter')"]
WORKER = [sys.executable, "-c", "from cliplit.plugins.worker import main; main()"]
QUALITIES = ["fast", "exact"]


def shot(depth):
    """(n, H, W, 3) codes: a bright sky over a dark, noisy ground that pans, in `depth` bits."""
    rng, top = np.random.default_rng(5), (1 << depth) - 1
    wide = np.full((HEIGHT, WIDTH + 2 * FRAMES, 3), 0.12)
    wide += 0.03 * rng.random((HEIGHT, WIDTH + 2 * FRAMES, 1))
    wide[: HEIGHT // 3] = (0.8, 0.85, 0.95)
    frames = [wide[:, 2 * n : 2 * n + WIDTH] + rng.normal(0, 0.01, (HEIGHT, WIDTH, 1)) for n in range(FRAMES)]
    return np.round(np.clip(frames, 0, 1) * top).astype(np.uint8 if depth == 8 else np.uint16)


def by_the_video_command(planes, coding, quality, time_constant=TIME_CONSTANT, transform=tuple):
    """The planes of each frame as `cliplit-video` relights them between its decoder and its encoder."""
    height, width = planes[0][0].shape
    clip = Clip(width, height, "made", coding, Colour(), RATE)
    frames = [Frame(tuple(p.copy() for p in frame), coding, "made", n, RATE) for n, frame in enumerate(planes)]
    loop = FrameLoop(clip, Enhancer(quality=quality, threads=1), Steps(time_constant))
    return [transform(frame.planes) for frame in loop(frames)]


def rgb_planes(picture):
    return tuple(np.ascontiguousarray(picture[..., channel]) for channel in range(3))


def packed(planes):
    return np.stack(planes, axis=-1)


def lifted(before, after):
    """Something was relighted at all: otherwise equal bits say nothing."""
    return after.astype(float).mean() > 1.15 * before.astype(float).mean()


@pytest.mark.parametrize("quality", QUALITIES)
def test_the_worker_of_gimp_and_frei0r(quality):
    frames = shot(8)
    wanted = by_the_video_command(
        [rgb_planes(f) for f in frames], Coding(rgb=True, full_range=True), quality, transform=packed
    )
    opaque = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    with Worker(WORKER) as worker:
        for number, (frame, expected) in enumerate(zip(frames, wanted, strict=True)):
            request = Request(
                Pixels.RGBA8, WIDTH, HEIGHT, exact=quality == "exact", time_constant=TIME_CONSTANT,
                time=float(number * RATE),
            )  # fmt: skip
            rgba = np.concatenate([frame, opaque], axis=-1)
            got = np.frombuffer(worker.relight(request, memoryview(rgba).cast("B")), np.uint8).reshape(rgba.shape)
            assert lifted(frame, got[..., :3])
            assert np.array_equal(got[..., :3], expected), f"frame {number}"


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("depth", [8, 10])
def test_the_filter_for_raw_pipes(depth, quality):
    rgb = shot(depth).astype(np.float64) / ((1 << depth) - 1)
    kr, kb, unit = 0.299, 0.114, 1 << (depth - 8)  # what an untagged clip of this size is taken for
    luma = rgb @ np.array([kr, 1 - kr - kb, kb])
    kind = np.uint8 if depth == 8 else np.uint16
    chroma = [(rgb[..., 2] - luma) / (2 * (1 - kb)), (rgb[..., 0] - luma) / (2 * (1 - kr))]
    y = np.round((16 + 219 * luma) * unit).astype(kind)
    cb, cr = (np.round((128 + 224 * c[:, ::2, ::2]) * unit).astype(kind) for c in chroma)
    wanted = by_the_video_command(list(zip(y, cb, cr, strict=True)), Coding(kr, kb, depth=depth), quality)
    tag = "420jpeg" if depth == 8 else "420p10"
    data = f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F25:1 Ip A1:1 C{tag}\n".encode()
    for planes in zip(y, cb, cr, strict=True):
        data += b"FRAME\n" + b"".join(plane.tobytes() for plane in planes)
    done = subprocess.run(
        [*FILTER, "--quality", quality, "--quiet"], input=data, capture_output=True, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    body = done.stdout.partition(b"\n")[2]
    for number, (before, expected) in enumerate(zip(y, wanted, strict=True)):
        assert lifted(before, expected[0])
        assert body.startswith(b"FRAME\n")
        body = body[6:]
        for plane in expected:
            got = np.frombuffer(body[: plane.nbytes], kind).reshape(plane.shape)
            assert np.array_equal(got, plane), f"frame {number}"
            body = body[plane.nbytes :]
    assert not body


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("depth", [8, 16])
def test_the_python_interface(depth, quality):
    """`Relighting` on packed pictures, of a clip and by themselves, and `Enhancer` on a still."""
    frames = shot(depth)
    coding = Coding(rgb=True, full_range=True, depth=depth)
    planes = [rgb_planes(f) for f in frames]
    enhancer = Enhancer(quality=quality, threads=1)
    for constant in (TIME_CONSTANT, 0.0):
        wanted = by_the_video_command(planes, coding, quality, constant, packed)
        clip = Relighting(enhancer, LightSettings(constant))
        for number, (frame, expected) in enumerate(zip(frames, wanted, strict=True)):
            pixels = PackedRGB(frame)
            got = clip.relight(pixels, clip.look([pixels])[0], float(number * RATE))
            assert np.array_equal(got.samples, expected), f"frame {number}"
            if not constant:
                assert np.array_equal(enhancer(frame), expected)


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_still_picture_in_gimp(quality):
    """Float RGBA, as GIMP gives layers."""
    picture = np.concatenate([shot(8)[0] / np.float32(255), np.ones((HEIGHT, WIDTH, 1))], axis=-1).astype(np.float32)
    request = Request(Pixels.RGBA_FLOAT, WIDTH, HEIGHT, exact=quality == "exact", time_constant=STILL)
    with Worker(WORKER) as worker:
        got = np.frombuffer(worker.relight(request, memoryview(picture).cast("B")), np.float32)
    assert np.array_equal(got.reshape(picture.shape), Enhancer(quality=quality)(picture))


def test_grey_is_relighted_as_colourless_444():
    luma = shot(8)[0][..., 1].copy()
    neutral = np.full_like(luma, 128)
    results = []
    for planes in ((luma,), (luma, neutral, neutral)):
        clip = Relighting(Enhancer(threads=1), LightSettings(0.0))
        pixels = PlanarPixels(planes, Coding())
        results.append(clip.relight(pixels, clip.look_at(pixels), 0.0).planes[0])
    assert np.array_equal(*results)


def test_411_gets_the_mean_gain_of_the_samples_it_covers(monkeypatch):
    """Where shadows are not cleaned: that sees other samples around each one."""
    monkeypatch.setattr("cliplit.runtime.light.pixels.planes_cleanup", lambda *_: None)
    luma = shot(8)[0][..., 1].copy()
    narrow = np.random.default_rng(3).integers(120, 140, (2, HEIGHT, -(-WIDTH // 4))).astype(np.uint8)
    wide = narrow.repeat(2, axis=2)[:, :, : -(-WIDTH // 2)]
    enhancer = Enhancer(threads=1)
    light = None
    for chroma in (wide, narrow):
        pixels = PlanarPixels((luma, *chroma), Coding())
        clip = Relighting(enhancer, LightSettings(0.0))
        light = light or clip.look_at(pixels)
        y, cb, cr = clip.relight(pixels, light, 0.0).planes
        if chroma is wide:
            expected = y, cb, cr
    assert np.array_equal(y, expected[0])
    columns = WIDTH // 4  # whole groups of four
    for plane, double in zip((cb, cr), expected[1:], strict=True):
        pairs = double[:, : 2 * columns].astype(float).reshape(HEIGHT, columns, 2).mean(axis=2)
        assert np.abs(plane[:, :columns] - pairs).max() <= 0.5
