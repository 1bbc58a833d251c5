"""The proof that an exported file computes what its checkpoint computes: a table, and a bound for each precision.

It compares light maps and, by PSNR, enhanced pictures (in float, so that rounding to 8 bits hides nothing) for frames
of the demo clip at their own size, at sizes that no layer divides evenly, and at random sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from cliplit.arrays import Array
from cliplit.errors import BackendError, ParityError
from cliplit.install import install_hint
from cliplit.runtime import Enhancer
from cliplit.runtime.backends import BACKENDS, Backend
from cliplit.runtime.backends.devices import Device, nvidia_driver
from cliplit.runtime.enhancer import Quality
from cliplit.runtime.network import LightMapNetwork
from cliplit.runtime.video.pyav import open_to_read

DEMO = Path(__file__).parents[1] / "runtime" / "demo" / "backlit.mp4"
ODD_SIZES = ((511, 767), (97, 101), (255, 130))  # neither 2, 3, 6 nor 16 divides them
EXACT_SIZE = (143, 187)  # of the picture that is also enhanced at full size


@dataclass(frozen=True)
class Tolerance:
    """Bounds of equality: `largest` |difference| of the light map, least `psnr` (dB) of the enhanced picture."""

    largest: float
    psnr: float


# fp32: rounding in another order. fp16: T7 of docs/requirements.md. int8: what no eye tells apart at 8 bits.
TOLERANCES = {
    "fp32": Tolerance(1e-5, 100.0),
    "fp16": Tolerance(5e-3, 50.0),
    "bf16": Tolerance(5e-2, 40.0),
    "int8": Tolerance(1e-1, 40.0),
}


@dataclass(frozen=True)
class Comparison:
    """One line of the table."""

    backend: str
    picture: str
    largest: float
    mean: float
    psnr: float

    def passes(self, tolerance: Tolerance) -> bool:
        return self.largest <= tolerance.largest and self.psnr >= tolerance.psnr  # NaN fails both


def sample_pictures() -> Iterator[tuple[str, Array]]:
    """Yield (name, (H, W, 3) float32 in [0, 1]) of demo frames, original and at odd and random sizes.

    The random sizes are the same each time, so that a file which passes once passes again.
    """
    frames = demo_frames([0, 1 / 3, 2 / 3])
    for number, frame in enumerate(frames):
        yield f"demo {number} {frame.shape[1]}x{frame.shape[0]}", frame
    rng = np.random.default_rng(0)
    sizes = [*ODD_SIZES, *(tuple(map(int, rng.integers(32, 700, 2))) for _ in range(2))]
    for number, (height, width) in enumerate(sizes):
        frame = cv2.resize(frames[number % 3], (width, height), interpolation=cv2.INTER_AREA)
        yield f"{'odd' if number < len(ODD_SIZES) else 'random'} {width}x{height}", frame


def demo_frames(times: Sequence[float]) -> list[Array]:
    """Read frames of the demo clip, (H, W, 3) float32 in [0, 1], at these fractions of its length."""
    with open_to_read(DEMO) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return [decoded[int(len(decoded) * time)].astype(np.float32) / np.float32(255) for time in times]


def compare(reference: Backend, others: Sequence[tuple[str, Backend]]) -> list[Comparison]:
    """Compare back ends with the reference on the same proxies; one block of lines per back end."""
    lines: dict[str, list[Comparison]] = {name: [] for name, _ in others}
    for title, picture, quality in _cases(reference.info.shape is None):
        light, enhanced = _run(reference, picture, quality)
        for name, other in others:
            own_light, own_enhanced = _run(other, picture, quality)
            difference = np.abs(own_light.astype(np.float64) - light)
            lines[name].append(
                Comparison(name, title, float(difference.max()), float(difference.mean()), psnr(own_enhanced, enhanced))
            )
    return [line for name, _ in others for line in lines[name]]


def _cases(every_size: bool) -> Iterator[tuple[str, Array, Quality]]:
    for title, picture in sample_pictures():
        yield title, picture, "fast"
    if every_size:
        small = cv2.resize(picture, EXACT_SIZE[::-1], interpolation=cv2.INTER_AREA)
        yield f"full size {EXACT_SIZE[1]}x{EXACT_SIZE[0]}", small, "exact"


def _run(backend: Backend, picture: Array, quality: Quality) -> tuple[Array, Array]:
    """Return (light map, enhanced picture)."""
    network = Recorder(backend)
    enhanced = Enhancer(network, quality=quality)(picture)
    return network.light, enhanced


class Recorder(LightMapNetwork):
    """A network that keeps its last light map, NaN included; the batch of a fixed size is filled with one picture."""

    light: Array

    def light_maps(self, pictures: Array) -> Array:
        batch = self.info.shape[0] if self.info.shape else len(pictures)
        self.light = self.backend(np.repeat(pictures, batch // len(pictures), axis=0))
        return self.light[: len(pictures)]


def psnr(a: Array, b: Array) -> float:
    """Compute the PSNR in dB for a peak of 1; 200 for equal pictures."""
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return 200.0 if error < 1e-20 else float(-10 * np.log10(error))


def opened_here(path: Path) -> Iterator[tuple[str, Backend]]:
    """Open `path` with every back end of this machine that computes in the file's own precision."""
    for row in BACKENDS:
        if row.reduced or path.suffix not in row.suffixes or row.name == "pytorch":
            continue
        for kind in row.devices:
            if kind == "cuda" and nvidia_driver().problem:
                continue
            try:
                yield f"{row.name} {kind}", row.open(path, Device(kind), 0)
            except BackendError:
                continue  # not installed; `cliplit-doctor` says so


def check(path: Path, reference: Backend, precision: str, source: Path) -> list[Comparison]:
    """Compare `path` on every back end of this machine with `reference`.

    Raises ParityError, the table in it, where one is over the tolerance of `precision`.
    """
    others = list(opened_here(path))
    if not others:
        raise BackendError(f"nothing here can run the exported file; install: {install_hint('cpu')}")
    lines = compare(reference, others)
    tolerance = TOLERANCES[precision]
    if failed := [line for line in lines if not line.passes(tolerance)]:
        worst = min(failed, key=lambda line: line.psnr)
        raise ParityError(
            f"{source}: in {precision}, {worst.backend} differs from PyTorch on {worst.picture}: light map by "
            f"{worst.largest:.1e} (at most {tolerance.largest:.0e}), enhanced picture {worst.psnr:.1f} dB (at least "
            f"{tolerance.psnr:.0f}); {len(failed)} of {len(lines)} comparisons failed, nothing was written"
        )
    return lines


def table(lines: Sequence[Comparison]) -> str:
    """Format the comparisons as an aligned text table."""
    head = ("back end", "picture", "largest", "mean", "PSNR")
    rows = [
        (line.backend, line.picture, f"{line.largest:.1e}", f"{line.mean:.1e}", f"{line.psnr:.1f} dB") for line in lines
    ]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(5)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in (head, *rows))
