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
from cliplit.command_line import Between, Command, habits, say_settings

from ..folders import in_and_out
from ..memory import keep_freed_memory
from ..options import NETWORK
from .options import LIGHT_AND_STEPS, step_options, steps_and_settings


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
    beside = ("overwrite", "quiet", "verbose", "as_json", "paths", "output", "at", "sheet", "dry_run")
    return {name: value for name, value in params.items() if name not in beside}


def moments(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[Any]:
    """Read --at; what reads it is imported when there is something to read."""
    if not values:
        return []
    from .first_look import check_moment

    return check_moment(context, parameter, values)


def output_of(paths: tuple[str, ...], name: str) -> Path:
    """Return OUT; with a slash behind it, it is a folder that holds or will hold several clips."""
    if not name:
        raise click.UsageError("OUT is empty; name a file, such as relit.mp4")
    if name.endswith(("/", os.sep)) and len(paths) == 1 and Path(paths[0]).is_file() and not Path(name).is_dir():
        inside = f"{name}{Path(paths[0]).name}"
        raise click.UsageError(f"{name}: no such folder; make it first, or name a file as {inside}")
    return Path(name)


OUTPUT_OPTIONS = (
    click.option("--codec", default="auto", show_default=True,
                 help="auto keeps the source's; h264, hevc, av1, vp9, prores, ffv1, or an encoder such as hevc_nvenc."),
    click.option("--crf", type=Between(0, 63), default=None,
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


LOOK_FIRST_OPTIONS = (
    click.option("--at", "at", multiple=True, callback=moments, metavar="TIME",
                 help="Write one moment, before and after, as a picture: 12.5, 1:30 or 10%; repeatable."),
    click.option("--sheet", is_flag=True, help="Write a contact sheet of the whole clip, before and after."),
    click.option("--dry-run", is_flag=True, help="Say what would be written, how long it takes and how large it gets."),
)  # fmt: skip


def look_first_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what can be done before a long job."""
    for option in reversed(LOOK_FIRST_OPTIONS):
        command = option(command)
    return command


GROUPS = {
    "Look first": ("at", "sheet", "dry_run"),
    "Light": LIGHT_AND_STEPS,
    "Output": ("output", "overwrite", "codec", "crf", "preset", "pix_fmt", "enc_opt", "cfr", "resume"),
    "Source": ("demo", "video_stream", "max_pixels", "input_color", "hdr", "io", "live", "preview", "pipe_format"),
    "Network": NETWORK,
}
EXAMPLES = (
    "cliplit-video in.mp4                         relight into in.relit.mp4",
    "cliplit-video in.mp4 --at 10% frame.png      look at one moment, before and after",
    "cliplit-video clips/ relit/ --look interview  a folder of clips",
)


@click.command(cls=Command, section="video", groups=GROUPS, examples=EXAMPLES)
@click.argument("paths", metavar="IN... [OUT]", nargs=-1, type=click.Path())
@click.option("-o", "--output", type=click.Path(), metavar="OUT", help="The same as OUT; all paths are then IN.")
@click.option("--demo", metavar="OUT", type=click.Path(path_type=Path), help="Enhance the sample clip of the package.")
@look_first_options
@step_options
@output_options
@source_options
@habits
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each finished clip, for programs.")
@click.version_option(__version__)
@reports_errors
def main(
    paths: tuple[str, ...],
    output: str | None,
    demo: Path | None,
    at: list[Any],
    sheet: bool,
    dry_run: bool,
    overwrite: bool,
    verbose: bool,
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
    only when it is complete; without it, in.mp4 becomes in.relit.mp4. Several clips, patterns or folders go into the
    folder OUT under their own names.

    frames_%04d.png stands for numbered pictures, as IN or OUT: .png and .tif with 8 or 16 bits, .jpg, .webp.

    IN may be - (standard input), an address (http://, rtsp://) or a camera (0, /dev/video0); OUT may be -.
    """
    if demo is not None:
        if paths or output is not None:
            raise click.UsageError("--demo OUT takes no IN")
        paths = (str(DEMO), str(demo))
    if resume and io == "opencv":
        raise click.UsageError("--resume and --io opencv do not go together")
    if not paths:
        raise click.UsageError("give IN and OUT, or --demo OUT (see --help)")
    if (sheet or at) and (dry_run or benchmark or preview or live or resume or (sheet and at)):
        raise click.UsageError(
            "--at, --sheet, --dry-run, --benchmark, --preview, --live and --resume exclude each other"
        )
    if verbose:
        say_settings(click.get_current_context())
    keep_freed_memory()
    if preview:
        from .preview import open_window

        open_window()

    # Imported here so that --help answers at once.
    from ..enhancer import Enhancer
    from .codecs import Encoding
    from .jobs import Session, benchmark_job, live_job, run_jobs, stream_job
    from .names import exists, is_live, origin_of
    from .numbered import numbered
    from .opening import Reading
    from .request import Request

    live = live or is_live(paths[0])
    first_look = bool(at) or sheet
    if benchmark or first_look or ((preview or live) and len(paths) == 1 and output is None):
        sources, target = (paths[:1], output or (paths[1] if len(paths) > 1 else None))
        if first_look and len(paths) > 2 - (output is not None):
            raise click.UsageError("--at and --sheet take one IN and one OUT, a picture")
    elif len(paths) == 1 and output is None and not exists(paths[0]):
        raise click.UsageError("give IN and OUT, or --demo OUT (see --help)")
    else:
        sources, target = in_and_out(paths, output)
    everything = (*sources, target or "")
    streamed = live or preview or "-" in everything or origin_of(paths[0]) == "address"
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
    elif first_look:
        from .first_look import moments_job

        moments_job(session, sources[0], target, at, sheet)
    elif live or preview:
        if len(sources) > 1:
            raise click.UsageError("a live source and at most one OUT")
        if target is None and not preview:
            raise click.UsageError("give OUT, or --preview")
        live_job(session, sources[0], target, preview, live)
    elif dry_run:
        from .first_look import dry_run_job

        assert target is not None
        dry_run_job(session, sources, str(output_of(sources, target)))
    elif len(sources) == 1 and streamed:
        assert target is not None
        stream_job(session, sources[0], target)
    else:
        assert target is not None
        run_jobs(session, sources, output_of(sources, target))
