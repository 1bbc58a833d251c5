"""Pictures per second of the loader: what a worker process draws, and what the training device finishes.

    python -m cliplit.benchmarks.loading --backlit DIR --welllit DIR [--side 512] [--noise 0.3] [--device auto]

The two run beside each other, the first in `--workers` processes, the second where the network trains; the slower one
is the speed of the loader. One thread each, medians of rounds that alternate.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import click
import cv2
import torch

from cliplit.command import reports_errors
from cliplit.config import TrainConfig
from cliplit.phases import Stage
from cliplit.pictures.guided_batches import GuidedBatches, read_guided_sources
from cliplit.training.distributed import find_device

from .training import medians

Folder = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--backlit", type=Folder, multiple=True, required=True)
@click.option("--welllit", type=Folder, multiple=True, required=True)
@click.option("--side", default=512, show_default=True, help="Of the square pictures.")
@click.option("--noise", default=0.0, show_default=True, help="Share of inputs that get noise.")
@click.option("--memory", default=0, show_default=True, help="MB of pictures to keep; 0 for all.")
@click.option("--batch", default=8, show_default=True)
@click.option("--batches", default=8, show_default=True, help="Batches a round.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--device", default="auto", show_default=True)
@reports_errors
def main(
    backlit: tuple[Path, ...],
    welllit: tuple[Path, ...],
    side: int,
    noise: float,
    memory: int,
    batch: int,
    batches: int,
    rounds: int,
    device: str,
) -> None:
    """Print pictures per second of both halves of the loader."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    where = find_device(device)
    config = TrainConfig.from_dict(
        {
            "method": "rave",
            "network": "unet",
            "sizes": [[side, side]],
            "noise": noise,
            "batch": batch,
            "backlit": [str(f) for f in backlit],
            "welllit": [str(f) for f in welllit],
            "memory": memory,
        }
    )
    start = time.perf_counter()
    sources = read_guided_sources(config)
    count = len(sources.backlit.pictures) + len(sources.well_lit.pictures)
    click.echo(f"read {count} pictures in {time.perf_counter() - start:.1f} s")
    loader = GuidedBatches(sources, config, Stage.ENHANCE)
    numbers = itertools.count()
    drawn = [loader[i] for i in range(batches)]

    def draw() -> None:
        for _ in range(batches):
            _ = loader[next(numbers)]

    def finish() -> None:
        for one in drawn:
            loader.finished(one, where)

    drawing, finishing = medians([draw, finish], where, rounds)
    pictures = batch * batches
    click.echo(
        f"{side}x{side}, noise {noise:g}: drawn {pictures / drawing:.0f} pictures/s by a worker process; ", nl=False
    )
    click.echo(f"finished {pictures / finishing:.0f} pictures/s on {where}")


if __name__ == "__main__":
    main()
