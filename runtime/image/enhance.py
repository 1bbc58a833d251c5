"""Relighting a picture file into another one."""

from __future__ import annotations

from pathlib import Path

from cliplit.command import check_output

from ..enhancer import Enhancer
from .image_io import read_picture, stored, upright, write_picture


def enhance_picture(
    source: Path | str,
    target: Path | str,
    enhancer: Enhancer | None = None,
    quality: int = 95,
    overwrite: bool = False,
) -> list[str]:
    """Relight one picture file. The network sees it upright; it is stored as it was.

    Args:
        source: PNG, JPEG, TIFF or WebP, 8 or 16 bits.
        target: its suffix names the format; it appears only when it is complete.
        enhancer: by default `Enhancer()`.
        quality: of JPEG and WebP, 1 to 100.
        overwrite: replace `target` if it exists.

    Returns:
        What could not be kept, by name.

    Raises:
        InputError: `source` is not a picture, or `target` cannot be written.
    """
    source, target = Path(source), Path(target)
    check_output(source, target, overwrite)
    picture = read_picture(source)
    enhanced = (enhancer or Enhancer())(upright(picture.pixels, picture.orientation))
    return write_picture(target, picture, stored(enhanced, picture.orientation), quality)
