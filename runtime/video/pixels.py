"""Pixel layouts: the planes of a format, the planar form of a packed one, and an encoder's closest one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame

from cliplit.arrays import Array
from cliplit.errors import InputError

from ..light.colour import Planes

# Layouts that are only arranged differently from a planar one: the conversion there and back changes no sample.
PLANAR = {
    "nv12": "yuv420p", "nv21": "yuv420p", "nv16": "yuv422p", "nv24": "yuv444p", "nv42": "yuv444p",
    "nv20le": "yuv422p10le",
    "uyvy422": "yuv422p", "yuyv422": "yuv422p", "yvyu422": "yuv422p",
    "p010le": "yuv420p10le", "p012le": "yuv420p12le", "p016le": "yuv420p16le",
    "p210le": "yuv422p10le", "p212le": "yuv422p12le", "p216le": "yuv422p16le",
    "p410le": "yuv444p10le", "p412le": "yuv444p12le", "p416le": "yuv444p16le",
    "y210le": "yuv422p10le", "y212le": "yuv422p12le", "y216le": "yuv422p16le",
    "vuyx": "yuv444p", "vuya": "yuva444p", "uyva": "yuva444p", "ayuv": "yuva444p",
    "xv30le": "yuv444p10le", "v30xle": "yuv444p10le", "xv36le": "yuv444p12le", "xv48le": "yuv444p16le",
    "ayuv64le": "yuva444p16le",
    "rgb24": "gbrp", "bgr24": "gbrp", "rgb0": "gbrp", "bgr0": "gbrp", "0rgb": "gbrp", "0bgr": "gbrp",
    "rgba": "gbrap", "bgra": "gbrap", "argb": "gbrap", "abgr": "gbrap",
    "rgb48le": "gbrp16le", "bgr48le": "gbrp16le", "rgba64le": "gbrap16le", "bgra64le": "gbrap16le",
    "x2rgb10le": "gbrp10le", "x2bgr10le": "gbrp10le", "monow": "gray", "monob": "gray",
}  # fmt: skip
# Layouts that hold less chroma than can be relighted, or colours in a table: converted, and said.
CONVERTED = {
    "uyyvyy411": "yuv411p", "yuv410p": "yuv420p", "pal8": "gbrap",
    "rgb555le": "gbrp", "rgb565le": "gbrp", "bgr555le": "gbrp", "bgr565le": "gbrp", "rgb444le": "gbrp",
    "ya8": "yuva444p", "ya16le": "yuva444p16le",
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """A planar format in native byte order.

    Attributes:
        name: FFmpeg's.
        depth: bits a sample, 8 to 16.
        rgb, gray: neither means Y'CbCr.
        alpha: whether it holds a plane of opacity.
        steps: luma (columns, rows) to a chroma sample: 1, 2 or 4.
    """

    name: str
    depth: int
    rgb: bool
    gray: bool
    alpha: bool
    steps: tuple[int, int]


@lru_cache
def layout_of(name: str) -> Layout:
    """Return the planar layout that a pixel format is, or is rearranged into.

    Raises:
        InputError: a format that cannot be relighted: floats, Bayer patterns, XYZ, frames of a graphics card.
    """
    wanted = name.replace("yuvj", "yuv")
    if wanted.endswith("be"):
        wanted = wanted[:-2] + "le"
    wanted = PLANAR.get(wanted) or CONVERTED.get(wanted) or wanted
    try:
        form = av.VideoFormat(wanted, 16, 16)
    except ValueError as error:
        raise InputError(f"pixel format {name or 'unknown'}: not known here") from error
    depths = {component.bits for component in form.components}
    gray = wanted.startswith("gray")
    planar = gray or wanted.startswith(("yuv4", "yuva4", "gbrp", "gbrap"))
    depth = max(depths, default=0)
    if not planar or len(depths) != 1 or not 8 <= depth <= 16 or "f" in wanted or "msb" in wanted:
        raise InputError(
            f"pixel format {name or 'unknown'} cannot be relighted; convert it first, e.g.: "
            "ffmpeg -i IN -pix_fmt yuv444p12 OUT"
        )
    steps = (1, 1) if gray or form.is_rgb else (16 // form.chroma_width(), 16 // form.chroma_height())
    return Layout(wanted, depth, form.is_rgb, gray, any(c.is_alpha for c in form.components), steps)


def planes_of(picture: VideoFrame) -> Planes:
    """Return the planes of a planar picture as (h, w) views of its memory, uint8 or native uint16.

    Y', Cb, Cr; R, G, B; or the luma of a gray picture, with chroma that holds no colour.
    """
    layout = layout_of(picture.format.name)
    first, *rest = (_view(plane, layout.depth) for plane in picture.planes)
    if layout.gray:
        cb, cr = _no_colour((first.shape[0] + 1) // 2, (first.shape[1] + 1) // 2, layout.depth)
        return first, cb, cr
    return (rest[1], first, rest[0]) if layout.rgb else (first, rest[0], rest[1])


def alpha_of(picture: VideoFrame) -> Array | None:
    """Return the plane of opacity, (H, W), or None."""
    layout = layout_of(picture.format.name)
    return _view(picture.planes[3], layout.depth) if layout.alpha else None


def _view(plane: Any, depth: int) -> Array:
    kind = np.dtype(np.uint8 if depth == 8 else np.uint16)
    rows = np.frombuffer(plane, kind).reshape(plane.height, plane.line_size // kind.itemsize)
    return rows[:, : plane.width]


@lru_cache(maxsize=4)
def _no_colour(height: int, width: int, depth: int) -> tuple[Array, Array]:
    plane = np.full((height, width), 1 << (depth - 1), np.uint8 if depth == 8 else np.uint16)
    return plane, plane.copy()


def closest(wanted: str, available: Iterable[str]) -> str | None:
    """Choose the format among `available` that keeps most of `wanted`: losses count first, waste last."""
    ranked = sorted((_distance(layout_of(wanted), name), name) for name in available if _is_known(name))
    return ranked[0][1] if ranked else None


def losses(wanted: str, chosen: str) -> list[str]:
    """Describe what of `wanted` a format cannot hold."""
    a, b = layout_of(wanted), layout_of(chosen)
    chroma = b.steps[0] > a.steps[0] or b.steps[1] > a.steps[1]
    return [
        what
        for lost, what in (
            (a.alpha and not b.alpha, "transparency"),
            (a.depth > b.depth, f"{a.depth} bits a sample (written with {b.depth})"),
            (not a.gray and b.gray, "colour"),
            (not a.gray and chroma, f"the chroma resolution (written as {chosen})"),
            (a.rgb and not b.rgb, "RGB (written as Y'CbCr)"),
        )
        if lost
    ]


def _is_known(name: str) -> bool:
    try:
        layout_of(name)
    except InputError:
        return False
    return name not in CONVERTED and not name.endswith("be")


def _distance(wanted: Layout, name: str) -> tuple[object, ...]:
    other = layout_of(name)
    lost = [
        wanted.rgb != other.rgb or (other.gray and not wanted.gray),
        wanted.alpha and not other.alpha,
        max(wanted.depth - other.depth, 0),
        0 if wanted.gray else sum(o > w for o, w in zip(other.steps, wanted.steps, strict=True)),
    ]
    wasted = [other.gray != wanted.gray, other.alpha and not wanted.alpha, max(other.depth - wanted.depth, 0),
              sum(max(w - o, 0) for o, w in zip(other.steps, wanted.steps, strict=True))]  # fmt: skip
    # Full-range names are deprecated twins: the range is a tag of its own. A planar format is not rearranged.
    return (*lost, *wasted, name.startswith("yuvj"), name != other.name)
