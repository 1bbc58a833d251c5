"""`cliplit-batch SRC DST`: relight thousands of files, on this machine or on a Ray cluster."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from cliplit import __version__
from cliplit.command import echo, reports_errors
from cliplit.command_line import Between, Command, habits, say_settings
from cliplit.errors import InputError

from ..options import LIGHT, NETWORK, enhancer_options

if TYPE_CHECKING:
    from .job import Outcome
    from .long import Engine

FOREIGN = "exists already and is no earlier result; use --overwrite to replace it"
SHOWN = 20  # failures to print; the file lists all
NAMED = 3  # files of a note


GROUPS = {
    "Light": LIGHT,
    "Output": ("overwrite", "jpeg_quality", "codec", "crf", "preset"),
    "Run": ("engine", "address", "workers", "retries", "split_over"),
    "Network": NETWORK,
}
EXAMPLES = (
    "cliplit-batch photos/ relit/                 all pictures and clips of a folder",
    "cliplit-batch photos/ relit/ --jobs 4        four at a time",
    "cliplit-batch s3://in s3://out --engine ray  buckets, on a cluster",
)


@click.command(cls=Command, section="batch", groups=GROUPS, examples=EXAMPLES)
@click.argument("source", metavar="SRC", type=click.Path())
@click.argument("target", metavar="DST", type=click.Path())
@enhancer_options
@click.option(
    "--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="Where jobs run."
)
@click.option(
    "--address", default="", help="Address of a running Ray cluster: auto, ray://HOST:10001.  [default: start one here]"
)
@click.option(
    "--jobs",
    "--workers",
    "workers",
    type=click.IntRange(0, 4096),
    default=0,
    help="Files processed at a time.  [default: one per core, or per GPU]",
)
@click.option(
    "--retries", type=click.IntRange(0, 100), default=2, show_default=True, help="How often to retry temporary errors."
)
@click.option("--jpeg-quality", type=click.IntRange(1, 100), default=95, show_default=True, help="JPEG/WebP quality.")
@click.option("--codec", default="auto", show_default=True, help="Video codec, as in cliplit-video.")
@click.option("--crf", type=Between(0, 63), default=None, help="Video quality: lower is better and larger.")
@click.option("--preset", default=None, help="Encoder speed: ultrafast to veryslow.")
@click.option(
    "--split-over",
    type=Between(min=0),
    default=256.0,
    show_default=True,
    metavar="MB",
    help="Split clips larger than this over several workers.",
)
@click.option(
    "--max-pixels", type=click.IntRange(1, 1 << 30), default=1 << 28, show_default=True,
    help="Refuse pictures, and frames of clips, that are larger.",
)  # fmt: skip
@habits
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each finished file, for programs.")
@click.version_option(__version__)
@reports_errors
def main(
    source: str,
    target: str,
    engine: str,
    address: str,
    workers: int,
    retries: int,
    jpeg_quality: int,
    codec: str,
    crf: float | None,
    preset: str | None,
    split_over: float,
    max_pixels: int,
    overwrite: bool,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    model: str,
    **settings: Any,
) -> None:
    """Relight all pictures and clips below SRC into DST, under their own names.

    SRC and DST are folders or fsspec URLs: s3://bucket/in, gs://bucket/out (install s3fs or gcsfs for them); SRC may be
    a pattern in quotes. A record
    of finished files is kept in DST/.cliplit-batch: run the same command again to do only what is missing, changed or
    failed. If a file fails, the exit code is 1 and DST/.cliplit-batch/failures.txt lists the reason; notes.txt there
    lists what could not be kept.
    """
    if address and engine != "ray":
        raise click.UsageError("--address goes with --engine ray")
    if verbose:
        say_settings(click.get_current_context())
    from .checks import check_names, check_options
    from .job import Options, failure
    from .leftovers import alone_in, sweep
    from .long import rounds
    from .manifest import FAILURES, FOLDER, NOTES, Manifest
    from .places import MEMORY, check_reachable, filesystem, protocols
    from .plan import find_jobs, passed_over, remaining, travelling_model

    check_names(source, target)
    own_process = any(MEMORY in protocols(filesystem(place)[0]) for place in (source, target))
    check_reachable(source, target, own_process and engine == "local")
    encoding = {"codec": codec, "crf": crf, "preset": preset}
    options = Options(travelling_model(model), settings, encoding, jpeg_quality, retries, __version__, max_pixels)
    jobs = find_jobs(source, target)
    for line in () if quiet else passed_over(source, target):
        echo(f"note: {line}", err=True)
    check_options(options, jobs, here=engine == "local")
    with Manifest(target) as manifest, alone_in(target) as alone:
        if alone:
            sweep(jobs, target)
        left = remaining(jobs, target, manifest.read(), options, overwrite)
        manifest.claim(job.name for job in left.jobs)
        for job in left.foreign:
            manifest.add(failure(job, options, f"{job.target} {FOREIGN}"))
        before = len(jobs) - len(left.jobs) - len(left.foreign)
        bar = Bar(len(jobs), before + len(left.foreign), quiet)
        with engine_of(engine, address, workers, own_process, bar.move) if left.jobs else nullcontext() as work:
            outcomes = rounds(work, left.jobs, options, split_over) if work else iter(())
            for outcome in bar.shown(outcomes):
                manifest.add(outcome)
                if as_json:
                    click.echo(json_line(outcome, target))
        failed, noted = list(manifest.failed), list(manifest.noted)
    for line in () if quiet or as_json else notes_of(noted, f"{target}/{FOLDER}/{NOTES}"):
        echo(f"note: {line}", err=True)
    if not quiet and not as_json:
        skipped = f", {before} were done before" if before else ""
        echo(f"{len(jobs) - before - len(failed)} of {len(jobs) - before} files written{skipped}")
    for outcome in failed[:SHOWN]:
        echo(f"{click.get_current_context().command_path}: {outcome.name}: {outcome.error}", err=True)
    if failed:
        raise InputError(f"{len(failed)} of {len(jobs)} files failed; all are listed in {target}/{FOLDER}/{FAILURES}")


def notes_of(noted: list[Outcome], listed: str) -> list[str]:
    """Return a line for each thing that could not be kept, with the first names; `listed` is where all are."""
    files: dict[str, list[str]] = {}
    for outcome in noted:
        for note in outcome.notes:
            files.setdefault(note, []).append(outcome.name)
    more = {note: f" and {len(names) - NAMED} others, listed in {listed}" for note, names in files.items()}
    return [
        f"{', '.join(names[:NAMED])}{more[note] if len(names) > NAMED else ''}: {note}" for note, names in files.items()
    ]


def json_line(outcome: Outcome, target: str) -> str:
    """Return what became of a file, in the words of `cliplit-video --json`."""
    from pathlib import PurePosixPath

    from ..folders import CLIPS

    line = {
        "file": outcome.name, "output": f"{target.rstrip('/')}/{CLIPS.target_name(PurePosixPath(outcome.name))}",
        "frames": outcome.frames, "seconds": outcome.seconds,
        "problems": f"failed: {outcome.error}" if outcome.error else "", "notes": list(outcome.notes),
    }  # fmt: skip
    return json.dumps(line)


def engine_of(
    name: str, address: str, workers: int, own_process: bool, moved: Callable[[dict[str, float]], object]
) -> AbstractContextManager[Engine]:
    if name == "ray":
        from .on_ray import ray_engine

        return ray_engine(address, workers)
    from .local import local_engine

    return local_engine(workers, own_process, moved)


class Bar:
    """A progress bar on a terminal, which moves inside long clips, too."""

    def __init__(self, total: int, done: int, quiet: bool) -> None:
        from tqdm import tqdm

        self._finished, self._failed = done, 0
        self._bar = tqdm(total=total, initial=done, unit=" files", disable=True if quiet else None, file=sys.stderr)

    def move(self, shares: dict[str, float]) -> None:
        """Show how far the files under way are."""
        from .progress import described

        whole = (share for name, share in shares.items() if "#" not in name)  # not the pieces of a split clip
        self._bar.n = round(self._finished + sum(whole), 2)
        self._bar.set_postfix_str(", ".join(filter(None, (f"failed={self._failed}", described(shares)))), refresh=False)
        self._bar.refresh()

    def shown(self, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        """Yield the outcomes as the bar moves on."""
        with self._bar:
            for outcome in outcomes:
                self._finished += 1
                self._failed += outcome.status == "failed"
                self.move({})
                yield outcome


if __name__ == "__main__":
    main()
