"""The parts of a step's losses: the enhanced picture, the encoders' judgement, and the updates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..guidance.contract import DTYPES
from ..guidance.guided_losses import clip_loss, identity_loss
from ..guidance.views import embed_views
from .relight import APPLY
from .run import Run
from .state import State, average_weights


def enhance(run: Run, picture: Tensor) -> Tensor:
    """Compute I_t with the network being trained. The light map is applied in float32 at any precision."""
    with amp(run, run.config.precision):
        light = run.network(picture)
    return APPLY[run.config.apply](picture.clamp(min=0.0), light.float())


def guidance_of(run: Run, state: State, enhanced: Tensor) -> Tensor:
    """Compute L_res for rave, else L_clip with the current prompts."""
    assert run.guidance is not None
    with amp(run, run.config.encoder_arithmetic):
        if run.residual is not None:
            return run.residual.loss(embed_views(run.guidance.score, enhanced, run.config.crops, state.step).float())
        embeddings = run.guidance.score.embed(enhanced)
    assert state.pair is not None
    with torch.no_grad():
        pair = state.pair().float()
    return clip_loss(embeddings.float(), pair)


def identity_of(run: Run, enhanced: Tensor, original: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Compute L_identity summed over the global batch; the factor undoes averaging gradients over processes."""
    assert run.guidance is not None
    with amp(run, run.config.encoder_arithmetic):
        with torch.no_grad():
            wanted = run.guidance.identity.features(original)
        found = run.guidance.identity.features(enhanced)
    if len(found) != len(weights):
        raise InputError(f"--identity-layers has {len(weights)} weights; this identity encoder has {len(found)} stages")
    pairs = [f.float() for f in found], [w.float() for w in wanted]
    return run.world.size * identity_loss(*pairs, weights)


@torch.no_grad()
def compared_with(run: Run, clean: Tensor, reference: Tensor) -> Tensor:
    """Return the pictures that the identity loss of the enhancer compares with."""
    if run.config.identity_to == "reference":
        return reference
    if run.beginning is not None:
        return APPLY[run.config.apply](clean, run.beginning(clean))
    return clean


@torch.no_grad()
def embed(run: Run, pictures: Tensor) -> Tensor:
    """Compute f(I) to compare with prompts; no gradient flows to the pictures."""
    assert run.guidance is not None
    with amp(run, run.config.encoder_arithmetic):
        return run.guidance.score.embed(pictures).float()


def live_pair(run: Run) -> Tensor:
    """Compute g(T) of the prompts being trained."""
    assert run.pair is not None
    pair: Tensor = run.pair()
    return pair


def amp(run: Run, precision: str) -> torch.autocast:
    return torch.autocast(run.world.device.type, DTYPES[precision], enabled=precision != "fp32")


def update_enhancer(run: Run, state: State, loss: Tensor) -> None:
    config = run.config
    state.optimizer.zero_grad(set_to_none=True)
    state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    state.scaler.unscale_(state.optimizer)
    if config.gradient_clip:
        nn.utils.clip_grad_norm_(state.network.parameters(), config.gradient_clip)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    count = state.step + 1
    average_weights(state.average, state.network, min(config.ema, count / (count + 10)))  # slower as training goes on


def update_pair(state: State, loss: Tensor) -> None:
    assert state.pair_optimizer is not None
    state.pair_optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    state.pair_optimizer.step()
