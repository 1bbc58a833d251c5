"""`cliplit-image IN... OUT`: relight pictures and folders of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from cliplit.runtime.options import enhancer_options

from cliplit import __version__
from cliplit.command import check_output, reports_errors
from cliplit.errors import CliplitError, InputError

if TYPE_CHECKING:
    from cliplit.runtime.enhancer import Enhancer

Job = tuple[Path, Path]  # a file to read, a file to write


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("paths", metavar="IN... OUT", type=click.Path(path_type=Path), nargs=-1, required=True)
@enhancer_options
@click.option("--jpeg-quality", type=click.IntRange(1, 100), default=95, show_default=True, help="Of JPEG and WebP.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option("--quiet", is_flag=True, help="Print errors only.")
@click.version_option(__version__)
@reports_errors
def main(
    paths: tuple[Path, ...],
    jpeg_quality: int,
    overwrite: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Relight pictures: PNG, JPEG, TIFF, WebP; 8 and 16 bit; alpha, orientation, ICC profile and EXIF are kept.

    One file IN writes the file OUT. Several files, or a folder, write into the folder OUT under their own names.
    A file that cannot be used is reported and the rest goes on (exit code 1).
    """
    if len(paths) < 2:
        raise click.UsageError("give at least one IN and one OUT")
    jobs = plan(paths[:-1], paths[-1])

    from cliplit.runtime.enhancer import Enhancer
    from tqdm import tqdm

    enhancer = Enhancer(**settings)
    failures = 0
    for source, target in tqdm(jobs, unit=" pictures", disable=True if quiet or len(jobs) == 1 else None):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            notes = enhance_file(source, target, enhancer, jpeg_quality, overwrite)
        except (CliplitError, OSError) as error:
            failures += 1
            click.echo(f"cliplit-image: {error}", err=True)
            continue
        for note in () if quiet else notes:
            click.echo(f"note: {target}: {note}", err=True)
    if not quiet:
        click.echo(f"{len(jobs) - failures} of {len(jobs)} pictures written")
    if failures:
        raise InputError(f"{failures} of {len(jobs)} pictures failed, see above")


def plan(sources: Sequence[Path], target: Path) -> list[Job]:
    """What to read and where to write it. Raises InputError for a plan that cannot work."""
    from cliplit.runtime.image_io import SUFFIXES

    if len(sources) == 1 and not sources[0].is_dir() and not target.is_dir():
        return [(sources[0], target)]
    if target.is_file():
        raise InputError(f"{target}: is a file; several pictures need a folder to go to")
    jobs: list[Job] = []
    for source in sources:
        if source.is_dir():
            jobs += [(file, target / file.relative_to(source)) for file in pictures_below(source, set(SUFFIXES))]
        else:
            jobs.append((source, target / source.name))
    if not jobs:
        raise InputError(f"no pictures ({', '.join(SUFFIXES)}) in {', '.join(map(str, sources))}")
    targets = [job[1] for job in jobs]
    if twice := next((path for path in targets if targets.count(path) > 1), None):
        raise InputError(f"two pictures would be written to {twice}; give them different folders")
    return jobs


def pictures_below(folder: Path, suffixes: set[str]) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix.lower() in suffixes)


def enhance_file(source: Path, target: Path, enhancer: Enhancer, jpeg_quality: int, overwrite: bool) -> list[str]:
    """Relight one file; returns what could not be kept. The network sees the picture upright."""
    from cliplit.runtime.image_io import read_picture, stored, upright, write_picture

    check_output(source, target, overwrite)
    picture = read_picture(source)
    enhanced = enhancer(upright(picture.pixels, picture.orientation))
    return write_picture(target, picture, stored(enhanced, picture.orientation), jpeg_quality)
