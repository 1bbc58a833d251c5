"""`cliplit-eval`: the same table for a checkpoint, an exported model, or a bundled one."""

from __future__ import annotations

import json
from pathlib import Path

import click

from cliplit import __version__
from cliplit.command import reports_errors
from cliplit.command_line import HelpfulCommand
from cliplit.errors import InputError

EXAMPLES = (
    "cliplit-eval lite pairs/                  PSNR and SSIM of a bundled model; pairs/ has input/ and gt/",
    "cliplit-eval run/best.pt photos/ --each   a checkpoint on photos without references, a row each",
    "cliplit-eval best.onnx pairs/ --json      an exported model, for programs",
)


@click.command(cls=HelpfulCommand, examples=EXAMPLES)
@click.argument("model", metavar="MODEL")
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option("--each", is_flag=True, help="Print a row for every picture, not only the mean.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.version_option(__version__)
@reports_errors
def main(model: str, folder: Path, each: bool, as_json: bool) -> None:
    """Score MODEL on the pictures of FOLDER, at full size, through the runtime.

    MODEL is a checkpoint (.pt, .pth), an exported .onnx file or a bundled model's name. FOLDER holds input/ and gt/
    (PSNR, SSIM, LPIPS), or pictures without references (mean luminance, clipped share, MUSIQ, NIQE). LPIPS, MUSIQ and
    NIQE need the package pyiqa.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    from .evaluation import score_model

    rows = score_model(model, folder)
    if not each:
        rows = {"mean": rows["mean"]}
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    names = list(rows["mean"])
    width = max(map(len, rows))
    click.echo("  ".join([" " * width, *(f"{name:>14}" for name in names)]))
    for picture, scores in rows.items():
        click.echo("  ".join([picture.ljust(width), *(f"{scores[name]:14.4f}" for name in names)]))
