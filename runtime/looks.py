"""Named settings for kinds of pictures, `--look`. What another option says itself comes first."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

# Chosen by eye on real pictures and clips; docs/looks.md shows them. Pictures have no `temporal` and no `denoise`.
LOOKS: dict[str, dict[str, Any]] = {
    "natural": {"strength": "0.7", "max_gain": "8", "temporal": 0.5, "denoise": 0.0},
    "strong": {"strength": "1.3", "max_gain": "16", "temporal": 0.5, "denoise": 0.0},
    "interview": {"strength": "0.9", "max_gain": "6", "temporal": 0.8, "denoise": 0.0},
    "night": {"strength": "0.6", "max_gain": "auto", "temporal": 0.8, "denoise": 0.5},
}


def apply_look(context: click.Context, option: click.Parameter, name: str | None) -> str | None:
    """Make a look's settings the defaults of the options that are read after it.

    A look of the command line comes before the settings file, one of the file behind the file's other lines.
    """
    if name is None:
        return None
    has = {parameter.name for parameter in context.command.params}
    look = {key: value for key, value in LOOKS[name].items() if key in has}
    own = dict(context.default_map or {})
    typed = context.get_parameter_source("look") is ParameterSource.COMMANDLINE
    context.default_map = own | look if typed else look | own
    return name


LOOK = click.option(
    "--look", type=click.Choice(list(LOOKS)), default=None, is_eager=True, callback=apply_look, expose_value=False,
    help="Settings for a kind of picture: strength, largest gain, steadiness, denoising.",
)  # fmt: skip
