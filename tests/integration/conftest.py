"""Tests in the real programs. They run where the programs are; `.ci/plugins.sh` installs them and allows no skip."""

from __future__ import annotations

import os
import shutil

import cv2
import numpy as np
import pytest

STRICT = os.environ.get("CLIPLIT_INTEGRATION") == "required"


def missing(what):
    """Skip for want of a program; fail instead where all of them have to be there."""
    if STRICT:
        pytest.fail(f"{what} is not here, and CLIPLIT_INTEGRATION=required")
    pytest.skip(f"{what} is not here")


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            missing(program)


@pytest.fixture(scope="session")
def photo():
    """A backlit scene, (427, 640, 3) uint8 RGB: bright sky above dark, textured ground."""
    rng = np.random.default_rng(3)
    height, width = 427, 640
    y, x = np.mgrid[0:height, 0:width]
    sky = np.stack([0.6 + 0.3 * y / height, 0.75 + 0.15 * y / height, np.full(y.shape, 0.95)], axis=-1)
    ground = np.stack(
        [0.1 + 0.05 * np.sin(x / 23), 0.09 + 0.04 * np.sin(y / 17 + x / 50), 0.07 + 0.03 * np.cos(x / 31)], -1
    )
    scene = np.where((y < height * 0.35 + 40 * np.sin(x / 60))[..., None], sky, ground)
    return (np.clip(scene + rng.normal(0, 0.005, (height, width, 1)), 0, 1) * 255).astype(np.uint8)


@pytest.fixture(scope="session")
def clip(photo, tmp_path_factory):
    """A function that writes a clip of the scene moving sideways with sound, and returns its path."""
    need("ffmpeg")
    import subprocess

    folder = tmp_path_factory.mktemp("clips")

    def make(width=640, height=360, frames=12, pixel_format="yuv420p", scale=None, codec=("ffv1",)):
        path = folder / f"{width}x{height}-{frames}-{pixel_format}.mkv"
        if path.exists():
            return path
        moving = [cv2.resize(np.roll(photo, 3 * k, axis=1), (width, height)) for k in range(frames)]
        subprocess.run(
            [
                "ffmpeg",
                "-v",
                "error",
                "-y",
                "-f",
                "rawvideo",
                "-pix_fmt",
                "rgb24",
                "-s",
                f"{width}x{height}",
                "-r",
                "25",
                "-i",
                "-",
                "-f",
                "lavfi",
                "-t",
                f"{frames / 25}",
                "-i",
                "sine=440",
                "-pix_fmt",
                pixel_format,
                "-c:v",
                *codec,
                "-c:a",
                "pcm_s16le",
                str(path),
            ],
            input=b"".join(frame.tobytes() for frame in moving),
            check=True,
        )
        return path

    return make


def psnr(a, b, peak=255.0):
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else 10 * np.log10(peak**2 / error)
