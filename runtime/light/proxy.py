"""The proxy: the small picture the network sees, and its luma, which guides the light map."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from cliplit.arrays import Array
from cliplit.constants import LUMA_WEIGHTS

from . import compiled
from .bars import Area, picture_area
from .colour import Coding, Planes
from .gain import WHITE
from .shadows import transparent

VISIBLE = np.float32(1 / 128)  # of opaque: less of a proxy's pixel is not seen
LONGEST_SIDE = 1024  # of a proxy; bounds the cost of extreme panoramas


@dataclass(frozen=True)
class Proxy:
    """`rgb` (h, w, 3) and `luma` (h, w), float32 in [0, 1], gamma-coded.

    `hidden` (h, w) is true where the picture is transparent; its colours there are made up from those around. None
    where nothing is.
    """

    rgb: Array
    luma: Array
    hidden: Array | None = None


def proxy_size(height: int, width: int, short_side: int, multiple: int) -> tuple[int, int]:
    """Compute (h, w) of the proxy: the given short side, same aspect, sides rounded to multiples of `multiple`.

    No side is larger than the picture's, except to reach one `multiple`.
    """
    scale = min(1.0, short_side / min(height, width), LONGEST_SIDE / max(height, width))
    h, w = (max(1, round(side * scale / multiple)) * multiple for side in (height, width))
    return h, w


def rgb_proxy(picture: Array, size: tuple[int, int]) -> Proxy:
    """Shrink (H, W, 3 or 4) uint8, uint16 or float32; non-finite samples become black, others are clipped to [0, 1].

    Transparent pixels count as little as they are seen.
    """
    colour, hidden = picture[..., :3], None
    white = np.float32(WHITE[picture.dtype])
    if colour.dtype == np.float32:
        colour = np.clip(np.nan_to_num(colour, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0)
    if transparent(picture) is not None:
        alpha = np.clip(picture[..., 3].astype(np.float32) / white, 0.0, 1.0)
        weight = shrink(alpha, size)
        rgb = filled(shrink(colour.astype(np.float32) / white * alpha[..., None], size), weight)
        hidden = weight < VISIBLE
    else:
        rgb = shrink(colour, size).astype(np.float32) / white
    return Proxy(rgb, rgb @ np.array(LUMA_WEIGHTS, np.float32), hidden)


def visible_area(picture: Array, coded: Array | None = None) -> Area:
    """Find what of (H, W, 3 or 4) lies between bars; what is transparent counts as black, whatever it hides.

    `coded` are its colours where its own numbers are not gamma-coded: in linear ones all of a dark ground is alike.
    """
    colour = picture[..., :3] if coded is None else coded
    if transparent(picture) is not None:
        colour = np.where(picture[..., 3:] > 0, colour, colour.dtype.type(0))
    return picture_area(colour, WHITE[colour.dtype])


def filled(weighted: Array, weight: Array) -> Array:
    """Divide colours (h, w, 3) by their weight (h, w), and make up those that have none from what is around.

    Pull-push (Gortler, Grzeszczuk, Szeliski and Cohen, SIGGRAPH 1996): gaps are filled from the halved picture.
    """
    seen = weight >= VISIBLE
    colours = weighted / np.maximum(weight, VISIBLE)[..., None]
    if seen.all() or not seen.any():
        return colours
    half = tuple(-(-side // 2) for side in weight.shape[::-1])
    small, small_weight = (cv2.resize(x, half, interpolation=cv2.INTER_AREA) for x in (weighted, weight))
    around = cv2.resize(filled(small, small_weight), weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(seen[..., None], colours, around)


def planes_proxy(planes: Planes, coding: Coding, size: tuple[int, int]) -> Proxy:
    """Shrink Y'CbCr planes of any sampling, each by itself; the matrix is applied to the few pixels left.

    With a `coding.white` below 1, `rgb` reaches up to 1 / white: lights above it are still to be tone-mapped.
    """
    if coding.rgb:
        top = np.float32((1 << coding.depth) - 1)
        channels = np.stack([shrink(plane, size) for plane in planes], axis=-1).astype(np.float32) / top
        return Proxy(channels, channels @ np.array(LUMA_WEIGHTS, np.float32))
    y, cb, cr = (shrunk(plane, size) for plane in planes)
    if compiled.maps is not None:
        rgb, luma = np.empty((*size, 3), np.float32), np.empty(size, np.float32)
        compiled.maps.colours((y, cb, cr, luma), (rgb.reshape(size[0], -1),), coding.numbers, 1 / coding.white)
        return Proxy(rgb, luma)
    return colours_reference(y, cb, cr, coding)


def colours_reference(y: Array, cb: Array, cr: Array, coding: Coding) -> Proxy:
    """Compute the proxy of shrunk planes in numpy."""
    n = coding.numbers
    y = np.clip((y - n.y_offset) * n.y_scale, 0.0, 1 / coding.white, dtype=np.float32)
    cb, cr = (cb - n.c_offset) * n.c_scale, (cr - n.c_offset) * n.c_scale
    rgb = np.stack([y + n.r_cr * cr, y + n.g_cb * cb + n.g_cr * cr, y + n.b_cb * cb], axis=-1)
    return Proxy(np.clip(rgb, 0.0, 1 / coding.white, dtype=np.float32), np.minimum(y, np.float32(1.0)))


def shrunk(plane: Array, size: tuple[int, int]) -> Array:
    """Resize a plane of integers to (h, w) float32 as `shrink`, without its rounding to integers."""
    smaller = size[0] <= plane.shape[0] and size[1] <= plane.shape[1]
    if compiled.maps is None or not smaller or plane.strides[1] != plane.itemsize:
        return shrink(plane, size).astype(np.float32)
    out = np.empty(size, np.float32)
    compiled.maps.shrink(plane, (out,))
    return out


def shrink(picture: Array, size: tuple[int, int]) -> Array:
    """Resize by area averaging; the few pictures smaller than the network's least size are interpolated.

    Halving first is several times faster, and differs by the rounding of each step only.
    """
    height, width = size
    while all(side % 2 == 0 and side >= 2 * goal for side, goal in zip(picture.shape, size, strict=False)):
        half = picture.shape[1] // 2, picture.shape[0] // 2
        picture = cv2.resize(picture, half, interpolation=cv2.INTER_AREA)
    shrinking = height <= picture.shape[0] and width <= picture.shape[1]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
