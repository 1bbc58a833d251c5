"""`cliplit-image IN... OUT`: relight pictures and folders of pictures."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cliplit import __version__
from cliplit.command import echo, reports_errors
from cliplit.command_line import Command, habits, say_settings
from cliplit.errors import CliplitError, InputError, first_line
from cliplit.interrupt import raise_if_ended

from ..options import LIGHT, NETWORK, enhancer_options

if TYPE_CHECKING:
    from collections.abc import Sequence

PIPE = "-"


GROUPS = {
    "Light": LIGHT,
    "Output": ("output", "overwrite", "jpeg_quality"),
    "Network": NETWORK,
}
EXAMPLES = (
    "cliplit-image in.jpg                         relight into in.relit.jpg",
    "cliplit-image photos/ relit/ --look natural  a folder of pictures",
    "cliplit-image - - < in.png > out.png         standard input and output",
)


@click.command(cls=Command, section="image", groups=GROUPS, examples=EXAMPLES)
@click.argument("paths", metavar="IN... [OUT]", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--output", type=click.Path(), metavar="OUT", help="The same as OUT; all paths are then IN.")
@enhancer_options
@click.option(
    "--jpeg-quality",
    type=click.IntRange(1, 100),
    default=95,
    show_default=True,
    help="Quality of JPEG, WebP, AVIF, HEIC and JPEG XL output.",
)
@click.option(
    "--jobs", type=click.IntRange(0, 256), default=0, help="Pictures processed at a time.  [default: one per core]"
)
@click.option(
    "--max-pixels", type=click.IntRange(1, 1 << 30), default=1 << 28, show_default=True,
    help="Refuse larger pictures before they are decoded.",
)  # fmt: skip
@habits
@click.version_option(__version__)
@reports_errors
def main(
    paths: tuple[str, ...], output: str | None, jpeg_quality: int, jobs: int, max_pixels: int, overwrite: bool,
    quiet: bool, verbose: bool, **settings: Any,
) -> None:  # fmt: skip
    """Relight pictures, with all that belongs to them.

    PNG, JPEG, TIFF, WebP, AVIF, BMP, Radiance HDR; with the extra "pictures" HEIC, JPEG XL, OpenEXR and camera raw.
    Depth, alpha, orientation, profile, EXIF, XMP, IPTC, resolution and texts are kept; what cannot be is named.

    A single file IN is written to the file OUT, or in.relit.jpg beside it. Several files, or a folder, are written into
    the folder OUT under their own names. - is standard input, or standard output in the format of the input. A file
    that fails is reported and the others are still processed (exit code 1).
    """
    check_names(paths, output)
    from ..backends.devices import cores
    from ..folders import in_and_out, interrupted, passed_over, plan
    from .enhance import enhance_picture
    from .image_io import PICTURES

    if verbose:
        say_settings(click.get_current_context())
    sources, target = in_and_out(paths, output, PICTURES)
    if PIPE in (*sources, target):
        through_pipes(sources, target, jpeg_quality, max_pixels, overwrite, quiet, settings)
        return
    check_folder(sources, Path(target))
    tasks = plan(sources, Path(target), PICTURES)
    single = len(tasks) == 1 and not Path(target).is_dir() and Path(sources[0]).is_file()
    skipped = passed_over(sources, Path(target), PICTURES)
    for line in () if quiet else skipped:
        echo(f"note: {line}", err=True)
    at_once = min(jobs or cores(), len(tasks))
    if settings["quality"] == "exact":
        at_once = 1  # each may take all memory there is

    from tqdm import tqdm

    from ..enhancer import Enhancer
    from ..memory import keep_freed_memory

    keep_freed_memory()

    # Decoding, network, pixel loop and encoding all let other threads run; a picture a core beats a core a layer.
    enhancer = Enhancer(**settings, threads=1 if at_once > 1 else 0)

    def attempt(task: tuple[Path, Path]) -> list[str] | Exception:
        try:
            if not single:
                task[1].parent.mkdir(parents=True, exist_ok=True)
            notes = enhance_picture(*task, enhancer, jpeg_quality, overwrite, max_pixels)
            finished.append(task[1])
            return notes
        except Exception as error:  # whatever a file raises, the others go on
            return error

    finished: list[Path] = []
    failures: list[Exception] = []
    prefix = click.get_current_context().command_path
    bar = tqdm(total=len(tasks), unit=" pictures", disable=True if quiet or len(tasks) == 1 else None)
    try:
        with bar, ThreadPoolExecutor(at_once) as pool:
            for (source, written), result in zip(tasks, pool.map(attempt, tasks), strict=True):
                if len(tasks) > 1:
                    raise_if_ended()
                bar.update()
                if isinstance(result, Exception):
                    failures.append(result)
                    if not single:
                        echo(f"{prefix}: {said(result, source, written)}", err=True)
                    continue
                for note in () if quiet else result:
                    echo(f"note: {written}: {note}", err=True)
    except KeyboardInterrupt as error:
        if len(tasks) > 1:
            error.args = (interrupted(len(finished), len(tasks), tasks[0][1].parent),)
        raise
    if single and failures:
        raise failures[0] if isinstance(failures[0], CliplitError) else InputError(said(failures[0], *tasks[0]))
    if not quiet:
        rest = f"; {len(skipped)} other files were passed over" if skipped else ""
        echo(f"{len(tasks) - len(failures)} of {len(tasks)} pictures written{rest}")
    if failures:
        raise InputError(f"{len(failures)} of {len(tasks)} pictures failed, see above")


def said(error: Exception, source: Path, target: Path) -> str:
    """Make one line of whatever was raised for a picture."""
    if isinstance(error, CliplitError):
        return " ".join(str(error).split())
    if isinstance(error, OSError):
        return f"{target}: cannot be written ({error.strerror or first_line(error)})"
    if isinstance(error, MemoryError):
        return f"{source}: not enough memory"
    return f"{source}: {type(error).__name__}: {first_line(error)}"


def check_names(typed: Sequence[str], output: str | None) -> None:
    """Raise a usage error for what can be told from the names alone."""
    if len(typed) == 1 and output is None and typed[0] != "-" and not Path(typed[0]).exists() and "://" not in typed[0]:
        raise click.UsageError(f"{typed[0]}: no such file; give IN and OUT")
    paths = typed if output is None else [*typed, output]
    for name in paths:
        if not name.strip():
            raise click.UsageError("an empty name was given; the current folder is called .")
        if "://" in name:
            raise click.UsageError(f"{name}: addresses are for cliplit-video; download pictures first")
    if PIPE in paths and len(paths) != 2:
        raise click.UsageError("- goes with one IN and one OUT, as in: cliplit-image - - < in.png > out.png")


def check_folder(sources: Sequence[str], target: Path) -> None:
    """Raise a usage error where several pictures would go into a folder called like a picture."""
    from .image_io import PICTURES

    several = len(sources) > 1 or not Path(sources[0]).is_file()
    exists = all(Path(source).exists() for source in sources)
    if several and exists and not target.is_dir() and target.suffix.lower() in PICTURES.suffixes:
        raise click.UsageError(f"{target} looks like a picture; name a folder for several")


def through_pipes(
    sources: Sequence[str], target: str, quality: int, max_pixels: int, overwrite: bool, quiet: bool, settings: Any
) -> None:
    """Relight one picture from standard input, to standard output, or both."""
    from cliplit.command import check_output

    from ..enhancer import Enhancer
    from .enhance import relight
    from .formats import BY_NAME, recognised
    from .image_io import check_file, decode, encode, format_of, write_picture

    source = sources[0]
    if target == PIPE and sys.stdout.isatty():
        raise click.UsageError("- writes a picture to standard output, which is a terminal")
    if target != PIPE:
        check_output(None if source == PIPE else Path(source), Path(target), overwrite)
        format_of(Path(target))
    if source == PIPE:
        data, where = sys.stdin.buffer.read(), "standard input"
    else:
        check_file(Path(source))
        data, where = Path(source).read_bytes(), source
    picture = decode(data, where, max_pixels)
    relit = relight(picture, Enhancer(**settings))
    if target != PIPE:
        notes = write_picture(Path(target), picture, relit, quality)
    else:
        form = recognised(data, where)
        encoded, notes = encode(form if form.write else BY_NAME["TIFF"], "standard output", picture, relit, quality)
        sys.stdout.buffer.write(encoded)
        sys.stdout.buffer.flush()
    for note in () if quiet else notes:
        echo(f"note: {'standard output' if target == PIPE else target}: {note}", err=True)
