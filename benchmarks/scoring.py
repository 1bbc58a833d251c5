"""Methods by pictures: every score of every result, the means, and the pictures themselves for the report."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from cliplit.arrays import Array
from cliplit.errors import InputError
from cliplit.files import atomic_write
from cliplit.pictures.picture_folder import decoded, list_pictures, pair_folders

from . import quality
from .methods import Method, effective_light

INPUT, REFERENCE = "input", "reference"  # rows beside those of the methods
SHOWN_SIDE = 960  # longest side of a picture in the report

Picture = tuple[str, Array, "Array | None"]  # name, before, reference
Tick = Callable[[str], object]


@dataclass(frozen=True)
class Sample:
    """One picture and each method's result: (H, W, 3) uint8, light maps (H, W) in [0, 1]; for the report.

    Attributes:
        scores: {method: its scores on this picture}.
        full: {method: file at full size, relative to the report}, `INPUT` and `REFERENCE` included.
    """

    name: str
    before: Array
    after: dict[str, Array]
    light: dict[str, Array]
    scores: dict[str, quality.Scores] = field(default_factory=dict)
    full: dict[str, str] = field(default_factory=dict)


@dataclass
class Comparison:
    """Scores of methods on pictures.

    Attributes:
        source: where the pictures are.
        notes: {method: one line on it}.
        rows: {method: {picture: scores}}.
        means: {method: scores}.
        samples: as many as were asked for, reduced to `SHOWN_SIDE`.
        failures: "method, picture: reason".
    """

    source: str
    notes: dict[str, str]
    rows: dict[str, dict[str, quality.Scores]] = field(default_factory=dict)
    means: dict[str, quality.Scores] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def compare(
    folder: Path,
    methods: Sequence[Method],
    welllit: Path | None,
    samples: int,
    limit: int,
    tick: Tick,
    output: Path | None = None,
) -> Comparison:
    """Run all methods on `input/` and `gt/` of a folder, or on its pictures without references.

    Args:
        welllit: folder of photos that need nothing, for the measure of change.
        samples: pictures kept for the report.
        limit: pictures used of each folder, spread evenly; 0 for all.
        tick: called with each picture's name.
        output: folder of the report; those pictures are kept there at full size, as PNG.

    Raises:
        InputError: no pictures, or pairs of different sizes.
    """
    paths = pictures_of(folder, limit)
    found = Comparison(str(folder), {m.name: m.note for m in methods})
    if len(found.notes) != len(methods):
        raise InputError("two models have the same name; rename one file")
    kept = set(spread(range(len(paths)), samples))
    for number, (name, before, reference) in enumerate(read(paths)):
        tick(name)
        results = dict(score_picture(name, before, reference, methods, found))
        for other, result in ((INPUT, before), (REFERENCE, reference)):
            if result is not None:
                add(found, other, name, scores_of(before, result, reference))
        if number in kept:
            full = {INPUT: before, **results} | ({} if reference is None else {REFERENCE: reference})
            found.samples.append(
                replace(
                    sample(name, before, reference, results, methods),
                    scores={method: dict(rows.get(name, {})) for method, rows in found.rows.items()},
                    full=full_size(output, f"{number + 1:02d}-{Path(name).stem}", full) if output else {},
                )
            )
    for name, before, _ in read(pictures_of(welllit, limit)) if welllit else ():
        tick(name)
        for method in methods:
            after = attempt(method, name, before, found)
            if after is not None:
                add(found, method.name, name, {"welllit_change": quality.welllit_change(before, after)})
    found.means = {method: mean(rows.values()) for method, rows in found.rows.items()}
    return found


def score_picture(
    name: str, before: Array, reference: Array | None, methods: Sequence[Method], found: Comparison
) -> Iterator[tuple[str, Array]]:
    for method in methods:
        after = attempt(method, name, before, found)
        if after is None:
            continue
        scores = scores_of(before, after, reference)
        noise = quality.noise_gain(method.enhance, before, after)
        add(found, method.name, name, scores if noise is None else scores | {"noise_gain": noise})
        yield method.name, after


def attempt(method: Method, name: str, picture: Array, found: Comparison) -> Array | None:
    """Run the method on a picture; a failure is noted and the benchmark goes on."""
    try:
        after = method.enhance(picture)
    except Exception as error:  # a user's model may raise anything
        found.failures.append(f"{method.name}, {name}: {type(error).__name__}: {error}")
        return None
    if after.shape != picture.shape or after.dtype != np.uint8:
        found.failures.append(f"{method.name}, {name}: gave {after.dtype} {after.shape} for {picture.shape}")
        return None
    return after


def scores_of(before: Array, after: Array, reference: Array | None) -> quality.Scores:
    if reference is None:
        return quality.learned_scores(after, None) | quality.picture_scores(before, after)
    return quality.pair_scores(before, after, reference)


def add(found: Comparison, method: str, picture: str, scores: quality.Scores) -> None:
    row = found.rows.setdefault(method, {}).setdefault(picture, {})
    row.update(scores)


def mean(rows: Iterable[quality.Scores]) -> quality.Scores:
    """Average each measure over the pictures that have it, in the order of `quality.MEASURES`."""
    listed = list(rows)
    columns = {name: [row[name] for row in listed if name in row] for name in quality.MEASURES}
    return {name: float(np.mean(values)) for name, values in columns.items() if values}


def sample(
    name: str, before: Array, reference: Array | None, results: dict[str, Array], methods: Sequence[Method]
) -> Sample:
    after = {method: shown(result) for method, result in results.items()}
    light = {}
    for method in methods:
        if method.name in results:
            own = method.light(before) if method.light else effective_light(before, results[method.name])
            light[method.name] = shown(np.clip(own, 0, 1))
    if reference is not None:
        after[REFERENCE] = shown(reference)
        light[REFERENCE] = shown(effective_light(before, reference))
    return Sample(name, shown(before), after, light)


def full_size(output: Path, name: str, pictures: dict[str, Array]) -> dict[str, str]:
    """Write pictures into the folder `pictures` of the report; returns their paths relative to it."""
    paths = {}
    for method, picture in pictures.items():
        path = Path("pictures", plain(name), f"{plain(method)}.png")
        (output / path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(output / path) as temporary:
            Image.fromarray(picture).save(temporary, "PNG", compress_level=1)
        paths[method] = path.as_posix()
    return paths


def plain(name: str) -> str:
    """Return a name that every file system and address takes."""
    return re.sub(r"[^\w.-]+", "-", name)


def shown(picture: Array) -> Array:
    """Shrink a picture to at most `SHOWN_SIDE` pixels."""
    scale = SHOWN_SIDE / max(picture.shape[:2])
    if scale >= 1:
        return picture
    width, height = (max(1, round(side * scale)) for side in (picture.shape[1], picture.shape[0]))
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def pictures_of(folder: Path, limit: int) -> list[tuple[Path, Path | None]]:
    """List (picture, reference) paths: pairs if the folder has input/ and gt/."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    source, target = pair_folders(folder)
    paired = source.is_dir() and target.is_dir()
    references = {p.stem: p for p in list_pictures([target])} if paired else {}
    inputs = list_pictures([source if paired else folder])
    paths = [(p, references.get(p.stem)) for p in inputs if not paired or p.stem in references]
    if not paths:
        wanted = f"no picture of {source.name}/ has a namesake in {target.name}/" if paired else "no pictures"
        raise InputError(f"{folder}: {wanted}")
    return spread(paths, limit) if limit else paths


def read(paths: Iterable[tuple[Path, Path | None]]) -> Iterator[Picture]:
    for path, other in paths:
        before = picture_at(path)
        reference = picture_at(other) if other else None
        if reference is not None and reference.shape != before.shape:
            sizes = " and ".join(f"{p.shape[1]}x{p.shape[0]}" for p in (before, reference))
            raise InputError(f"{path}: input and gt have different sizes, {sizes}")
        yield path.name, before, reference


def picture_at(path: Path) -> Array:
    picture = decoded(path)
    if picture is None or picture.dtype != np.uint8:
        raise InputError(f"{path}: not a gamma-coded picture that can be read")
    return picture


def spread(items: Sequence[object] | range, count: int) -> list:  # type: ignore[type-arg]
    """Pick at most `count` items, evenly spaced."""
    if count >= len(items):
        return list(items)
    return [items[round(i * (len(items) - 1) / max(count - 1, 1))] for i in range(count)]
