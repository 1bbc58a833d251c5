"""`cliplit`: one command for all; `cliplit video` is `cliplit-video`. A command is imported when it is run."""

from __future__ import annotations

from importlib import import_module, util

import click

from . import __version__

# Name, module, and what the list says: the module is not imported for it.
COMMANDS = {
    "video": ("cliplit.runtime.video.cli", "Relight clips, or look at one moment first."),
    "image": ("cliplit.runtime.image.cli", "Relight pictures, with all that belongs to them."),
    "live": ("cliplit.runtime.video.live_cli", "Relight a camera, a network stream or a screen."),
    "batch": ("cliplit.runtime.batch.cli", "Relight thousands of files, here or on a cluster."),
    "web": ("cliplit.plugins.web_cli", "Relight photos and a camera in the browser."),
    "plugins": ("cliplit.plugins.cli", "Install plug-ins for GIMP, ffmpeg, melt and others."),
    "doctor": ("cliplit.runtime.doctor", "Show what runs here and how fast."),
    "train": ("cliplit.training.cli", "Train a network."),
    "export": ("cliplit.export.cli", "Convert a checkpoint to ONNX or an engine."),
    "eval": ("cliplit.benchmarks.eval_cli", "Score a model on a folder of pictures."),
    "bench": ("cliplit.benchmarks.cli", "Measure speed and quality against other methods."),
}


class Commands(click.Group):
    """The table of commands as click's group."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of those that this installation has, in the table's order."""
        return [name for name, (module, _) in COMMANDS.items() if util.find_spec(module)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS or not util.find_spec(COMMANDS[cmd_name][0]):
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).main
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExamples:\n"
    "  cliplit video in.mp4                      relight a clip into in.relit.mp4\n"
    "  cliplit video in.mp4 --at 10% frame.png   look at one moment, before and after\n"
    "  cliplit image photos/ relit/              relight a folder of pictures",
)
@click.version_option(__version__, prog_name="cliplit")
def main() -> None:
    """Relight backlit photos and videos. Each command has its own --help."""


if __name__ == "__main__":
    main(prog_name="cliplit")
