"""What the worker does to a picture: the way of a frame, with settings that may change from one to the next."""

from __future__ import annotations

import math

from cliplit.arrays import Array
from cliplit.errors import InputError
from cliplit.runtime.backends.model_file import bundled_models
from cliplit.runtime.enhancer import Enhancer, Quality, available_memory
from cliplit.runtime.light.gain import apply_rgb
from cliplit.runtime.light.proxy import rgb_proxy
from cliplit.runtime.light.temporal import TemporalFilter

from .protocol import Request

FRAME = 1 / 25  # seconds; what is assumed where a host does not tell a frame's time


class Relighter:
    """Relights the pictures of one client: loads each network once and keeps the light of its clip.

    Args:
        model: for requests that name none: a bundled model's name or the path of an exported ONNX file.
        device: "auto", "cpu" or "cuda".
    """

    def __init__(self, model: str, device: str) -> None:
        self._device = device
        self._enhancers = {"": Enhancer(model, device)}
        self._smooth = TemporalFilter()
        self._time = 0.0

    def __call__(self, request: Request, picture: Array, out: Array) -> None:
        """Relight `picture` into `out`, both (H, W, 3 or 4) uint8 or float32."""
        enhancer = self._enhancer(request)
        if enhancer.strength == 0.0:
            out[...] = picture
            return
        proxy = rgb_proxy(picture, enhancer.proxy_size(*picture.shape[:2]))
        light = enhancer.log_light(proxy)
        if request.temporal >= 0.0:
            self._time = self._time + FRAME if math.isnan(request.time) else request.time
            self._smooth.time_constant = request.temporal
            steady = self._smooth(light, proxy.luma, self._time)
            coefficients = enhancer.refine_steady(steady)
        else:
            coefficients = enhancer.refine(light, proxy.luma)
        apply_rgb(picture, coefficients.scaled(enhancer.strength), out)

    def _enhancer(self, request: Request) -> Enhancer:
        if request.model not in self._enhancers:
            if request.model not in bundled_models():
                raise InputError(f"no model {request.model!r} is bundled; there are {', '.join(bundled_models())}")
            self._enhancers[request.model] = Enhancer(request.model, self._device)
        quality: Quality = "exact" if request.exact else "fast"
        return self._enhancers[request.model].adjusted(request.strength, request.max_gain, quality)


def check_room(request: Request) -> None:
    """Raises InputError for a picture whose two copies do not fit into this machine's free memory."""
    available = available_memory()
    if available is not None and 2 * request.size > 0.9 * available:
        raise InputError(
            f"a picture of {request.width}x{request.height} needs {2 * request.size / 2**30:.1f} GB of memory and "
            f"{available / 2**30:.1f} GB are free"
        )
