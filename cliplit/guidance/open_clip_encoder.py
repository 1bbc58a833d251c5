"""open_clip as guidance: any of its models and pretrained tags, batched and differentiable."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..errors import BackendError, InputError, ModelError, first_line
from ..install import install_hint
from .contract import STAGES, freeze

RANDOM = "random"


class OpenClipEncoder(nn.Module):
    """The image half of an open_clip model.

    Pre-processing is the paper's: a bilinear resize to the model's square without a crop, then the mean and standard
    deviation the model was trained with.

    The model runs in `dtype`, whatever the precision around it; pictures, embeddings and features are float32.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, visual: nn.Module, antialias: bool = False, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.visual = streamlined(visual, dtype)
        self.antialias, self.dtype = antialias, dtype
        size: Any = getattr(visual, "image_size", 224)
        self.feature_side = 0  # at which `features` sees pictures; 0: the model's own
        self.size = tuple(size) if isinstance(size, tuple | list) else (size, size)
        for name, default in (("mean", CLIP_MEAN), ("std", CLIP_STD)):
            values = getattr(visual, f"image_{name}", None) or default
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def preprocess(self, pictures: Tensor, side: int = 0) -> Tensor:
        size = (side, side) if side else self.size
        if pictures.shape[-2:] != size:
            pictures = F.interpolate(pictures, size, mode="bilinear", align_corners=False, antialias=self.antialias)
        return (pictures - self.mean) / self.std

    def embed(self, pictures: Tensor) -> Tensor:
        with torch.autocast(pictures.device.type, enabled=False):
            embedding: Tensor = self.visual(self.preprocess(pictures.float()).to(self.dtype))
            return F.normalize(embedding.float(), dim=-1)

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Compute the five stages of features.

        A CLIP ResNet gives the output of its stem and four layers, as in the published code; a transformer gives five
        of its blocks, evenly spaced.
        """
        visual: Any = self.visual
        with torch.autocast(pictures.device.type, enabled=False):
            inputs = self.preprocess(pictures.float(), self.feature_side).to(self.dtype)
            found = visual.forward_intermediates(inputs, intermediates_only=True)["image_intermediates"]
        chosen = torch.linspace(0, len(found) - 1, min(STAGES, len(found))).round().int().tolist()
        return [found[i].float() for i in chosen]


def streamlined(visual: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Optimise a frozen model without changing its function.

    Batch normalisation of CLIP's ResNets is folded into the convolution before it, tensors are channels-last, and
    weights are cast once instead of at every step.
    """
    for block in visual.modules():
        if type(block).__module__ != "open_clip.modified_resnet":
            continue  # only there the names give the order
        for i in (1, 2, 3):
            fold(block, f"conv{i}", f"bn{i}")
        if isinstance(getattr(block, "downsample", None), nn.Module):
            fold(block.downsample, "0", "1")
    return visual.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]


def fold(parent: Any, convolution: str, normalisation: str) -> None:
    """Make one convolution of two children of `parent`, where it has them."""
    first, second = getattr(parent, convolution, None), getattr(parent, normalisation, None)
    if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
        setattr(parent, convolution, fuse_conv_bn_eval(first, second))
        setattr(parent, normalisation, nn.Identity())


CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class OpenClipText:
    """The text half of an open_clip model."""

    def __init__(self, name: str, model: Any, tokenizer: Any) -> None:
        self.name, self.model, self.tokenizer = name, model, tokenizer
        self.embedding: nn.Module = model.token_embedding if hasattr(model, "token_embedding") else _words(model.text)

    def tokens(self, texts: Sequence[str]) -> Tensor:
        tokens: Tensor = self.tokenizer(list(texts))
        return tokens.to(next(self.embedding.parameters()).device)

    def word_vectors(self, tokens: Tensor) -> Tensor:
        vectors: Tensor = self.embedding(tokens)
        return vectors.detach()

    def encode(self, vectors: Tensor, tokens: Tensor) -> Tensor:
        # The look-up of word vectors returns ours, which works with every kind of text tower.
        hook = self.embedding.register_forward_hook(lambda *_: vectors)
        try:
            embedding: Tensor = self.model.encode_text(tokens, normalize=True)
        finally:
            hook.remove()
        return embedding

    def word_table(self) -> Tensor:
        table: Any = self.embedding
        weight: Tensor = table.weight.detach()
        return weight

    def vocabulary(self) -> list[str]:
        return [self.tokenizer.decode([number]) for number in range(self.tokenizer.vocab_size)]


def open_clip_encoder(
    name: str, weights: str, antialias: bool, device: torch.device, dtype: torch.dtype = torch.float32
) -> tuple[OpenClipEncoder, Any]:
    """Load (frozen image encoder, the whole model it belongs to, whose text half stays float32).

    Raises InputError for a name or tag that does not exist and ModelError for weights that cannot be had.
    """
    model: Any = freeze(_create(name, weights)).to(device)
    return OpenClipEncoder(model.visual, antialias, dtype).to(device), model


def open_clip_text(name: str, model: Any) -> OpenClipText:
    import open_clip

    return OpenClipText(name, model, open_clip.get_tokenizer(_registered(name)))


def _create(name: str, weights: str) -> Any:
    open_clip = _import_open_clip()
    model_name = _registered(name)
    if model_name not in open_clip.list_models():
        raise InputError(f"open_clip has no model {name}; open_clip.list_models() names those it has")
    if weights == RANDOM:
        return open_clip.create_model(model_name, pretrained=None)
    tags = open_clip.list_pretrained_tags_by_model(model_name)
    is_file = Path(weights).is_file()
    if not is_file and weights not in tags:
        known = ", ".join(tags) or "none"
        raise InputError(f"{weights}: no such file, nor pretrained weights of {model_name}; its tags: {known}")
    config = open_clip.get_model_config(model_name)
    if weights == "openai" and not config.get("quick_gelu"):
        raise InputError(
            f"OpenAI's weights of {model_name} were trained with QuickGELU and drift silently without it; "
            f"use {model_name}-quickgelu"
        )
    try:
        return open_clip.create_model(model_name, pretrained=weights)
    except Exception as error:  # no network, no space, a damaged file: every library below raises its own type
        if is_file:
            raise ModelError(f"{weights}: not weights of {model_name} ({first_line(error)})") from error
        raise ModelError(offline_advice(model_name, weights, error)) from error


def offline_advice(name: str, tag: str, error: Exception) -> str:
    """Describe what to download on another machine and where to put it here."""
    from open_clip.pretrained import get_pretrained_cfg

    source = get_pretrained_cfg(name, tag)
    advice = []
    if source.get("url"):
        url = source["url"]
        advice.append(f"download {url} and put it at {Path('~/.cache/clip').expanduser() / url.rsplit('/', 1)[-1]}")
    if source.get("hf_hub"):
        repository, _, file = source["hf_hub"].rpartition("/")
        url = f"https://huggingface.co/{repository}/resolve/main/{file or 'open_clip_model.safetensors'}"
        advice.append(f"download {url} to any place")
    option = "--identity-weights" if name.startswith("RN") else "--score-weights"
    return (
        f"the weights {tag} of {name} are not in open_clip's cache and could not be downloaded "
        f"({first_line(error)}); on a machine with a network {', or '.join(advice)}, then name the file: {option} FILE"
    )


def _registered(name: str) -> str:
    """Return a model's name, after registering a `.json` model configuration with open_clip."""
    path = Path(name)
    if path.suffix != ".json":
        return name
    open_clip = _import_open_clip()
    try:
        json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not an open_clip model configuration ({error})") from error
    if path.stem not in open_clip.list_models():
        open_clip.add_model_config(path)
    return path.stem


def _words(text: Any) -> nn.Module:
    embedding = getattr(text, "token_embedding", None)
    if embedding is None:  # towers from Hugging Face
        embedding = text.transformer.get_input_embeddings()
    module: nn.Module = embedding
    return module


def _import_open_clip() -> Any:
    try:
        import open_clip
    except ImportError as error:
        raise BackendError(f"this method needs open_clip; install it with: {install_hint('train')}") from error
    return open_clip
