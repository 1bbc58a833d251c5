"""The state machine of a run: which phase comes next, how long it lasts, when it is extended. Plain arithmetic.

paired:           TARGETS
rave:             RECONSTRUCT, ENHANCE
cliplit, latent:  PROMPTS, RECONSTRUCT, then round after round: ENHANCE, REFINE
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from .config import ALTERNATING, TrainConfig


class Stage(StrEnum):
    """The part a step trains, and the loss it uses."""

    TARGETS = "targets"  # the enhancer, by known targets
    PROMPTS = "prompts"  # the prompt pair, to tell backlit from well-lit pictures
    RECONSTRUCT = "reconstruct"  # the enhancer, to change nothing: the identity loss alone
    ENHANCE = "enhance"  # the enhancer, by guidance and identity
    REFINE = "refine"  # the prompt pair, to rank backlit < earlier result < result < well-lit

    @property
    def trains_prompts(self) -> bool:
        return self in (Stage.PROMPTS, Stage.REFINE)


@dataclass(frozen=True)
class Phase:
    """`length` steps of one stage from step `start` on; `round` counts from 1, and is 0 before the first."""

    stage: Stage
    round: int
    start: int
    length: int

    @property
    def end(self) -> int:
        return self.start + self.length


def first_phase(config: TrainConfig) -> Phase:
    if config.method == "paired":
        return Phase(Stage.TARGETS, 0, 0, config.steps)
    if config.method in ALTERNATING and config.prompt_init_steps and not config.init_prompts:
        return Phase(Stage.PROMPTS, 0, 0, min(config.prompt_init_steps, config.steps))
    return _first_of_enhancer(config, 0)


def next_phase(config: TrainConfig, phase: Phase) -> Phase | None:
    """Return the phase after a finished one; None at the end of the run."""
    left = config.steps - phase.end
    if left <= 0:
        return None
    if phase.stage is Stage.PROMPTS:
        return _first_of_enhancer(config, phase.end)
    if phase.stage is Stage.ENHANCE:
        return Phase(Stage.REFINE, phase.round, phase.end, min(config.prompt_steps, left))
    return _enhance(config, phase.round + 1, phase.end)


def extended(config: TrainConfig, phase: Phase, loss: float) -> Phase:
    """Extend a phase at its end while its loss is above the threshold, within the steps of the run."""
    threshold, extension = {
        Stage.ENHANCE: (config.enhancer_threshold, config.enhancer_extension),
        Stage.REFINE: (config.prompt_threshold, config.prompt_extension),
        Stage.PROMPTS: (config.prompt_threshold, config.prompt_extension),
    }.get(phase.stage, (float("inf"), 0))
    if loss <= threshold:
        return phase
    return replace(phase, length=min(phase.length + extension, config.steps - phase.start))


def restarted(config: TrainConfig, phase: Phase) -> Phase:
    """Extend self-reconstruction by 100 steps after its network was initialised anew."""
    return replace(phase, length=min(phase.length + 100, config.steps - phase.start))


def lengthened(steps: int, after: TrainConfig, phase: Phase, finished: bool) -> Phase | None:
    """Return the phase with which a run goes on that had `steps` steps and has others now; None if there is none.

    A phase that the old end of the run had cut short goes on; one that was `finished` is followed by the next.
    """
    natural = {
        Stage.PROMPTS: after.prompt_init_steps,
        Stage.RECONSTRUCT: after.reconstruction_steps,
        Stage.REFINE: after.prompt_steps,
        Stage.ENHANCE: after.enhancer_steps if after.method in ALTERNATING else after.steps,
        Stage.TARGETS: after.steps,
    }[phase.stage]
    length = phase.length
    if phase.end >= steps:
        length = max(length, natural)
    length = min(length, after.steps - phase.start)
    if finished and length <= phase.length:
        return next_phase(after, phase)
    return replace(phase, length=length)


def _first_of_enhancer(config: TrainConfig, start: int) -> Phase:
    if config.reconstruction_steps and not config.init:
        return Phase(Stage.RECONSTRUCT, 0, start, min(config.reconstruction_steps, config.steps - start))
    return _enhance(config, 1, start)


def _enhance(config: TrainConfig, round: int, start: int) -> Phase:
    left = config.steps - start
    length = min(config.enhancer_steps, left) if config.method in ALTERNATING else left
    return Phase(Stage.ENHANCE, round, start, length)
