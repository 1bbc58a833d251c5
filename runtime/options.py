"""The options every enhancing command has: their names are `Enhancer`'s arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from cliplit.constants import MAX_GAIN

Command = TypeVar("Command", bound=Callable[..., Any])


class Gain(click.ParamType[Any]):
    """A number, or the word auto."""

    name = "auto|number"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float | str:
        if value == "auto":
            return "auto"
        return click.FLOAT.convert(value, parameter, context)


STRENGTH = click.option(
    "--strength", default=1.0, show_default=True, help="0 changes nothing, 1 is the model's choice, up to 2."
)
OTHERS = (
    click.option("--model", default="lite", show_default=True, help="lite, unet, or an exported ONNX file."),
    click.option(
        "--quality",
        type=click.Choice(["fast", "exact"]),
        default="fast",
        show_default=True,
        help="exact runs the network at full size: slow.",
    ),
    click.option(
        "--max-gain",
        type=Gain(),
        default=str(MAX_GAIN),
        show_default=True,
        help="Bound of the gain, 1 to 256; auto bounds it by the noise that is found in the dark.",
    ),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
)


def enhancer_options(command: Command) -> Command:
    """Adds them to a click command, which takes them as `**settings` and passes them to `Enhancer(**settings)`."""
    return STRENGTH(other_enhancer_options(command))


def other_enhancer_options(command: Command) -> Command:
    """All but `--strength`, for commands that have their own."""
    for option in reversed(OTHERS):
        command = option(command)
    return command
