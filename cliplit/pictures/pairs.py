"""Batches of (input, target) pictures for paired training, rendered on the fly and fully determined by a seed.

Batch `step` of a run depends on the seed and on `step` alone, so that a resumed run sees what an uninterrupted
one would have seen.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..arrays import Array
from ..constants import PICTURE_SUFFIXES
from ..errors import InputError
from ..interrupt import ignore_interrupts
from .backlight import exposure_map, shadow_of_objects, shadow_of_people
from .overlays import caption, cut_out
from .panorama import Scene, backlit_share, read_panorama, render_scene
from .sensor import random_noise, store_8bit
from .tone import film_curve, s_curve, srgb_decode, srgb_encode

RESIDUE, RESIDUE_STOPS = 0.3, 0.6  # stops of darkness that stay at most, and how soon that is reached
DARKEST = 5.5  # stops
DARKEST_TARGET, BRIGHTEST_TARGET = 0.28, 0.85  # mean luminance of gamma-coded values
GAMMA = 2.2  # stops of light for one of gamma-coded values
CAPTIONS, CUT_OUTS = 0.08, 0.10  # shares of the pairs

Pair = tuple[Array, Array]  # input and target, (H, W, 3) float32 in [0, 1]


@dataclass(frozen=True)
class Sources:
    """The sources of pictures; a kind with an empty source is left out."""

    scenes: Sequence[Scene] = ()
    photos: Sequence[Array] = ()
    pairs: Sequence[tuple[Array, Array]] = ()  # true ones, (H, W, 3) uint8


def render_scenes(
    folder: Path,
    count: int,
    seed: int,
    exclude: Sequence[str] = (),
    size: tuple[int, int] = (288, 216),
    workers: int = 1,
) -> Iterator[Scene]:
    """Render `count` backlit views from all panoramas in `folder`, in turn; `exclude` names panoramas by prefix.

    With several `workers`, processes render a panorama each; the views are the same.
    """
    paths = [p for p in sorted(folder.glob("*.hdr")) if not p.name.startswith(tuple(exclude) or ("\0",))]
    if not paths:
        without = f" without those left out by --exclude {' '.join(exclude)}" if exclude else ""
        raise InputError(f"{folder}: no .hdr panoramas there{without}")
    wanted = [(count + number) // len(paths) for number in range(len(paths))]
    if workers <= 1:
        for number, path in enumerate(paths):
            yield from views_of(path, wanted[number], (seed, number), size)
        return
    with ProcessPoolExecutor(workers, initializer=ignore_interrupts, initargs=(0,)) as pool:
        each = [(seed, number) for number in range(len(paths))]
        for views in pool.map(views_of, paths, wanted, each, itertools.repeat(size)):
            yield from views


def views_of(path: Path, wanted: int, seed: tuple[int, int], size: tuple[int, int]) -> list[Scene]:
    """Render backlit views of one panorama; fewer than wanted where there is hardly any backlight."""
    if not wanted:
        return []
    panorama, rng = read_panorama(path), np.random.default_rng(seed)
    tried = (render_scene(panorama, rng, *size) for _ in range(wanted * 8))
    return list(itertools.islice((scene for scene in tried if scene is not None), wanted))


@dataclass
class Photos:
    """`pictures` (H, W, 3) uint8 RGB that can be targets; those that cannot: `failed` to read, `unfit` and why."""

    pictures: list[Array] = field(default_factory=list)
    failed: list[Path] = field(default_factory=list)
    unfit: dict[Path, str] = field(default_factory=dict)


def read_photos(folders: Sequence[Path], short_side: int = 320) -> Photos:
    """Read the well-lit pictures below the folders, at most `short_side` high or wide.

    Raises InputError where none of them can be a target.
    """
    found = Photos()
    paths = sorted(p for f in folders for p in f.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
    for path in paths:
        data = np.fromfile(path, np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        if picture is None:
            found.failed.append(path)
            continue
        scale = short_side / min(picture.shape[:2])
        if scale < 1:
            picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        picture = np.ascontiguousarray(picture[..., ::-1])
        if why := why_unfit(picture):
            found.unfit[path] = why
        else:
            found.pictures.append(picture)
    if folders and not found.pictures:
        raise InputError(no_target(found, folders))
    return found


def no_target(found: Photos, folders: Sequence[Path]) -> str:
    """Describe folders of photos none of which can be used."""
    where = ", ".join(str(folder) for folder in folders)
    reasons = [f"{path}: {why}" for path, why in found.unfit.items()]
    reasons += [f"{path}: not a picture that can be read" for path in found.failed]
    if not reasons:
        return f"--photos {where}: no pictures there; give a folder with .jpg, .png or the like in it"
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return f"--photos {where}: no photo there can be a target; {reasons[0]}{more}; give well-lit ones"


def why_unfit(picture: Array) -> str:
    """Say why a photo, (H, W, 3) uint8 RGB, cannot be a target: dark, glaring, or backlit itself; "" if it can."""
    dark, bright, mean = backlit_share(picture.astype(np.float32) / 255)
    if mean <= DARKEST_TARGET:
        return f"too dark (mean {mean:.2f} of 1, more than {DARKEST_TARGET} is needed)"
    if mean >= BRIGHTEST_TARGET:
        return f"too bright (mean {mean:.2f} of 1, less than {BRIGHTEST_TARGET} is needed)"
    if dark > 0.12 and bright > 0.03:
        return f"backlit itself ({dark:.0%} dark, {bright:.0%} bright)"
    return f"mostly dark ({dark:.0%})" if dark >= 0.4 else ""


def random_crop(height: int, width: int, aspect: float, rng: np.random.Generator) -> tuple[slice, slice]:
    """Choose a window of the given width / height ratio that covers 60 to 100 % of the largest one."""
    scale = rng.uniform(0.6, 1.0)
    w = min(width, height * aspect) * scale
    h = w / aspect
    top, left = rng.uniform(0, height - h), rng.uniform(0, width - w)
    return slice(int(top), int(top) + max(int(h), 8)), slice(int(left), int(left) + max(int(w), 8))


def backlit_scene(sources: Sources, size: tuple[int, int], rng: np.random.Generator) -> Pair:
    """Render a panorama view through a random camera curve, sometimes underexposed as well."""
    scene = sources.scenes[int(rng.integers(len(sources.scenes)))]
    height, width = size
    window = random_crop(scene.target.shape[0], scene.target.shape[1], width / height, rng)
    radiance = cv2.resize(scene.radiance[window].astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    target = cv2.resize(scene.target[window], (width, height), interpolation=cv2.INTER_AREA)
    darker = float(rng.uniform(-0.25, 0.25) if rng.random() < 0.6 else rng.uniform(0.0, 3.5))
    radiance = random_noise(radiance * np.float32(2.0**-darker), rng)
    if rng.random() < 0.7:
        coded = film_curve(radiance)
    else:
        coded = s_curve(film_curve(radiance, rng.uniform(0.9, 1.8)), rng.uniform(-0.15, 0.5))
    return store_8bit(coded, rng), dimmed(target.astype(np.float32) / 255, darker)


def dimmed(target: Array, darker: float) -> Array:
    """Return the target of a picture taken `darker` stops too dark: a little of that darkness stays, ever less of it.

    A photo half a stop darker may be meant so, and less light should never come out as more.
    """
    stays = RESIDUE * (1.0 - math.exp(-max(darker, 0.0) / RESIDUE_STOPS))
    return target * np.float32(2.0 ** (-stays / GAMMA))


def underexposure(rng: np.random.Generator) -> float:
    """Draw by how many stops a picture is too dark as a whole, beside what else is wrong with it."""
    return 0.0 if rng.random() < 0.55 else float(rng.uniform(0.0, 3.0))


def photo(sources: Sources, size: tuple[int, int], rng: np.random.Generator) -> Array:
    """Crop a well-lit photo at random, (H, W, 3) in [0, 1]."""
    picture = sources.photos[int(rng.integers(len(sources.photos)))]
    height, width = size
    window = random_crop(picture.shape[0], picture.shape[1], width / height, rng)
    return cv2.resize(picture[window], (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def expose(target: Array, stops: Array | float, rng: np.random.Generator) -> Array:
    """Retake the photo with another exposure, noise and tone curve included."""
    linear = random_noise(srgb_decode(target) * np.exp2(np.float32(stops)), rng)
    coded = srgb_encode(linear)
    if rng.random() < 0.3:
        coded = s_curve(coded, rng.uniform(0.0, 0.4))
    return store_8bit(coded, rng)


def backlit_photo(sources: Sources, size: tuple[int, int], rng: np.random.Generator) -> Pair:
    """Put the foreground of a well-lit photo into shadow, half of the time before a glaring background."""
    target = photo(sources, size, rng)
    shadow, stops = exposure_map(cv2.cvtColor(target, cv2.COLOR_RGB2GRAY), rng)
    if rng.random() < 0.5:
        glare = np.exp2(rng.uniform(0.0, 2.0) * (1.0 - shadow[..., None]))
        target = srgb_encode(1.0 - (1.0 - srgb_decode(target)) ** glare)
    darker = underexposure(rng)
    return expose(target, stops[..., None] - darker, rng), dimmed(target, darker)


def figures_before_light(sources: Sources, size: tuple[int, int], rng: np.random.Generator) -> Pair:
    """Put people or things cut out of one photo, in shadow, before another, bright one.

    Whatever they are made of, the light map must find them by their outline against the light.
    """
    figures, background = photo(sources, size, rng), photo(sources, size, rng)
    outlines = shadow_of_people if rng.random() < 0.7 else shadow_of_objects
    shadow = outlines(figures[..., 0], rng)
    glare = np.float32(2.0 ** rng.uniform(0.5, 3.0))
    light = srgb_encode(1.0 - (1.0 - srgb_decode(background)) ** glare)
    target = light + shadow[..., None] * (figures - light)
    darker = underexposure(rng)
    stops = -rng.uniform(1.0, 5.0) * shadow - rng.uniform(0.0, 0.3) - darker
    return expose(target, stops[..., None], rng), dimmed(target, darker)


def dark_photo(sources: Sources, size: tuple[int, int], rng: np.random.Generator) -> Pair:
    """Underexpose a photo as a whole, by anything from nothing to what leaves a mean luminance of a few percent."""
    target = photo(sources, size, rng)
    darker = DARKEST * rng.random() ** 1.3
    return expose(target, -darker, rng), dimmed(target, darker)


def night_photo(sources: Sources, size: tuple[int, int], rng: np.random.Generator) -> Pair:
    """Underexpose a photo as a whole, down to a mean luminance of a few percent, and never by nothing."""
    target = photo(sources, size, rng)
    return expose(target, -rng.uniform(1.0, 7.0), rng), target


def low_key(sources: Sources, size: tuple[int, int], rng: np.random.Generator) -> Pair:
    """Light a figure before a dark ground, as it is meant; where it was underexposed, no more than that is undone."""
    picture = photo(sources, size, rng)
    outlines = shadow_of_people if rng.random() < 0.7 else shadow_of_objects
    lit = cv2.GaussianBlur(outlines(picture[..., 0], rng), (0, 0), rng.uniform(2.0, 12.0))
    ground = np.exp2(np.float32(-rng.uniform(2.0, 6.0)) * (1.0 - lit[..., None]))
    target = srgb_encode(srgb_decode(picture) * ground)
    darker = 0.0 if rng.random() < 0.6 else float(rng.uniform(0.0, 4.0))
    return expose(target, -darker, rng), dimmed(target, darker)


def well_lit_photo(sources: Sources, size: tuple[int, int], rng: np.random.Generator) -> Pair:
    """Return a photo that needs no change: the target is the input."""
    stored = store_8bit(photo(sources, size, rng), rng)
    return stored, stored


def known_pair(sources: Sources, size: tuple[int, int], rng: np.random.Generator) -> Pair:
    """Crop a true pair, both pictures alike."""
    both = sources.pairs[int(rng.integers(len(sources.pairs)))]
    height, width = size
    window = random_crop(both[0].shape[0], both[0].shape[1], width / height, rng)
    source, target = (cv2.resize(p[window], (width, height), interpolation=cv2.INTER_AREA) for p in both)
    return source.astype(np.float32) / 255, target.astype(np.float32) / 255


PairMaker = Callable[[Sources, tuple[int, int], np.random.Generator], Pair]

# How often each kind is drawn, by task; a kind without sources is left out.
MIXTURES: dict[str, dict[PairMaker, float]] = {
    "backlit": {
        backlit_scene: 0.33,
        backlit_photo: 0.17,
        figures_before_light: 0.07,
        dark_photo: 0.17,
        well_lit_photo: 0.20,
        low_key: 0.06,
        known_pair: 1.0,
    },
    "low-light": {backlit_scene: 0.1, backlit_photo: 0.1, night_photo: 0.67, well_lit_photo: 0.13, known_pair: 1.0},
}


def white_balance(pair: Pair, rng: np.random.Generator) -> Pair:
    """Apply the same slight colour cast to input and target; the light map must not depend on it."""
    cast = np.float32(1.0) - rng.uniform(0.0, 0.12, 3).astype(np.float32) * (rng.random() < 0.4)
    return pair[0] * cast, pair[1] * cast


def flip(pair: Pair, rng: np.random.Generator) -> Pair:
    if rng.random() < 0.5:
        pair = pair[0][:, ::-1], pair[1][:, ::-1]
    return pair


class PairBatches(Dataset[tuple[Tensor, Tensor]]):
    """Batch number `step`: (input, target), each (batch, 3, H, W) float32 in [0, 1]; one size of `sizes` a batch."""

    def __init__(
        self,
        sources: Sources,
        batch: int,
        sizes: Sequence[tuple[int, int]],
        seed: int,
        task: str = "backlit",
        part: tuple[int, int] = (0, 1),
        masks: bool = False,
    ) -> None:
        """Set up batches; `part` = (rank, processes) is this process's share of each.

        `masks` tells whether the network knows negative samples; if not, there are no cut-outs.
        """
        source_of: dict[PairMaker, Sequence[Any]] = {backlit_scene: sources.scenes, known_pair: sources.pairs}
        usable = {kind: share for kind, share in MIXTURES[task].items() if source_of.get(kind, sources.photos)}
        if not usable:
            raise InputError("paired training found no panorama views, no well-lit photos and no pairs")
        self.kinds = list(usable)
        self.share = np.array(list(usable.values())) / sum(usable.values())
        self.sources, self.batch, self.sizes, self.seed = sources, batch, list(sizes), seed
        self.part, self.masks = part, masks

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng((self.seed, step))
        size = self.sizes[rng.integers(len(self.sizes))]
        pairs = [self.pair(size, rng) for _ in range(self.batch)]
        rank, processes = self.part
        mine = pairs[self.batch * rank // processes : self.batch * (rank + 1) // processes]
        return _stack([p[0] for p in mine]), _stack([p[1] for p in mine])

    def finished(self, batch: tuple[Tensor, ...], device: torch.device) -> tuple[Tensor, ...]:
        """Move a batch to the device."""
        return tuple(t.to(device, non_blocking=True, memory_format=torch.channels_last) for t in batch)

    def pair(self, size: tuple[int, int], rng: np.random.Generator) -> Pair:
        kind = self.kinds[rng.choice(len(self.kinds), p=self.share)]
        pair = flip(white_balance(kind(self.sources, size, rng), rng), rng)
        drawn = rng.random()
        if drawn < CAPTIONS:
            return caption(pair, rng)
        return cut_out(pair, rng) if self.masks and drawn < CAPTIONS + CUT_OUTS else pair


def _stack(pictures: Sequence[Array]) -> Tensor:
    return torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32))
