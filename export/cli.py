"""`cliplit-export CHECKPOINT`: a trained network as a file that runs elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from cliplit import __version__
from cliplit.command import check_output, reports_errors
from cliplit.errors import BackendError


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="[default: CHECKPOINT with the suffix .onnx]")
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")
@click.version_option(__version__)
@reports_errors
def main(checkpoint: Path, output: Path | None, overwrite: bool) -> None:
    """Export CHECKPOINT, ours or one published by the CLIP-LIT authors, to ONNX with dynamic sizes.

    The file is written only if ONNX Runtime computes what PyTorch computes (else exit code 4).
    """
    target = output or checkpoint.with_suffix(".onnx")
    check_output(checkpoint, target, overwrite)
    try:
        from cliplit.export.onnx_file import export_onnx
    except ImportError as error:
        raise BackendError(f'{error.name} is missing; install it with: pip install "cliplit[export]"') from error

    difference = export_onnx(checkpoint, target)
    click.echo(f"{target}: {target.stat().st_size / 1024:.0f} KB, largest difference to PyTorch {difference:.1e}")
