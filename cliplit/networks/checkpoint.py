"""Checkpoints: ours (weights with what made them) and the published ones of CLIP-LIT (a bare state dict)."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError, ModelError, first_line, printable
from ..files import atomic_write
from .light_network import LightNetwork
from .registry import all_networks

FORMAT = "cliplit-checkpoint"


def save(path: Path, content: dict[str, Any]) -> None:
    """Write atomically: a crash leaves the previous file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = io.BytesIO()  # of a full disk, torch would say "unexpected pos" and raise RuntimeError
    torch.save({"format": FORMAT, **content}, data)
    with atomic_write(path, swept=True) as temporary:
        temporary.write_bytes(data.getbuffer())


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint file; a bare state dict is returned as {"weights": state dict}.

    Raises InputError where there is no such file and ModelError where it is not a checkpoint. Nothing in the
    file is executed (`weights_only`).
    """
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint file")
    try:
        with warnings.catch_warnings():  # about the protocol of pickles that are refused
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types here, pickle's among them
        kind, said = type(error).__name__, first_line(error)
        why = kind if said == kind else f"{kind}: {said}"
        raise ModelError(f"{path}: not a PyTorch checkpoint that can be read safely ({why})") from error
    if not isinstance(content, Mapping):
        raise ModelError(f"{path}: holds a {type(content).__name__}, expected a state dict of a CLIP-LIT network")
    if content.get("format") == FORMAT:
        return dict(content)
    for key in ("state_dict", "params", "model"):
        if isinstance(content.get(key), Mapping):
            content = content[key]
            break
    return {"weights": dict(content)}


def load_network(path: Path) -> LightNetwork:
    """Load the network of a checkpoint in evaluation mode; its keys tell which network it is.

    Published checkpoints load with or without the `module.` prefix of DataParallel.
    """
    return network_from(read(path), path)


def network_from(content: Mapping[str, Any], path: Path) -> LightNetwork:
    """Build the network in a checkpoint's content; `path` is for messages."""
    weights = {key.removeprefix("module."): value for key, value in tensors_of(content, "weights", path).items()}
    networks = all_networks()
    for name, build in networks.items():
        network = build()
        if set(network.state_dict()) == set(weights):
            try:
                network.load_state_dict(weights)
            except (RuntimeError, TypeError, AttributeError, NotImplementedError) as error:
                message = f"{path}: the {name} network has other sizes ({str(error).splitlines()[-1].strip()})"
                raise ModelError(message) from error
            return network.eval()
    raise ModelError(
        f"{path}: its {len(weights)} tensors are not those of a CLIP-LIT network ({' or '.join(networks)}); "
        f"first key: {next(iter(weights), 'none')}"
    )


def tensors_of(content: Mapping[str, Any], name: str, path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of that name in a checkpoint. Raises ModelError for anything but plain tensors of numbers."""
    found = content.get(name)
    if not isinstance(found, Mapping):
        raise ModelError(f"{path}: holds no {name}, expected tensors by name")
    for key, value in found.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise ModelError(f"{path}: its {name} hold {key!r:.60}, a {type(value).__name__}, expected tensors by name")
        if value.layout != torch.strided or value.is_quantized or value.is_complex() or value.device.type != "cpu":
            raise ModelError(f"{path}: its tensor {key!r:.60} is {value.dtype} {value.layout}, expected plain numbers")
    return dict(found)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def training_summary(content: Mapping[str, Any]) -> str:
    """Summarise in one line how the checkpoint was trained."""
    config, scores = content.get("config"), content.get("scores")
    if not isinstance(config, dict):
        return "published checkpoint, training not recorded in the file"
    said = {name: config.get(name) for name in ("method", "steps", "batch", "seed")}
    if not all(isinstance(value, str | int) and len(str(value)) < 40 for value in said.values()):
        return "training not recorded in the file in a way that can be read"
    text = "method {method}, {steps} steps of {batch}, seed {seed}".format(**said)
    numbers = [scores.get(name) for name in ("psnr", "ssim", "step")] if isinstance(scores, dict) else [None]
    if all(isinstance(number, int | float) for number in numbers):
        text += f", validation {numbers[0]} dB / {numbers[1]} SSIM at step {numbers[2]}"
    return printable(text)
