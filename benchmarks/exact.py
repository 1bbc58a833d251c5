"""Full-size ("exact") speed: every back end of this machine against the PyTorch original in one run.

    python -m cliplit.benchmarks.exact                    # this CPU: 512x512 and 1080p, and the lite network
    python -m cliplit.benchmarks.exact --size 512x512 --repeats 5
    python -m cliplit.benchmarks.exact --device cuda      # a card: network and apply, CUDA events; a clip, wall time

The original is the paper's network in eager PyTorch, fp32, at full size, with the same number of threads. Runs
interleave (A B C A B C ...), so that other programs disturb all alike; compare medians and ratios. On a card two things
are timed: planes in, planes out for a batch already in its memory; and `cliplit-video`'s processing from frames in
memory to frames in memory, with copies and temporal filter.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import click
import numpy as np
import torch

from cliplit.arrays import Array
from cliplit.command import reports_errors
from cliplit.errors import BackendError, InputError
from cliplit.runtime import Enhancer
from cliplit.runtime.backends import BACKENDS, Backend
from cliplit.runtime.backends.devices import Device
from cliplit.runtime.backends.model_file import find_model
from cliplit.runtime.backends.pytorch import TorchNetwork, from_onnx
from cliplit.runtime.exact.card import Card
from cliplit.runtime.light.colour import Coding, Colour
from cliplit.runtime.options import check_device
from cliplit.runtime.video.frames import Clip, Frame

Work = Callable[[], object]
LITE_SIZE = (192, 336)  # its working size for 16:9


def interleaved(works: dict[str, Work], repeats: int) -> dict[str, list[float]]:
    """Time each call in seconds, in turns, after one warm-up call each."""
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return times


def cpu_backends(model: Path, threads: int, names: Sequence[str]) -> Iterator[tuple[str, Backend]]:
    """Open `model` on the CPU with every back end, or those named, except the reference."""
    for row in BACKENDS:
        if "cpu" in row.devices and row.name != "pytorch" and row.name in (names or row.name):
            try:
                yield row.name, row.open(model, Device("cpu"), threads)
            except BackendError as error:
                click.echo(f"{row.name}: {error}")


def cpu_rows(
    model: Path, size: tuple[int, int], repeats: int, threads: int, extra: dict[str, Path], names: Sequence[str]
) -> Iterator[tuple[str, float, float]]:
    """Time the network of `model` on a picture of `size`: (name, median milliseconds, multiple of the original)."""
    torch.set_num_threads(threads)
    network, info = from_onnx(model)
    original = TorchNetwork(network.eval(), info, Device("cpu"))
    picture = noise_picture(size)
    works: dict[str, Work] = {"PyTorch original": lambda: original(picture)}
    files = {"": model} | extra
    for tag, file in files.items():
        for name, backend in cpu_backends(file, threads, names):
            works[f"{name} {tag}".strip()] = lambda backend=backend: backend(picture)  # type: ignore[misc]
    times = interleaved(works, repeats)
    reference = statistics.median(times["PyTorch original"])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        yield name, median * 1e3, reference / median


def noise_picture(size: tuple[int, int]) -> Array:
    """Make a picture of noise, (1, 3, H, W) float32."""
    return np.random.default_rng(0).random((1, 3, *size), dtype=np.float32)


def median_seconds(work: Callable[[], object], device: str, repeats: int) -> float:
    """Return the median time of a call after three to warm up: CUDA events on a card, the clock elsewhere."""
    for _ in range(3):
        work()
    times = []
    for _ in range(repeats):
        if device.startswith("cuda"):
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            start.record()  # type: ignore[no-untyped-call]
            work()
            stop.record()  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()
            times.append(start.elapsed_time(stop) / 1e3)  # type: ignore[no-untyped-call]
        else:
            begin = time.perf_counter()
            work()
            times.append(time.perf_counter() - begin)
    return statistics.median(times)


def card_rows(
    model: Path, size: tuple[int, int], repeats: int, batch: int, frames: int, device: str
) -> Iterator[tuple[float, str]]:
    """Measure a card: network and gain by CUDA events, memory-to-memory clips by wall clock; (seconds a frame, what).

    On the processor the same code runs, for tests.
    """
    enhancer = Enhancer(model, device, quality="exact", backend="pytorch")
    assert isinstance(enhancer.network.backend, TorchNetwork)
    exact = enhancer.network.card or Card(enhancer.network.backend)
    enhancer.network.card = exact
    on_card = exact.device.type == "cuda"
    if on_card:
        torch.cuda.set_device(exact.device)  # the events' and the memory count's
    coding = Coding()
    codes = exact.codes(made_planes(size, batch))

    def run() -> None:
        exact.enhance_planes(codes, coding, 1.0, 16.0)

    median = median_seconds(run, str(exact.device), repeats)
    where = "the processor"
    if on_card:
        memory = torch.cuda.max_memory_allocated() / 2**30
        where = f"{torch.cuda.get_device_name(exact.device)}, {memory:.1f} GB"
    yield median / batch, f"batch {batch} in {'half' if exact.half else 'fp32'}, {where}"
    each = clip_seconds(enhancer, size, frames) / frames
    yield each, f"a clip of {frames}, copies and temporal filter included"


def clip_seconds(enhancer: Enhancer, size: tuple[int, int], count: int) -> float:
    """Measure wall time of `count` 4:2:0 frames relighted as in `cliplit-video`, without codecs, after a warm-up."""
    from cliplit.runtime import Steps
    from cliplit.runtime.light.colour import Coding
    from cliplit.runtime.video.frame_loop import FrameLoop
    from cliplit.runtime.video.frames import Frame

    coding, tick = Coding(), Fraction(1, 25)
    clip = Clip(size[1], size[0], "yuv420p", coding, Colour(), tick)
    made = made_planes(size, 4)

    def frames(first: int, count: int) -> Iterator[Frame]:
        for pts in range(first, first + count):
            yield Frame(made[pts % len(made)], coding, "yuv420p", pts, tick).copy()

    warm, loop = 8, FrameLoop(clip, enhancer, Steps())
    for _ in loop(frames(0, warm)):
        pass
    source = list(frames(warm, count))
    start = time.perf_counter()
    for _ in loop(source):
        pass
    return time.perf_counter() - start


def made_planes(size: tuple[int, int], count: int) -> list[tuple[Array, Array, Array]]:
    """Make 8-bit 4:2:0 frames of a still, dark gradient with noise."""
    height, width = size
    rng = np.random.default_rng(0)
    still = np.linspace(20, 200, height, dtype=np.float32)[:, None]
    chroma = -(-height // 2), -(-width // 2)
    return [
        (
            (still + rng.normal(0, 3, (height, width))).clip(16, 235).astype(np.uint8),
            rng.integers(120, 136, chroma, np.uint8),
            rng.integers(120, 136, chroma, np.uint8),
        )
        for _ in range(count)
    ]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--model", default="lite", show_default=True, help="Or a file.")
@click.option("--size", "sizes", multiple=True, metavar="WxH", help="[default: 512x512 1920x1080; a card: 1080p, 4K]")
@click.option("--repeats", default=3, show_default=True)
@click.option("--threads", type=int, default=os.cpu_count() or 1, show_default=True)
@click.option("--batch", default=4, show_default=True, help="Frames at once on a card.")
@click.option("--frames", default=100, show_default=True, help="Of the clip on a card.")
@click.option("--with", "extra", multiple=True, type=click.Path(path_type=Path), help="Another ONNX file to run too.")
@click.option("--backend", "names", multiple=True, help="Only this one, of the CPU's; may be repeated.")
@click.option("--device", default="cpu", show_default=True, callback=check_device)
@click.option("--skip-lite", is_flag=True, help="Not the lite network on one core.")
@reports_errors
def main(
    model: str,
    sizes: tuple[str, ...],
    repeats: int,
    threads: int,
    batch: int,
    frames: int,
    extra: tuple[Path, ...],
    names: tuple[str, ...],
    device: str,
    skip_lite: bool,
) -> None:
    """Measure the full-size mode."""
    path = find_model(model)
    on_card = device.startswith("cuda")
    chosen = [parse(text) for text in sizes or (("1920x1080", "3840x2160") if on_card else ("512x512", "1920x1080"))]
    if on_card:
        for size in chosen:
            for each, what in card_rows(path, size, repeats, batch, frames, device):
                click.echo(f"{path.stem} {size[1]}x{size[0]}: {1 / each:.1f} frames/s ({each * 1e3:.2f} ms), {what}")
        return
    others = {file.stem: file for file in extra}
    for size in chosen:
        click.echo(
            f"{path.stem} {size[1]}x{size[0]}, {threads} threads, median of {repeats}, load {os.getloadavg()[0]:.1f}"
        )
        show(cpu_rows(path, size, repeats, threads, others, names))
    if not skip_lite:
        click.echo("lite {1}x{0}, one thread, median of 50".format(*LITE_SIZE))
        show(cpu_rows(find_model("lite"), LITE_SIZE, 50, 1, {}, names))


def show(rows: Iterator[tuple[str, float, float]]) -> None:
    for name, milliseconds, times in rows:
        click.echo(f"  {name:40} {milliseconds:9.1f} ms   {times:5.2f} times")


def parse(text: str) -> tuple[int, int]:
    """Parse WxH into (H, W)."""
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 1 for part in parts):
        raise InputError(f"--size {text}: expected WxH")
    return int(parts[1]), int(parts[0])


if __name__ == "__main__":
    main()
