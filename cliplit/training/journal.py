"""The record of a run: a progress bar per phase or lines, `log.jsonl`, sample sheets, TensorBoard, Weights & Biases."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from ..arrays import Array
from ..config import TrainConfig
from ..errors import BackendError, InputError, first_line
from ..files import atomic_write
from ..phases import Phase
from .samples import write_png

LOG = "log.jsonl"
SAMPLES = "samples"
EACH = "validation.json"  # the scores of best.pt, picture by picture


class Journal:
    """The record of a run, kept by the first process only (`active`); resumed at `step`, it drops later entries."""

    def __init__(
        self,
        folder: Path,
        config: TrainConfig,
        step: int,
        quiet: bool = False,
        active: bool = True,
        style: str = "auto",
    ) -> None:
        """Open the record; `style` is how progress is shown: bar, lines, json, or auto, a bar on a terminal."""
        if style == "auto":
            style = "bar" if sys.stderr.isatty() else "lines"
        self.folder, self.config, self.active = folder, config, active
        self.style = "none" if quiet or not active else style
        self.bar: Any = None
        self.wandb = open_wandb(folder, config) if config.wandb and active else None
        self.last = (time.perf_counter(), step)
        self.tensorboard = open_tensorboard(folder, step) if config.tensorboard and active else None
        if active:
            forget_after(folder / LOG, step)

    def begin(self, phase: Phase, step: int) -> None:
        self._end_bar()
        name = f"{phase.stage.value} {phase.round}" if phase.round else phase.stage.value
        done = (step - phase.start) * self.batch_of(phase)
        total, hidden = phase.length * self.batch_of(phase), self.style != "bar"
        self.bar = tqdm(total=total, initial=done, disable=hidden, unit="img", desc=name)
        if self.style == "lines":
            click.echo(f"{name}: steps {step} to {phase.end} of {self.config.steps}", err=True)
        self.last = (time.perf_counter(), step)

    def step(self, phase: Phase, step: int, losses: Mapping[str, float], rate: float) -> None:
        """Update the bar after every step, and the log every `log_every` steps and at the end of a phase."""
        self.bar.total = phase.length * self.batch_of(phase)  # phases are extended
        self.bar.update(self.batch_of(phase))
        if phase.stage.trains_prompts:
            rate = self.config.prompt_learning_rate
        self.bar.set_postfix(loss=f"{losses['loss']:.4f}", lr=f"{rate:.1e}", refresh=False)
        if step % self.config.log_every and step != phase.end:
            return
        now = time.perf_counter()
        speed = (step - self.last[1]) * self.batch_of(phase) / max(now - self.last[0], 1e-9)
        self.last = (now, step)
        rounded = {name: float(f"{value:.6g}") for name, value in losses.items()}
        place = {"stage": phase.stage.value, "round": phase.round}
        self._write({"step": step, **place, **rounded, "lr": rate, "images_per_second": round(speed, 2)})
        if self.style == "lines":
            values = "  ".join(f"{name} {value:.4g}" for name, value in losses.items())
            left = (self.config.steps - step) * self.batch_of(phase) / max(speed, 1e-9)
            ahead = f"{speed:.3g} img/s  {duration(left)} left"
            click.echo(f"step {step}/{self.config.steps}  {values}  lr {rate:.1e}  {ahead}", err=True)
        self._scalars(phase.stage.value, {**losses, "lr": rate}, step)

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        if scores:
            self._write({"step": step, **scores})
            self._scalars("validation", scores, step)
            if self.style == "lines":
                click.echo(f"step {step}  " + "  ".join(f"{k} {v:.4g}" for k, v in scores.items()), err=True)

    def event(self, step: int, what: str, details: Mapping[str, Any], quiet: bool = False) -> None:
        """Record what is no measurement: a change of the options, a divergence, a retry."""
        self._write({"step": step, "event": what, **details})
        if self.style == "lines" and details and not quiet:
            click.echo(f"step {step}  {what}: {json.dumps(details)}", err=True)

    def sheet(self, phase: Phase, step: int, picture: Array) -> None:
        if not self.active:
            return
        write_png(self.folder / SAMPLES / f"{step:07d}_{phase.stage.value}_{phase.round}.png", picture)
        if self.tensorboard is not None:
            self.tensorboard.add_image("before_after_light", picture, step, dataformats="HWC")

    def close(self) -> None:
        self._end_bar()
        if self.tensorboard is not None:
            self.tensorboard.close()
        if self.wandb is not None:
            self.wandb.finish()

    def batch_of(self, phase: Phase) -> int:
        return self.config.prompt_batch if phase.stage.trains_prompts else self.config.batch

    def _end_bar(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def _write(self, entry: dict[str, Any]) -> None:
        if self.active:
            with (self.folder / LOG).open("a", encoding="utf-8") as log:
                line = json.dumps({**entry, "time": round(time.time(), 1)})
                log.write(line + "\n")
            if self.style == "json":
                click.echo(line)

    def _scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        if self.tensorboard is not None:
            for name, value in values.items():
                self.tensorboard.add_scalar(f"{group}/{name}", value, step)
        if self.wandb is not None:
            self.wandb.log({f"{group}/{name}": value for name, value in values.items()}, step=step)


def duration(seconds: float) -> str:
    """Write a number of seconds as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the entries of a log; a line cut off by a crash is left out."""
    entries = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and type(entry.get("step")) is int:
            entries.append(entry)
    return entries


def forget_after(path: Path, step: int) -> None:
    """Drop the entries of steps that a resumed run will do again."""
    if path.is_file():
        kept = [json.dumps(entry) + "\n" for entry in read_log(path) if entry["step"] <= step]
        with atomic_write(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")


def open_tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError("--tensorboard needs the package of that name; install it: pip install tensorboard") from error
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)


def open_wandb(folder: Path, config: TrainConfig) -> Any:
    """Start a run of Weights & Biases, or continue the one `folder` names. Raises BackendError without the package."""
    try:
        import wandb
    except ImportError as error:
        raise BackendError("--wandb needs the package of that name; install it: pip install wandb") from error
    named = folder / "wandb_id.txt"
    known = named.read_text(encoding="utf-8").strip() if named.is_file() else None
    folder.mkdir(parents=True, exist_ok=True)
    try:
        run: Any = wandb.init(
            project=config.wandb, name=folder.name, dir=str(folder), id=known, resume="allow", config=asdict(config)
        )
    except Exception as error:  # no account, no network: types of wandb's own, in modules that move
        advice = "log in (wandb login), or set WANDB_MODE=offline and send it later (wandb sync)"
        raise BackendError(f"--wandb {config.wandb}: {first_line(error)}; {advice}") from error
    named.write_text(f"{run.id}\n", encoding="utf-8")
    return run
