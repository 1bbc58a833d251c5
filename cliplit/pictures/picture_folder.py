"""Folders of pictures of any format and depth: read once, at training size; unreadable files are named.

Scene-linear pictures (Radiance HDR, OpenEXR, float TIFF) keep their range: each time one is drawn it is exposed
like by a camera, for the highlights if it serves as the backlit picture.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

from ..arrays import Array
from ..constants import PICTURE_SUFFIXES
from ..errors import InputError
from .panorama import meter_highlights, well_lit
from .tone import film_curve

LINEAR_SUFFIXES = {".hdr", ".exr", ".pfm", ".tif", ".tiff"}  # where the samples are floats
OTHER_SUFFIXES = {".gif", ".avif", ".heic", ".jp2", ".ppm", ".pgm", ".pnm"}
PAIR_FOLDERS = (("input", "gt"), ("resize_input", "resize_gt"))  # the latter as BAID is published
METERING = (93.0, 96.0, 98.0, 99.5)  # percentiles of luminance a camera may expose for


class KeptPictures(Sequence[Array]):
    """Decoded pictures: kept as long as they fit into so many bytes, the others read again at each use."""

    def __init__(self, size: tuple[int, int], most: int = 0) -> None:
        """Start without pictures; `size` (height, width) to read at, `most` bytes to keep, 0 for all."""
        self.size, self.most, self.held = size, most, 0
        self.items: list[Array | Path] = []

    def add(self, picture: Array, path: Path) -> None:
        fits = not self.most or self.held + picture.nbytes <= self.most
        self.items.append(picture if fits else path)
        self.held += picture.nbytes if fits else 0

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: Any) -> Any:
        """Give picture `number`. Raises InputError if its file has gone since."""
        item = self.items[number]
        if not isinstance(item, Path):
            return item
        picture = read_picture(item, self.size) if item.is_file() else None
        if picture is None:
            raise InputError(f"{item}: was a picture when the run began, and cannot be read any more")
        return picture


@dataclass
class Pictures:
    """`pictures`: (H, W, 3) RGB, uint8 gamma-coded or float16 scene-linear; `paths` beside them; `failed` files."""

    pictures: Sequence[Array]
    paths: list[Path] = field(default_factory=list)
    failed: list[Path] = field(default_factory=list)


def list_pictures(folders: Sequence[Path]) -> list[Path]:
    """List every file below the folders with a picture's suffix, sorted."""
    suffixes = PICTURE_SUFFIXES | LINEAR_SUFFIXES | OTHER_SUFFIXES
    return sorted(p for folder in folders for p in folder.rglob("*") if p.suffix.lower() in suffixes and p.is_file())


def read_folder(
    folders: Sequence[Path],
    size: tuple[int, int],
    least: int,
    tick: Callable[[], object] = lambda: None,
    most: int = 0,
) -> Pictures:
    """Read all pictures below the folders, resized to (height, width) without a crop, as the paper does.

    `most`: bytes of pictures to keep in memory, 0 for all. Raises InputError where fewer than `least` can be read.
    """
    kept = KeptPictures(size, most)
    found = Pictures(kept)
    for path in list_pictures(folders):
        picture = read_picture(path, size)
        if picture is None:
            found.failed.append(path)
        else:
            kept.add(picture, path)
            found.paths.append(path)
        tick()
    check_enough(found, folders, least)
    return found


def check_enough(found: Pictures, folders: Sequence[Path], least: int) -> None:
    if len(found.pictures) >= least:
        return
    where = ", ".join(str(folder) for folder in folders)
    unreadable = f" ({len(found.failed)} cannot be read, such as {found.failed[0]})" if found.failed else ""
    count = len(found.pictures) or "no"
    raise InputError(
        f"{where}: {count} picture{'s' if count != 1 else ''} there{unreadable}; training needs at least {least}, one "
        "batch: add pictures, or lower --batch"
    )


def read_pairs(folder: Path, size: tuple[int, int], least: int, most: int = 0) -> tuple[Pictures, Pictures]:
    """Read the inputs and references of a folder, see `pair_folders`, matched by file name whatever the suffix."""
    kept = KeptPictures(size, most // 2), KeptPictures(size, most // 2)
    backlit, references = map(Pictures, kept)
    for path, target in matched_paths(folder):
        both = read_picture(path, size), read_picture(target, size)
        if both[0] is None or both[1] is None:
            backlit.failed.append(path if both[0] is None else target)
            continue
        kept[0].add(both[0], path)
        kept[1].add(both[1], target)
        backlit.paths.append(path)
        references.paths.append(target)
    check_enough(backlit, [folder], least)
    return backlit, references


def matched_paths(folder: Path) -> list[tuple[Path, Path]]:
    """List (input, target) paths of `pair_folders` with one stem. Raises InputError if there are none."""
    inputs, references = pair_folders(folder)
    targets = {path.stem: path for path in list_pictures([references])}
    if missing := [part for part in (inputs, references) if not part.is_dir()]:
        raise InputError(
            f"{folder}: no folder {missing[0].name}/ there; pairs lie in input/ and gt/ under the same names"
        )
    paths = [(path, targets[path.stem]) for path in list_pictures([inputs]) if path.stem in targets]
    if not paths:
        raise InputError(f"{folder}: no picture of {inputs.name}/ has a namesake in {references.name}/")
    return paths


def pair_folders(folder: Path) -> tuple[Path, Path]:
    """Find the folders of inputs and of references: `input/` and `gt/`, or `resize_input/` and `resize_gt/` (BAID)."""
    for names in PAIR_FOLDERS:
        if all((folder / name).is_dir() for name in names):
            return folder / names[0], folder / names[1]
    return folder / PAIR_FOLDERS[0][0], folder / PAIR_FOLDERS[0][1]


def read_picture(path: Path, size: tuple[int, int]) -> Array | None:
    """Read (height, width, 3) RGB uint8, or float16 scene-linear; None for a file that cannot be read."""
    rgb = decoded(path)
    if rgb is None:
        return None
    height, width = size
    shrinking = height <= rgb.shape[0] and width <= rgb.shape[1]
    rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
    if rgb.dtype == np.uint8:
        return rgb
    rgb = np.maximum(np.nan_to_num(rgb, posinf=0.0, neginf=0.0), 0.0)
    return (rgb / max(float(rgb.mean()), 1e-6)).clip(0.0, 6e4).astype(np.float16)


def decoded(path: Path) -> Array | None:
    """Decode RGB (H, W, 3), uint8 gamma-coded or float32 scene-linear, upright; None if no decoder here reads it."""
    data = np.fromfile(path, np.uint8)
    if not data.size:
        return None
    if path.suffix.lower() == ".exr":
        return _open_exr(path)
    if path.suffix.lower() in LINEAR_SUFFIXES:
        linear = _opencv(data, cv2.IMREAD_UNCHANGED)
        if linear is not None and linear.dtype == np.float32 and linear.ndim == 3:
            return np.ascontiguousarray(linear[..., 2::-1])
    picture = _opencv(data, cv2.IMREAD_COLOR)  # applies the EXIF orientation, reduces other depths to 8 bits
    if picture is not None and picture.dtype == np.uint8:
        return np.ascontiguousarray(picture[..., ::-1])
    try:
        with Image.open(io.BytesIO(data.tobytes())) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # PIL raises all of these
        return None


def _open_exr(path: Path) -> Array | None:
    """Read with OpenEXR's own library; OpenCV's wheels lack it since version 5 and disabled it before."""
    try:
        import OpenEXR
    except ImportError as error:
        raise InputError(
            f'{path}: OpenEXR pictures need a library; install it with: pip install "openexr>=3.3"'
        ) from error
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            planes = {name: channel.pixels for name, channel in file.channels().items()}
    except (RuntimeError, ValueError, TypeError):  # what the binding raises for a damaged file
        return None
    names = "RGB" if "R" in planes else "YYY"
    if any(name not in planes for name in names):
        return None
    return np.stack([planes[name] for name in names], axis=-1).astype(np.float32)


def _opencv(data: Array, flags: int) -> Array | None:
    try:
        return cv2.imdecode(data, flags)
    except cv2.error:
        return None


def developed(picture: Array, backlit: bool, rng: np.random.Generator) -> Array:
    """Convert a picture to what a file would hold: (H, W, 3) float32 in [0, 1], gamma-coded."""
    if picture.dtype == np.uint8:
        return picture.astype(np.float32) / 255
    linear = picture.astype(np.float32)
    exposure = meter_highlights(linear, METERING[rng.integers(len(METERING))]) or 1.0
    if backlit:
        return film_curve(linear * exposure).astype(np.float32)
    return well_lit(linear, exposure).astype(np.float32) / 255


def as_stored(picture: Array, backlit: bool, rng: np.random.Generator) -> Array:
    """Convert a picture to what an 8-bit file would hold: (H, W, 3) uint8."""
    if picture.dtype == np.uint8:
        return picture
    return np.round(developed(picture, backlit, rng) * 255).astype(np.uint8)
