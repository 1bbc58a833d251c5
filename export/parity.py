"""The proof that an exported file computes what its checkpoint computes: a table, and a bound for each precision.

Compared are the light maps and, as PSNR, the enhanced pictures (float, so that rounding to 8 bits hides nothing), on
frames of the demo clip as they are, at sizes that no layer divides evenly, and at random sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from cliplit.runtime.backends import BACKENDS, Backend
from cliplit.runtime.devices import Device, nvidia_driver
from cliplit.runtime.enhancer import Enhancer
from cliplit.runtime.network import LightMapNetwork

from cliplit.arrays import Array
from cliplit.errors import BackendError, ParityError

DEMO = Path(__file__).parents[1] / "runtime" / "demo" / "backlit.mp4"
ODD_SIZES = ((511, 767), (97, 101), (255, 130))  # neither 2, 3, 6 nor 16 divides them
EXACT_SIZE = (143, 187)  # of the picture that is also enhanced at full size


@dataclass(frozen=True)
class Tolerance:
    """What counts as equal: `largest` |difference| of the light map, least `psnr` (dB) of the enhanced picture."""

    largest: float
    psnr: float


# fp32: rounding in another order. fp16: T7 of the requirements. int8: what no eye tells apart at 8 bits.
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


def sample_pictures(seed: int = 0) -> Iterator[tuple[str, Array]]:
    """(name, (H, W, 3) float32 in [0, 1]) of frames of the demo clip, as they are and at odd and random sizes."""
    with av.open(str(DEMO)) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    frames = [np.float32(decoded[len(decoded) * i // 3]) / np.float32(255) for i in range(3)]
    for number, frame in enumerate(frames):
        yield f"demo {number} {frame.shape[1]}x{frame.shape[0]}", frame
    rng = np.random.default_rng(seed)
    sizes = [*ODD_SIZES, *(tuple(rng.integers(32, 700, 2)) for _ in range(2))]
    for number, (height, width) in enumerate(sizes):
        frame = cv2.resize(frames[number % 3], (int(width), int(height)), interpolation=cv2.INTER_AREA)
        yield f"{'odd' if number < len(ODD_SIZES) else 'random'} {width}x{height}", frame


def compare(reference: Backend, other: Backend, name: str, seed: int = 0) -> Iterator[Comparison]:
    """The table's lines for one back end. Both are shown the same proxies; `name` is what the lines are called."""
    for title, picture in sample_pictures(seed):
        yield _compare(reference, other, name, title, picture, "fast")
    if other.info.shape is None:
        small = cv2.resize(picture, EXACT_SIZE[::-1], interpolation=cv2.INTER_AREA)
        yield _compare(reference, other, name, f"full size {EXACT_SIZE[1]}x{EXACT_SIZE[0]}", small, "exact")


def _compare(reference: Backend, other: Backend, name: str, title: str, picture: Array, quality: str) -> Comparison:
    enhanced, lights = [], []
    for backend in (reference, other):
        enhancer = Enhancer(Recorder(backend, lights), quality=quality)  # type: ignore[arg-type]
        enhanced.append(enhancer(picture))
    difference = np.abs(lights[0].astype(np.float64) - lights[1])
    return Comparison(name, title, float(difference.max()), float(difference.mean()), psnr(*enhanced))


class Recorder(LightMapNetwork):
    """A network that keeps what it answers. No guard: NaN is to be seen."""

    def __init__(self, backend: Backend, lights: list[Array]) -> None:
        super().__init__(backend)
        self._lights = lights

    def light_maps(self, pictures: Array) -> Array:
        light = self.backend(pictures)
        self._lights.append(light)
        return light


def psnr(a: Array, b: Array) -> float:
    """dB, peak 1; 200 for equal pictures."""
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return 200.0 if error < 1e-20 else float(-10 * np.log10(error))


def opened_here(path: Path) -> Iterator[tuple[str, Backend]]:
    """Every back end of this machine that opens `path` and computes in the file's own precision."""
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
    lines = [line for name, backend in opened_here(path) for line in compare(reference, backend, name)]
    if not lines:
        raise BackendError('nothing here can run the exported file; install: pip install "cliplit[cpu]"')
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
    """For people."""
    head = ("back end", "picture", "largest", "mean", "PSNR")
    rows = [
        (line.backend, line.picture, f"{line.largest:.1e}", f"{line.mean:.1e}", f"{line.psnr:.1f} dB") for line in lines
    ]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(5)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in (head, *rows))
