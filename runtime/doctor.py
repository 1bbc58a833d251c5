"""`cliplit-doctor`: what is installed, what loads, what runs, and what to install for more (R5.2).

"Available" is not "usable": every back end opens the bundled model and answers for one picture, or says why not.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import click

from cliplit import __version__
from cliplit.command import reports_errors
from cliplit.command_line import HelpfulCommand
from cliplit.errors import CliplitError, first_line

from .backends import BACKENDS, Row
from .backends.devices import Device, nvidia_driver
from .backends.home import home
from .tested import PYTHONS, TESTED, outside
from .trials import Trial, trials

DISTRIBUTIONS = (
    "numpy", "opencv-python-headless", "opencv-python", "av", "click", "pillow", "tifffile", "tqdm", "onnxruntime",
    "onnxruntime-gpu", "openvino", "onnx", "torch", "tensorrt", "tensorrt-cu12", "tensorrt-cu13", "cuda-python",
    "cuda-bindings", "pycuda", "tensorrt-rtx-cu12", "tensorrt-rtx-cu13", "onnxruntime-ep-nv-tensorrt-rtx",
    "onnxruntime-ep-nv-tensorrt-rtx-cu12", "onnxruntime-ep-nv-tensorrt-rtx-cu13", "onnxslim",
)  # fmt: skip
RUNS = 5


@dataclass(frozen=True)
class Finding:
    """One back end on one device. `milliseconds` is the median of an inference at proxy size, None if it failed."""

    backend: str
    device: str
    works: bool
    detail: str
    milliseconds: float | None
    about: str


def versions() -> dict[str, str]:
    """Return the installed versions of what we use."""
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def problems(installed: dict[str, str]) -> Iterator[str]:
    """Yield problems of the whole installation, with the command that solves each."""
    if {"onnxruntime", "onnxruntime-gpu"} <= set(installed):
        from .backends.onnx_runtime import one_of_both

        yield one_of_both("cpu") + " (or the extra gpu)"
    if {"opencv-python", "opencv-python-headless"} <= set(installed):
        yield "opencv-python and opencv-python-headless overwrite each other, keep one: pip uninstall -y opencv-python"
    for name, version in ({"python": platform.python_version()} | installed).items():
        if how := outside(name, version):
            yield f"{name} {version} is {how}; it may work all the same, and if it does not, that is a likely cause"
    from .light.compiled import COMPILED

    if not COMPILED:
        yield "the pixel loops are not compiled and numpy is slower; install a C compiler, then cliplit again"


def examine(row: Row, device: Device) -> Finding:
    """Open the bundled lite model and run it; whatever goes wrong becomes a line."""
    import statistics
    import time

    import numpy as np

    from .backends.model_file import find_model
    from .light.proxy import proxy_size

    try:
        backend = row.open(find_model("lite"), device, 0)
        height, width = proxy_size(1080, 1920, backend.info.proxy_short_side, backend.info.multiple)
        picture = np.full((1, 3, height, width), 0.3, np.float32)
        backend(picture)  # the first one sets up
        times = []
        for _ in range(RUNS):
            start = time.perf_counter()
            light = backend(picture)
            times.append(time.perf_counter() - start)
        if light.shape != (1, 1, height, width) or not np.isfinite(light).all():
            return Finding(row.name, str(device), False, "runs, and gives NaN or a wrong shape", None, row.about)
    except CliplitError as error:
        return Finding(row.name, str(device), False, str(error), None, row.about)
    except Exception as error:  # a library that breaks in a way of its own is a finding, not a crash
        detail = f"breaks: {type(error).__name__}: {first_line(error)}"
        return Finding(row.name, str(device), False, detail, None, row.about)
    return Finding(row.name, str(device), True, backend.detail, statistics.median(times) * 1e3, row.about)


def findings() -> Iterator[Finding]:
    for row in BACKENDS:
        for kind in row.devices:
            if kind == "cuda" and (problem := nvidia_driver().problem):
                yield Finding(row.name, "cuda", False, problem, None, row.about)
            else:
                yield examine(row, Device(kind))


def machine() -> dict[str, Any]:
    driver = nvidia_driver()
    return {
        "cliplit": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "cards": [f"{name}, compute capability {a}.{b}" for name, (a, b) in driver.cards],
        "driver": driver.problem or f"runs CUDA up to {driver.cuda[0]}.{driver.cuda[1]}",
        "home": str(home()),
    }


EXAMPLES = (
    "cliplit-doctor                    what runs here, how fast, what to install for more",
    "cliplit-doctor --json             the same for programs",
    "cliplit-doctor > report.txt       to send with a question",
)


@click.command(cls=HelpfulCommand, examples=EXAMPLES)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.version_option(__version__)
@reports_errors
def main(as_json: bool) -> None:
    """Show what is installed, what runs here and how fast, and what to install for more.

    Exit code 0 if at least one back end runs and frames and pictures can be read and written, else 3.
    """
    here, installed = machine(), versions()
    wrong, found, tried = list(problems(installed)), list(findings()), list(trials())
    if as_json:
        report = {
            "machine": here, "versions": installed, "tested": {"python": PYTHONS} | TESTED, "problems": wrong,
            "trials": [asdict(trial) for trial in tried], "backends": [asdict(f) for f in found],
        }  # fmt: skip
        click.echo(json.dumps(report, indent=2))
    else:
        show(here, installed, wrong, found, tried)
    if not any(finding.works for finding in found) or not all(trial.works for trial in tried):
        sys.exit(3)


def show(
    here: dict[str, Any], installed: dict[str, str], wrong: list[str], found: list[Finding], tried: list[Trial]
) -> None:
    for name, value in here.items():
        click.echo(f"{name:10} {', '.join(value) if isinstance(value, list) else value}")
    click.echo("versions   " + ", ".join(f"{name} {version}" for name, version in installed.items()))
    spans = (f"{name} {low} to {high}" for name, (low, high) in ({"python": PYTHONS} | TESTED).items())
    click.echo("tested     " + ", ".join(spans))
    for line in wrong:
        click.echo(f"problem    {line}")
    click.echo()
    for trial in tried:
        click.echo(f"{trial.name:20}  {'works' if trial.works else 'FAILS'}  {trial.detail}")
    click.echo()
    width = max(len(f"{f.backend} {f.device}") for f in found)
    for f in found:
        time = f"{f.milliseconds:7.1f} ms" if f.milliseconds is not None else "       no "
        click.echo(f"{f'{f.backend} {f.device}':{width}}  {time}  {f.detail}")
    click.echo("\nTimes are one inference of the lite network at the proxy size of a 16:9 picture, all cores.")


if __name__ == "__main__":
    main()
