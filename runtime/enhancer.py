"""`Enhancer`: the one door between arrays and models."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from cliplit.arrays import Array
from cliplit.constants import MAX_GAIN
from cliplit.errors import InputError

from .light.bars import whole
from .light.gain import WHITE, apply_rgb, full_size_log_light
from .light.light_map import Coefficients, guided_coefficients, log_light, plain_coefficients, softly_bounded
from .light.noise import noise_gain_limit, picture_noise, rgb_grain
from .light.proxy import Proxy, proxy_size, rgb_proxy, visible_area
from .light.shadows import lifts, rgb_cleanup, rgb_planes
from .light.space import ColourSpace
from .light.temporal import Steady
from .network import LightMapNetwork

Quality = Literal["fast", "exact"]
MaxGain = float | Literal["auto"]

AS_FLOAT32 = (np.dtype(np.float64), np.dtype(np.float16))
CODES_FROM = 2.0  # more than half of a float picture above this are codes, not light

# Bytes a network needs for each pixel at full size: the widest layers of both are float32, a few alive at once.
EXACT_BYTES_PER_PIXEL = 1100


class Enhancer:
    """Relights pictures. Immutable after construction and safe to call from several threads at once.

    Args:
        model: "lite" (real time), the path of an exported ONNX file (`cliplit-export`), or an opened network
            (then `device`, `threads` and `backend` do not count).
        device: "auto", "cpu", "cuda" or "cuda:N".
        strength: exponent on the gain: 0 leaves the picture as it is, 1 is what the model says, up to 2.
        max_gain: upper bound of the gain, 1 to 256; bounds the noise that is brought up from the dark. "auto" measures
            that noise, and bounds softly what it allows, at most 16.
        quality: "fast" runs the network on a small proxy and follows edges at full size; "exact" runs it at full
            size (the paper's way; slow, and about 1 GB of memory a megapixel).
        threads: of the network on the CPU; 0 for one per core.
        backend: what runs the network: "auto" or a name of `cliplit.runtime.backends.NAMES`.
        clean_shadows: whether lifted shadows are debanded and their chroma noise is reduced (`light.shadows`). Not with
            quality "exact", which adds nothing to what the network says.

    Raises:
        InputError: an argument out of range, an unknown model.
        ModelError: a file that is not an exported model.
        BackendError: no back end here, or one asked for, or CUDA asked for, and not usable.
    """

    def __init__(
        self,
        model: str | PathLike[str] | LightMapNetwork = "lite",
        device: str = "auto",
        strength: float = 1.0,
        max_gain: MaxGain = MAX_GAIN,
        quality: Quality = "fast",
        threads: int = 0,
        backend: str = "auto",
        clean_shadows: bool = True,
    ) -> None:
        check_settings(strength, max_gain, quality, clean_shadows)
        if not isinstance(model, LightMapNetwork):
            check_types(model, device, threads, backend)
            name = model if isinstance(model, str) else Path(model)
            model = LightMapNetwork(name, device, int(threads), backend, quality == "exact")
        self.__dict__["network"] = model
        self._set(strength, max_gain, quality, clean_shadows)

    network: LightMapNetwork
    strength: float
    quality: Quality
    max_gain: float
    clean_shadows: bool
    auto_max_gain: bool  # whether callers of `refine` should measure what gain is gain_limit

    def _set(self, strength: float, max_gain: MaxGain, quality: Quality, clean_shadows: bool) -> None:
        auto = isinstance(max_gain, str)
        self.__dict__.update(
            strength=float(strength),
            quality=quality,
            auto_max_gain=auto,
            max_gain=MAX_GAIN if auto else float(max_gain),
            clean_shadows=bool(clean_shadows),
        )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"an Enhancer does not change; for another one use adjusted({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("an Enhancer does not change")

    def __enter__(self) -> Enhancer:
        return self

    def __exit__(self, *exception: object) -> None:
        """Do nothing: the network is released with the last enhancer that uses it."""

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError(
            "an Enhancer holds a loaded network and cannot be pickled or sent to another process; send its arguments, "
            "and make one Enhancer in each process"
        )

    def __repr__(self) -> str:
        gain = "'auto'" if self.auto_max_gain else f"{self.max_gain:g}"
        name = self.network.info.name
        return f"Enhancer({name!r}, strength={self.strength:g}, max_gain={gain}, quality={self.quality!r})"

    def adjusted(
        self,
        strength: float | None = None,
        max_gain: MaxGain | None = None,
        quality: Quality | None = None,
        clean_shadows: bool | None = None,
    ) -> Enhancer:
        """Return another enhancer with the same network, which is not loaded again; for sliders.

        What is not given stays as it is here.
        """
        strength = self.strength if strength is None else strength
        max_gain = ("auto" if self.auto_max_gain else self.max_gain) if max_gain is None else max_gain
        quality = self.quality if quality is None else quality
        clean_shadows = self.clean_shadows if clean_shadows is None else clean_shadows
        check_settings(strength, max_gain, quality, clean_shadows)
        other = copy.copy(self)
        other._set(strength, max_gain, quality, clean_shadows)
        return other

    def __copy__(self) -> Enhancer:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __deepcopy__(self, memo: object) -> Enhancer:
        return copy.copy(self)

    def __call__(self, picture: Array, space: ColourSpace | None = None) -> Array:
        """Relight a picture; returns a new array of the same shape and type.

        Args:
            picture: (H, W, 3) RGB or (H, W, 4) RGBA, gamma-coded sRGB; uint8, uint16, or float in [0, 1], float64 by
                way of float32. Gray is (H, W) or (H, W, 1); (N, H, W, 3 or 4) are N pictures, each by itself.
                Alpha is copied, and transparent pixels have no say in the light. In float pictures, values above 1 and
                non-finite ones pass through unchanged. Bars and frames of one colour stay as they are, and what they
                enclose comes out as it does without them.
            space: what numbers of another space than sRGB mean; the light is looked at in sRGB, and applied to them.

        Raises:
            InputError: another shape or type, float of 0 to 255, or a picture too large for quality "exact" on this
                machine.
        """
        check_picture(picture, batch=True)
        if self.strength == 0.0:
            return picture.copy()
        if picture.dtype in AS_FLOAT32:
            return self(picture.astype(np.float32), space).astype(picture.dtype)
        if not picture.dtype.isnative:
            return self(picture.astype(picture.dtype.newbyteorder("=")), space).astype(picture.dtype)
        if picture.ndim == 4:
            return np.stack([self(each, space) for each in picture])
        if picture.ndim == 2 or picture.shape[2] == 1:
            gray = np.repeat(picture.reshape(*picture.shape[:2], 1), 3, axis=2)
            return self(gray, space)[..., 0].reshape(picture.shape)
        area = visible_area(picture, space.coded(picture) if space is not None and space.linear else None)
        if area == whole(*picture.shape[:2]):
            return self._enhanced(picture, space)
        enhanced = picture.copy()
        enhanced[area.slices] = self._enhanced(np.ascontiguousarray(picture[area.slices]), space)
        return enhanced

    def _enhanced(self, picture: Array, space: ColourSpace | None) -> Array:
        """Relight a picture without bars."""
        whole = self.quality == "exact" and not self.auto_max_gain and space is None
        if whole and (card := self.network.card) is not None:  # all of it there
            return card.rgb(picture, self.strength, self.max_gain)
        coefficients = self.coefficients(picture, space).scaled(self.strength)
        cleanup = None
        if self.cleans and lifts(coefficients):
            planes = rgb_planes(picture)
            cleanup = rgb_cleanup(picture, coefficients, rgb_grain(planes), planes)
        return apply_rgb(picture, coefficients, cleanup=cleanup)

    @property
    def cleans(self) -> bool:
        """Whether lifted shadows are cleaned: with quality "fast", unless told not to."""
        return self.clean_shadows and self.quality == "fast"

    def light_map(self, picture: Array) -> Array:
        """Compute the light map at full size, (H, W) float32 in [1 / max_gain, 1], before strength; 1 in bars.

        `picture` as for a call, one picture.
        """
        check_picture(picture)
        if picture.ndim == 2 or picture.shape[2] == 1:
            picture = np.repeat(picture.reshape(*picture.shape[:2], 1), 3, axis=2)
        if picture.dtype in AS_FLOAT32:
            picture = picture.astype(np.float32)
        picture = picture if picture.dtype.isnative else picture.astype(picture.dtype.newbyteorder("="))
        light = np.ones(picture.shape[:2], np.float32)
        area = visible_area(picture).slices
        luma = rgb_proxy(picture[area], picture[area].shape[:2]).luma
        light[area] = np.exp2(full_size_log_light(luma, self.coefficients(picture[area])))
        return light

    def coefficients(self, picture: Array, space: ColourSpace | None = None) -> Coefficients:
        """Compute the light map of a picture without bars in the form that is applied at full size."""
        proxy = rgb_proxy(picture, self.proxy_size(*picture.shape[:2]))
        gain_limit = math.inf
        if self.auto_max_gain:
            gain_limit = noise_gain_limit(picture_noise(picture))
        if space is None:
            return self.refine(self.log_light(proxy), proxy.luma, gain_limit)
        bound = min(self.max_gain, gain_limit)
        light = self.log_light(space.seen(proxy))
        light = softly_bounded(light, bound) if bound < self.max_gain else light
        own = space.own_log_light(light, proxy.luma)
        return replace(self.refine(own, proxy.luma), floor=-math.log2(bound) * space.stretch)

    def proxy_size(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) of what the network sees of a picture of this size: all of it with quality "exact".

        Raises InputError where that would exhaust this machine's memory, or a model of one size does not fit.
        """
        fixed = self.network.info.shape
        if self.quality == "exact":
            check_memory(height, width)
            multiple = max(self.network.info.multiple, 2)
            if fixed not in (None, (1, height + -height % multiple, width + -width % multiple)):
                raise InputError(f"this model takes {fixed[2]}x{fixed[1]} only, the picture has {width}x{height}")
            return height, width
        if fixed is not None:
            return fixed[1:]
        return proxy_size(height, width, self.network.info.proxy_short_side, self.network.info.multiple)

    def steady_size(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) at which the light of a clip's frames is filtered over time: of a proxy, with quality "exact", too.

        At full size it would take ten times as long at 1080p, and do better only at what is finer than a proxy's
        pixel (`cliplit.benchmarks.exact_filter`).
        """
        if self.quality == "exact":
            return proxy_size(height, width, self.network.info.proxy_short_side, 1)
        return self.proxy_size(height, width)

    def log_light(self, proxy: Proxy) -> Array:
        """log2 of the bounded light map at proxy size, (h, w) in [-log2(max_gain), 0]."""
        height, width = proxy.luma.shape
        multiple = max(self.network.info.multiple, 2)  # reflect padding wants two pixels
        bottom, right = -height % multiple, -width % multiple
        rgb = proxy.rgb
        if proxy.hidden is not None and self.network.info.takes_masks:
            rgb = np.where(proxy.hidden[..., None], np.float32(-1.0), rgb)
        rgb = cv2.copyMakeBorder(rgb, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
        return log_light(self.network(rgb)[:height, :width], self.max_gain)

    def refine_steady(self, steady: Steady, gain_limit: float = math.inf) -> Coefficients:
        """`refine` of light that was filtered over time, with what still flickers taken out."""
        return steady.flicker_suppressed(self.refine(steady.log_light, steady.luma, gain_limit))

    def steady_change(self, steady: Steady, own: Array, gain_limit: float = math.inf) -> Array:
        """Compute what the temporal filter changes about a frame's `own` log light, (h, w) stops of `steady_size`.

        They are to be enlarged and added to its light at full size. Quality "exact" only, where `refine` takes each
        point by itself.
        """
        return self.refine_steady(steady, gain_limit).offset - self.refine(own, steady.luma, gain_limit).offset

    def refine(self, log_light: Array, luma: Array, gain_limit: float = math.inf) -> Coefficients:
        """From the map at proxy size and the luma there to coefficients for full size that follow its edges.

        `gain_limit` is a gain at which the picture's noise does not show yet (`cliplit.runtime.light.noise`).
        """
        bound = min(self.max_gain, gain_limit)
        if bound < self.max_gain:
            log_light = softly_bounded(log_light, bound)
        if self.quality == "exact":
            return plain_coefficients(log_light, bound)
        return guided_coefficients(log_light, luma, bound)


def check_settings(strength: float, max_gain: MaxGain, quality: str, clean_shadows: bool = True) -> None:
    """Raise InputError for a value out of range or of another type; numpy's numbers are numbers."""
    if not _is_number(strength):
        raise InputError(f"strength {strength!r} is no number")
    if not 0.0 <= strength <= 2.0:
        raise InputError(f"strength {strength} is outside 0..2")
    automatic = isinstance(max_gain, str) and max_gain == "auto"
    if not automatic and not (_is_number(max_gain) and 1.0 <= max_gain <= 256.0):  # type: ignore[operator]
        raise InputError(f"max_gain {max_gain} is outside 1..256 and not 'auto'")
    if not isinstance(quality, str) or quality not in ("fast", "exact"):
        raise InputError(f"quality {quality!r} is neither 'fast' nor 'exact'")
    if not isinstance(clean_shadows, bool | np.bool_):
        raise InputError(f"clean_shadows {clean_shadows!r} is neither True nor False")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def check_types(model: object, device: object, threads: object, backend: object) -> None:
    """Raise InputError for arguments that would only fail deep inside."""
    if not isinstance(model, str | PathLike):
        raise InputError(f"model {model!r} is neither a name nor a path")
    for name, value in (("device", device), ("backend", backend)):
        if not isinstance(value, str):
            raise InputError(f"{name} {value!r} is not a text; see docs/api.md")
    if not isinstance(threads, int | np.integer) or isinstance(threads, bool) or threads < 0:
        raise InputError(f"threads {threads!r} is not a whole number from 0")


def check_picture(picture: Array, batch: bool = False) -> None:
    """Raise InputError for what is not a picture that can be enhanced, or with `batch` several of them."""
    if not isinstance(picture, np.ndarray):
        raise InputError(
            f"a picture must be a numpy array, not {type(picture).__name__}; cliplit.runtime.enhance_picture takes "
            "paths and PIL images, too"
        )
    if isinstance(picture, np.ma.MaskedArray):
        raise InputError("a masked array, whose mask would be lost; give picture.filled(...), or an alpha channel")
    gray = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 1)
    several = batch and picture.ndim == 4 and picture.shape[3] in (3, 4)
    if not gray and not several and (picture.ndim != 3 or picture.shape[2] not in (3, 4)):
        raise InputError(f"a picture of shape {picture.shape}; expected (H, W), (H, W, 3) or (H, W, 4), RGB")
    if picture.dtype.newbyteorder("=") not in WHITE and picture.dtype not in AS_FLOAT32:
        raise InputError(f"a picture of type {picture.dtype}; expected uint8, uint16 or float32")
    if 0 in picture.shape:
        raise InputError(f"an empty picture, shape {picture.shape}")
    if picture.dtype.kind == "f" and _in_codes(picture):
        raise InputError("a float picture with values of 0 to 255; float is from 0 to 1: divide it by 255")


def _in_codes(picture: Array) -> bool:
    """Return whether floats are codes of 8 or 16 bits: mostly beyond 1, where light from 0 to 1 has only highlights."""
    colour = picture[..., :3] if picture.ndim > 2 else picture
    sample = colour[:: max(1, colour.shape[0] // 256)] if colour.ndim < 4 else colour
    finite = sample[np.isfinite(sample)]
    return bool(finite.size and np.count_nonzero(finite > CODES_FROM) > finite.size / 2)


def check_memory(height: int, width: int) -> None:
    """Raise InputError where running a network at full size would exhaust this machine's memory."""
    needed = height * width * EXACT_BYTES_PER_PIXEL
    available = available_memory()
    if available is not None and needed > 0.8 * available:
        raise InputError(
            f"quality 'exact' at {width}x{height} needs about {needed / 2**30:.1f} GB of memory and "
            f"{available / 2**30:.1f} GB are free; use quality 'fast'"
        )


def available_memory() -> int | None:
    """Bytes of memory that programs can still take, None where the system does not tell (Linux does)."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
