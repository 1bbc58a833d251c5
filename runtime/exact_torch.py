"""Full-size exact mode in PyTorch on a GPU: pictures or planes go up once, enhanced ones come down once.

Half precision with the head in fp32, channels-last, frames in batches; light map, gain and the Y'CbCr arithmetic stay
on the card. What it computes is what `Enhancer` computes with quality "exact": the tests compare them, in fp32 on
the CPU. Never run on a card so far.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Sequence

import numpy as np
import torch
from cliplit.runtime.backends.pytorch import TorchNetwork
from cliplit.runtime.gain import WHITE, Coding, Planes
from torch import Tensor, nn
from torch.nn import functional as F

from cliplit.arrays import Array
from cliplit.errors import BackendError, InputError, first_line

log = logging.getLogger("cliplit")
BATCH = 4  # frames at once; 1080p in half precision holds about 1 GB a frame while a layer runs


class ExactTorch:
    """Enhances batches of frames at full size. Calls from several threads follow one another on the card's stream.

    Args:
        backend: the network, opened by the back end "pytorch", on the device it shall run on.
        half: None for half precision on a card and fp32 on the CPU, which has no quick half convolutions.
    """

    def __init__(self, backend: TorchNetwork, half: bool | None = None) -> None:
        self.device = torch.device(backend.device)
        self.info = backend.info
        self.half = self.device.type == "cuda" if half is None else half
        self._full = backend.module
        network = half_precision(backend.module) if self.half else backend.module
        self.network = network.to(memory_format=torch.channels_last)
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # every frame of a clip has the same size

    @torch.inference_mode()
    def rgb(self, picture: Array, strength: float, max_gain: float) -> Array:
        """One (H, W, 3 or 4) uint8, uint16 or float32 picture, as `Enhancer.__call__`."""
        white = WHITE[picture.dtype.str[1:]]
        samples = picture.astype(np.int32) if picture.dtype == np.uint16 else picture  # torch computes little in uint16
        colour = self._up(samples)[None, :, :, :3].permute(0, 3, 1, 2).to(torch.float32)
        bounded = (colour.nan_to_num(nan=0.0, posinf=white, neginf=0.0) / white).clamp(0.0, 1.0)
        peak = bounded.amax(dim=1, keepdim=True)
        enhanced = colour * self._gain(self._log_light(bounded, max_gain) * strength, peak, max_gain)
        if picture.dtype != np.float32:
            limit = torch.where(peak < 1.0, white - 1.0, white)
            enhanced = torch.minimum(torch.floor(enhanced + 0.5), limit)
        result = picture.copy()
        result[..., :3] = enhanced[0].permute(1, 2, 0).cpu().numpy()
        return result

    @torch.inference_mode()
    def planes(self, frames: Sequence[Planes], coding: Coding, strength: float, max_gain: float) -> list[Planes]:
        """Frames of one size as Y', Cb, Cr planes (uint8 or uint16), in batches; new planes of the same kind."""
        enhanced: list[Planes] = []
        for at in range(0, len(frames), BATCH):
            enhanced += self._planes(frames[at : at + BATCH], coding, strength, max_gain)
        return enhanced

    def _planes(self, frames: Sequence[Planes], coding: Coding, strength: float, max_gain: float) -> list[Planes]:
        dtype = frames[0][0].dtype
        raw = [np.stack([frame[i] for frame in frames])[:, None] for i in range(3)]
        codes = [self._up(plane.astype(np.int32) if dtype == np.uint16 else plane) for plane in raw]
        luma, blue, red = (plane.to(torch.float32) for plane in codes)
        y, cb, cr = self.enhance_planes(luma, blue, red, coding, strength, max_gain)
        down = [plane.to(torch.int32 if dtype == np.uint16 else torch.uint8).cpu().numpy() for plane in (y, cb, cr)]
        cast = [plane.astype(dtype, copy=False)[:, 0] for plane in down]
        return list(zip(*cast, strict=True))  # type: ignore[arg-type]

    @torch.inference_mode()
    def enhance_planes(
        self, y: Tensor, cb: Tensor, cr: Tensor, coding: Coding, strength: float, max_gain: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(N, 1, H, W) luma and (N, 1, h, w) chroma codes as float32 on the device -> whole codes, float32.

        `gain.planes_reference` in tensors; nothing leaves the device. For measuring without the copies, too.
        """
        y_offset, y_scale, c_offset, c_scale, r_cr, g_cb, g_cr, b_cb, top = coding.numbers
        size = y.shape[-2:]
        luma = (y - y_offset) * y_scale
        blue, red = (cb - c_offset) * c_scale, (cr - c_offset) * c_scale
        lift = torch.maximum(torch.maximum(r_cr * red, b_cb * blue), g_cb * blue + g_cr * red)
        fy, fx = (2 if lift.shape[axis] < y.shape[axis] else 1 for axis in (2, 3))

        def enlarged(plane: Tensor) -> Tensor:
            wide = plane.repeat_interleave(fx, dim=3) if fx == 2 else plane
            tall = wide.repeat_interleave(fy, dim=2) if fy == 2 else wide
            return tall[..., : size[0], : size[1]]

        linear_blue, linear_red = (
            F.interpolate(plane, size, mode="bilinear", align_corners=False) if fy * fx > 1 else plane
            for plane in (blue, red)
        )
        bounded_luma = luma.clamp(0.0, 1.0)
        rgb = torch.cat(
            [
                bounded_luma + r_cr * linear_red,
                bounded_luma + g_cb * linear_blue + g_cr * linear_red,
                bounded_luma + b_cb * linear_blue,
            ],
            dim=1,
        ).clamp(0.0, 1.0)
        log_light = self._log_light(rgb, max_gain) * strength
        gain = self._gain(log_light, (luma + enlarged(lift)).clamp(0.0, 1.0), max_gain)
        above = y - y_offset
        y_out = y_offset + torch.where(above > 0, above * gain, above)
        mean = gain
        if fy * fx > 1:  # the gain of a chroma sample is the mean over the luma samples it covers
            padding = (0, -size[1] % fx, 0, -size[0] % fy)
            mean = F.avg_pool2d(F.pad(gain, padding, mode="replicate"), (fy, fx))
        chroma = [c_offset + (plane - c_offset) * mean for plane in (cb, cr)]
        whole = [torch.floor(plane + 0.5).clamp(0, top) for plane in (y_out, *chroma)]
        return whole[0], whole[1], whole[2]

    def _log_light(self, rgb: Tensor, max_gain: float) -> Tensor:
        """log2 of the bounded light map at full size, (N, 1, H, W) float32."""
        height, width = rgb.shape[-2:]
        multiple = max(self.info.multiple, 2)
        padded = F.pad(rgb, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        try:
            light = self.network(padded.contiguous(memory_format=torch.channels_last))[..., :height, :width]
        except torch.cuda.OutOfMemoryError as error:
            raise BackendError(
                f"{self.device} has too little memory for {len(rgb)} frames of {width}x{height} ({first_line(error)}); "
                "use quality 'fast'"
            ) from error
        if self.half and not bool(torch.isfinite(light).all()):  # R5.8: go on in fp32, for good, and say so once
            log.warning("note: NaN or infinity in half precision on %s; going on in fp32", self.device)
            self.half, self.network = False, self._full.to(memory_format=torch.channels_last)
            return self._log_light(rgb, max_gain)
        light = light.to(torch.float32).nan_to_num(nan=1.0)
        return torch.log2(light.clamp(1.0 / max_gain, 1.0))

    def _gain(self, log_light: Tensor, peak: Tensor, max_gain: float) -> Tensor:
        square = torch.exp2(2.0 * log_light.clamp(-math.log2(max_gain), 0.0))
        return torch.rsqrt(square + (1.0 - square) * peak * peak)

    def _up(self, array: Array) -> Tensor:
        """To the device; through pinned memory, so that the copy runs beside what is queued there."""
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        if self.device.type != "cuda":
            return tensor
        return tensor.pin_memory().to(self.device, non_blocking=True)


class _Half(nn.Module):
    """A network whose body is in half precision: float32 in, float32 out."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        light: Tensor = self.body(x.half())
        return light


def half_precision(network: nn.Module) -> nn.Module:
    """A copy in half precision whose head, its last convolution and all after it, stays in fp32 (R5.8)."""
    body = copy.deepcopy(network).half()
    convolutions = [module for module in body.modules() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        raise InputError("this network has no convolutions; use fp32")
    head = convolutions[-1].float()
    head.register_forward_pre_hook(lambda module, inputs: tuple(x.float() for x in inputs))
    return _Half(body).eval()
