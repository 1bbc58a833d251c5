"""Flicker of methods on a clip: how much a method's gain jumps from frame to frame at the same point of the scene.

The gain is log2 of blurred luma after over before. That of a frame is carried to the next one by the source's optical
flow (DIS; Kroeger et al., ECCV 2016) and compared where the source itself agrees with the flow, so that neither moving
edges nor the source's own changes count. Given in per cent of brightness. `flicker.py` has the finer measures, on shots
whose truth is known; this one takes any method and any clip.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np

from cliplit.arrays import Array
from cliplit.errors import BackendError, InputError
from cliplit.runtime.video.pyav import open_to_read

from .methods import Method
from .quality import luma

BLUR = 2.0  # pixels
AGREES = 0.02  # difference of luma up to which a pixel counts as followed
FRAMES = 60  # of a clip that are used
STEADIED = "lite, cliplit-video"
VIDEO = [sys.executable, "-c", "from cliplit.runtime.video.cli import main; main()"]


def flicker_table(clip: Path, methods: Sequence[Method], frames: int = FRAMES) -> dict[str, float]:
    """Measure flicker in per cent: every method frame by frame, and cliplit-video with its temporal filter."""
    before = list(frames_of(clip, frames))
    if len(before) < 2:
        raise InputError(f"{clip}: {len(before)} frames; flicker needs at least 2")
    steps = list(flows(before))
    table = {m.name: jitter(before, [m.enhance(frame) for frame in before], steps) for m in methods}
    return table | {STEADIED: jitter(before, steadied(clip, len(before)), steps)}


@dataclass(frozen=True)
class Step:
    """The motion between two frames: each pixel's position before, (H, W) each, and where the flow is reliable."""

    x: Array
    y: Array
    followed: Array


def flows(frames: Sequence[Array]) -> Iterator[Step]:
    flow_of = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    y, x = np.mgrid[0 : frames[0].shape[0], 0 : frames[0].shape[1]].astype(np.float32)
    for previous, current in pairwise(frames):
        one, other = luma(current), luma(previous)
        codes = [np.round(picture * 255).astype(np.uint8) for picture in (one, other)]
        flow = np.asarray(flow_of.calc(codes[0], codes[1], np.zeros((*one.shape, 2), np.float32)))
        to_x, to_y = x + flow[..., 0], y + flow[..., 1]
        carried = cv2.remap(other, to_x, to_y, cv2.INTER_LINEAR, borderValue=-1000.0)
        yield Step(to_x, to_y, np.abs(carried - one) < AGREES)


def jitter(before: Sequence[Array], after: Sequence[Array], steps: Sequence[Step]) -> float:
    """Compute the mean change of gain along the optical flow, in per cent."""
    gains = [gain(a, b) for a, b in zip(after, before, strict=True)]
    changes = []
    for (previous, current), step in zip(pairwise(gains), steps, strict=True):
        change = np.abs(cv2.remap(previous, step.x, step.y, cv2.INTER_LINEAR) - current)[step.followed]
        changes.append(float(change.mean()) if change.size else 0.0)
    return 100 * (2 ** float(np.mean(changes)) - 1)


def gain(after: Array, before: Array) -> Array:
    """Compute the gain in stops, blurred to remove sensor noise, which every gain carries along."""
    bright, dark = (cv2.GaussianBlur(luma(picture), (0, 0), BLUR) + 0.02 for picture in (after, before))
    return np.log2(bright / dark)


def frames_of(clip: Path, frames: int) -> Iterator[Array]:
    """Read the first frames as (H, W, 3) uint8."""
    try:
        with open_to_read(clip) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number == frames:
                    return
                yield frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, OSError, IndexError) as error:
        raise InputError(f"{clip}: not a video file that can be read ({error})") from error


def steadied(clip: Path, frames: int) -> list[Array]:
    """Relight the same frames with cliplit-video, losslessly."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "steadied.mkv"
        command = [*VIDEO, str(clip), str(target), "--codec", "ffv1", "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise BackendError(f"cliplit-video failed on {clip}: {done.stderr.strip()[-300:]}")
        return list(frames_of(target, frames))
