"""`cliplit-video IN OUT`: relight a clip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from cliplit.runtime.options import enhancer_options

from cliplit import __version__
from cliplit.command import check_output, reports_errors
from cliplit.errors import InputError

DEMO = Path(__file__).parent / "demo" / "backlit.mp4"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="IN", type=click.Path(path_type=Path), required=False)
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path), required=False)
@click.option("--demo", metavar="OUT", type=click.Path(path_type=Path), help="Enhance the sample clip of the package.")
@enhancer_options
@click.option(
    "--crf", default=18, show_default=True, help="Constant quality of the encoder; lower is better and larger."
)
@click.option("--preset", default="medium", show_default=True, help="Speed of the encoder: ultrafast to veryslow.")
@click.option(
    "--codec", default=None, help="Encoder, e.g. libx264, libx265, libvpx-vp9.  [default: libx264; WebM: libvpx-vp9]"
)
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
@click.version_option(__version__)
@reports_errors
def main(
    source: Path | None,
    target: Path | None,
    demo: Path | None,
    crf: int,
    preset: str,
    codec: str | None,
    overwrite: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Relight the backlit clip IN into OUT; the suffix of OUT names the container (.mp4, .mkv, .mov, .webm).

    Time stamps, sound and colour tags are kept. OUT appears only when it is complete.
    """
    if demo is not None:
        if source is not None:
            raise click.UsageError("--demo OUT takes no IN")
        source, target = DEMO, demo
    if source is None or target is None:
        raise click.UsageError("give IN and OUT, or --demo OUT (see --help)")
    if not source.is_file():
        raise InputError(f"{source}: no such file")
    check_output(source, target, overwrite)

    # Imported here so that --help answers at once.
    from cliplit.runtime.codecs import Encoding
    from cliplit.runtime.enhancer import Enhancer
    from cliplit.runtime.video import enhance_video
    from tqdm import tqdm

    enhancer = Enhancer(**settings)
    with tqdm(unit=" frames", desc=source.name, disable=True if quiet else None) as bar:

        def show(written: int, expected: int | None) -> None:
            bar.total = expected
            bar.update(written - bar.n)

        summary = enhance_video(source, target, enhancer, Encoding(codec, crf, preset), show)
    for note in () if quiet else summary.notes:
        click.echo(f"note: {note}", err=True)
    if not quiet:
        click.echo(
            f"{target}: {summary.frames} frames of {summary.width}x{summary.height} in {summary.seconds:.1f} s "
            f"({summary.frames / summary.seconds:.1f} frames/s, {enhancer.network.device})"
        )
    if summary.problems:
        raise InputError(f"{source}: {summary.problems}; what could be decoded is in {target}")
