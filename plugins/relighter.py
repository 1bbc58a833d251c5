"""What the worker does to a picture: relighting as everywhere, with settings that may change between two pictures."""

from __future__ import annotations

import math

from cliplit.arrays import Array
from cliplit.errors import InputError
from cliplit.runtime import Enhancer, LightSettings, PackedRGB, Relighting
from cliplit.runtime.backends.model_file import bundled_models
from cliplit.runtime.enhancer import MaxGain, Quality, available_memory
from cliplit.runtime.image.icc import space_of

from .protocol import AUTOMATIC, Request

STILL_PICTURE = LightSettings(time_constant=0.0)
FRAME = 1 / 25  # seconds; what is assumed where a host does not tell a frame's time


class Relighter:
    """Relights the pictures of one client: loads each network once and keeps the light of its clip.

    Args:
        model: for requests that name none: a bundled model's name or the path of an exported ONNX file.
        device: "auto", "cpu" or "cuda".
    """

    def __init__(self, model: str, device: str) -> None:
        self._model, self._device = model, device
        self._enhancers: dict[tuple[str, Quality], Enhancer] = {}
        self._clip = Relighting(self._opened("", "fast"))
        self._time = 0.0

    def __call__(self, request: Request, picture: Array, out: Array) -> None:
        """Relight `picture` into `out`, both (H, W, 3 or 4) uint8 or float32.

        The light of a picture by itself is looked at in sRGB, as far as its profile says how.
        """
        pixels, result = PackedRGB(picture), PackedRGB(out)
        enhancer = self._enhancer(request)
        if enhancer.strength == 0.0:
            pixels.copy_to(result)
            return
        clip = self._clip
        if request.time_constant < 0.0:  # a picture by itself
            if (space := space_of(request.profile)) is not None:
                out[...] = enhancer(picture, space)
                return
            clip, time = Relighting(enhancer, STILL_PICTURE), 0.0
        else:
            time = self._time + FRAME if math.isnan(request.time) else request.time
            clip.enhancer, clip.temporal.time_constant, self._time = enhancer, request.time_constant, time
        clip.relight(pixels, clip.look([pixels])[0], time, out=result)

    def _enhancer(self, request: Request) -> Enhancer:
        quality: Quality = "exact" if request.exact else "fast"
        max_gain: MaxGain = "auto" if request.max_gain == AUTOMATIC else request.max_gain
        return self._opened(request.model, quality).adjusted(request.strength, max_gain, quality)

    def _opened(self, model: str, quality: Quality) -> Enhancer:
        if (model, quality) not in self._enhancers:
            if model and model not in bundled_models():
                raise InputError(f"no model {model!r} is bundled; there are {', '.join(bundled_models())}")
            self._enhancers[model, quality] = Enhancer(model or self._model, self._device, quality=quality)
        return self._enhancers[model, quality]


def check_room(request: Request) -> None:
    """Raise InputError for a picture whose two copies do not fit into this machine's free memory."""
    available = available_memory()
    if available is not None and 2 * request.size > 0.9 * available:
        raise InputError(
            f"a picture of {request.width}x{request.height} needs {2 * request.size / 2**30:.1f} GB of memory and "
            f"{available / 2**30:.1f} GB are free"
        )
