"""Training, from pictures to a checkpoint: read it top to bottom like the papers' algorithm box.

A run is a folder: `config.json`, `log.jsonl`, `last.pt` (everything needed to go on), `best.pt` (the result) and a
sample sheet per round. Batch `step` depends on the seed and on `step` alone, the learning rate on `step` alone, and
`last.pt` holds all the rest, so a resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..config import TrainConfig
from ..errors import DivergedError, InputError
from ..guidance.guided_losses import BACKLIT, WELL_LIT, hinge, negative_probability, prompt_loss, ranking_loss
from ..guidance.views import retaken
from ..interrupt import Stop, interruption_after_step
from ..phases import Stage, extended, next_phase, restarted
from .distributed import join_world, leave_world
from .journal import LOG, Journal
from .losses import paired_loss, psnr
from .objective import (
    compared_with,
    embed,
    enhance,
    exposure_loss,
    features_of,
    guidance_of,
    identity_of,
    judge,
    live_pair,
    update_enhancer,
    update_pair,
)
from .relight import APPLY
from .resume import changed_options, go_on
from .run import Run, batches_from, keep_best, keep_prompts, prepare, save, sheet_of, write_config
from .state import WINDOW, State

__all__ = ["TrainConfig", "train"]

Losses = dict[str, Tensor]
RANKING_WEIGHT = 200.0  # of the ranking loss, so that `prompt_threshold` means what it does in the published code


def train(config: TrainConfig, folder: Path, resume: bool = False, quiet: bool = False, progress: str = "auto") -> Path:
    """Train and return the path of the best checkpoint.

    A resumed run may differ from its own `config.json` in what `RESUMABLE` names. `progress`: see `Journal`.

    Raises:
        InputError: data that cannot be used, or a change that a resumed run cannot take.
        DivergedError: a loss was not finite, also after `config.retries`; `last.pt` is the last good state.
    """
    last = folder / "last.pt"
    if last.exists() and not resume:
        raise InputError(f"{folder} already holds a run; continue it with --resume, or name another folder")
    changes = changed_options(folder, config) if resume else {}
    world = join_world(config)
    run, state = prepare(config, folder, world, quiet or not world.is_first)
    if resume:
        go_on(run, state, changes)
    write_config(run)
    journal = Journal(folder, config, state.step, quiet=quiet, active=world.is_first, style=progress)
    try:
        if changes:
            journal.event(state.step, "changed", changes)
        if not resume:
            if config.init and not config.best_by_loss:
                journal.scores(0, keep_best(run, state, math.inf))  # what training must beat
            save(run, state)  # what a run that diverges early goes back to
        with interruption_after_step() as stop:
            train_all(run, state, journal, stop)
    except KeyboardInterrupt:
        if state.is_finite():
            save(run, state)
        raise
    finally:
        journal.close()
        leave_world(world)
    return folder / "best.pt"


def train_all(run: Run, state: State, journal: Journal, stop: Stop) -> None:
    """Run all phases; where the run diverges, go back to the last checkpoint and halve the rates, if asked to."""
    for retries_left in reversed(range(run.config.retries + 1)):
        try:
            while state.phase is not None:
                train_phase(run, state, journal, stop)
                finish_phase(run, state, journal)
            return
        except DivergedError as error:
            journal.event(state.step, "diverged", {"message": str(error)}, quiet=not retries_left)
            if not retries_left:
                raise
            halve_rates(run, state, journal)


def halve_rates(run: Run, state: State, journal: Journal) -> None:
    """Go back to the last checkpoint with half of every learning rate, which `config.json` keeps from now on."""
    names = ("learning_rate", "final_learning_rate", "prompt_learning_rate")
    run.config = journal.config = replace(run.config, **{name: getattr(run.config, name) / 2 for name in names})
    write_config(run)
    go_on(run, state, {})
    journal.event(state.step, "retry", {name: getattr(run.config, name) for name in names})


def train_phase(run: Run, state: State, journal: Journal, stop: Stop) -> None:
    """Run steps of one stage until its phase ends; it is extended while its loss is above the threshold."""
    config, phase = run.config, state.phase
    assert phase is not None
    journal.begin(phase, state.step)
    for batch in batches_from(run, phase.stage, state.step):
        set_learning_rate(state.optimizer, learning_rate(state.step, config))
        losses = STEPS[phase.stage](run, state, batch)
        state.step += 1
        means = run.world.mean(torch.stack([value.detach() for value in losses.values()])).tolist()
        values = dict(zip(losses, means, strict=True))
        if not all(map(math.isfinite, means)):
            raise diverged(run, state, f"a loss of {values['loss']}")
        loss = state.note_loss(values["loss"])

        if phase.stage is Stage.RECONSTRUCT and must_restart(state, values["reconstruction_psnr"], config):
            state.restart(config)
            state.phase = phase = restarted(config, phase)
        if state.step >= phase.end:
            state.phase = phase = extended(config, phase, loss)
        over = state.step >= phase.end
        saves = state.step % config.save_every == 0
        if (state.step % config.log_every == 0 or over or saves) and not state.is_finite():
            raise diverged(run, state, "weights that are no longer numbers")
        if state.step % config.log_every == 0 or over:
            state.keep_best_of_phase(loss)
        journal.step(phase, state.step, values, state.optimizer.param_groups[0]["lr"])
        if over:
            return
        if saves:
            if not phase.stage.trains_prompts:
                journal.scores(state.step, keep_best(run, state, loss))
            save(run, state)
        if stop.asked:
            raise KeyboardInterrupt


def diverged(run: Run, state: State, what: str) -> DivergedError:
    """Describe what happened at a step and what is left; the rate is that of this step."""
    assert state.phase is not None
    rate = (
        run.config.prompt_learning_rate if state.phase.stage.trains_prompts else learning_rate(state.step, run.config)
    )
    again = "or --retries 3"
    if run.config.retries:
        again = f"(what --retries {run.config.retries} did is in {run.folder / LOG})"
    return DivergedError(
        f"diverged at step {state.step} ({state.phase.stage.value}): {what} at a learning rate of {rate:.3g}; "
        f"{run.folder / 'last.pt'} is the last good state: go on with --resume and a lower learning rate {again}"
    )


def finish_phase(run: Run, state: State, journal: Journal) -> None:
    """Carry the best of the phase into the next; a round ends by remembering the enhancer for the ranking."""
    phase, loss = state.phase, state.best.loss
    assert phase is not None
    if phase.stage is not Stage.TARGETS:  # whose result is the average over its steps, scored on the way
        state.restore_best_of_phase()
    if phase.stage.trains_prompts:
        keep_prompts(run, state)
    else:
        journal.scores(state.step, keep_best(run, state, loss))
        journal.sheet(phase, state.step, sheet_of(run, state))
    if phase.stage is Stage.REFINE:
        state.remember_enhancer()
    state.begin(next_phase(run.config, phase))
    if run.config.best_by_loss:
        state.score = -math.inf  # losses of different phases do not compare
    save(run, state)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Compute the rate: linear warm-up, then constant or a cosine down to the final learning rate."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return config.final_learning_rate + (config.learning_rate - config.final_learning_rate) * cosine


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def must_restart(state: State, reconstruction: float, config: TrainConfig) -> bool:
    """Return whether self-reconstruction failed: under 8 dB on average, 100 steps after the last initialisation."""
    state.psnrs = [*state.psnrs, reconstruction][-WINDOW:]
    return state.step - state.started > 100 and sum(state.psnrs) / len(state.psnrs) < config.restart_psnr


# One step of each stage: the losses of a batch, and the update.


def target_step(run: Run, state: State, batch: tuple[Tensor, ...]) -> Losses:
    """Train on known targets, through the light map, the runtime's refinement and the protected gain."""
    picture, target = batch
    loss = paired_loss(enhance(run, picture), target, level_weight=run.config.level_weight)
    losses = {"loss": loss}
    if run.config.exposure_weight:
        losses["exposure"] = exposure_loss(run, target, (run.config.seed, state.step))
        losses["loss"] = loss + run.config.exposure_weight * losses["exposure"]
    update_enhancer(run, state, losses["loss"])
    return losses


def reconstruct_step(run: Run, state: State, batch: tuple[Tensor, ...]) -> Losses:
    """Train self-reconstruction: the identity loss alone, all layers weighted alike, as a start for guidance."""
    picture, clean, _ = batch
    enhanced = enhance(run, picture)
    identity = identity_of(run, features_of(run, enhanced), clean, (1.0,) * len(run.config.identity_layers))
    loss = run.config.reconstruction_weight * identity
    update_enhancer(run, state, loss)
    return {"loss": loss, "reconstruction_psnr": psnr(enhanced.detach(), clean, floor=1e-10).mean()}


def enhance_step(run: Run, state: State, batch: tuple[Tensor, ...]) -> Losses:
    """Train by L_enhance = w_g L_guidance + w_i L_identity; prompts and encoders are frozen."""
    config = run.config
    picture, clean, reference = batch
    enhanced = enhance(run, picture)
    every = config.identity_every
    judged = judge(run, enhanced, with_features=(state.step + 1) % every == 0)  # so that steps in the log have it
    losses = {"guidance": guidance_of(run, state, enhanced, judged)}
    loss = config.guidance_weight * losses["guidance"]
    if judged.features is not None:
        wanted = compared_with(run, clean, reference)
        losses["identity"] = identity_of(run, judged.features, wanted, config.identity_layers)
        loss = loss + every * config.identity_weight * losses["identity"]
    if config.paired_weight:
        losses["paired"] = paired_loss(enhanced, reference)
        loss = loss + config.paired_weight * losses["paired"]
    update_enhancer(run, state, loss)
    return {"loss": loss, **losses}


def prompt_step(run: Run, state: State, batch: tuple[Tensor, ...]) -> Losses:
    """Train the initial prompts to tell backlit (0) from well-lit (1) pictures."""
    backlit, well_lit = batch
    kinds = {BACKLIT: backlit, WELL_LIT: well_lit}
    shown, labels = list(kinds.values()), list(kinds)
    if run.config.overexposure:
        shown.append(retaken(well_lit, run.config.overexposure))
        labels.append(BACKLIT)  # the negative prompt stands for what is badly exposed
    targets = torch.tensor(labels, device=run.world.device).repeat_interleave(len(backlit))
    loss = prompt_loss(embed(run, torch.cat(shown)), targets, live_pair(run))
    update_pair(state, loss)
    return {"loss": loss}


def refine_step(run: Run, state: State, batch: tuple[Tensor, ...]) -> Losses:
    """Refine the prompts: rank backlit < earlier result < result < well-lit, as many as exist so far."""
    backlit, well_lit = batch
    with torch.no_grad():
        enhancers = [e for e in (state.previous, state.average) if e is not None]
        enhancers = enhancers[max(0, len(enhancers) - (run.config.levels - 2)) :]
        results = [APPLY[run.config.apply](backlit, network(backlit)) for network in enhancers]
    ladder = [backlit, *results, well_lit]
    pair = live_pair(run)
    rungs = negative_probability(embed(run, torch.cat(ladder)), pair).view(len(ladder), -1)
    margins = run.config.margins_of(len(ladder))
    ranking = ranking_loss(rungs.unbind(), margins)
    if run.config.overexposure:
        over = negative_probability(embed(run, retaken(well_lit, run.config.overexposure)), pair)
        ranking = ranking + hinge(over, rungs[-1], margins[0]).mean()
    loss = RANKING_WEIGHT * ranking
    update_pair(state, loss)
    return {"loss": loss}


Step = Callable[[Run, State, tuple[Tensor, ...]], Losses]

STEPS: dict[Stage, Step] = {
    Stage.TARGETS: target_step,
    Stage.PROMPTS: prompt_step,
    Stage.RECONSTRUCT: reconstruct_step,
    Stage.ENHANCE: enhance_step,
    Stage.REFINE: refine_step,
}
