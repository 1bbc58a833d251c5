"""Relighting a picture file into another one, or a picture of another library into one of its own kind."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path
from typing import overload

import numpy as np
from PIL import Image

from cliplit.arrays import Array
from cliplit.command import check_output
from cliplit.errors import InputError
from cliplit.files import LONGEST_NAME
from cliplit.srgb import to_coded, to_linear

from ..enhancer import CODES_FROM, Enhancer
from ..light.colour import HDR_NAMES, Coding
from ..light.hdr import TRANSFERS
from ..light.pixels import PlanarPixels
from ..light.relighting import LightSettings, Relighting
from ..light.space import ColourSpace
from . import icc
from .by_pillow import from_pillow
from .image_io import MAX_PIXELS, Picture, format_of, read_picture, stored, upright, write_picture

AnyPath = str | PathLike[str]


@overload
def enhance_picture(
    source: AnyPath | Image.Image | Array,
    target: AnyPath,
    enhancer: Enhancer | None = None,
    quality: int = 95,
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> list[str]: ...


@overload
def enhance_picture(source: Image.Image, target: None = None, enhancer: Enhancer | None = None) -> Image.Image: ...


@overload
def enhance_picture(
    source: AnyPath | Array, target: None = None, enhancer: Enhancer | None = None, *, max_pixels: int = MAX_PIXELS
) -> Array: ...


def enhance_picture(
    source: AnyPath | Image.Image | Array,
    target: AnyPath | None = None,
    enhancer: Enhancer | None = None,
    quality: int = 95,
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> list[str] | Array | Image.Image:
    """Relight a picture. The network sees it upright; a file is stored as it was.

    Args:
        source: the path of a picture of any format of docs/images.md; or a PIL image of mode L, LA, RGB, RGBA, P or 1;
            or an array as `Enhancer` takes it.
        target: a path whose suffix names the format; the file appears only when it is complete.
        enhancer: by default `Enhancer()`.
        quality: of JPEG, WebP, AVIF, HEIC and JPEG XL, 1 to 100.
        overwrite: replace `target` if it exists.
        max_pixels: a larger file is refused before it is decoded.

    Returns:
        With a target, what could not be kept, by name. Without one, the relighted picture: a PIL image for a PIL image,
        an array for an array, and for a path an array (H, W, 3 or 4), upright.

    Raises:
        InputError: `source` is not a picture, or `target` cannot be written.
    """
    _check_arguments(source, target, enhancer, quality, overwrite, max_pixels)
    if not isinstance(source, str | PathLike):
        return _enhance_object(source, target, enhancer, int(quality), overwrite)
    path = Path(source)
    if target is None:
        picture = read_picture(path, max_pixels)
        return np.ascontiguousarray(upright(relight(picture, enhancer or Enhancer()), picture.orientation))
    target = Path(target)
    check_output(path, target, overwrite)
    format_of(target)  # before any work
    picture = read_picture(path, max_pixels)
    return write_picture(target, picture, relight(picture, enhancer or Enhancer()), int(quality))


def _check_arguments(
    source: object, target: object, enhancer: object, quality: object, overwrite: object, max_pixels: object
) -> None:
    """Raise InputError for arguments of other types, and for names that no file has."""
    if not _whole(quality) or not 1 <= quality <= 100:  # type: ignore[operator]
        raise InputError(f"quality {quality!r} is not a whole number from 1 to 100")
    if not _whole(max_pixels) or max_pixels < 1:  # type: ignore[operator]
        raise InputError(f"max_pixels {max_pixels!r} is not a whole number from 1")
    if not isinstance(overwrite, bool | np.bool_):
        raise InputError(f"overwrite {overwrite!r} is neither True nor False")
    if enhancer is not None and not isinstance(enhancer, Enhancer):
        raise InputError(f"enhancer {enhancer!r} is no Enhancer; make one with: Enhancer()")
    if target is not None and not isinstance(target, str | PathLike):
        raise InputError(f"target {target!r} is no path")
    for path in (source, target):
        if isinstance(path, str | PathLike):
            check_name(fspath(path))


def _whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_name(name: str | bytes) -> None:
    """Raise InputError for a name that no file can have, and for addresses."""
    if isinstance(name, bytes):
        raise InputError(f"{name!r}: a path of bytes; use os.fsdecode")
    if not name.strip():
        raise InputError("an empty name was given")
    if "\0" in name:
        raise InputError(f"{name!r}: a name with a NUL in it")
    if "://" in name:
        raise InputError(f"{name}: addresses are for cliplit-video; download pictures first")
    if any(len(part.encode(errors="surrogateescape")) > LONGEST_NAME for part in Path(name).parts):
        raise InputError(f"{name[:40]}...: a name of more than {LONGEST_NAME} bytes")


def _enhance_object(
    source: Image.Image | Array, target: AnyPath | None, enhancer: Enhancer | None, quality: int, overwrite: bool
) -> list[str] | Array | Image.Image:
    if target is not None:
        check_output(None, Path(target), overwrite)
        format_of(Path(target))
    if isinstance(source, Image.Image):
        return _enhance_image(source, target, enhancer or Enhancer(), quality)
    relit = (enhancer or Enhancer())(source)
    if target is None:
        return relit
    if relit.dtype not in (np.uint8, np.uint16) or relit.ndim not in (2, 3):
        raise InputError(
            f"an array of {relit.dtype}, shape {relit.shape}: files take (H, W), or (H, W, 3 or 4), uint8 or uint16"
        )
    gray = relit.ndim == 2 or relit.shape[2] == 1
    relit = np.repeat(relit.reshape(*relit.shape[:2], 1), 3, axis=2) if gray else relit
    return write_picture(Path(target), Picture(relit, gray), relit, quality)


def _enhance_image(
    image: Image.Image, target: AnyPath | None, enhancer: Enhancer, quality: int
) -> list[str] | Image.Image:
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        raise InputError(
            f"a PIL image of mode {image.mode}; expected L, LA, RGB or RGBA: convert it, "
            "or give the file itself or a uint16 array"
        )
    transparent = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
    gray = image.mode in ("1", "L", "LA")
    pixels = np.asarray(image.convert("RGBA" if transparent else "RGB"))
    picture = Picture(pixels, gray, from_pillow(image))
    relit = relight(picture, enhancer)
    if target is not None:
        return write_picture(Path(target), picture, relit, quality)
    result = Image.fromarray(np.ascontiguousarray(relit))
    result = result.convert("LA" if transparent else "L") if gray else result
    result.info = {name: value for name, value in image.info.items() if name != "transparency"}
    return result


def relight(picture: Picture, enhancer: Enhancer) -> Array:
    """Relight a decoded file; returns pixels as stored, of the same type.

    Linear light is coded by sRGB's curve for it and decoded again; PQ and HLG go the way of HDR clips.
    """
    pixels = upright(picture.pixels, picture.orientation)
    code = picture.belongings.cicp
    if picture.linear:
        coded = np.concatenate([to_coded(pixels[..., :3]), pixels[..., 3:]], axis=2)
        changed = enhancer(np.minimum(coded, CODES_FROM))[..., :3]  # above 1 nothing changes
        same = (changed == coded[..., :3]) | (coded[..., :3] > CODES_FROM)
        linear = np.where(same, pixels[..., :3], to_linear(changed))
        enhanced = np.concatenate([linear, pixels[..., 3:]], axis=2)
    elif code and code.transfer in HDR_NAMES:
        enhanced = _relight_hdr(pixels, code.transfer, enhancer)
    else:
        enhanced = enhancer(pixels, _space(picture))
    return stored(enhanced, picture.orientation)


def _space(picture: Picture) -> ColourSpace | None:
    """Read from what comes with the picture what its numbers mean."""
    try:
        return icc.space_of(icc.profile_for(picture.belongings))
    except ValueError:  # code points that no profile can say
        return None


def _relight_hdr(pixels: Array, transfer: int, enhancer: Enhancer) -> Array:
    """Relight a PQ or HLG signal: what the network sees is tone-mapped, and lights stay."""
    if enhancer.strength == 0.0:
        return pixels.copy()
    coding = Coding(depth=8 * pixels.dtype.itemsize, rgb=True, full_range=True, white=TRANSFERS[transfer].white)
    planes = PlanarPixels([np.ascontiguousarray(pixels[..., i]) for i in range(3)], coding, transfer=transfer)
    clip = Relighting(enhancer, LightSettings(time_constant=0.0))
    relit = planes.like()
    clip.relight(planes, clip.look([planes])[0], 0.0, out=relit)
    return np.dstack([*relit.planes, *([pixels[..., 3]] if pixels.shape[2] == 4 else [])])
