"""`cliplit-train`: from folders of pictures to a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from cliplit import __version__
from cliplit.command import reports_errors
from cliplit.errors import InputError

FOLDER = click.Path(path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", metavar="RUN", type=FOLDER)
@click.option(
    "--method",
    type=click.Choice(["paired"]),
    default="paired",
    show_default=True,
    help="paired: rendered panorama views and photos with synthetic backlight, target known.",
)
@click.option("--network", type=click.Choice(["lite", "unet"]), default="lite", show_default=True)
@click.option("--hdri", type=FOLDER, help="Folder of equirectangular .hdr panoramas to render views from.")
@click.option("--photos", type=FOLDER, multiple=True, help="Folder of well-lit photos (with subfolders); repeatable.")
@click.option("--exclude", multiple=True, help="Panorama to leave out, by the start of its file name; repeatable.")
@click.option("--validation", type=FOLDER, help="Folder with input/ and gt/ to score on; never trained on.")
@click.option("--scenes", type=int, help="Panorama views to render.  [default: 1600]")
@click.option("--steps", type=int, help="Optimizer steps.  [default: lite 5000, unet 1100]")
@click.option("--batch", type=int, help="Pairs a step.  [default: lite 16, unet 8]")
@click.option("--learning-rate", type=float, help="Peak learning rate.  [default: lite 2e-3, unet 5e-4]")
@click.option("--seed", type=int, help="Of everything random.  [default: 1]")
@click.option("--save-every", type=int, help="Steps between checkpoints and validations.  [default: 250]")
@click.option("--threads", type=int, help="CPU threads of torch; 0 for its own choice.  [default: 0]")
@click.option("--workers", type=int, help="Processes that make batches ahead of time.  [default: 1]")
@click.option("--resume", is_flag=True, help="Go on with the run in RUN; its own configuration is used.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@click.version_option(__version__)
@reports_errors
def main(run: Path, resume: bool, quiet: bool, **options: Any) -> None:
    """Train a network into the folder RUN: best.pt, last.pt, log.jsonl, config.json.

    RUN continues exactly where it stopped with: cliplit-train RUN --resume
    """
    from cliplit.training import TrainConfig, train  # torch: only when there is something to do

    config_file = run / "config.json"
    if resume:
        if not config_file.is_file():
            raise InputError(f"{run}: holds no run to resume (no config.json)")
        config = TrainConfig.from_dict(json.loads(config_file.read_text()))
    else:
        given = {name: value for name, value in options.items() if value not in (None, ())}
        for name in ("hdri", "validation"):
            check_folder(given.get(name), f"--{name}")
        for folder in given.get("photos", ()):
            check_folder(folder, "--photos")
        config = TrainConfig.from_dict(as_json(given))
    best = train(config, run, resume, quiet)
    click.echo(f"{best}: export it with: cliplit-export {best}")


def check_folder(folder: Path | None, option: str) -> None:
    if folder is not None and not folder.is_dir():
        raise InputError(f"{option} {folder}: no such folder")


def as_json(options: dict[str, Any]) -> dict[str, Any]:
    """Paths as strings, tuples as lists: the form of `config.json`."""
    result: dict[str, Any] = json.loads(json.dumps(options, default=str))
    return result
