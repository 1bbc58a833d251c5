"""The changing part of a run, and how it is saved and restored, so that a killed run can go on."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from ..config import TrainConfig
from ..guidance.prompts import LatentPair, PromptPair
from ..networks.registry import build_network
from ..phases import Phase, Stage, first_phase

WINDOW = 30  # steps a loss is averaged over before anything is decided by it


@dataclass
class BestOfPhase:
    """Copies, not references, of the weights at the lowest loss of a phase."""

    loss: float = math.inf
    weights: dict[str, Any] = field(default_factory=dict)


@dataclass
class State:
    """The enhancer (live, averaged and a round ago), the prompt pair, their optimizers, and the run's position."""

    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    pair: PromptPair | LatentPair | None
    pair_optimizer: torch.optim.Optimizer | None
    phase: Phase | None
    finished: Phase | None = None  # the phase before this one
    previous: nn.Module | None = None
    step: int = 0
    started: int = 0  # the step at which the weights were last initialised
    losses: list[float] = field(default_factory=list)  # of the phase, the last WINDOW
    psnrs: list[float] = field(default_factory=list)  # of self-reconstruction, the last WINDOW
    best: BestOfPhase = field(default_factory=BestOfPhase)
    score: float = -math.inf  # of best.pt

    def state_dict(self) -> dict[str, Any]:
        return {
            "weights": self.average.state_dict(),
            "live_weights": self.network.state_dict(),
            "previous": self.previous.state_dict() if self.previous else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "prompts": self.pair.state_dict() if self.pair else None,
            "prompt_optimizer": self.pair_optimizer.state_dict() if self.pair_optimizer else None,
            "phase": described(self.phase),
            "finished": described(self.finished),
            "random": torch.get_rng_state(),
            "step": self.step,
            "started": self.started,
            "losses": self.losses,
            "psnrs": self.psnrs,
            "best_of_phase": asdict(self.best),
            "score": self.score,
        }

    def load_state_dict(self, content: dict[str, Any]) -> None:
        self.average.load_state_dict(content["weights"])
        self.network.load_state_dict(content["live_weights"])
        self.previous = None
        if content["previous"]:
            self.remember_enhancer()
            assert self.previous is not None
            self.previous.load_state_dict(content["previous"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.scaler.load_state_dict(content["scaler"])
        if self.pair is not None and self.pair_optimizer is not None:
            self.pair.load_state_dict(content["prompts"])
            self.pair_optimizer.load_state_dict(content["prompt_optimizer"])
        self.phase, self.finished = (restored(content.get(name)) for name in ("phase", "finished"))
        torch.set_rng_state(content["random"])
        for name, kind in (("step", int), ("started", int), ("losses", list), ("psnrs", list), ("score", float)):
            value = content[name]
            if not isinstance(value, kind | int if kind is float else kind):
                raise TypeError(f"{name} is a {type(value).__name__}")
            setattr(self, name, value)
        if self.step < 0 or not all(isinstance(number, float | int) for number in self.losses + self.psnrs):
            raise ValueError("steps or losses that cannot be")
        self.best = BestOfPhase(**content["best_of_phase"])

    def remember_enhancer(self) -> None:
        """Keep the enhancer of this round for the next round's ranking."""
        self.previous = copy.deepcopy(self.average)

    def note_loss(self, loss: float) -> float:
        """Record a loss; return the mean over the last steps of the phase, this one included."""
        self.losses = [*self.losses, loss][-WINDOW:]
        return sum(self.losses) / len(self.losses)

    def keep_best_of_phase(self, loss: float) -> None:
        """Copy what the phase trains if it never had a lower loss."""
        assert self.phase is not None
        if loss < self.best.loss:
            parts = {"pair": self.pair} if self.phase.stage.trains_prompts else self._enhancers()
            self.best = BestOfPhase(loss, {name: copy.deepcopy(m.state_dict()) for name, m in parts.items() if m})

    def restore_best_of_phase(self) -> None:
        """Restore the best model and prompts of a phase, which start the next one."""
        for name, part in {"pair": self.pair, **self._enhancers()}.items():
            if name in self.best.weights and part is not None:
                part.load_state_dict(self.best.weights[name])

    def begin(self, phase: Phase | None) -> None:
        self.finished, self.phase = self.phase, phase
        self.losses, self.psnrs, self.best = [], [], BestOfPhase()

    def is_finite(self) -> bool:
        """Tell whether all weights are numbers that one can go on with."""
        modules = [m for m in (self.network, self.average, self.pair) if m is not None]
        return all(bool(torch.isfinite(p).all()) for m in modules for p in m.parameters())

    def restart(self, config: TrainConfig) -> None:
        """Put new random weights into the same modules and create a new optimizer."""
        fresh = build_network(config.network)
        draw_weights(fresh, config.initial_std)
        self.network.load_state_dict(fresh.state_dict())
        self.average.load_state_dict(self.network.state_dict())
        self.optimizer = make_optimizer(self.network, config)
        self.started, self.psnrs = self.step, []

    def _enhancers(self) -> dict[str, nn.Module]:
        return {"network": self.network, "average": self.average}


def described(phase: Phase | None) -> dict[str, Any] | None:
    return asdict(phase) | {"stage": phase.stage.value} if phase else None


def restored(content: dict[str, Any] | None) -> Phase | None:
    return Phase(**(content | {"stage": Stage(content["stage"])})) if content else None


@torch.no_grad()
def draw_weights(network: nn.Module, std: float) -> None:
    """Draw weights of all convolutions as N(0, std) and biases as PyTorch does, like CLIP-LIT's code; 0: nothing.

    The biases are then uniform within 1 / sqrt(fan-in), also that of the light map, which ours starts at 1.
    """
    for module in network.modules() if std else ():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                bound = module.weight[0].numel() ** -0.5
                nn.init.uniform_(module.bias, -bound, bound)


def fresh_state(
    config: TrainConfig,
    network: nn.Module,
    pair: PromptPair | LatentPair | None = None,
    device: torch.device | None = None,
) -> State:
    """Create the state of a new run for a network and a prompt pair that are on the device already."""
    pair_optimizer = None
    if pair is not None:
        decay = config.prompt_weight_decay
        pair_optimizer = torch.optim.Adam(
            pair.parameters(), config.prompt_learning_rate, config.betas, weight_decay=decay
        )
    return State(
        network,
        copy.deepcopy(network).requires_grad_(False),
        make_optimizer(network, config),
        torch.amp.GradScaler(
            (device or torch.device("cpu")).type, enabled="fp16" in (config.precision, config.encoder_arithmetic)
        ),
        pair,
        pair_optimizer,
        first_phase(config),
    )


def make_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Create AdamW for known targets, Adam with L2 decay for the guided methods, as published."""
    kind = torch.optim.AdamW if config.method == "paired" else torch.optim.Adam
    return kind(network.parameters(), config.learning_rate, betas=config.betas, weight_decay=config.weight_decay)


@torch.no_grad()
def average_weights(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Update the exponential moving average of the parameters."""
    for mean, value in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(value, 1.0 - decay)
