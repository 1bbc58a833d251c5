"""`cliplit-video IN OUT`: relight a clip."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import click
from cliplit.runtime.options import enhancer_options

from cliplit import __version__
from cliplit.command import check_output, reports_errors
from cliplit.errors import InputError


def frame_rate(context: click.Context, parameter: click.Parameter, value: str | None) -> Fraction | None:
    """25, 29.97 or 30000/1001."""
    try:
        rate = None if value is None else Fraction(value)
    except (ValueError, ZeroDivisionError) as error:
        raise click.BadParameter(f"{value} is no frame rate; e.g. 25 or 30000/1001") from error
    if rate is not None and not 0 < rate <= 1000:
        raise click.BadParameter(f"{value} is no frame rate; e.g. 25 or 30000/1001")
    return rate


def pairs(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Values of the form name=value."""
    for value in values:
        if "=" not in value or value.startswith("="):
            raise click.BadParameter(f"{value}: expected NAME=VALUE")
    return dict(value.split("=", 1) for value in values)


def resume_options(params: dict[str, Any]) -> dict[str, object]:
    """The options on which the result depends."""
    return {name: value for name, value in params.items() if name not in ("overwrite", "quiet", "source", "target")}


OUTPUT_OPTIONS = (
    click.option("--codec", default="auto", show_default=True,
                 help="auto keeps the source's; h264, hevc, av1, vp9, prores, ffv1, or an encoder such as hevc_nvenc."),
    click.option("--crf", type=click.FloatRange(0, 63), default=None,
                 help="Constant quality, lower is better and larger.  [default: as good as 18 of x264]"),
    click.option("--preset", default=None, help="Speed of the encoder: ultrafast to veryslow, or its own word."),
    click.option("--pix-fmt", default=None, help="Pixel format, e.g. yuv420p10le.  [default: the source's]"),
    click.option("--enc-opt", multiple=True, callback=pairs, metavar="K=V", help="An option of the encoder's."),
    click.option("--video-stream", default=0, show_default=True, help="Which of several video streams, from 0."),
    click.option("--input-color", default=None, metavar="NAME[:RANGE]",
                 help="bt601, bt709, bt2020, pq, hlg, :full, :limited; for tags that are wrong or missing."),
    click.option("--hdr", type=click.Choice(["keep", "refuse"]), default="keep", show_default=True,
                 help="PQ and HLG clips stay HDR, or are refused."),
    click.option("--cfr", default=None, callback=frame_rate, metavar="FPS",
                 help="Constant frame rate: repeats and drops frames.  [default: the source's time stamps]"),
    click.option("--resume", is_flag=True,
                 help="Work in segments beside OUT, and continue there if an earlier run with --resume was killed."),
)  # fmt: skip


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How a clip is read and written."""
    for option in reversed(OUTPUT_OPTIONS):
        command = option(command)
    return command


DEMO = Path(__file__).parent / "demo" / "backlit.mp4"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="IN", type=click.Path(path_type=Path), required=False)
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path), required=False)
@click.option("--demo", metavar="OUT", type=click.Path(path_type=Path), help="Enhance the sample clip of the package.")
@enhancer_options
@output_options
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
@click.version_option(__version__)
@reports_errors
def main(
    source: Path | None,
    target: Path | None,
    demo: Path | None,
    overwrite: bool,
    quiet: bool,
    video_stream: int,
    input_color: str | None,
    hdr: Literal["keep", "refuse"],
    cfr: Fraction | None,
    codec: str,
    crf: float | None,
    preset: str | None,
    pix_fmt: str | None,
    enc_opt: dict[str, str],
    resume: bool,
    **settings: Any,
) -> None:
    """Relight the backlit clip IN into OUT; the suffix of OUT names the container (.mp4, .mkv, .mov, .webm).

    Time stamps, every sound and subtitle stream, tags and colours are kept; what OUT cannot hold is named. OUT appears
    only when it is complete.
    """
    if demo is not None:
        if source is not None:
            raise click.UsageError("--demo OUT takes no IN")
        source, target = DEMO, demo
    if resume and cfr is not None:
        raise click.UsageError("--resume and --cfr do not go together")
    if source is None or target is None:
        raise click.UsageError("give IN and OUT, or --demo OUT (see --help)")
    check_output(source, target, overwrite)

    # Imported here so that --help answers at once.
    from cliplit.runtime.codecs import Encoding
    from cliplit.runtime.enhancer import Enhancer
    from cliplit.runtime.pyav_reader import Reading
    from cliplit.runtime.video import enhance_video
    from tqdm import tqdm

    enhancer = Enhancer(**settings)
    with tqdm(unit=" frames", desc=source.name, disable=True if quiet else None) as bar:

        def show(written: int, expected: int | None) -> None:
            bar.total = expected
            bar.update(written - bar.n)

        summary = enhance_video(
            source, target, enhancer, Encoding(codec, crf, preset, pix_fmt, enc_opt), show,
            reading=Reading(video_stream, input_color, hdr), cfr=cfr,
            resume=resume_options(click.get_current_context().params) if resume else None,
        )  # fmt: skip
    for note in () if quiet else summary.notes:
        click.echo(f"note: {note}", err=True)
    if not quiet:
        click.echo(
            f"{target}: {summary.counted} of {summary.width}x{summary.height} in {summary.seconds:.1f} s "
            f"({summary.frames / summary.seconds:.1f} frames/s, {enhancer.network.device})"
        )
    if summary.problems:
        raise InputError(f"{source}: {summary.problems}; what could be decoded is in {target}")
