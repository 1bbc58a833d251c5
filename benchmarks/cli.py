"""`cliplit-bench speed` and `cliplit-bench quality FOLDER`: JSON, Markdown and one HTML page into a folder."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cliplit import __version__
from cliplit.command import reports_errors
from cliplit.command_line import HelpfulCommand, epilog_of
from cliplit.errors import InputError
from cliplit.files import atomic_write

if TYPE_CHECKING:
    from .tables import Table

Command = TypeVar("Command", bound=Callable[..., Any])

SETTINGS = {"help_option_names": ["-h", "--help"]}
FILES = ("bench.json", "bench.md", "index.html")


EXAMPLES = (
    "cliplit-bench speed -o speed --quick             does it run: one small size, few repeats",
    "cliplit-bench speed -o speed --size 1080p        frames and clips at one size",
    "cliplit-bench quality pairs/ -o report           scores against methods without a network, with sliders",
)
SPEED_EXAMPLES = (
    "cliplit-bench speed -o speed --quick",
    "cliplit-bench speed -o speed --size 1080p --threads 2 --method lite",
    "cliplit-bench speed -o speed --clip in.mp4 --seconds 8",
)
QUALITY_EXAMPLES = (
    "cliplit-bench quality pairs/ -o report",
    "cliplit-bench quality pairs/ -o report --model lite --model run/best.pt --limit 12",
    "cliplit-bench quality photos/ -o report --welllit welllit/ --clip in.mp4",
)


@click.group(context_settings=SETTINGS, epilog=epilog_of(EXAMPLES))
@click.version_option(__version__)
def main() -> None:
    """Measure speed or quality against the methods you might use instead.

    Each command writes bench.json, bench.md and index.html, a single page that works in any browser, offline.
    """


def output_options(command: Command) -> Command:
    command = click.option("--overwrite", is_flag=True, help="Replace earlier results in the folder.")(command)
    return click.option(
        "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the results."
    )(command)


@main.command("speed", cls=HelpfulCommand, examples=SPEED_EXAMPLES)
@output_options
@click.option(
    "--size", "sizes", multiple=True, type=click.Choice(["480p", "720p", "1080p", "4K"]), help="[default: all]"
)
@click.option(
    "--threads", multiple=True, type=click.IntRange(1, 256), help="Threads to test; repeatable.  [default: 1, 2]"
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    help="Methods to test: lite, 'lite exact', 'FILE.onnx exact', ...; repeatable.  [default: all]",
)
@click.option(
    "--backend",
    "backends",
    multiple=True,
    help="Back ends to test: auto, onnxruntime, ...; repeatable.  [default: all that load]",
)
@click.option("--limit", default=90.0, show_default=True, help="Skip a method slower than this many seconds a frame.")
@click.option("--clip", type=click.Path(path_type=Path), help="Clip to transcode.  [default: the demo clip]")
@click.option("--seconds", default=4.0, show_default=True, help="Length of the clip; 0 skips the clips.")
@click.option("--quick", is_flag=True, help="One small size and few repeats: a test that it works, not of its speed.")
@reports_errors
def speed_command(
    output: Path,
    overwrite: bool,
    sizes: Sequence[str],
    threads: Sequence[int],
    methods: Sequence[str],
    backends: Sequence[str],
    limit: float,
    clip: Path | None,
    seconds: float,
    quick: bool,
) -> None:
    """Time frames and clips at 480p to 4K on 1 and 2 threads, against ffmpeg, PyTorch and classical methods.

    It takes about 20 minutes on two cores. A working CUDA device adds its own tables.
    """
    from .speed import SIZES, Plan, measure_speed, speed_plots, speed_tables
    from .webpage import Section

    prepare(output, overwrite)
    default = Plan()
    if unknown := sorted(set(methods) - set(default.methods)):
        raise InputError(f"no method called {unknown[0]!r}; there is {', '.join(default.methods)}")
    plan = Plan(
        sizes=[s for s in SIZES if s in (sizes or (["480p"] if quick else SIZES))],
        threads=sorted(set(threads)) or ([1] if quick else default.threads),
        methods=[m for m in default.methods if m in (methods or default.methods)],
        backends=backends or (("auto",) if quick else default.backends),
        devices=("cpu",) if quick else default.devices,
        limit=limit,
        repeats=2 if quick else default.repeats,
        clip=clip,
        clip_seconds=min(seconds, 0.4) if quick else seconds,
    )
    found = measure_speed(plan, progress)
    facts = "; ".join(f"{name} {value}" for name, value in found.machine.items())
    section = Section("Speed", [facts, *found.notes], plots=speed_plots(found), tables=speed_tables(found))
    write(output, {"speed": found.as_dict()}, [section], "cliplit: measured speed")


@main.command("quality", cls=HelpfulCommand, examples=QUALITY_EXAMPLES)
@click.argument("folder", type=click.Path(path_type=Path))
@output_options
@click.option(
    "--model", "models", multiple=True, metavar="FILE[,key=value]",
    help="An ONNX file, a PyTorch checkpoint (ours, CLIP-LIT's, RAVE's), lite, lite:exact; repeatable.  "
    "[default: lite]",
)  # fmt: skip
@click.option(
    "--welllit", type=click.Path(path_type=Path), help="Folder of well-lit photos, to measure how much they change."
)
@click.option(
    "--clip", "clips", multiple=True, type=click.Path(path_type=Path), help="Clip to measure flicker on; repeatable."
)
@click.option("--samples", default=6, show_default=True, help="Pictures to show with sliders.")
@click.option("--limit", default=0, help="Pictures to use from each folder; 0 for all.")
@click.option("--no-classical", is_flag=True, help="Skip CLAHE, gamma, exposure fusion and LIME.")
@click.option("--device", default="cpu", show_default=True, type=click.Choice(["cpu", "cuda", "auto"]))
@reports_errors
def quality_command(
    folder: Path,
    output: Path,
    overwrite: bool,
    models: Sequence[str],
    welllit: Path | None,
    clips: Sequence[Path],
    samples: int,
    limit: int,
    no_classical: bool,
    device: str,
) -> None:
    """Score models and classical methods on FOLDER: pairs (input/ and gt/), or any pictures.

    For foreign model files the input and output layout is detected by a trial run. You can state it after commas
    instead: layout=nchw|nhwc, range=1|255, output=light|picture, order=rgb|bgr. way=runtime|paper chooses how a light
    map is applied; both by default.
    """
    from .clips import flicker_table
    from .headline import headline
    from .methods import CLASSICAL
    from .model_files import methods_of
    from .plots import bars
    from .quality import MEASURES
    from .scoring import INPUT, REFERENCE, compare
    from .tables import Table, picture_table, score_table
    from .webpage import Section

    prepare(output, overwrite)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    for clip in clips:
        if not clip.is_file():
            raise InputError(f"--clip {clip}: no such file")
    if welllit is not None and not Path(welllit).is_dir():
        raise InputError(f"--welllit {welllit}: no such folder")
    chosen = [method for model in models or ("lite",) for method in methods_of(model, device)]
    methods = [*chosen, *(() if no_classical else CLASSICAL)]
    found = compare(folder, methods, welllit, samples, limit, progress, output)
    flicker = {str(clip.name): flicker_table(clip, methods) for clip in clips}
    meanings = [
        f"{MEASURES[m].label}: {MEASURES[m].meaning}" for m in MEASURES if any(m in s for s in found.means.values())
    ]
    table = score_table(f"Means over {len(found.rows[INPUT])} pictures", found.means, (INPUT, REFERENCE))
    notes = Table("Methods", ("method", "what it is"), tuple(found.notes.items()), prose=True)
    pictures = picture_table("psnr", found.rows, (INPUT, REFERENCE))
    tables: list[Table] = [table, *([pictures] if pictures else []), notes]
    note = "Mean jump of the gain from frame to frame, along the optical flow."
    for name, values in flicker.items():
        cells = tuple((method, f"{value:.3f}") for method, value in values.items())
        tables.append(Table(f"Flicker of {name}", ("method", "% of brightness"), cells, note=note))
    compared = {m: s for m, s in found.means.items() if m not in (INPUT, REFERENCE)}
    plots = [
        bars(MEASURES[name].label, f"{MEASURES[name].label} {MEASURES[name].unit}", values)
        for name in ("psnr", "ciede2000", "halo", "noise_gain", "welllit_change")
        if (values := {m: s[name] for m, s in compared.items() if name in s})
    ]
    texts = [". ".join(meanings) + ".", *(f"Failed: {failure}" for failure in found.failures)]
    first = headline(found, [m.name for m in chosen], [m.name for m in CLASSICAL])
    section = Section("Quality", texts, found.samples, plots, tables, methods[0].name, first)
    data = {"means": found.means, "rows": found.rows, "notes": found.notes, "failures": found.failures}
    write(output, {"quality": data, "flicker": flicker}, [section], "cliplit: measured quality")
    if found.failures:
        raise InputError(f"{len(found.failures)} results are missing, first: {found.failures[0]}")


def prepare(output: Path, overwrite: bool) -> None:
    """Create the folder before anything is computed. Raises InputError if it holds results already."""
    if output.is_file():
        raise InputError(f"{output}: is a file; name a folder")
    if not overwrite and any((output / name).exists() for name in FILES):
        raise InputError(f"{output}: holds results already; use --overwrite to replace them")
    output.mkdir(parents=True, exist_ok=True)


def write(output: Path, data: dict[str, object], sections: Sequence[object], title: str) -> None:
    from .tables import markdown
    from .webpage import Section, write_page

    command = shlex.join(["cliplit-bench", *(Path(a).name if Path(a).is_absolute() else a for a in sys.argv[1:])])
    about = f"cliplit {__version__}, {date.today().isoformat()}\n{command}"
    head = {"cliplit": __version__, "date": date.today().isoformat(), "command": command}
    with atomic_write(output / "bench.json") as temporary:
        temporary.write_text(json.dumps(head | data, indent=1), encoding="utf-8")
    chosen = [section for section in sections if isinstance(section, Section)]
    parts = [f"# {title}\n\n{about}\n"]
    for section in chosen:
        first = [f"**{section.headline.number}** {section.headline.words}\n"] if section.headline else []
        parts += [
            f"## {section.title}\n",
            *first,
            *(f"{text}\n" for text in section.texts),
            *map(markdown, section.tables),
        ]
    with atomic_write(output / "bench.md") as temporary:
        temporary.write_text("\n".join(parts), encoding="utf-8")
    write_page(output / "index.html", title, about, chosen)
    tables: list[Table] = [table for section in chosen for table in section.tables]
    click.echo("\n".join(map(markdown, tables)))
    click.echo(f"{output / 'index.html'}: {(output / 'index.html').stat().st_size / 1024:.0f} KB")


def progress(text: str) -> None:
    """Show progress as one changing line on a terminal; print nothing elsewhere."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{text}", err=True, nl=False)


if __name__ == "__main__":
    main()
