"""Temporal stability of a relighted clip against the same frames relighted one by one; prints a table.

    python -m cliplit.benchmarks.flicker                       # synthetic shots only
    python -m cliplit.benchmarks.flicker --clip FILE ...       # warping error also on your own clips
    python -m cliplit.benchmarks.flicker --plot curves.png     # the curves behind the table (needs matplotlib)

Measured with and without the temporal filter:

- *flicker*: standard deviation over time of mean luminance and of the luminance of 16x16 blocks, on a static shot with
  sensor noise, in 8-bit codes. "all" is the whole output with its amplified sensor noise, "source" the noise of the
  input. "light" is the same gain applied to the noise-free picture: what relighting itself adds.
- *lag*: after a cut (frames until the mean luminance is within 2 % of a fresh start), after a step in exposure (frames
  until 90 % of the change), and the largest distance from the frame's own light map during a dissolve and a ramp.
- *warping error* (Lai et al., ECCV 2018) on moving shots: the mean difference between a frame and its predecessor
  warped by the source's optical flow, where the source itself agrees with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np

from cliplit.arrays import Array
from cliplit.command import reports_errors
from cliplit.constants import LUMA_WEIGHTS
from cliplit.pictures.sensor import add_noise
from cliplit.runtime import Enhancer, LightSettings, PackedRGB, Relighting
from cliplit.runtime.light.gain import apply_rgb
from cliplit.runtime.light.light_map import Coefficients
from cliplit.runtime.light.temporal import time_constant
from cliplit.runtime.video.pyav import open_to_read

RATE = 25
HEIGHT, WIDTH = 360, 640
BLOCK = 16
SHOT, READ = 4e-4, 6e-4  # of the sensor noise in linear light: about ISO 1600 of a small camera
AGREES = 0.02  # difference of the warped source up to which a pixel counts as followed by the flow


@dataclass(frozen=True)
class Relighted:
    """A shot's light, frame by frame: what is applied, the same before flicker suppression, and log2 maps."""

    applied: list[Coefficients]
    light: list[Coefficients]
    maps: Array  # (n, h, w)


def relight(enhancer: Enhancer, frames: Iterable[Array], temporal: float) -> Relighted:
    """Return the light of each frame, with and without its flicker; `temporal` 0 means frame by frame."""
    clip = Relighting(enhancer, LightSettings(time_constant(temporal)))
    applied, light, maps = [], [], []
    for number, frame in enumerate(frames):
        looked = clip.look_at(PackedRGB(frame))
        steady = clip.temporal(looked.log_light, looked.luma, number / RATE)
        light.append(enhancer.refine(steady.log_light, steady.luma))
        applied.append(enhancer.refine_steady(steady))
        maps.append(steady.log_light)
    return Relighted(applied, light, np.array(maps))


def luminance(picture: Array) -> Array:
    """Compute (H, W) luma in 8-bit codes."""
    return picture.astype(np.float32) @ np.array(LUMA_WEIGHTS, np.float32)


# ---------------------------------------------------------------- made shots


def still_picture(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> Array:
    """Make an (H, W, 3) float32 linear-light picture: bright sky, dark textured foreground, a few objects."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    skyline = height * (0.42 + 0.1 * np.sin(x / width * 7 + seed) + 0.05 * np.sign(np.sin(x / width * 31)))
    texture = cv2.GaussianBlur(rng.random((height, width)).astype(np.float32), (0, 0), 2.0)
    texture = (texture - texture.min()) / np.ptp(texture)
    ground = 0.006 + 0.02 * texture
    for _ in range(12):
        top, left = rng.integers(height // 2, height - 40), rng.integers(0, width - 60)
        ground[top : top + 40, left : left + 60] *= rng.uniform(0.3, 2.5)
    sky = 0.55 + 0.35 * y / height
    picture = np.where(y > skyline, ground, sky)[..., None]
    return (picture * np.array([1.0, 0.95, 0.85], np.float32)).astype(np.float32)


def coded(linear: Array) -> Array:
    """Encode linear light as gamma-coded 8 bits."""
    return np.round(np.clip(linear, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)


def noisy(shots: Iterable[Array], seed: int = 1) -> Iterator[Array]:
    """Add sensor noise to each picture in linear light, then quantise to 8 bits."""
    rng = np.random.default_rng(seed)
    for linear in shots:
        yield coded(add_noise(linear, rng, SHOT, READ))


def moving(frames: int) -> Iterator[Array]:
    """Pan a hand-held camera over a wide still picture."""
    wide = still_picture(HEIGHT + 40, WIDTH + 4 * frames + 40)
    for number in range(frames):
        left, top = 3 * number + 10 * np.sin(number / 7) + 10, 20 + 8 * np.sin(number / 5)
        shift = np.array([[1, 0, -left], [0, 1, -top]], np.float32)
        yield cv2.warpAffine(wide, shift, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)


# ---------------------------------------------------------------- measures


def flicker(pictures: Iterable[Array]) -> tuple[float, float, float]:
    """Compute standard deviations over time: mean luminance, block luminance (RMS), and the darker half of blocks."""
    lumas = [luminance(picture) for picture in pictures]
    blocks = [cv2.resize(y, (y.shape[1] // BLOCK, y.shape[0] // BLOCK), interpolation=cv2.INTER_AREA) for y in lumas]
    means = np.array([y.mean() for y in lumas])
    variance, brightness = np.var(blocks, axis=0), np.mean(blocks, axis=0)
    dark = variance[brightness < np.median(brightness)]
    return float(means.std()), float(np.sqrt(variance.mean())), float(np.sqrt(dark.mean()))


def static_shot(enhancer: Enhancer, temporal: float, frames: int) -> dict[str, float]:
    clean = still_picture()
    pictures = list(noisy([clean] * frames))
    steady = relight(enhancer, pictures, temporal)
    settled = slice(RATE // 2, None)
    outputs = (apply_rgb(f, c) for f, c in zip(pictures[settled], steady.applied[settled], strict=True))
    all_mean, all_block, all_dark = flicker(outputs)
    *_, source_dark = flicker(pictures[settled])
    fine = np.clip(clean, 0, 1) ** (1 / 2.2)  # float: rounding to codes would hide small changes
    light_mean, light_block, _ = flicker(apply_rgb(fine.astype(np.float32), c) * 255 for c in steady.light[settled])
    return {
        "all, mean luminance": all_mean,
        "all, blocks": all_block,
        "all, dark blocks": all_dark,
        "source, dark blocks": source_dark,
        "light, mean luminance": light_mean,
        "light, blocks": light_block,
    }


def lag_after_cut(enhancer: Enhancer, temporal: float, first: Array, second: Array) -> int:
    """Count frames after the cut whose mean luminance is over 2 % away from a filter that starts there."""
    shots = list(noisy([first] * 30 + [second] * 20))
    whole, fresh = relight(enhancer, shots, temporal), relight(enhancer, shots[30:], temporal)
    means = [
        np.array([luminance(apply_rgb(f, c)).mean() for f, c in zip(shots[30:], part, strict=True)])
        for part in (whole.applied[30:], fresh.applied)
    ]
    away = np.flatnonzero(np.abs(means[0] / means[1] - 1) > 0.02)
    return int(away[-1]) + 1 if away.size else 0


def lag_after_step(enhancer: Enhancer, temporal: float, stops: float) -> int:
    """Count frames until the mean log light has made 90 % of the change after an exposure step of `stops`."""
    picture = still_picture()
    shots = list(noisy([picture] * 30 + [picture * 2.0**stops] * 50))
    curve = relight(enhancer, shots, temporal).maps.mean(axis=(1, 2))
    own = relight(enhancer, shots, 0.0).maps.mean(axis=(1, 2))
    start, end = own[:30].mean(), own[30:].mean()
    away = np.flatnonzero((curve[30:] - start) / (end - start) < 0.9)
    return int(away[-1]) + 1 if away.size else 0


def largest_distance(enhancer: Enhancer, temporal: float, shots: Sequence[Array]) -> float:
    """Compare filtered light maps with noise-free single frames: 95th percentile in stops, worst frame."""
    filtered = relight(enhancer, noisy(shots), temporal).maps
    own = relight(enhancer, map(coded, shots), 0.0).maps
    return float(np.percentile(np.abs(filtered - own), 95, axis=(1, 2)).max())


def dissolve(first: Array, second: Array, frames: int = RATE) -> list[Array]:
    mixes = [(1 - i / frames) * first + i / frames * second for i in range(frames + 1)]
    return [first] * 20 + mixes + [second] * 20


def exposure_ramp(picture: Array, stops: float, frames: int = 2 * RATE) -> list[Array]:
    ramp = [picture * np.float32(2.0 ** (stops * i / frames)) for i in range(frames + 1)]
    return [picture] * 20 + ramp + [ramp[-1]] * 20


def warping_error(sources: list[Array], outputs: list[Array]) -> float:
    """Compute the warping error in 8-bit luma codes; optical flow by DIS (Kroeger et al., ECCV 2016) on the sources."""
    flow_of: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [np.round(luminance(frame)).astype(np.uint8) for frame in sources]
    y, x = np.mgrid[0 : grey[0].shape[0], 0 : grey[0].shape[1]].astype(np.float32)
    errors = []
    for number in range(1, len(grey)):
        flow = flow_of.calc(grey[number], grey[number - 1], None)

        def carried(picture: Array, to_x: Array = x + flow[..., 0], to_y: Array = y + flow[..., 1]) -> Array:
            return cv2.remap(luminance(picture), to_x, to_y, cv2.INTER_LINEAR, borderValue=-1000.0)

        followed = np.abs(carried(sources[number - 1]) - luminance(sources[number])) < AGREES * 255
        difference = np.abs(carried(outputs[number - 1]) - luminance(outputs[number]))
        errors.append(float(difference[followed].mean()))
    return float(np.mean(errors))


def moving_shot(enhancer: Enhancer, temporal: float, frames: list[Array], clean: list[Array]) -> float:
    """Compute the warping error of the light of `frames`, applied to the noise-free `clean` ones."""
    light = relight(enhancer, frames, temporal).light
    return warping_error(clean, [apply_rgb(f, c) for f, c in zip(clean, light, strict=True)])


def read_frames(path: Path, count: int) -> list[Array]:
    """Read the first frames of a clip at the size of the synthetic ones."""
    frames = []
    with open_to_read(Path(path)) as container:
        for frame in container.decode(video=0):
            size = round(frame.width * HEIGHT / frame.height / 2) * 2, HEIGHT
            frames.append(cv2.resize(frame.to_ndarray(format="rgb24"), size, interpolation=cv2.INTER_AREA))
            if len(frames) == count:
                break
    return frames


# ---------------------------------------------------------------- the table


def rows_of(enhancer: Enhancer, temporal: float, frames: int, clips: Sequence[Path]) -> dict[str, float]:
    first, second = still_picture(seed=0), still_picture(seed=5)[:, ::-1] * np.float32(0.5)
    bright = np.clip(still_picture(seed=3) * 6, 0, 1)
    rows = {f"static shot, {name}": value for name, value in static_shot(enhancer, temporal, frames).items()}
    rows["cut to a like scene, frames late"] = lag_after_cut(enhancer, temporal, first, second)
    rows["cut to a bright scene, frames late"] = lag_after_cut(enhancer, temporal, first, bright)
    for stops in (-1.0, -0.33, 0.33, 1.0):
        rows[f"exposure step {stops:+.2f} stops, frames to 90 %"] = lag_after_step(enhancer, temporal, stops)
    rows["dissolve of 1 s, stops away"] = largest_distance(enhancer, temporal, dissolve(first, bright))
    rows["exposure ramp, -1.5 stops in 2 s, stops away"] = largest_distance(
        enhancer, temporal, exposure_ramp(first, -1.5)
    )
    clean = list(moving(frames))
    rows["made pan, warping error of the light"] = moving_shot(
        enhancer, temporal, list(noisy(clean)), [coded(f) for f in clean]
    )
    for clip in clips:
        pictures = read_frames(clip, frames)
        rows[f"{clip.name}, warping error"] = moving_shot(enhancer, temporal, pictures, pictures)
    return rows


def plot(enhancer: Enhancer, temporal: float, target: Path) -> None:
    """Plot the mean and one block's light over time for a shot with noise, a step, a dissolve and a cut."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    first, bright = still_picture(seed=0), np.clip(still_picture(seed=3) * 6, 0, 1)
    shots = [first] * 40 + [first * np.float32(0.6)] * 40 + exposure_ramp(first * np.float32(0.6), 0.7)
    shots += dissolve(first, bright) + [still_picture(seed=5)] * 40
    figure, axes = pyplot.subplots(2, 1, figsize=(14, 8), sharex=True)
    pictures = list(noisy(shots))
    for label, value in (("frame by frame", 0.0), (f"temporal {temporal:g}", temporal)):
        lights = relight(enhancer, pictures, value).maps
        axes[0].plot(lights.mean(axis=(1, 2)), label=label)
        axes[1].plot(lights[:, 150:160, 100:110].mean(axis=(1, 2)), label=label)
    for axis, title in zip(axes, ("log2 light, mean", "log2 light, a block"), strict=True):
        axis.set_title(title)
        axis.legend()
        axis.grid(alpha=0.3)
    figure.savefig(target, dpi=80, bbox_inches="tight")


def table(columns: dict[str, dict[str, float]]) -> str:
    names = list(columns)
    rows: list[tuple[str, ...]] = [("", *names, "ratio")]
    for row in columns[names[0]]:
        values = [columns[name][row] for name in names]
        ratio = f"{values[0] / values[1]:.1f}" if values[1] > 0 and not row.endswith(("late", "%", "away")) else ""
        rows.append((row, *(f"{value:.3f}" if isinstance(value, float) else str(value) for value in values), ratio))
    widths = [max(len(row[i]) for row in rows) for i in range(len(names) + 2)]
    lines = [
        [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in rows
    ]
    return "\n".join("  ".join(line) for line in lines)


@click.command()
@click.option("--clip", "clips", type=click.Path(path_type=Path), multiple=True, help="Measure this clip, too.")
@click.option("--temporal", default=0.5, show_default=True, help="As of cliplit-video.")
@click.option("--frames", default=75, show_default=True, help="Of the static and the moving shots.")
@click.option("--model", default="lite", show_default=True)
@click.option("--plot", "target", type=click.Path(path_type=Path), help="Draw the curves into this file.")
@reports_errors
def main(clips: tuple[Path, ...], temporal: float, frames: int, model: str, target: Path | None) -> None:
    """Measure flicker, lag and warping error with the temporal filter and without it."""
    enhancer = Enhancer(model, device="cpu")
    columns = {
        "frame by frame": rows_of(enhancer, 0.0, frames, clips),
        f"temporal {temporal:g}": rows_of(enhancer, temporal, frames, clips),
    }
    click.echo(table(columns))
    if target is not None:
        plot(enhancer, temporal, target)


if __name__ == "__main__":
    main()
