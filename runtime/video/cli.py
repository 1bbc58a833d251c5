"""`cliplit-video IN OUT`: relight a clip."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import click

from cliplit import __version__
from cliplit.command import reports_errors

from .options import step_options, steps_and_settings


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
    """Select the options on which the result depends."""
    return {name: value for name, value in params.items() if name not in ("overwrite", "quiet", "as_json", "paths")}


def output_of(paths: tuple[str, ...]) -> Path:
    """Return OUT; with a slash behind it, it is a folder that holds or will hold several clips."""
    name = paths[-1]
    if not name:
        raise click.UsageError("OUT is empty; name a file, such as relit.mp4")
    if name.endswith(("/", os.sep)) and len(paths) == 2 and Path(paths[0]).is_file() and not Path(name).is_dir():
        inside = f"{name}{Path(paths[0]).name}"
        raise click.UsageError(f"{name}: no such folder; make it first, or name a file as {inside}")
    return Path(name)


OUTPUT_OPTIONS = (
    click.option("--codec", default="auto", show_default=True,
                 help="auto keeps the source's; h264, hevc, av1, vp9, prores, ffv1, or an encoder such as hevc_nvenc."),
    click.option("--crf", type=click.FloatRange(0, 63), default=None,
                 help="Constant quality, lower is better and larger.  [default: as good as 18 of x264]"),
    click.option("--preset", default=None, help="Speed of the encoder: ultrafast to veryslow, or its own word."),
    click.option("--pix-fmt", default=None, help="Pixel format, e.g. yuv420p10le.  [default: the source's]"),
    click.option("--enc-opt", multiple=True, callback=pairs, metavar="K=V", help="An option of the encoder's."),
    click.option("--video-stream", default=0, show_default=True, help="Which of several video streams, from 0."),
    click.option("--max-pixels", type=click.IntRange(1), default=1 << 28, show_default=True,
                 help="Refuse larger pictures: a small file can ask for all memory."),
    click.option("--playlist", is_flag=True,
                 help="IN may be a playlist (HLS, DASH, ffconcat) of yours: the files it names are read."),
    click.option("--input-color", default=None, metavar="NAME[:RANGE]",
                 help="bt601, bt709, bt2020, pq, hlg, :full, :limited; for tags that are wrong or missing."),
    click.option("--hdr", type=click.Choice(["keep", "refuse"]), default="keep", show_default=True,
                 help="PQ and HLG clips stay HDR, or are refused."),
    click.option("--fps", default=None, callback=frame_rate, metavar="FPS",
                 help="Frame rate of numbered pictures IN.  [default: 25]"),
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


SOURCE_OPTIONS = (
    click.option("--io", "io", type=click.Choice(["auto", "pyav", "opencv"]), default="auto", show_default=True,
                 help="auto is pyav for files and pipes, opencv for live sources; opencv: 8 bit, no sound."),
    click.option("--live", is_flag=True, help="Take only the newest frames of IN, as of cameras; drop late ones."),
    click.option("--preview", is_flag=True, help="Show the frames in a window; OUT may be left out."),
    click.option("--pipe-format", type=click.Choice(["matroska", "y4m"]), default="matroska", show_default=True,
                 help="What goes to standard output when OUT is -: y4m is raw video without sound."),
    click.option("--benchmark", is_flag=True, help="Write nothing; print what each stage costs."),
)  # fmt: skip


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where frames come from and go to."""
    for option in reversed(SOURCE_OPTIONS):
        command = option(command)
    return command


DEMO = Path(__file__).parents[1] / "demo" / "backlit.mp4"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("paths", metavar="IN... OUT", nargs=-1)
@click.option("--demo", metavar="OUT", type=click.Path(path_type=Path), help="Enhance the sample clip of the package.")
@step_options
@output_options
@source_options
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each finished clip, for programs.")
@click.version_option(__version__)
@reports_errors
def main(
    paths: tuple[str, ...],
    demo: Path | None,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
    video_stream: int,
    max_pixels: int,
    playlist: bool,
    input_color: str | None,
    hdr: Literal["keep", "refuse"],
    fps: Fraction | None,
    cfr: Fraction | None,
    codec: str,
    crf: float | None,
    preset: str | None,
    pix_fmt: str | None,
    enc_opt: dict[str, str],
    resume: bool,
    io: Literal["auto", "pyav", "opencv"],
    live: bool,
    preview: bool,
    pipe_format: str,
    benchmark: bool,
    **settings: Any,
) -> None:
    """Relight backlit clips; the suffix of OUT names the container (.mp4, .mkv, .mov, .webm).

    Time stamps, every sound and subtitle stream, tags and colours are kept; what OUT cannot hold is named. OUT appears
    only when it is complete. Several clips, patterns or folders go into the folder OUT under their own names.

    frames_%04d.png stands for numbered pictures, as IN or OUT: .png and .tif with 8 or 16 bits, .jpg, .webp.

    IN may be - (standard input), an address (http://, rtsp://) or a camera (0, /dev/video0); OUT may be -.
    """
    if demo is not None:
        if paths:
            raise click.UsageError("--demo OUT takes no IN")
        paths = (str(DEMO), str(demo))
    if resume and io == "opencv":
        raise click.UsageError("--resume and --io opencv do not go together")
    without_out = benchmark or (preview and len(paths) == 1)
    if len(paths) < 2 - without_out:
        raise click.UsageError("give IN and OUT, or --demo OUT (see --help)")

    if preview:
        from .preview import open_window

        open_window()

    # Imported here so that --help answers at once.
    from ..enhancer import Enhancer
    from .codecs import Encoding
    from .jobs import Session, benchmark_job, live_job, run_jobs, stream_job
    from .names import is_live, origin_of
    from .numbered import numbered
    from .opening import Reading
    from .request import Request

    live = live or is_live(paths[0])
    streamed = live or preview or "-" in paths or origin_of(paths[0]) == "address"
    if resume and streamed:
        raise click.UsageError("--resume works on files, not on streams")
    if as_json and (streamed or benchmark):
        raise click.UsageError("--json works on files")
    if cfr is not None and (live or preview):
        raise click.UsageError("--cfr works on files, not on live sources")
    if (live or io == "opencv") and (video_stream or input_color or hdr != "keep" or playlist):
        raise click.UsageError("--video-stream, --input-color, --hdr, --playlist need PyAV; OpenCV reads this")
    if fps is not None and not numbered(paths[0]):
        raise click.UsageError("--fps is for numbered pictures (frames_%04d.png); --cfr changes the rate of clips")
    steps, rest = steps_and_settings(settings)
    reading = Reading(video_stream, input_color, hdr, max_pixels=max_pixels, playlist=playlist, fps=fps)
    request = Request(
        "", "", Encoding(codec, crf, preset, pix_fmt, enc_opt), steps, reading, cfr,
        resume_options(click.get_current_context().params) if resume else None, "opencv" if io == "opencv" else "pyav",
    )  # fmt: skip
    session = Session(request, lambda: Enhancer(**rest), io, pipe_format, overwrite, quiet, as_json)
    if benchmark:
        benchmark_job(session, paths[0])
    elif live or preview:
        if len(paths) > 2:
            raise click.UsageError("a live source and at most one OUT")
        live_job(session, paths[0], paths[1] if len(paths) > 1 else None, preview, live)
    elif len(paths) == 2 and streamed:
        stream_job(session, *paths)
    else:
        run_jobs(session, paths[:-1], output_of(paths))
