"""`cliplit-train`: from folders of pictures to a checkpoint, and from a run to a page of curves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..command import INTERRUPTED, echo, fail, reports_errors
from ..command_line import HelpfulCommand
from ..config import PRESETS, TYPES, TrainConfig, cli_name, read_json, read_yaml
from ..errors import InputError, OptionError

FOLDERS = ("hdri", "photos", "pairs", "backlit", "welllit", "validation", "validation_photos")
# Texts of torch's bare RuntimeErrors that the user can act on.
ADVICE = {
    "out of memory": "out of GPU memory; a smaller --batch or smaller --sizes need less",
    "DataLoader worker": "a process that makes batches was killed, perhaps for its memory; --workers 0 needs none",
}
HELP = {"help_option_names": ["-h", "--help"]}
GROUPS = {
    "What to train": ("recipe", "method", "network", "task", "as_published", "init", "init_prompts"),
    "Pictures": (
        "hdri", "photos", "exclude", "scenes", "pairs", "backlit", "welllit", "noise", "validation",
        "validation_photos", "best_by",
    ),
    "The run": (
        "steps", "batch", "sizes", "resume", "seed", "device", "precision", "compile", "threads", "workers", "retries",
        "save_every", "log_every", "progress", "quiet", "tensorboard", "wandb",
    ),
    "Rates": (
        "learning_rate", "final_learning_rate", "schedule", "warmup", "betas", "weight_decay", "gradient_clip", "ema",
    ),
}  # fmt: skip
EXAMPLES = (
    "cliplit-train run --config paired-relative --hdri panoramas/ --photos photos/   what `lite` was made with",
    "cliplit-train run --method latent --backlit dark/ --welllit light/              CLIP guidance, without pairs",
    "cliplit-train run --resume --steps 20000                                        go on, and longer",
    "cliplit-train report run                                                        curves into run/report.html",
    "torchrun --nproc-per-node 8 --no-python cliplit-train run ...                   several GPUs",
)


class TrainOrReport(HelpfulCommand):
    """`cliplit-train report RUN` is another command; everything else trains."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the arguments, of the report where that is asked for."""
        if args[:1] == ["report"]:
            return report.make_context(f"{info_name} report", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run what was parsed."""
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)


def config_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for every field of TrainConfig, in their order."""
    for f in reversed(fields(TrainConfig)):
        varies = any(f.name in values for _, values in PRESETS)
        default = "by method and network" if varies else _shown(f.default)
        text = f.metadata["help"] + (f"  [default: {default}]" if default else "")
        kind = _kind(f.name, f.metadata["choices"])
        command = click.option(f"--{cli_name(f.name)}", f.name, help=text, **kind)(command)
    return command


def _kind(name: str, choices: tuple[str, ...]) -> dict[str, Any]:
    """Return how click reads a field; if it is not given, the recipe's value or the default applies."""
    kind: Any = TYPES[name]
    if choices:
        return {"type": click.Choice(choices), "default": None}
    if name == "sizes":
        return {"type": str, "multiple": True, "metavar": "HxW"}
    if kind == tuple[str, ...]:
        return {"type": str, "multiple": True}
    if kind == tuple[float, ...]:
        return {"type": float, "multiple": True}
    if kind == tuple[float, float]:
        return {"type": float, "nargs": 2, "default": None}
    if kind is bool:
        return {"is_flag": True, "default": None}
    return {"type": kind, "default": None}


def _shown(value: Any) -> str:
    return " ".join(str(v) for v in value) if isinstance(value, tuple) else str(value)


@click.command(cls=TrainOrReport, groups=GROUPS, examples=EXAMPLES)
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--config", "recipe", metavar="FILE|RECIPE", help="YAML file or recipe name; options override it.")
@config_options
@click.option("--resume", is_flag=True, help="Continue the run in RUN; --steps and rates given with it are changed.")
@click.option(
    "--log",
    "progress",
    type=click.Choice(["auto", "bar", "lines", "json"]),
    default="auto",
    help="Show a bar, a line every --log-every steps, or JSON on standard output.  [default: a bar on a terminal]",
)
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.version_option(__version__)
@reports_errors
def main(run: Path, recipe: str | None, resume: bool, progress: str, quiet: bool, **options: Any) -> None:
    """Train a network into the folder RUN: best.pt, last.pt, log.jsonl, config.json, samples/."""
    if run.is_file():
        raise click.UsageError(f"{run}: is a file; RUN is a folder to make")
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if resume:
        if not (run / "config.json").is_file() or not (run / "last.pt").is_file():
            raise InputError(f"{run}: holds no run to resume (no config.json, or no last.pt yet)")
        if recipe:
            raise OptionError("--resume goes on with the run's own configuration; it takes no --config")
        saved = read_json(run / "config.json")
        check_code(TrainConfig.from_dict(saved), given.get("encoder", ""))
        config = TrainConfig.from_dict({**saved, **given})
    else:
        if (run / "last.pt").exists():
            raise InputError(f"{run}: already holds a run; continue it with --resume, or name another folder")
        values = read_yaml(recipe) if recipe else {}
        if values.get("encoder"):
            raise InputError(f"{recipe}: names code to run (encoder); give it on the command line, with --encoder")
        config = TrainConfig.from_dict({**values, **given})
    check_folders(config)
    from .loop import train  # torch: only when there is something to do

    try:
        best = train(config, run, resume, quiet, progress)
    except KeyboardInterrupt:
        fail(f"interrupted and saved; go on with: cliplit-train {run} --resume", INTERRUPTED)
    except RuntimeError as error:
        for symptom, advice in ADVICE.items():
            if symptom in str(error):
                fail(f"{advice}; saved up to the last checkpoint in {run}", 1)
        raise
    if not best.is_file():
        fail(f"{run}: no score of this run was a number, so there is no best.pt; see {run / 'log.jsonl'}", 1)
    if progress == "json":
        click.echo(json.dumps({"event": "done", "best": str(best)}))
    else:
        echo(f"{best}: export it with: cliplit-export {best}")


@click.command(context_settings=HELP)
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="HTML file to write.  [default: RUN/report.html]")
@reports_errors
def report(run: Path, output: Path | None) -> None:
    """Draw the curves and sample sheets of a run into one HTML page."""
    from .report import write_report

    target = output or run / "report.html"
    write_report(run, target)
    echo(target)


def check_code(config: TrainConfig, encoder: str) -> None:
    """Check that the command line names the code that a resumed run wants to run. Raises InputError."""
    if encoder != config.encoder:
        if not config.encoder:
            raise InputError(f"--encoder {encoder}: the run was started without one")
        raise InputError(
            f"the run was started with --encoder {config.encoder}, a file that is executed; if it is yours, give that "
            "option again, with --resume"
        )


def check_folders(config: TrainConfig) -> None:
    """Check folders before torch is loaded: a misspelt folder is the most common mistake."""
    for name in FOLDERS:
        value = getattr(config, name)
        for folder in (value,) if isinstance(value, str) else value:
            if (folder or isinstance(value, tuple)) and not (folder and Path(folder).is_dir()):
                raise InputError(f"--{cli_name(name)} {folder or repr(folder)}: no such folder")
    for dark in map(Path, config.backlit):
        for light in map(Path, config.welllit):
            if (
                dark.samefile(light)
                or light.resolve() in dark.resolve().parents
                or dark.resolve() in light.resolve().parents
            ):
                raise OptionError(
                    f"--backlit {dark} and --welllit {light} hold the same pictures; guidance learns the difference "
                    "between two kinds"
                )
