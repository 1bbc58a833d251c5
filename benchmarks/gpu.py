"""What a card does, for the day one is at hand: predictions beside measurements, one table and one JSON.

    benchmarks/gpu.sh                                           # environment, tests and this
    python -m cliplit.benchmarks.gpu --json gpu.json
    python -m cliplit.benchmarks.gpu --device cpu --tiny        # every step, at a size at which it means nothing

docs/export.md has what an H200 gave. Each step has a limit of its own and becomes a line when it fails, so that one
that does not work costs no other. A prediction is the larger of operations and bytes over the card's rates, at best.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor, nn

from cliplit.arrays import Array
from cliplit.command import reports_errors
from cliplit.errors import first_line
from cliplit.export.onnx_file import light_graph
from cliplit.networks.light_network import LightNetwork
from cliplit.networks.registry import build_network
from cliplit.runtime.backends import open_backend
from cliplit.runtime.backends.model_file import find_model
from cliplit.runtime.backends.pytorch import from_checkpoint, from_onnx

from . import card_training
from .exact import card_rows, median_seconds

Size = tuple[int, int]
# Dense fp16 operations a second with tensor cores, and bytes a second of memory; NVIDIA's data sheets of the cards.
RATES = {"H100": (989e12, 3.35e12), "H200": (989e12, 4.8e12), "RTX 4090": (165e12, 1.008e12)}
GOALS = {"exact unet 1920x1080": 250.0, "exact unet 3840x2160": 60.0, "lite batch 8": 2000.0}  # frames a second
GUIDED_GOAL = 3.0  # times the loop over single pictures


@dataclass(frozen=True)
class Work:
    """Operations and bytes of the convolutions for one picture; halves, each read and written once."""

    operations: float
    bytes: float

    def seconds(self, card: str) -> float | None:
        """Predict the least time on a card, None for one whose rates are not known."""
        for name, (operations, memory) in RATES.items():
            if name in card:
                return max(self.operations / operations, self.bytes / memory)
        return None


@dataclass(frozen=True)
class Row:
    """One line: frames or pictures a second measured (None: failed, see note), predicted at best, and the goal."""

    step: str
    measured: float | None
    predicted: float | None
    goal: float | None
    note: str


def counted(network: nn.Module, size: Size, sample: Size = (96, 160)) -> Work:
    """Count what a network's convolutions do for a picture of `size`, from a run at `sample`."""
    found = [0.0, 0.0]

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d)
        each = layer.in_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]
        found[0] += 2.0 * output.numel() * each
        found[1] += 2.0 * (inputs[0].numel() + output.numel())

    hooks = [layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    with torch.inference_mode():
        network(torch.zeros(1, 3, *sample))
    for hook in hooks:
        hook.remove()
    share = size[0] * size[1] / (sample[0] * sample[1])
    return Work(found[0] * share, found[1] * share)


@cache
def scratch() -> tempfile.TemporaryDirectory[str]:
    """Make a folder that goes with this process."""
    return tempfile.TemporaryDirectory(prefix="cliplit-gpu-")


@cache
def unet_file() -> Path:
    """Write the paper's network with random weights, which take as long as others, into a folder that goes away."""
    torch.manual_seed(0)
    path = Path(scratch().name) / "unet.pth"
    torch.save(build_network("unet").state_dict(), path)
    return path


@cache
def unet_half() -> Path:
    """Export `unet_file` in half precision, its head in fp32, as `cliplit-export --fp16` does."""
    network, info = from_checkpoint(unet_file())
    path = unet_file().with_suffix(".onnx")
    path.write_bytes(light_graph(network.eval(), info, "fp16").SerializeToString())
    return path


def network_of(model: str | Path) -> LightNetwork:
    """Load the network of a bundled model or a checkpoint, in evaluation mode."""
    if isinstance(model, Path):
        return from_checkpoint(model)[0].eval()
    return from_onnx(find_model(model))[0].eval()


def network_ways(name: str | Path, size: Size, batch: int, device: str, repeats: int) -> Iterator[tuple[str, float]]:
    """Time a network in half precision: eager, and on a card as one CUDA graph; (way, seconds a batch)."""
    network, pictures = network_and_pictures(name, size, batch, device)
    with torch.inference_mode():
        yield "eager", median_seconds(lambda: network(pictures), device, repeats)
        if device.startswith("cuda"):
            graph = torch.cuda.CUDAGraph()  # type: ignore[no-untyped-call]
            with torch.cuda.graph(graph):  # warmed up by the eager runs
                network(pictures)
            yield "CUDA graph", median_seconds(graph.replay, device, repeats)


def compiled_seconds(name: str | Path, size: Size, batch: int, device: str, repeats: int) -> float:
    """Time a batch of a network in half precision that `torch.compile` has compiled."""
    network, pictures = network_and_pictures(name, size, batch, device)
    compiled = torch.compile(network)
    with torch.inference_mode():
        return median_seconds(lambda: compiled(pictures), device, repeats)  # type: ignore[no-untyped-call]


def network_and_pictures(name: str | Path, size: Size, batch: int, device: str) -> tuple[nn.Module, Tensor]:
    half = torch.float16 if device.startswith("cuda") else torch.float32
    network = network_of(name).to(device, half).to(memory_format=torch.channels_last)
    pictures = torch.rand(batch, 3, *size, device=device, dtype=half)
    return network, pictures.contiguous(memory_format=torch.channels_last)


def backend_seconds(name: str | Path, backend: str, size: Size, batch: int, device: str, repeats: int) -> float:
    """Time a back end from host memory to host memory, copies included, by the clock."""
    opened = open_backend(name, backend, device)
    pictures: Array = np.random.default_rng(0).random((batch, 3, *size), dtype=np.float32)
    return median_seconds(lambda: opened(pictures), "cpu", repeats)


def steps(device: str, tiny: bool, card: str) -> Iterator[tuple[str, Callable[[], Iterator[Row]]]]:
    """Yield (name, step): what is measured, in the order of its worth; predictions are for `card`."""
    on_card = device.startswith("cuda")
    repeats = 2 if tiny else 20
    sizes = [(32, 48)] if tiny else [(1080, 1920), (2160, 3840)]
    lite: Size = (32, 48) if tiny else (192, 336)
    batches = (1, 2) if tiny else (1, 2, 4, 8)

    def row(step: str, each: float, work: Work | None = None, note: str = "") -> Row:
        best = work.seconds(card) if work else None
        return Row(step, 1 / each, 1 / best if best else None, GOALS.get(step), note)

    def exact() -> Iterator[Row]:
        for size in sizes:
            work = counted(network_of(unet_file()), size)
            for each, note in card_rows(unet_file(), size, repeats, 4, 8 if tiny else 60, device):
                yield row(f"exact unet {size[1]}x{size[0]}", each, work, note)

    def networks(name: str | Path, size: Size) -> Iterator[Row]:
        work = counted(network_of(name), size)
        for batch in batches:
            for way, taken in network_ways(name, size, batch, device, repeats):
                yield row(title(name, size, batch), taken / batch, work, f"{way}, batch {batch}")

    def compiled() -> Iterator[Row]:
        kinds: list[tuple[str | Path, Size]] = [("lite", lite), *((unet_file(), size) for size in sizes)]
        for name, size in kinds:
            for batch in (batches[-1], batches[0]) if name == "lite" else batches[:1]:
                each = compiled_seconds(name, size, batch, device, repeats) / batch
                yield row(title(name, size, batch), each, counted(network_of(name), size), f"compile, batch {batch}")

    def title(name: str | Path, size: Size, batch: int) -> str:
        return f"lite batch {batch}" if name == "lite" else f"unet {size[1]}x{size[0]}"

    def engines() -> Iterator[Row]:
        work = counted(network_of("lite"), lite)
        for backend in ("tensorrt-rtx", "onnxruntime-tensorrt-rtx", "onnxruntime") if on_card else ("onnxruntime",):
            for batch in batches:
                taken = engine(f"lite {backend} batch {batch}", "lite", backend, lite, batch, work)
                yield taken
                if taken.measured is None:  # what does not work here does not at another batch
                    break

    def full_engines() -> Iterator[Row]:
        for size in sizes:
            work = counted(network_of(unet_file()), size)
            for backend in ("tensorrt-rtx", "onnxruntime-tensorrt-rtx") if on_card else ("onnxruntime",):
                yield engine(f"unet {size[1]}x{size[0]} {backend}", unet_half(), backend, size, 1, work)

    def engine(step: str, name: str | Path, backend: str, size: Size, batch: int, work: Work) -> Row:
        try:
            return row(step, backend_seconds(name, backend, size, batch, device, repeats) / batch, work, "host to host")
        except Exception as error:  # a back end that does not work here is a line
            return Row(step, None, None, None, first_line(error))

    def training() -> Iterator[Row]:
        loop, ours = card_training.guided(device, tiny, 2 if tiny else 8, repeats)
        goal = GUIDED_GOAL * loop.pictures / loop.seconds
        yield trained(loop, None)
        yield trained(ours, goal, f"; {loop.seconds / ours.seconds:.1f} times the loop")

    def pairs() -> Iterator[Row]:
        yield trained(card_training.rendered(device, tiny, 2 if tiny else 32, 0.2 if tiny else 10.0), None)

    def trained(way: card_training.Measured, goal: float | None, more: str = "") -> Row:
        best = Work(way.operations, 0.0).seconds(card)
        predicted = way.pictures / best if best else None
        return Row(way.name, way.pictures / way.seconds, predicted, goal, way.note + more)

    yield "engines", engines
    yield "exact mode, network and apply; a clip", exact
    yield "lite", lambda: networks("lite", lite)
    yield "guided step", training
    yield "engines at full size", full_engines
    yield "lite on rendered pairs", pairs
    for size in sizes:
        yield f"unet {size[1]}x{size[0]}", lambda size=size: networks(unet_file(), size)  # type: ignore[misc]
    if on_card:  # last: a compiler may take what time is left
        yield "compiled", compiled


def rows(device: str, tiny: bool, limit: float, card: str = "") -> Iterator[Row]:
    """Run the steps until `limit` seconds are gone; one that fails, or was not begun or finished, is a line."""
    begin = time.monotonic()
    for name, step in steps(device, tiny, card or card_name(device)):
        try:
            for row in step() if time.monotonic() - begin <= limit else ():
                yield row
                if time.monotonic() - begin > limit:
                    break
            if time.monotonic() - begin > limit:
                yield Row(name, None, None, None, f"not begun, or broken off: {limit:.0f} s were over")
        except Exception as error:  # of CUDA, a compiler, a library: whatever it is, the others go on
            yield Row(name, None, None, None, f"failed: {type(error).__name__}: {first_line(error)}")


def card_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--device", default="cuda", show_default=True)
@click.option("--tiny", is_flag=True, help="A size at which every step runs and none means anything.")
@click.option("--limit", default=240.0, show_default=True, help="Seconds after which no number is begun.")
@click.option("--card", default="", help=f"Predict for another card than the one here: {', '.join(RATES)}.")
@click.option("--json", "target", type=click.Path(path_type=Path), help="Also write the rows here.")
@reports_errors
def main(device: str, tiny: bool, limit: float, card: str, target: Path | None) -> None:
    """Measure what a card does, beside what it should do."""
    done = []
    click.echo(f"{'step':32} {'frames/s':>10} {'at best':>10} {'goal':>8}  note")
    for row in rows(device, tiny, limit, card):
        done.append(row)
        numbers = (f"{value:.1f}" if value is not None else "-" for value in (row.measured, row.predicted, row.goal))
        click.echo("{:32} {:>10} {:>10} {:>8}  {}".format(row.step, *numbers, row.note))
        if target is not None:  # after each, so that nothing is lost when this is ended from outside
            target.write_text(json.dumps([asdict(row) for row in done], indent=2))


if __name__ == "__main__":
    main()
