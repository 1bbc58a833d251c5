"""Speed, each figure next to a named reference measured in the same run; prints a table.

    python -m cliplit.benchmarks.speed              # one 1080p frame and a 1080p clip
    python -m cliplit.benchmarks.speed --clip FILE  # with a clip of your own

Timings of a shared machine are noisy: the ratios are what counts. The frame is compared by wall time with the paper's
network in PyTorch at full size; the clip by processor time with one ffmpeg that decodes the source and encodes the
very pictures cliplit-video made, with the same settings.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from cliplit.runtime import Enhancer
from cliplit.runtime.proxy import rgb_proxy
from cliplit.runtime.video_cli import DEMO

from cliplit.arrays import Array
from cliplit.command import reports_errors
from cliplit.errors import BackendError

Row = tuple[str, str, str]  # what, figure, compared with
WIDTH, HEIGHT = 1920, 1080
ENCODER = ["-c:v", "libx264", "-crf", "18", "-preset", "medium"]  # cliplit-video's defaults


def wall(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of a call, after one that warms up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def processor_time(*command: str | Path) -> float:
    """User and system seconds of a program and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise BackendError(f"{command[0]} failed: {done.stderr.strip()[-300:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def frame_rows() -> list[Row]:
    """One 1080p frame, without codec."""
    picture = sample_frame()
    lite, unet = Enhancer("lite"), Enhancer("unet")
    lite_time, unet_time = wall(lambda: lite(picture), 20), wall(lambda: unet(picture), 3)
    single = Enhancer("lite", threads=1)
    proxy = rgb_proxy(picture, single.proxy_size(HEIGHT, WIDTH))
    network = wall(lambda: single.network(proxy.rgb), 20)
    rows = [
        ("1080p frame, lite", f"{lite_time * 1e3:.1f} ms", ""),
        ("of which its network, on one core", f"{network * 1e3:.1f} ms", "{1}x{0}".format(*proxy.luma.shape)),
        ("1080p frame, unet fast", f"{unet_time * 1e3:.0f} ms", ""),
    ]
    reference = original_seconds(picture)
    if reference is None:
        rows.append(("paper's network in PyTorch, full size", "not measured", "torch is not installed"))
    else:
        rows.append(
            (
                "paper's network in PyTorch, full size",
                f"{reference:.1f} s",
                f"lite is {reference / lite_time:.0f} times faster",
            )
        )
    return rows


def sample_frame() -> Array:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    light = 1 / (1 + np.exp((y - HEIGHT * 0.5 - 80 * np.sin(x / 130)) / 12))
    noise = np.random.default_rng(0).normal(0, 0.01, (HEIGHT, WIDTH, 3))
    return np.round(np.clip(0.08 + 0.8 * light[..., None] + noise, 0, 1) * 255).astype(np.uint8)


def original_seconds(picture: Array) -> float | None:
    """The paper's way: the whole network at full size in PyTorch, division and clip."""
    try:
        import torch
    except ImportError:
        return None
    from cliplit.unet import UNet

    network = UNet().eval()
    batch = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None]

    def enhance() -> object:
        with torch.no_grad():
            return (batch / (network(batch) + 1e-9)).clamp(0, 1)

    start = time.perf_counter()
    enhance()
    return time.perf_counter() - start


def clip_rows(clip: Path | None, seconds: float) -> list[Row]:
    """cliplit-video against ffmpeg on the same pictures, processor time."""
    if shutil.which("ffmpeg") is None:
        raise BackendError("ffmpeg is not installed; the clip is compared with it (Debian: apt-get install ffmpeg)")
    with tempfile.TemporaryDirectory() as folder:
        source, pictures = Path(folder) / "source.mp4", Path(folder) / "pictures.yuv"
        make_source(clip or DEMO, source, seconds)
        ours = processor_time(*VIDEO, source, Path(folder) / "out.mp4", "--quiet")
        lossless = Path(folder) / "lossless.mkv"
        processor_time(*VIDEO, source, lossless, "--codec", "rawvideo", "--quiet")
        processor_time("ffmpeg", "-v", "error", "-i", lossless, "-f", "rawvideo", pictures)
        reference = processor_time(
            "ffmpeg", "-v", "error", "-i", source, "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{WIDTH}x{HEIGHT}",
            "-framerate", "25", "-i", pictures, "-map", "0:v", "-f", "null", "-", "-map", "1:v", *ENCODER,
            Path(folder) / "reference.mp4",
        )  # fmt: skip
        frames = pictures.stat().st_size // (WIDTH * HEIGHT * 3 // 2)
    return [
        ("1080p clip, cliplit-video", f"{ours / frames * 1e3:.0f} ms CPU a frame", f"{frames} frames, lite"),
        ("1080p clip, ffmpeg decode + encode", f"{reference / frames * 1e3:.0f} ms CPU a frame", "the same pictures"),
        ("ratio", f"{ours / reference:.2f}", ""),
    ]


def make_source(clip: Path, target: Path, seconds: float) -> None:
    """1080p H.264 with a little sensor noise, which real footage has and an enlarged clip lacks."""
    scaling = f"scale={WIDTH}:{HEIGHT}:flags=lanczos,noise=alls=4:allf=t,format=yuv420p"
    processor_time(
        "ffmpeg", "-v", "error", "-i", clip, "-t", str(seconds), "-an", "-r", "25", "-vf", scaling, *ENCODER, target
    )  # fmt: skip


def table(rows: list[Row]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


VIDEO = [sys.executable, "-c", "from cliplit.runtime.video_cli import main; main()"]


@click.command()
@click.option("--clip", type=click.Path(path_type=Path), help="[default: the demo clip of the package]")
@click.option("--seconds", default=4.0, show_default=True, help="Length of the clip that is measured.")
@click.option("--skip-frame", is_flag=True, help="Only the clip.")
@reports_errors
def main(clip: Path | None, seconds: float, skip_frame: bool) -> None:
    """Measure the speed of one frame and of a clip."""
    rows: list[Row] = [("processor cores", str(os.cpu_count()), "")]
    if not skip_frame:
        rows += frame_rows()
    click.echo(table(rows + clip_rows(clip, seconds)))


if __name__ == "__main__":
    main()
