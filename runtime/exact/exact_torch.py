"""Full-size exact mode in PyTorch on a GPU: pictures or planes are uploaded once and downloaded once.

Half precision with the head in fp32, frames in batches; light map, gain and the Y'CbCr arithmetic (`torch_gain`) stay
on the card. What it computes is what `Enhancer` computes with quality "exact": the tests compare them, in fp32 on the
CPU. Clips use it through `card`. docs/export.md says what an H200 made of it.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cliplit.arrays import Array
from cliplit.errors import BackendError, InputError, first_line

from ..backends.pytorch import TorchNetwork
from ..light.colour import Coding, Planes
from ..light.gain import WHITE
from . import torch_gain
from .torch_gain import Codes

log = logging.getLogger("cliplit")
BATCH = 4  # frames at once; 1080p in half precision holds about 1 GB a frame while a layer runs
MOST = 2**31 - 1  # numbers in a tensor: beyond, PyTorch does not pad by reflection on a card (8K, two frames at once)


class ExactTorch:
    """Enhances batches of frames at full size. Calls from several threads queue on the card's stream.

    Attributes:
        batch: frames that the network sees at once; fewer than BATCH once the card's memory was too small for them.

    Args:
        backend: the network, opened by the back end "pytorch", on the device it shall run on.
        half: None for half precision on a card and fp32 on the CPU, which has no quick half convolutions.
    """

    def __init__(self, backend: TorchNetwork, half: bool | None = None) -> None:
        self.device = torch.device(backend.device)
        self.info = backend.info
        self.batch = BATCH
        self.half = self.device.type == "cuda" if half is None else half
        self._full = backend.module
        convolutions = [layer for layer in backend.module.modules() if isinstance(layer, nn.Conv2d)]
        self._widest = max((max(layer.in_channels, layer.out_channels) for layer in convolutions), default=1)
        # On a card PyTorch pads by reflection in planes only: channels-last, an H200 is half as fast (docs/export.md).
        self._format = torch.contiguous_format if self.device.type == "cuda" else torch.channels_last
        network = half_precision(backend.module) if self.half else backend.module
        self.network = network.to(memory_format=self._format)
        self._lock = threading.Lock()
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # every frame of a clip has the same size

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Disable gradients, and turn running out of memory into a BackendError."""
        try:
            with torch.inference_mode():
                yield
        except torch.cuda.OutOfMemoryError as error:
            raise BackendError(
                f"{self.device} has too little memory for pictures of this size ({first_line(error)}); "
                "use quality 'fast'"
            ) from error

    def rgb(self, picture: Array, strength: float, max_gain: float) -> Array:
        """Enhance one (H, W, 3 or 4) uint8, uint16 or float32 picture, like `Enhancer.__call__`."""
        with self.computing():
            return self._rgb(picture, strength, max_gain)

    def _rgb(self, picture: Array, strength: float, max_gain: float) -> Array:
        white = WHITE[picture.dtype]
        colour = self.up([picture[..., :3]]).permute(0, 3, 1, 2)
        bounded = (colour.nan_to_num(nan=0.0, posinf=white, neginf=0.0) / white).clamp(0.0, 1.0)
        luma, peak = torch_gain.luma_of(bounded), bounded.amax(dim=1, keepdim=True)
        log_light = self.log_light(bounded, max_gain) * strength
        of_luma, of_chroma = torch_gain.factors(torch_gain.squared_light(log_light, max_gain), luma, peak)
        enhanced = colour * of_chroma + luma * (of_luma - of_chroma) * white
        if picture.dtype == np.float32:
            enhanced = torch.where(colour < 1.0, enhanced, colour)
        else:
            limit = torch.where(peak < 1.0, white - 1.0, white)
            enhanced = torch.minimum(torch.floor(enhanced + 0.5), limit)
        result = picture.copy()
        result[..., :3] = self.down(enhanced[0].permute(1, 2, 0), picture.dtype)
        return result

    def enhance_planes(self, codes: Codes, coding: Coding, strength: float, max_gain: float) -> Codes:
        """Enhance SDR frames of one size and coding, each on its own; they stay on the device."""
        with self.computing():
            rgb, _ = torch_gain.seen(codes, coding)
            log_light = self.log_light(rgb, max_gain) * strength
            return torch_gain.relighted(codes, log_light, coding, max_gain)

    def log_light(self, rgb: Tensor, max_gain: float) -> Tensor:
        """Compute log2 of the bounded light map at full size, (N, 1, H, W) float32.

        Raises BackendError where the network answers with NaN or infinity in fp32, too.
        """
        half, light = self.half, self.light(rgb)
        while not bool(torch.isfinite(light).all()):
            self.leave_half_precision(half)
            half, light = self.half, self.light(rgb)
        return torch_gain.bounded(light, max_gain)

    def light(self, rgb: Tensor) -> Tensor:
        """Map (N, 3, H, W) float32 RGB in [0, 1] to the network's raw light map (N, 1, H, W), NaN included.

        On a card it is queued, not waited for; where its memory is too small for so many, in smaller batches from
        then on.
        """
        height, width = rgb.shape[-2:]
        multiple = max(self.info.multiple, 2)
        right, below = -width % multiple, -height % multiple
        most = MOST // (self._widest * (height + below + 2) * (width + right + 2))  # of the widest layer, padded
        batch = max(1, min(self.batch, most))
        if len(rgb) > batch:
            return torch.cat([self.light(part) for part in torch.split(rgb, batch)])
        padded = F.pad(rgb, (0, right, 0, below), mode="replicate")
        try:
            light: Tensor = self.network(padded.contiguous(memory_format=self._format))
            return light[..., :height, :width]
        except torch.cuda.OutOfMemoryError:
            if len(rgb) == 1:
                raise
        # Not in the handler: the exception keeps the layers' results alive.
        self.batch = len(rgb) // 2
        return self.light(rgb)

    def leave_half_precision(self, half: bool) -> None:
        """Switch to fp32 for good after NaN or infinity in half precision, and log it once (R5.8).

        Raises BackendError where it was not `half` that gave them.
        """
        if not half:
            raise BackendError(f"the network gave NaN or infinity on {self.device}, in fp32; use another checkpoint")
        with self._lock:
            if self.half:
                log.warning("note: NaN or infinity in half precision on %s; going on in fp32", self.device)
                self.half, self.network = False, self._full.to(memory_format=self._format)

    def codes(self, frames: Sequence[Planes]) -> Codes:
        """Upload the planes of N frames, each (N, 1, h, w) float32."""
        y, cb, cr = (self.up(planes)[:, None] for planes in zip(*frames, strict=True))
        return y, cb, cr

    def up(self, arrays: Sequence[Array]) -> Tensor:
        """Upload N arrays of one shape and type as one float32 tensor, through pinned memory to overlap copying."""
        first = arrays[0]
        wide = first.dtype == np.uint16  # torch knows little of it: its bits go up as int16
        kind = torch.int16 if wide else torch.uint8 if first.dtype == np.uint8 else torch.float32
        host = self._host((len(arrays), *first.shape), kind)
        for target, array in zip(host.numpy().view(first.dtype), arrays, strict=True):
            target[...] = array
        tensor = host.to(self.device, non_blocking=True)
        return (tensor.to(torch.int32) & 0xFFFF if wide else tensor).to(torch.float32)

    def down(self, tensor: Tensor, dtype: np.dtype[np.generic]) -> Array:
        """Download whole codes (or any float32) as uint8, uint16 or float32."""
        if dtype == np.uint16:  # the bits again: a cast to int16 is exact in the range of int16 only
            signed = torch.where(tensor > 32767, tensor - 65536, tensor)
            return self._fetched(signed.to(torch.int16)).view(np.uint16)
        return self._fetched(tensor.to(torch.uint8 if dtype == np.uint8 else torch.float32))

    def _fetched(self, tensor: Tensor) -> Array:
        host = self._host(tensor.shape, tensor.dtype)
        return host.copy_(tensor).numpy()

    def _host(self, shape: Sequence[int], kind: torch.dtype) -> Tensor:
        """Allocate host memory, pinned if there is a card; torch caches and reuses it."""
        return torch.empty(tuple(shape), dtype=kind, pin_memory=self.device.type == "cuda")


class PendingArrays:
    """Small tensors being downloaded: the copies are queued, and only `arrays` waits, for these alone."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._tensors, self._arrived = list(tensors), None
        card = self._tensors[0].device
        if card.type == "cuda":
            pinned = [torch.empty(t.shape, dtype=t.dtype, pin_memory=True) for t in self._tensors]
            self._tensors = [host.copy_(t, non_blocking=True) for host, t in zip(pinned, self._tensors, strict=True)]
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrived.record(torch.cuda.current_stream(card))  # type: ignore[no-untyped-call]

    def arrays(self) -> list[Array]:
        if self._arrived is not None:
            self._arrived.synchronize()
        return [tensor.numpy() for tensor in self._tensors]


class _Half(nn.Module):
    """A network whose body is in half precision: float32 in, float32 out."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        light: Tensor = self.body(x.half())
        return light


def half_precision(network: nn.Module) -> nn.Module:
    """Copy a network in half precision; its head, the last convolution and all after it, stays fp32 (R5.8)."""
    body = copy.deepcopy(network).half()
    convolutions = [module for module in body.modules() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        raise InputError("this network has no convolutions; use fp32")
    head = convolutions[-1].float()
    head.register_forward_pre_hook(lambda module, inputs: tuple(x.float() for x in inputs))
    return _Half(body).eval()
