"""A clip from file to file, compared with ffmpeg on the same machine in the same run.

There are two references: ffmpeg transcoding the source, and ffmpeg decoding the source and encoding the pictures that
cliplit-video made. The second is the same work without relighting, as the detail in relighted shadows costs an encoder
time.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from cliplit.errors import BackendError, InputError
from cliplit.runtime.video.pyav import open_to_read

from .timing import Usage, run_program

ENCODER = ["-c:v", "libx264", "-crf", "18", "-preset", "medium"]  # cliplit-video's defaults
VIDEO = [sys.executable, "-c", "from cliplit.runtime.video.cli import main; main()"]


@dataclass(frozen=True)
class ClipTimes:
    """One size and core count: each program's time for `frames` frames."""

    size: str
    cores: int
    frames: int
    model: str
    ours: Usage
    transcode: Usage
    same_pictures: Usage


def measure_clip(
    clip: Path, name: str, size: tuple[int, int], cores: int, seconds: float, model: str, folder: Path
) -> ClipTimes:
    """Time a clip of `size` (height, width). Raises BackendError without ffmpeg, InputError for an unreadable clip."""
    if shutil.which("ffmpeg") is None:
        raise BackendError("ffmpeg is not installed; the clip is compared with it (Debian: apt-get install ffmpeg)")
    source, pictures = folder / f"source-{name}.mp4", folder / f"pictures-{name}-{model}.mkv"
    if not source.exists():
        make_source(clip, source, size, seconds)
    if not pictures.exists():
        run_program([*VIDEO, source, pictures, "--model", model, "--codec", "rawvideo", "--quiet"])
    target = folder / "out.mp4"
    ours = run_program([*VIDEO, source, target, "--model", model, "--overwrite", "--quiet"], cores)
    transcode = run_program(["ffmpeg", "-v", "error", "-y", "-i", source, *ENCODER, target], cores)
    same = run_program(
        ["ffmpeg", "-v", "error", "-y", "-i", source, "-i", pictures, "-map", "0:v", "-f", "null", "-",
         "-map", "1:v", *ENCODER, target], cores,
    )  # fmt: skip
    return ClipTimes(name, cores, frame_count(source), model, ours, transcode, same)


def make_source(clip: Path, target: Path, size: tuple[int, int], seconds: float) -> None:
    """Write an H.264 clip of this size with slight sensor noise, which real footage has and upscaled clips lack."""
    if not clip.is_file():
        raise InputError(f"{clip}: no such file")
    scaling = f"scale={size[1]}:{size[0]}:flags=lanczos,noise=alls=4:allf=t,format=yuv420p"
    only_file = ["-protocol_whitelist", "file", "-i", f"file:{clip}"]
    cut = ["-t", str(seconds), "-an", "-r", "25", "-vf", scaling]
    run_program(["ffmpeg", "-v", "error", *only_file, *cut, *ENCODER, target])


def frame_count(clip: Path) -> int:
    with open_to_read(clip) as container:
        return sum(1 for packet in container.demux(video=0) if packet.size)
