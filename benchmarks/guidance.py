"""Fine-tune a bundled paired network with and without guidance, and score what comes out on pictures never trained on.

    python -m cliplit.benchmarks.guidance RUNS --encoder FILE.py:FACTORY --encoder-weights FILE --hdri DIR \
        --backlit DIR --welllit DIR --test NAME=PAIRS --unchanged DIR [--seeds 3] [--steps 200]

Every arm starts from the same weights, with the same rate, batch, number of steps and averaging, and differs in `ARMS`
alone. Two results of each run are scored, by the runtime's own path: after all steps, and where early stopping would
have stopped. That is decided on views of panoramas that neither training nor a test has seen; the start counts as step
0, so that stopping at once is possible. `--unchanged` are well-lit photos, which should stay as they are.

Each run leaves `result.json` in its folder; what is there is not run again, so the command can be interrupted. It runs
all arms with the first seed before the second. Print what is there so far: `--steps` as before and `--seeds 0`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch

from cliplit.command import reports_errors
from cliplit.config import TrainConfig, read_json
from cliplit.errors import InputError
from cliplit.files import atomic_write
from cliplit.networks import checkpoint
from cliplit.pictures.pairs import render_scenes
from cliplit.pictures.tone import film_curve
from cliplit.runtime import BUNDLED
from cliplit.runtime.backends.pytorch import from_onnx
from cliplit.training.journal import read_log
from cliplit.training.loop import train
from cliplit.training.validation import Scores, mean_scores, pair_scores, read_pictures

from .evaluation import checkpoint_relight, relit, score_model

# What each arm has that RAVE, as its paper describes it, has not.
ALL_IDEAS = {
    "direction": "exposure",
    "target": "band",
    "overexposure": 1.5,
    "identity_to": "result",
    "crops": 2,
}
ARMS: dict[str, dict[str, Any]] = {
    "paired only": {"method": "paired"},
    "RAVE as published": {},
    "direction from exposure pairs": {"direction": "exposure"},
    "band, over-exposed rung": {"target": "band", "overexposure": 1.5},
    "identity to the paired result": {"identity_to": "result"},
    "crops": {"crops": 2},
    "all of these": ALL_IDEAS,
}
SAME: dict[str, Any] = {
    "batch": 8,
    "sizes": ["192x192", "192x256", "256x192"],
    "apply": "runtime",
    "learning_rate": 2e-5,
    "final_learning_rate": 5e-6,
    "warmup": 20,
    "betas": [0.9, 0.99],
    "weight_decay": 0.0,
    "gradient_clip": 1.0,
    "ema": 0.98,
}
GUIDED = {"method": "rave", "guidance_weight": 1920.0, "identity_weight": 22.5, "noise": 0.3}
LOSS_ALLOWED = 0.1  # dB, on the first test
ENDS = {"last": "last.pt", "stopped": "best.pt"}


@dataclass(frozen=True)
class Study:
    """What all runs share. `tests`: folders of pairs by name, the one that decides first."""

    work: Path
    hdri: Path
    exclude: tuple[str, ...]
    held_out: tuple[str, ...]
    backlit: tuple[Path, ...]
    welllit: tuple[Path, ...]
    tests: dict[str, Path]
    unchanged: Path | None
    encoder: str
    encoder_weights: str
    steps: int
    views: int
    threads: int

    @property
    def start(self) -> Path:
        return self.work / "start.pt"

    @property
    def validation(self) -> Path:
        return self.work / "validation"

    def folder(self, arm: str, seed: int) -> Path:
        return self.work / f"{arm.replace(' ', '_').replace(',', '')}-{seed}"

    def options(self, arm: str, seed: int, network: str) -> dict[str, Any]:
        """Return the training options of one run."""
        if ARMS[arm].get("method") == "paired":
            special: dict[str, Any] = {"hdri": str(self.hdri), "exclude": [*self.exclude, *self.held_out]}
            special |= {"photos": [str(p) for p in self.welllit], "scenes": self.views, "level_weight": 3.0}
        else:
            special = GUIDED | {"encoder": self.encoder, "encoder_weights": self.encoder_weights}
            special |= {"backlit": [str(p) for p in self.backlit], "welllit": [str(p) for p in self.welllit]}
        every = max(1, self.steps // 8)
        run = {"steps": self.steps, "seed": seed, "threads": self.threads, "workers": 0, "save_every": every}
        return {
            **SAME, **special, **ARMS[arm], **run, "network": network, "init": str(self.start),
            "validation": str(self.validation), "log_every": every, "device": "cpu",
        }  # fmt: skip


def write_start(path: Path, model: str) -> str:
    """Write the weights of a bundled model as a checkpoint; return the name of its network."""
    network, info = from_onnx(BUNDLED / f"{model}.onnx")
    checkpoint.save(path, {"network": info.name, "weights": network.state_dict()})
    return str(info.name)


def held_out_panoramas(hdri: Path, exclude: Sequence[str], one_in: int = 8) -> tuple[str, ...]:
    """Choose every eighth panorama in the order of their names, for early stopping alone."""
    names = [p.name for p in sorted(hdri.glob("*.hdr")) if not p.name.startswith(tuple(exclude) or ("\0",))]
    return tuple(names[::one_in])


def write_validation(study: Study, views: int, size: tuple[int, int]) -> None:
    """Render pairs from the held-out panoramas into input/ and gt/."""
    if study.validation.is_dir():
        return
    others = [p.name for p in study.hdri.glob("*.hdr") if p.name not in study.held_out]
    partial = study.work / "validation.part"
    shutil.rmtree(partial, ignore_errors=True)
    for part in ("input", "gt"):
        (partial / part).mkdir(parents=True)
    for number, scene in enumerate(render_scenes(study.hdri, views, 0, others, size)):
        dark = np.round(film_curve(scene.radiance.astype(np.float32)) * 255).astype(np.uint8)
        for part, picture in (("input", dark), ("gt", scene.target)):
            cv2.imwrite(str(partial / part / f"{number:03d}.png"), picture[..., ::-1])
    partial.rename(study.validation)


def score(path: Path, study: Study) -> dict[str, Scores]:
    """Score a checkpoint on every test: {test: mean scores}; results are kept by what the weights are."""
    weights = checkpoint.load_network(path).state_dict()
    pictures = json.dumps(
        {name: str(folder.resolve()) for name, folder in study.tests.items()} | {"": str(study.unchanged)}
    )
    parts = [pictures.encode(), *(t.numpy().tobytes() for t in weights.values())]
    digest = hashlib.sha256(b"".join(parts)).hexdigest()
    known = study.work / "scores" / f"{digest[:32]}.json"
    if not known.is_file():
        found = {name: score_model(str(path), folder)["mean"] for name, folder in study.tests.items()}
        if study.unchanged is not None:
            relight = checkpoint_relight(path)
            photos = read_pictures(study.unchanged)
            found["unchanged"] = mean_scores(pair_scores(relit(p, relight), p) for _, p in photos)
        write_json(known, found)
    content: dict[str, Scores] = json.loads(known.read_text(encoding="utf-8"))
    return content


def run_arm(study: Study, arm: str, seed: int, network: str) -> None:
    """Train one arm with one seed and write `result.json`, unless it is there.

    Raises InputError where it is there and was made with other options.
    """
    folder = study.folder(arm, seed)
    config = TrainConfig.from_dict(study.options(arm, seed, network))
    if (folder / "result.json").is_file():
        if TrainConfig.from_dict(read_json(folder / "config.json")) != config:
            raise InputError(f"{folder}: was made with other options; give the same, or name another folder")
        return
    shutil.rmtree(folder, ignore_errors=True)
    train(config, folder, quiet=True)
    best = checkpoint.read(folder / "best.pt")["scores"]
    result: dict[str, Any] = {name: score(folder / file, study) for name, file in ENDS.items()}
    curve = [(e["step"], e["psnr"], e["ssim"]) for e in read_log(folder / "log.jsonl") if "psnr" in e]
    write_json(folder / "result.json", {**result, "stopped_at": best["step"], "validation": curve})


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_results(study: Study, arm: str, most: int = 100) -> list[dict[str, Any]]:
    paths = [study.folder(arm, seed) / "result.json" for seed in range(1, most + 1)]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]


def summary(values: Sequence[float], decimals: int) -> str:
    """Write a mean and, of more than one value, the sample's standard deviation."""
    text = f"{statistics.mean(values):.{decimals}f}"
    return f"{text} ± {statistics.stdev(values):.{decimals}f}" if len(values) > 1 else text


def verdict(start: dict[str, Scores], found: Sequence[dict[str, Scores]], tests: Sequence[str]) -> str:
    """Apply the rule: the first test loses at most `LOSS_ALLOWED` dB, all others gain in PSNR and in SSIM."""
    means = {t: {m: statistics.mean(f[t][m] for f in found) - start[t][m] for m in ("psnr", "ssim")} for t in tests}
    first, *others = tests
    if means[first]["psnr"] < -LOSS_ALLOWED:
        return f"no: {first} loses {-means[first]['psnr']:.2f} dB"
    for name in others:
        if means[name]["psnr"] <= 0 or means[name]["ssim"] <= 0:
            return f"no: {name} {means[name]['psnr']:+.3f} dB, SSIM {means[name]['ssim']:+.4f}"
    return "yes"


def report(study: Study, start: dict[str, Scores]) -> str:
    """Return a Markdown table of every arm that has results, after all steps and with early stopping."""
    columns = [*study.tests, *(["unchanged"] if study.unchanged else [])]
    head = ["fine-tuned by", "result", "seeds", *columns, "accepted"]
    own = [f"{start[c]['psnr']:.2f} / {start[c]['ssim']:.4f}" for c in columns]
    rows = [["nothing (the bundled network)", "", "", *own, ""]]
    for arm in ARMS:
        results = read_results(study, arm)
        for end in ENDS if results else ():
            found = [r[end] for r in results]
            cells = [
                f"{summary([f[c]['psnr'] for f in found], 2)} / {summary([f[c]['ssim'] for f in found], 4)}"
                for c in columns
            ]
            steps = ", ".join(str(r["stopped_at"]) for r in results)
            name = f"stopped at {steps}" if end == "stopped" else f"{study.steps} steps"
            unmoved = end == "stopped" and all(r["stopped_at"] == 0 for r in results)
            decided = "is the start" if unmoved else verdict(start, found, list(study.tests))
            rows.append([arm, name, str(len(results)), *cells, decided])
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def named_folder(_context: object, _option: object, values: Sequence[str]) -> dict[str, Path]:
    found = {}
    for value in values:
        name, _, folder = value.rpartition("=")
        if not name:
            raise click.BadParameter(f"{value}: expected NAME=FOLDER")
        found[name] = Path(folder)
    return found


Folder = click.Path(exists=True, file_okay=False, path_type=Path)
Command = Callable[..., Any]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("work", type=click.Path(path_type=Path))
@click.option("--encoder", required=True, help="FILE.py:FACTORY of the image encoder, as of cliplit-train.")
@click.option("--encoder-weights", default="", help="Argument for that factory.")
@click.option("--hdri", type=Folder, required=True, help="Panoramas to train the paired arm, and to stop early, on.")
@click.option("--exclude", multiple=True, help="Panorama that a test is made of, by the start of its name; repeatable.")
@click.option("--backlit", type=Folder, multiple=True, required=True, help="Backlit photos; repeatable.")
@click.option("--welllit", type=Folder, multiple=True, required=True, help="Well-lit photos; repeatable.")
@click.option("--test", "tests", multiple=True, required=True, callback=named_folder, help="NAME=FOLDER of pairs.")
@click.option("--unchanged", type=Folder, help="Well-lit photos, not among --welllit, that should stay as they are.")
@click.option("--model", default="lite", show_default=True, help="Bundled model to start from.")
@click.option("--arm", "arms", multiple=True, type=click.Choice(list(ARMS)), help="Arms to run.  [default: all]")
@click.option("--seeds", default=3, show_default=True, help="Runs of each arm; 0 prints what is there.")
@click.option("--steps", default=200, show_default=True)
@click.option("--views", default=320, show_default=True, help="Views of panoramas that the paired arm trains on.")
@click.option("--validation-views", default=16, show_default=True)
@click.option("--threads", default=1, show_default=True, help="CPU threads of torch.")
@reports_errors
def main(
    work: Path,
    encoder: str,
    encoder_weights: str,
    hdri: Path,
    exclude: tuple[str, ...],
    backlit: tuple[Path, ...],
    welllit: tuple[Path, ...],
    tests: dict[str, Path],
    unchanged: Path | None,
    model: str,
    arms: tuple[str, ...],
    seeds: int,
    steps: int,
    views: int,
    validation_views: int,
    threads: int,
) -> None:
    """Compare kinds of guidance: fine-tune with each and print a table of the scores."""
    torch.set_num_threads(threads)
    held_out = held_out_panoramas(hdri, exclude)
    if not held_out:
        raise InputError(f"{hdri}: no .hdr panoramas to train on there")
    study = Study(
        work, hdri, exclude, held_out, backlit, welllit, tests, unchanged, encoder, encoder_weights, steps, views,
        threads,
    )  # fmt: skip
    work.mkdir(parents=True, exist_ok=True)
    network = write_start(study.start, model)
    write_validation(study, validation_views, (320, 240))
    start = score(study.start, study)
    for seed in range(1, seeds + 1):
        for arm in arms or ARMS:
            run_arm(study, arm, seed, network)
            click.echo(f"{arm}, seed {seed}: done", err=True)
    click.echo(report(study, start))


if __name__ == "__main__":
    main()
