"""A run that goes on: from its last checkpoint, for longer or at other rates if its user says so."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from ..config import RESUMABLE, TrainConfig, cli_name, read_json
from ..errors import ModelError, OptionError, first_line
from ..networks import checkpoint
from ..phases import lengthened
from .run import Run
from .state import State


def changed_options(folder: Path, config: TrainConfig) -> dict[str, list[Any]]:
    """List {option: [before, after]} of what differs from the run in `folder`.

    Raises:
        OptionError: an option differs that a run in progress cannot change.
    """
    before = TrainConfig.from_dict(read_json(folder / "config.json"))
    pairs = {f.name: [getattr(before, f.name), getattr(config, f.name)] for f in fields(config)}
    changes = {name: both for name, both in pairs.items() if both[0] != both[1]}
    if fixed := [name for name in changes if name not in RESUMABLE]:
        raise OptionError(
            f"--resume --{cli_name(fixed[0])}: a run that was begun cannot change this; it may change "
            + ", ".join(f"--{cli_name(name)}" for name in RESUMABLE)
        )
    return changes


def go_on(run: Run, state: State, changes: dict[str, list[Any]]) -> None:
    """Restore the state from `last.pt` and apply the changes of `changed_options`.

    Raises:
        OptionError: the run has gone on beyond the steps that it is to have.
    """
    config = run.config
    restore(state, run.folder / "last.pt")
    for optimizer, decay in (
        (state.optimizer, config.weight_decay),
        (state.pair_optimizer, config.prompt_weight_decay),
    ):
        for group in optimizer.param_groups if optimizer is not None else ():
            group["weight_decay"] = decay
    for group in state.pair_optimizer.param_groups if state.pair_optimizer is not None else ():
        group["lr"] = config.prompt_learning_rate  # the enhancer's is set at every step
    if "steps" not in changes:
        return
    before, after = changes["steps"]
    if after <= state.step:
        raise OptionError(f"--steps {after}: the run is at step {state.step} already; name a larger number")
    phase = state.phase or state.finished
    if phase is None:
        raise OptionError("--steps: this run was finished by an older version, which did not note how; it cannot go on")
    state.phase = lengthened(before, config, phase, finished=state.phase is None)


def restore(state: State, last: Path) -> None:
    """Go on where `last` was written. Raises ModelError if it is not the state of this run."""
    content = checkpoint.read(last)
    try:
        state.load_state_dict(content)
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError, AssertionError) as error:
        raise ModelError(f"{last}: not the state of this run ({type(error).__name__}: {first_line(error)})") from error
