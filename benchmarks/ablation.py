"""Train the real-time network without each of the things that make it what it is, and score what comes out.

    python -m cliplit.benchmarks.ablation RUNS --hdri DIR --photos DIR --test NAME=PAIRS --unchanged DIR \
        [--exclude PANORAMA] [--steps 600] [--seeds 3] [--threads 1]

Every arm has the same pictures, seed, number of steps and rates, and differs in `ARMS` alone; the first arm runs with
all seeds, the others with the first. Steps are few and pictures half as large as in the recipe, so scores are lower
than the bundled network's: differences count, next to what the seeds differ by. Each run leaves `result.json` in its
folder; what is there is not run again. Two commands with other `--arm` may fill one folder; `--seeds 0` prints what is
there.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from cliplit.arrays import Array
from cliplit.command import reports_errors
from cliplit.config import TrainConfig
from cliplit.pictures import pairs
from cliplit.training.loop import train
from cliplit.training.validation import Scores, mean_scores, pair_scores, read_pictures

from .behaviour import captioned, exposed, exposure_curve, read_photos
from .evaluation import Relight, checkpoint_relight, relit, score_model
from .guidance import Folder, named_folder, summary, write_json
from .tables import Table, markdown

LONGEST = 512  # side of the photos of the last two columns


@dataclass(frozen=True)
class Arm:
    """What is taken away: training options, and constants of `cliplit.pictures.pairs`."""

    options: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)


def without(*kinds: pairs.PairMaker) -> dict[str, Any]:
    """Return the mixture of pairs without some kinds."""
    return {"backlit": {kind: share for kind, share in pairs.MIXTURES["backlit"].items() if kind not in kinds}}


def in_steps() -> dict[str, Any]:
    """Return the mixture with photos that are underexposed by 1 to 7 stops, or not at all."""
    mixture = pairs.MIXTURES["backlit"]
    return {"backlit": {pairs.night_photo if kind is pairs.dark_photo else kind: mixture[kind] for kind in mixture}}


WHOLE = "all of it"
ARMS: dict[str, Arm] = {
    WHOLE: Arm(),
    "no law: a network that sees coded values": Arm({"network": "lite"}),
    "underexposed by 1 to 7 stops or not at all": Arm({}, {"MIXTURES": in_steps(), "underexposure": lambda rng: 0.0}),
    "targets undo all of an underexposure": Arm({}, {"RESIDUE": 0.0}),
    "no pictures that need no change, none that are meant dark": Arm(
        {}, {"MIXTURES": without(pairs.well_lit_photo, pairs.low_key)}
    ),
    "no captions, no cut-outs": Arm({}, {"CAPTIONS": 0.0, "CUT_OUTS": 0.0}),
    "no weight on the level": Arm({"level_weight": 0.0}),
}
SAME: dict[str, Any] = {
    "method": "paired",
    "network": "relative",
    "batch": 16,
    "sizes": ["96x128", "80x144", "128x96", "96x96"],
    "learning_rate": 2e-3,
    "final_learning_rate": 2e-5,
    "warmup": 50,
    "weight_decay": 1e-2,
    "gradient_clip": 1.0,
    "ema": 0.99,
    "level_weight": 3.0,
    "workers": 0,
    "device": "cpu",
}


@contextlib.contextmanager
def changed(constants: dict[str, Any]) -> Iterator[None]:
    """Have constants of `cliplit.pictures.pairs` other values for a while."""
    before = {name: getattr(pairs, name) for name in constants}
    try:
        for name, value in constants.items():
            setattr(pairs, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(pairs, name, value)


def largest_rise(relight: Relight, photos: Sequence[Array]) -> float:
    """Return by how many codes a photo's mean rises at most for a quarter of a stop less light."""
    return max(float(np.diff(exposure_curve(relight, photo)).max()) for photo in photos)


def caption_shift(relight: Relight, photos: Sequence[Array]) -> float:
    """Return by how many codes two lines of text change the rest of a darkened photo, on average; the worst photo."""
    shifts = []
    for photo in photos:
        dark = exposed(photo, -1.5)
        text = captioned(dark)
        rest = (text == dark).all(axis=2)
        shifts.append(float(np.abs(relight(text)[rest].astype(float) - relight(dark)[rest]).mean()))
    return max(shifts)


def scores_of(checkpoint: Path, tests: dict[str, Path], unchanged: Path | None, photos: int) -> dict[str, Any]:
    """Score a checkpoint: {test: mean scores, "unchanged": the same, "rise": codes, "caption": codes}."""
    found: dict[str, Any] = {name: score_model(str(checkpoint), folder)["mean"] for name, folder in tests.items()}
    if unchanged is not None:
        relight = checkpoint_relight(checkpoint)
        pairs_of_same = ((relit(picture, relight), picture) for _, picture in read_pictures(unchanged))
        found["unchanged"] = mean_scores(pair_scores(*both) for both in pairs_of_same)
        some = read_photos(unchanged, LONGEST, photos)
        found["rise"], found["caption"] = largest_rise(relight, some), caption_shift(relight, some)
    return found


def folder_of(work: Path, arm: str, seed: int) -> Path:
    return work / f"{list(ARMS).index(arm)}-{seed}"


def report(work: Path, tests: Sequence[str]) -> str:
    """Return a Markdown table of every arm that has results."""
    head = ["trained with", "seeds", *(f"{name}, dB / SSIM" for name in tests), "unchanged, SSIM"]
    head += ["rise for less light, codes", "caption, codes"]
    rows = []
    for arm in ARMS:
        paths = sorted(work.glob(f"{list(ARMS).index(arm)}-*/result.json"))
        found: list[dict[str, Any]] = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        if not found:
            continue
        cells = [arm, str(len(found))]
        for name in tests:
            both = (summary([f[name][m] for f in found], d) for m, d in (("psnr", 2), ("ssim", 4)))
            cells.append(" / ".join(both))
        if "unchanged" in found[0]:
            cells.append(summary([f["unchanged"]["ssim"] for f in found], 4))
            cells += [summary([f[name] for f in found], 1) for name in ("rise", "caption")]
        rows.append((*cells, *[""] * (len(head) - len(cells))))
    return markdown(Table("", tuple(head), tuple(rows)))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("work", type=click.Path(path_type=Path))
@click.option("--hdri", type=Folder, required=True, help="Panoramas to train on.")
@click.option("--exclude", multiple=True, help="Panorama that a test is made of, by the start of its name; repeatable.")
@click.option("--photos", type=Folder, multiple=True, required=True, help="Well-lit photos to train on; repeatable.")
@click.option("--test", "tests", multiple=True, required=True, callback=named_folder, help="NAME=FOLDER of pairs.")
@click.option("--unchanged", type=Folder, help="Well-lit photos, not among --photos, that should stay as they are.")
@click.option("--arm", "arms", multiple=True, type=click.Choice(list(ARMS)), help="Arms to run.  [default: all]")
@click.option("--seeds", default=3, show_default=True, help="Runs of the first arm; 0 prints what is there.")
@click.option("--steps", default=600, show_default=True)
@click.option("--views", default=600, show_default=True, help="Views of panoramas.")
@click.option("--threads", default=1, show_default=True, help="CPU threads of torch.")
@click.option("--law-photos", default=6, show_default=True, help="Of --unchanged, for the last two columns.")
@reports_errors
def main(
    work: Path,
    hdri: Path,
    exclude: tuple[str, ...],
    photos: tuple[Path, ...],
    tests: dict[str, Path],
    unchanged: Path | None,
    arms: tuple[str, ...],
    seeds: int,
    steps: int,
    views: int,
    threads: int,
    law_photos: int,
) -> None:
    """Train without each part of the recipe and print a table of the scores."""
    torch.set_num_threads(threads)
    runs = [(arm, seed) for arm in arms or ARMS for seed in range(1, (seeds if arm == WHOLE else min(seeds, 1)) + 1)]
    for arm, seed in runs:
        folder = folder_of(work, arm, seed)
        if (folder / "result.json").is_file():
            continue
        own = {"hdri": str(hdri), "exclude": exclude, "photos": [str(p) for p in photos], "scenes": views}
        own |= {"steps": steps, "seed": seed, "threads": threads, "save_every": steps, "log_every": max(1, steps // 10)}
        with changed(ARMS[arm].constants):
            train(TrainConfig.from_dict({**SAME, **own, **ARMS[arm].options}), folder, quiet=True)
        found: dict[str, Scores] = scores_of(folder / "last.pt", tests, unchanged, law_photos)
        write_json(folder / "result.json", found)
        click.echo(f"{arm}, seed {seed}: done", err=True)
    click.echo(report(work, list(tests)))


if __name__ == "__main__":
    main()
