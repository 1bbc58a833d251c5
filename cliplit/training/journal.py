"""The record of a run: a progress bar per phase, `log.jsonl`, sample sheets, TensorBoard."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..arrays import Array
from ..config import TrainConfig
from ..errors import InputError
from ..files import atomic_write
from ..phases import Phase
from .samples import write_png

LOG = "log.jsonl"
SAMPLES = "samples"


class Journal:
    """The record of a run, kept by the first process only (`active`); resumed at `step`, it drops later entries."""

    def __init__(self, folder: Path, config: TrainConfig, step: int, quiet: bool = False, active: bool = True) -> None:
        self.folder, self.config, self.quiet, self.active = folder, config, quiet or not active, active
        self.bar: Any = None
        self.last = (time.perf_counter(), step)
        self.tensorboard = open_tensorboard(folder, step) if config.tensorboard and active else None
        if active:
            forget_after(folder / LOG, step)

    def begin(self, phase: Phase, step: int) -> None:
        self._end_bar()
        name = f"{phase.stage.value} {phase.round}" if phase.round else phase.stage.value
        done = (step - phase.start) * self.batch_of(phase)
        disable = True if self.quiet else None
        self.bar = tqdm(total=phase.length * self.batch_of(phase), initial=done, disable=disable, unit="img", desc=name)
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
        self._scalars(phase.stage.value, {**losses, "lr": rate}, step)

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        if scores:
            self._write({"step": step, **scores})
            self._scalars("validation", scores, step)

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

    def batch_of(self, phase: Phase) -> int:
        return self.config.prompt_batch if phase.stage.trains_prompts else self.config.batch

    def _end_bar(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def _write(self, entry: dict[str, Any]) -> None:
        if self.active:
            with (self.folder / LOG).open("a", encoding="utf-8") as log:
                log.write(json.dumps({**entry, "time": round(time.time(), 1)}) + "\n")

    def _scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        if self.tensorboard is not None:
            for name, value in values.items():
                self.tensorboard.add_scalar(f"{group}/{name}", value, step)


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the entries of a log; a line cut off by a crash is left out."""
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
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
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step)
