"""`cliplit live SOURCE [OUT]`: relight a camera or a network stream, newest frame first."""

from __future__ import annotations

from typing import Any

import click

from cliplit import __version__
from cliplit.command import reports_errors
from cliplit.command_line import Between, Command, habits, say_settings

from ..memory import keep_freed_memory
from ..options import NETWORK
from .options import LIGHT_AND_STEPS, step_options, steps_and_settings

GROUPS = {
    "Light": LIGHT_AND_STEPS,
    "Output": ("preview", "virtual_camera", "output", "overwrite", "codec", "crf", "preset", "pipe_format"),
    "Network": NETWORK,
}
EXAMPLES = (
    "cliplit live 0 --preview                     the first camera in a window",
    "cliplit live 0 --virtual-camera              a camera for other programs",
    "cliplit live rtsp://camera/stream out.mkv    a network camera into a file",
)


@click.command(cls=Command, section="live", groups=GROUPS, examples=EXAMPLES)
@click.argument("source", metavar="SOURCE", type=click.Path())
@click.argument("target", metavar="[OUT]", required=False, type=click.Path())
@click.option("--preview", is_flag=True, help="Show the frames in a window: space shows the original, q quits.")
@click.option("--virtual-camera", is_flag=True, help="Be a camera for other programs (extra camera; never run).")
@click.option("-o", "--output", type=click.Path(), metavar="OUT", help="The same as OUT.")
@step_options
@click.option("--codec", default="auto", show_default=True, help="As of cliplit-video.")
@click.option("--crf", type=Between(0, 63), default=None, help="Constant quality, lower is better and larger.")
@click.option("--preset", default=None, help="Speed of the encoder: ultrafast to veryslow.")
@click.option("--pipe-format", type=click.Choice(["matroska", "y4m"]), default="matroska", show_default=True,
              help="What goes to standard output when OUT is -.")  # fmt: skip
@habits
@click.version_option(__version__)
@reports_errors
def main(
    source: str, target: str | None, preview: bool, virtual_camera: bool, output: str | None, codec: str,
    crf: float | None, preset: str | None, pipe_format: str, overwrite: bool, quiet: bool, verbose: bool,
    **settings: Any,
) -> None:  # fmt: skip
    """Relight the newest frames of a camera (0, /dev/video0), a stream (rtsp://, srt://) or a GStreamer pipeline.

    Late frames are dropped. It ends with Ctrl-C, which completes OUT. A screen is a pipeline, where OpenCV has
    GStreamer: "ximagesrc ! videoconvert ! appsink".
    """
    if target is not None and output is not None:
        raise click.UsageError("give OUT once")
    target = output or target
    if target is None and not preview and not virtual_camera:
        raise click.UsageError("give OUT, --preview or --virtual-camera")
    if verbose:
        say_settings(click.get_current_context())
    keep_freed_memory()
    if preview:
        from .preview import open_window

        open_window()

    # Imported here so that --help answers at once.
    from ..enhancer import Enhancer
    from .codecs import Encoding
    from .jobs import Session, live_job
    from .request import Request

    if virtual_camera:
        pass  # what it needs is missed before the network is loaded

    steps, rest = steps_and_settings(settings)
    request = Request("", "", Encoding(codec, crf, preset), steps)
    session = Session(request, lambda: Enhancer(**rest), "auto", pipe_format, overwrite, quiet)
    live_job(session, source, target, preview, True, virtual_camera)
