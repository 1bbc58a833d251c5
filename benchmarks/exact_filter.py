"""Where to put the temporal filter with quality "exact": at proxy size, as shipped, or at full size.

    python -m cliplit.benchmarks.exact_filter                   # both networks, 640x360; prints a table
    python -m cliplit.benchmarks.exact_filter --time 1920x1080  # only what the filter takes, of a made map

What pulses is the standard deviation over time of the luminance of blocks of the result, in 8-bit codes, on a still
shot with sensor noise (that of `flicker`); the noise itself is in it. The time is the filter's with all that puts its
answer into the light map, on the processor.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import click
import numpy as np

from cliplit.arrays import Array
from cliplit.command import reports_errors
from cliplit.runtime import Enhancer, LightSettings, PackedRGB, Relighting
from cliplit.runtime.light.relighting import Light

from .exact import parse
from .flicker import HEIGHT, RATE, WIDTH, luminance, noisy, still_picture

BLOCKS = 4, 16, 64
SETTLED = 12  # frames before anything counts


def relighting_of(enhancer: Enhancer, where: str) -> Relighting:
    """Make the state of a clip; `where`: "none" for frame by frame, "proxy size", "full size"."""
    if where == "full size":
        enhancer = enhancer.adjusted(enhancer.strength, enhancer.max_gain, enhancer.quality)
        object.__setattr__(enhancer, "steady_size", lambda height, width: (height, width))  # this one copy's
    return Relighting(enhancer, LightSettings(0.0) if where == "none" else LightSettings())


def pulses(enhancer: Enhancer, frames: list[Array], where: str) -> list[float]:
    """Return how much blocks of each size of BLOCKS pulse."""
    relighting, lumas = relighting_of(enhancer, where), []
    for number, picture in enumerate(frames):
        pixels = PackedRGB(picture)
        relighted = relighting.relight(pixels, relighting.look_at(pixels), number / RATE)
        assert isinstance(relighted, PackedRGB)
        lumas.append(luminance(relighted.samples))
    return [pulse(np.array(lumas[SETTLED:]), block) for block in BLOCKS]


def pulse(lumas: Array, block: int) -> float:
    """Measure how block means of (n, H, W) frames vary over time."""
    rows, columns = lumas.shape[1] // block, lumas.shape[2] // block
    whole = lumas[:, : rows * block, : columns * block]
    blocks = whole.reshape(len(lumas), rows, block, columns, block).mean(axis=(2, 4))
    return float(np.std(blocks, axis=0).mean())


def milliseconds(enhancer: Enhancer, size: tuple[int, int], where: str, frames: int = 8) -> float:
    """Median of the filter and what puts its answer into the light map, on noise that stands still."""
    relighting, rng = relighting_of(enhancer, where), np.random.default_rng(0)
    still, light = rng.random(size, dtype=np.float32), -rng.random(size, dtype=np.float32)
    times = []
    for number in range(frames):
        luma = np.clip(still + rng.normal(0, 0.01, size).astype(np.float32), 0, 1)
        start = time.perf_counter()
        relighting.coefficients(Light(light, luma, luma), number / RATE)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[1:])


def rows(frames: int) -> Iterator[str]:
    yield f"{'':24}" + "".join(f"{f'{block}x{block}':>10}" for block in BLOCKS)
    shot = list(noisy([still_picture()] * frames))
    enhancer = Enhancer(quality="exact", device="cpu", threads=1)
    for where in ("none", "proxy size", "full size"):
        yield f"{where:24}" + "".join(f"{value:10.3f}" for value in pulses(enhancer, shot, where))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--frames", default=32, show_default=True)
@click.option("--time", "size", metavar="WxH", help="Only time the filter at this size.")
@reports_errors
def main(frames: int, size: str | None) -> None:
    """Compare the temporal filter at proxy size and at full size."""
    if size is None:
        click.echo(f"pulse of the result, {WIDTH}x{HEIGHT}, {frames} frames")
        for line in rows(frames):
            click.echo(line)
        return
    enhancer = Enhancer(quality="exact", device="cpu", threads=1)
    for where in ("proxy size", "full size"):
        click.echo(f"{where:12} {milliseconds(enhancer, parse(size), where):6.1f} ms a frame")


if __name__ == "__main__":
    main()
