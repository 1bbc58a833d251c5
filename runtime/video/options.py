"""The options that say what is done to a clip's frames, and the `Steps` that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cliplit.command_line import Between
from cliplit.errors import CliplitError

from ..options import LIGHT, Command, other_enhancer_options

if TYPE_CHECKING:
    from .request import Steps

LIGHT_AND_STEPS = (*LIGHT, "temporal", "time_constant", "denoise", "span", "region", "compare")
TEMPORAL = 0.5  # `temporal.TEMPORAL`, which --help must not import numpy for


STRENGTH = click.option(
    "--strength", default="1", show_default=True, metavar="S | T:S,...",
    help="0 changes nothing, 1 is the model's choice, up to 2; 0:0,2:1,5:0.5 goes from second to second.",
)  # fmt: skip
STEP_OPTIONS = (
    click.option("--temporal", type=Between(0, 1), default=TEMPORAL, show_default=True,
                 help="Steadiness over time; 0 is frame by frame, 1 averages still scenes over four seconds."),
    click.option("--time-constant", type=Between(0, 10), default=None, metavar="SECONDS",
                 help="The same in seconds over which a still scene is averaged; --temporal T is 4 T² seconds."),
    click.option("--denoise", type=Between(0, 1), default=0.0, show_default=True,
                 help="Take out noise, over time and in space, before it is brought up; slow."),
    click.option("--range", "span", nargs=2, metavar="START END", default=None,
                 help="Enhance only from START to END (seconds, mm:ss or hh:mm:ss; END may be end); keep the rest."),
    click.option("--roi", "region", metavar="X,Y,W,H", default=None,
                 help="Enhance only this area, in pixels of the stored picture; its edge is soft."),
    click.option("--compare", type=click.Choice(["side", "split", "wipe"]), default=None,
                 help="Write original and enhanced in one picture: side by side, split by a line, by a moving line."),
)  # fmt: skip


def step_options(command: Command) -> Command:
    """Add them, and those of the enhancer, to a click command; see `steps_and_settings`."""
    for option in reversed(STEP_OPTIONS):
        command = option(command)
    return STRENGTH(other_enhancer_options(command))


def steps_and_settings(settings: dict[str, Any]) -> tuple[Steps, dict[str, Any]]:
    """Return the steps that these options ask for, and what is left of the options for `Enhancer`.

    Raises click.UsageError for values that are not what they should be.
    """
    from ..light.region import Region
    from ..light.temporal import time_constant
    from .request import Steps
    from .schedule import Schedule, StrengthCurve, seconds

    rest = dict(settings)
    temporal, constant, denoise, compare, area, span = (
        rest.pop(name) for name in ("temporal", "time_constant", "denoise", "compare", "region", "span")
    )
    try:
        curve = StrengthCurve.parse(rest.pop("strength"))
        region = Region.parse(area) if area else None
        schedule = Schedule(curve, (seconds(span[0]), seconds(span[1])) if span else (0.0, float("inf")))
    except CliplitError as error:
        raise click.UsageError(str(error)) from error
    animated = len(curve.pairs) > 1 or span is not None
    steps = Steps(
        time_constant(temporal) if constant is None else constant,
        strength=schedule if animated else None,
        denoise=denoise,
        region=region,
        compare=compare,
    )
    return steps, {**rest, "strength": 1.0 if animated else curve.highest}
