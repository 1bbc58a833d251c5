"""Flicker of methods on a clip: how much a method's gain jumps from frame to frame, whatever the scene does.

For each 16x16 block the gain is log2 of mean luma after over before; what is measured is its second difference over
time, g(t) - (g(t - 1) + g(t + 1)) / 2, which a steady change such as a pan leaves at 0. The root mean square over blocks
and frames is given in per cent of brightness.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
from cliplit.benchmarks.methods import Method
from cliplit.benchmarks.quality import luma

from cliplit.arrays import Array
from cliplit.errors import BackendError, InputError

BLOCK = 16
FRAMES = 60  # of a clip that are used
STEADIED = "lite, cliplit-video"
VIDEO = [sys.executable, "-c", "from cliplit.runtime.video_cli import main; main()"]


def flicker_table(clip: Path, methods: Sequence[Method], frames: int = FRAMES) -> dict[str, float]:
    """{method: per cent}: every method frame by frame, and cliplit-video with its filter over time."""
    before = list(frames_of(clip, frames))
    if len(before) < 3:
        raise InputError(f"{clip}: {len(before)} frames; flicker needs at least 3")
    source = np.array([blocks(luma(frame)) for frame in before])
    table = {m.name: jitter(source, np.array([blocks(luma(m.enhance(f))) for f in before])) for m in methods}
    return table | {STEADIED: jitter(source, np.array([blocks(luma(f)) for f in steadied(clip, len(before))]))}


def jitter(before: Array, after: Array) -> float:
    """Block means (n, h, w) in [0, 1] before and after -> root mean square of the gain's second difference, per cent."""
    gain = np.log2((after + 0.01) / (before + 0.01))
    second = gain[1:-1] - (gain[:-2] + gain[2:]) / 2
    return float(100 * (2 ** np.sqrt((second**2).mean()) - 1))


def blocks(picture: Array) -> Array:
    """Means of `BLOCK` squares, (H / BLOCK, W / BLOCK)."""
    height, width = picture.shape
    size = max(1, width // BLOCK), max(1, height // BLOCK)
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def frames_of(clip: Path, frames: int) -> Iterator[Array]:
    """The first frames as (H, W, 3) uint8."""
    try:
        with av.open(str(clip)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number == frames:
                    return
                yield frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, OSError, IndexError) as error:
        raise InputError(f"{clip}: not a video file that can be read ({error})") from error


def steadied(clip: Path, frames: int) -> list[Array]:
    """The same frames as cliplit-video writes them, without loss."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "steadied.mkv"
        command = [*VIDEO, str(clip), str(target), "--codec", "ffv1", "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise BackendError(f"cliplit-video failed on {clip}: {done.stderr.strip()[-300:]}")
        return list(frames_of(target, frames))
