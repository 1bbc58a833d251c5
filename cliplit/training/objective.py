"""The parts of a step's losses: the enhanced picture, the encoders' judgement, and the updates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..guidance.contract import DTYPES
from ..guidance.guided_losses import clip_loss, identity_loss
from ..guidance.plain_encoder import PlainEncoder
from ..guidance.views import embed_crops, retaken
from ..networks.relative_unet import CODED_STOPS
from .relight import APPLY
from .run import Run
from .state import State, average_weights

DARKER = 4.5  # stops, of `exposure_loss`


def enhance(run: Run, picture: Tensor) -> Tensor:
    """Compute I_t with the network being trained. The light map is applied in float32 at any precision."""
    with amp(run, run.config.precision):
        light = run.network(picture)
    return APPLY[run.config.apply](picture.clamp(min=0.0), light.float())


def exposure_loss(run: Run, pictures: Tensor, seed: tuple[int, int]) -> Tensor:
    """Compute by how much light, in stops of coded values, results rise where a picture is taken darker; on average.

    `pictures` (N, 3, H, W) in [0, 1] are taken up to `DARKER` stops too dark and stored in 8 bits, twice, up to a stop
    apart. A network that sees relative light alone still sees the steps between codes, which tell how dark a file is.
    """
    rng = np.random.default_rng(seed)
    drawn = torch.from_numpy(rng.random((2, len(pictures), 1, 1, 1), np.float32)).to(pictures.device)
    stops, step = DARKER * drawn[0], drawn[1]
    lights = []
    for darker in (stops, stops + step):
        with amp(run, run.config.precision):
            light = run.network((retaken(pictures, -darker) * 255).round() / 255)
        lights.append(torch.log2(light.float().clamp(min=1e-4)))
    return torch.relu(lights[0] - lights[1] - CODED_STOPS * step).mean()


@dataclass
class Judged:
    """What the encoders see in enhanced pictures: unit embeddings (N, D), and features if they are asked for."""

    embeddings: Tensor
    features: list[Tensor] | None


def judge(run: Run, enhanced: Tensor, with_features: bool) -> Judged:
    """Show enhanced pictures to the encoders, once where one encoder judges and compares at the same size."""
    assert run.guidance is not None
    score, identity = run.guidance.score, run.guidance.identity
    with amp(run, run.config.encoder_arithmetic):
        if with_features and score is identity and isinstance(score, PlainEncoder) and not score.feature_side:
            embeddings, features = score.embed_and_features(enhanced)
            return Judged(embeddings.float(), features)
        return Judged(score.embed(enhanced).float(), identity.features(enhanced) if with_features else None)


def guidance_of(run: Run, state: State, enhanced: Tensor, judged: Judged) -> Tensor:
    """Compute L_res for rave, else L_clip with the current prompts."""
    assert run.guidance is not None
    if run.residual is not None:
        with amp(run, run.config.encoder_arithmetic):
            windows = embed_crops(run.guidance.score, enhanced, run.config.crops, state.step)
        return run.residual.loss(torch.cat([judged.embeddings, *(w.float() for w in windows)]))
    assert state.pair is not None
    with torch.no_grad():
        pair = state.pair().float()
    return clip_loss(judged.embeddings, pair)


def identity_of(run: Run, found: list[Tensor], original: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Compute L_identity of features summed over the global batch.

    The factor undoes averaging gradients over processes.
    """
    assert run.compared is not None
    with torch.no_grad(), amp(run, run.config.encoder_arithmetic):
        wanted = run.compared.features(original)
    if len(found) != len(weights):
        raise InputError(f"--identity-layers has {len(weights)} weights; this identity encoder has {len(found)} stages")
    pairs = [f.float() for f in found], [w.float() for w in wanted]
    return run.world.size * identity_loss(*pairs, weights)


def features_of(run: Run, enhanced: Tensor) -> list[Tensor]:
    """Compute the features of enhanced pictures, which the identity loss compares."""
    assert run.guidance is not None
    with amp(run, run.config.encoder_arithmetic):
        return run.guidance.identity.features(enhanced)


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
