"""The user's own image encoders: any module with `encode_image`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError, ModelError
from .contract import STAGES, ImageEncoder, freeze


def load_encoder(spec: str, argument: str, device: torch.device) -> ImageEncoder:
    """Load an image encoder from `FILE.py:FACTORY`. The factory is called with `argument` if it is not empty.

    It gives an object that fulfils the contract, or any module with `encode_image(pictures)` on pictures in [0, 1]
    (see `PlainEncoder`). The file is executed: it is the user's own code.
    """
    file, _, factory_name = spec.rpartition(":")
    path = Path(file)
    if not path.is_file() or not factory_name:
        raise InputError(f"--encoder {spec}: expected FILE.py:FACTORY with a file that exists")
    module_spec = importlib.util.spec_from_file_location(f"cliplit_encoder_{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise InputError(f"--encoder {spec}: {path} is not a Python file")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
        factory: Callable[..., Any] = getattr(module, factory_name)
        made = factory(argument) if argument else factory()
    except Exception as error:  # the user's code may raise anything
        raise ModelError(f"--encoder {spec}: {type(error).__name__}: {error}") from error
    return adapt(made, spec, device)


def adapt(made: Any, name: str, device: torch.device) -> ImageEncoder:
    """Turn what a factory made into a frozen encoder. Raises ModelError if it breaks the contract."""
    if isinstance(made, nn.Module):
        freeze(made.to(device))
    if callable(getattr(made, "embed", None)) and not isinstance(getattr(made, "features", None), nn.Module):
        encoder: ImageEncoder = made
    elif isinstance(made, nn.Module) and hasattr(made, "encode_image"):
        encoder = PlainEncoder(made)
    else:
        raise ModelError(
            f"--encoder {name}: gives a {type(made).__name__}, expected a module with encode_image, or one with "
            "embed and features"
        )
    probe = torch.rand(2, 3, 64, 64, device=device)
    with torch.no_grad():
        embedding, features = encoder.embed(probe), encoder.features(probe)
    if embedding.ndim != 2 or not torch.allclose(embedding.norm(dim=1), torch.ones(2, device=device), atol=1e-3):
        raise ModelError(f"--encoder {name}: embed gives {tuple(embedding.shape)}, expected unit vectors (N, D)")
    if not features:
        raise ModelError(f"--encoder {name}: no stages of features found for the identity loss")
    return encoder


class PlainEncoder(nn.Module):
    """Any module with `encode_image`, as an image encoder.

    The stages of the identity loss are found by looking: of the feature maps (N, C, H, W) that its submodules give,
    the last one of each size, and of those the last five. Their scale is whatever the module's author liked, so
    `calibrate` brings each to a root mean square of 1, the order of RN101's, for which the papers' weights are made.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.encode: Any = module.encode_image
        self.feature_side = 0  # at which `features` sees pictures; 0: as they come
        sizes = [(name, size) for name, size in self._map_sizes(torch.rand(1, 3, 64, 64)) if size > 1]
        last = {size: name for name, size in sizes}  # later names replace earlier ones
        self.stages = sorted(last.values(), key=[name for name, _ in sizes].index)[-STAGES:]
        self.scales = [1.0] * len(self.stages)

    def embed(self, pictures: Tensor) -> Tensor:
        embedding: Tensor = self.encode(pictures)
        return F.normalize(embedding, dim=-1)

    def features(self, pictures: Tensor) -> list[Tensor]:
        if side := self.feature_side:
            pictures = F.interpolate(pictures, (side, side), mode="bilinear", antialias=True)
        return self._stages_of(self._run(pictures, self.stages)[1])

    def embed_and_features(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Compute `embed` and `features` in one pass."""
        embedding, maps = self._run(pictures, self.stages)
        return F.normalize(embedding, dim=-1), self._stages_of(maps)

    def _stages_of(self, maps: dict[str, Tensor]) -> list[Tensor]:
        return [maps[name] * scale for name, scale in zip(self.stages, self.scales, strict=True)]

    @torch.no_grad()
    def calibrate(self, pictures: Tensor) -> None:
        """Set the scales from typical pictures, (N, 3, H, W) in [0, 1]."""
        self.scales = [1.0] * len(self.stages)
        self.scales = [1.0 / max(float(f.square().mean().sqrt()), 1e-12) for f in self.features(pictures)]

    def _map_sizes(self, probe: Tensor) -> list[tuple[str, int]]:
        device = next((p.device for p in self.module.parameters()), torch.device("cpu"))
        leaves = [name for name, m in self.module.named_modules() if name and not list(m.children())]
        with torch.no_grad():
            _, maps = self._run(probe.to(device), leaves)
        return [(name, out.shape[-1]) for name, out in maps.items() if isinstance(out, Tensor) and out.ndim == 4]

    def _run(self, pictures: Tensor, names: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the embedding and the outputs of the named submodules in one pass, in execution order."""
        found: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
            return lambda _module, _inputs, output: found.update({name: output})

        hooks = [self.module.get_submodule(name).register_forward_hook(keep(name)) for name in names]
        try:
            embedding: Tensor = self.encode(pictures)
        finally:
            for hook in hooks:
                hook.remove()
        return embedding, found
