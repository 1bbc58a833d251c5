"""Options shared by all enhancing commands, named like `Enhancer`'s arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cliplit.command_line import Between
from cliplit.constants import MAX_GAIN
from cliplit.errors import InputError

from .backends import NAMES
from .backends.devices import Device
from .looks import LOOK

# Headings of the help, and the options under them.
LIGHT = ("look", "strength", "max_gain", "clean_shadows")
NETWORK = ("model", "quality", "device", "backend")

Command = TypeVar("Command", bound=Callable[..., Any])

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # which takes no parameter before click 8.4


def check_device(context: click.Context, option: click.Parameter, text: str) -> str:
    """Reject an unknown device as a usage error."""
    try:
        return str(Device.parse(text))
    except InputError as error:
        raise click.BadParameter(str(error)) from error


class Gain(ParamType):
    """A gain of 1 to 256, or the word auto."""

    name = "auto|number"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float | str:
        if value == "auto":
            return "auto"
        return float(Between(1, 256).convert(value, parameter, context))


class ModelName(click.Path):
    """A bundled model's name or a file; the shell completes both."""

    name = "NAME|FILE"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer the names, else files."""
        from click.shell_completion import CompletionItem

        from .backends.model_file import bundled_models

        names = [CompletionItem(name) for name in bundled_models() if name.startswith(incomplete)]
        return names or super().shell_complete(ctx, param, incomplete)


STRENGTH = click.option(
    "--strength",
    type=Between(0, 2),
    default=1.0,
    show_default=True,
    help="0 changes nothing, 1 is the model's own choice, 2 is the most.",
)
OTHERS = (
    click.option(
        "--model",
        type=ModelName(),
        default="lite",
        show_default=True,
        help="lite, or an exported ONNX file (cliplit-export).",
    ),
    click.option(
        "--quality",
        type=click.Choice(["fast", "exact"]),
        default="fast",
        show_default=True,
        help="exact runs the network at full size, which is slow.",
    ),
    click.option(
        "--max-gain",
        type=Gain(),
        default=str(MAX_GAIN),
        show_default=True,
        help="Largest gain, 1 to 256; auto limits it by the noise measured in dark areas.",
    ),
    click.option(
        "--clean-shadows/--keep-grain",
        default=True,
        show_default=True,
        help="Take bands and noise of colour out of lifted shadows, or leave them. With quality exact they stay.",
    ),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        callback=check_device,
        metavar="auto|cpu|cuda[:N]",
        help="Where the network runs. auto uses a GPU if one works, else the CPU; cuda fails rather than fall back.",
    ),
    click.option(
        "--backend",
        type=click.Choice(NAMES),
        default="auto",
        show_default=True,
        help="Library that runs the network; cliplit-doctor shows which work here.",
    ),
)


def enhancer_options(command: Command) -> Command:
    """Add the enhancer's options to a click command, which takes them as `**settings` for `Enhancer(**settings)`."""
    return STRENGTH(other_enhancer_options(command))


def other_enhancer_options(command: Command) -> Command:
    """Add all options but `--strength`, for commands that have their own."""
    for option in reversed((LOOK, *OTHERS)):
        command = option(command)
    return command
