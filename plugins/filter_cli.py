"""`cliplit-filter`: relight raw video on its way from one program to another."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import click

from cliplit import __version__
from cliplit.command import reports_errors
from cliplit.runtime.options import enhancer_options

IN, OUT = 0, 1  # standard input and output
BUFFER = 1 << 16
PIPE = 1 << 20  # bytes; the most an ordinary user gets
MATRICES = {"bt601": 6, "bt709": 1, "bt2020": 9}  # code points of ITU-T H.273


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@enhancer_options
@click.option(
    "--temporal",
    type=click.FloatRange(0, 10),
    default=0.7,
    show_default=True,
    help="Time constant of the smoothing over time in seconds; 0 for none.",
)
@click.option(
    "--matrix",
    type=click.Choice(["auto", *MATRICES]),
    default="auto",
    show_default=True,
    help="Colour matrix, which the format does not tell; auto is bt709 from 720 lines on, else bt601.",
)
@click.option(
    "--range",
    "levels",
    type=click.Choice(["auto", "limited", "full"]),
    default="auto",
    show_default=True,
    help="Range of the samples; auto takes FFmpeg's XCOLORRANGE mark, else limited.",
)
@click.version_option(__version__)
@reports_errors
def main(
    temporal: float,
    matrix: str,
    levels: str,
    **settings: Any,
) -> None:
    """Relight YUV4MPEG2 video from standard input to standard output: 8 to 16 bits, every chroma format.

    \b
    ffmpeg -i IN -f yuv4mpegpipe -strict -1 - | cliplit-filter --strength 0.8 | ffmpeg -i - -i IN -map 0:v -map 1:a? OUT
    """
    if sys.stdin.isatty() or sys.stdout.isatty():
        raise click.UsageError("reads and writes YUV4MPEG2 through pipes; see --help for the whole command")

    # Imported here so that --help answers at once.
    import numpy as np

    from cliplit.runtime.enhancer import Enhancer
    from cliplit.runtime.light import colour
    from cliplit.runtime.light.colour import Coding

    from .plane_relighter import PlaneRelighter
    from .y4m import Reader, write_all

    enhancer = Enhancer(**settings)
    widen_pipes()
    reader = Reader(open(IN, "rb", BUFFER, closefd=False))  # noqa: SIM115 - standard input stays open
    header = reader.header
    kr, kb = colour.MATRICES[MATRICES.get(matrix) or colour.assumed_matrix(header.height)]
    full_range = header.full_range if levels == "auto" else levels == "full"
    relight = PlaneRelighter(enhancer, Coding(kr, kb, full_range, header.layout.depth), temporal)
    out = np.empty(header.frame_bytes, np.uint8)
    write_all(OUT, header.line)
    for number, frame in enumerate(reader):
        time = float(number / header.rate)
        relight(header.planes(frame.data), header.planes(out), time, frame.interlaced(header.scan))
        write_all(OUT, frame.line, out)


def widen_pipes() -> None:
    """Let more than the usual 64 KB wait in the pipes: fewer switches between the programs."""
    with contextlib.suppress(ImportError, AttributeError, OSError):  # not Linux, or not a pipe
        import fcntl

        for descriptor in (IN, OUT):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE)
