"""`cliplit-image IN... OUT`: relight pictures and folders of pictures."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cliplit import __version__
from cliplit.command import echo, reports_errors
from cliplit.errors import CliplitError, InputError

from ..options import enhancer_options

if TYPE_CHECKING:
    pass


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("paths", metavar="IN... OUT", type=click.Path(path_type=Path), nargs=-1, required=True)
@enhancer_options
@click.option(
    "--jpeg-quality",
    type=click.IntRange(1, 100),
    default=95,
    show_default=True,
    help="Quality of JPEG and WebP output.",
)
@click.option(
    "--jobs", type=click.IntRange(0, 256), default=0, help="Pictures processed at a time.  [default: one per core]"
)
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
@click.version_option(__version__)
@reports_errors
def main(paths: tuple[Path, ...], jpeg_quality: int, jobs: int, overwrite: bool, quiet: bool, **settings: Any) -> None:
    """Relight pictures: PNG, JPEG, TIFF, WebP, 8 or 16 bits; keeps alpha, orientation, ICC profile and EXIF.

    A single file IN is written to the file OUT. Several files, or a folder, are written into the folder OUT under
    their own names. A file that fails is reported and the others are still processed (exit code 1).
    """
    if len(paths) < 2:
        raise click.UsageError("give at least one IN and one OUT")
    from ..backends.devices import cores
    from ..folders import interrupted, plan
    from .image_io import PICTURES

    tasks = plan([str(path) for path in paths[:-1]], paths[-1], PICTURES)
    at_once = min(jobs or cores(), len(tasks))
    if settings["quality"] == "exact":
        at_once = 1  # each may take all memory there is

    from tqdm import tqdm

    from ..enhancer import Enhancer
    from .enhance import enhance_picture

    # Decoding, network, pixel loop and encoding all let other threads run; a picture a core beats a core a layer.
    enhancer = Enhancer(**settings, threads=1 if at_once > 1 else 0)

    def attempt(task: tuple[Path, Path]) -> list[str] | CliplitError | OSError:
        try:
            task[1].parent.mkdir(parents=True, exist_ok=True)
            notes = enhance_picture(*task, enhancer, jpeg_quality, overwrite)
            finished.append(task[1])
            return notes
        except (CliplitError, OSError) as error:
            return error

    finished: list[Path] = []
    failures = 0
    bar = tqdm(total=len(tasks), unit=" pictures", disable=True if quiet or len(tasks) == 1 else None)
    try:
        with bar, ThreadPoolExecutor(at_once) as pool:
            for (_, target), result in zip(tasks, pool.map(attempt, tasks), strict=True):
                bar.update()
                if isinstance(result, Exception):
                    failures += 1
                    echo(f"cliplit-image: {result}", err=True)
                    continue
                for note in () if quiet else result:
                    echo(f"note: {target}: {note}", err=True)
    except KeyboardInterrupt as error:
        if len(tasks) > 1:
            error.args = (interrupted(len(finished), len(tasks), tasks[0][1].parent),)
        raise
    if not quiet:
        echo(f"{len(tasks) - failures} of {len(tasks)} pictures written")
    if failures:
        raise InputError(f"{failures} of {len(tasks)} pictures failed, see above")
