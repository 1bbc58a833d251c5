"""`cliplit-filter`: `cliplit-video - -` for YUV4MPEG2, relighting raw video on its way from one program to another."""

from __future__ import annotations

import sys
from typing import Any

import click

from cliplit import __version__
from cliplit.command import reports_errors
from cliplit.command_line import HelpfulCommand
from cliplit.runtime.options import NETWORK
from cliplit.runtime.video.options import LIGHT_AND_STEPS, step_options, steps_and_settings

GROUPS = {
    "Light": LIGHT_AND_STEPS,
    "Network": NETWORK,
}
EXAMPLES = (
    "cliplit-filter < in.y4m > out.y4m",
    "ffmpeg -v error -i in.mp4 -f yuv4mpegpipe - | cliplit-filter --temporal 0.8 | ffplay -",
    "ffmpeg -i IN -f yuv4mpegpipe -strict -1 - | cliplit-filter --strength 0.8 |",
    "  ffmpeg -i - -i IN -map 0:v -map 1:a? OUT",
)


@click.command(cls=HelpfulCommand, groups=GROUPS, examples=EXAMPLES)
@click.argument("files", nargs=-1, metavar="", type=click.Path())
@step_options
@click.option(
    "--input-color",
    default=None,
    metavar="NAME[:RANGE]",
    help="bt601, bt709, bt2020, :full, :limited. The format does not tell the matrix; by default it is bt709 from 720 "
    "lines on, else bt601.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.version_option(__version__)
@reports_errors
def main(files: tuple[str, ...], input_color: str | None, quiet: bool, **settings: Any) -> None:
    """Relight YUV4MPEG2 video from standard input to standard output: 8 to 16 bits, every chroma format."""
    if files:
        raise click.UsageError("takes no files, only pipes: cliplit-filter < in.y4m > out.y4m")
    if sys.stdin.isatty() or sys.stdout.isatty():
        raise click.UsageError("reads and writes YUV4MPEG2 through pipes; see --help for the whole command")

    # Imported here so that --help answers at once.
    from cliplit.runtime import Enhancer, Reading
    from cliplit.runtime.memory import keep_freed_memory
    from cliplit.runtime.video.jobs import Session, stream_job
    from cliplit.runtime.video.request import Request

    keep_freed_memory()
    steps, rest = steps_and_settings(settings)
    request = Request("", "", steps=steps, reading=Reading(input_color=input_color))
    stream_job(Session(request, lambda: Enhancer(**rest), pipe_format="y4m", quiet=quiet), "-", "-")
