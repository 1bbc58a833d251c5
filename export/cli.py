"""`cliplit-export CHECKPOINT`: a trained network as files that run elsewhere, checked against PyTorch."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from click.core import ParameterSource

from cliplit import __version__
from cliplit.command import check_output, echo, reports_errors
from cliplit.command_line import HelpfulCommand
from cliplit.constants import MAX_GAIN
from cliplit.errors import BackendError, InputError
from cliplit.install import install_hint
from cliplit.runtime.backends.tensorrt_library import PORTABLE, TENSORRT_RTX, import_library

from .hosts import ANY, HOSTS

if TYPE_CHECKING:
    from cliplit.arrays import Array
    from cliplit.runtime.backends.engine_file import Shapes
    from cliplit.runtime.backends.model_file import ModelInfo

    from .parity import Comparison

Size = tuple[int, int, int]  # batch, height, width
SIZE = re.compile(r"(?:(\d+)x)?(\d+)x(\d+)")


def parse_size(text: str) -> Size:
    """Parse HxW or NxHxW. Raises click's usage error for anything else."""
    found = SIZE.fullmatch(text)
    if found is None or 0 in (size := (int(found[1] or 1), int(found[2]), int(found[3]))):
        raise click.BadParameter(f"{text!r} is not HxW or NxHxW, such as 192x336")
    return size


def optional_size(context: click.Context, option: click.Parameter, text: str | None) -> Size | None:
    return None if text is None else parse_size(text)


GROUPS = {
    "Output": ("output", "overwrite", "triton"),
    "Numbers and sizes": ("half", "int8", "calibration", "shape", "host"),
    "The whole enhancement": ("whole_image", "image_type", "strength", "max_gain"),
    "Engines": (
        "engine",
        "compute_capability",
        "tensorrt",
        "shapes",
        "workspace",
        "device",
        "list_cache",
        "clear_cache",
    ),
}
EXAMPLES = (
    "cliplit-export run/best.pt                            run/best.onnx, for cliplit and any ONNX program",
    "cliplit-export run/best.pt --fp16 -o exported/        half precision, and fp32 beside it",
    "cliplit-export run/best.pt --whole-image -o app.onnx  picture in, relit picture out",
)


@click.command(cls=HelpfulCommand, groups=GROUPS, examples=EXAMPLES)
@click.argument("checkpoint", type=click.Path(path_type=Path), required=False)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File, or existing folder.  [default: beside CHECKPOINT]"
)
@click.option("--fp16", "half", is_flag=True, help="Half precision; also writes the fp32 file as a fallback.")
@click.option("--int8", is_flag=True, help="Static 8-bit quantisation, for CPUs with VNNI.")
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    help="Folder of calibration pictures for --int8.  [default: the demo clip]",
)
@click.option(
    "--shape",
    callback=optional_size,
    metavar="[Nx]HxW",
    help="Fix the size of the input; nothing is left to compute about sizes.  [default: any size]",
)
@click.option("--whole-image", is_flag=True, help="Export image in, enhanced image out, for any ONNX program.")
@click.option(
    "--image-type",
    type=click.Choice(["uint8", "float32"]),
    default="uint8",
    show_default=True,
    help="Input and output type of --whole-image.",
)
@click.option(
    "--strength", type=click.FloatRange(0, 2), default=1.0, show_default=True, help="Built into --whole-image."
)
@click.option(
    "--max-gain", type=click.FloatRange(1, 256), default=MAX_GAIN, show_default=True, help="Built into --whole-image."
)
@click.option("--triton", type=click.Path(path_type=Path), metavar="DIR", help="Write a Triton model repository.")
@click.option(
    "--for",
    "host",
    type=click.Choice(tuple(HOSTS)),
    default="any",
    show_default=True,
    help="Program that will run the file, where no one file serves all: tensorrt for --int8, ncnn.",
)
@click.option(
    "--engine",
    is_flag=True,
    help="Also build an engine, beside the file: of TensorRT for RTX, without a card.  [else as --tensorrt]",
)
@click.option(
    "--compute-capability",
    type=click.Choice([target for target, _ in TENSORRT_RTX.targets]),
    default=PORTABLE,
    show_default=True,
    help="Of the cards for --engine: 8.0 and later (RTX 30, 40, 50), or 7.5 (RTX 20).",
)
@click.option("--tensorrt", is_flag=True, help="Also build TensorRT's engine for the card here and cache it.")
@click.option(
    "--shapes",
    metavar="MIN,BEST,MAX",
    help="Sizes the engine accepts.  [default: --shape, or the proxy size of 16:9]",
)
@click.option(
    "--workspace", default=4096, show_default=True, help="Megabytes of GPU memory that TensorRT's layers may use."
)
@click.option("--device", default="cuda", show_default=True, metavar="cuda[:N]", help="Card for --tensorrt.")
@click.option("--list-cache", is_flag=True, help="List the cached engines (CLIPLIT_HOME) and exit.")
@click.option("--clear-cache", is_flag=True, help="Remove the cached engines and exit.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@click.version_option(__version__)
@click.pass_context
@reports_errors
def main(
    context: click.Context,
    checkpoint: Path | None,
    output: Path | None,
    half: bool,
    int8: bool,
    calibration: Path | None,
    shape: Size | None,
    whole_image: bool,
    image_type: Literal["uint8", "float32"],
    strength: float,
    max_gain: float,
    triton: Path | None,
    host: str,
    engine: bool,
    compute_capability: str,
    tensorrt: bool,
    shapes: str | None,
    workspace: int,
    device: str,
    list_cache: bool,
    clear_cache: bool,
    overwrite: bool,
) -> None:
    """Export CHECKPOINT, ours or one published by the CLIP-LIT authors, to ONNX.

    Each file is compared with PyTorch on every back end of this machine. It is written only if it passes; otherwise
    the exit code is 4. File names show the content: NAME.onnx, NAME.fp16.onnx, NAME.int8.onnx, NAME.image.onnx,
    NAME.1x192x336.onnx.
    """
    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    if list_cache or clear_cache:
        if useless := sorted(given - {"list_cache", "clear_cache"}):
            raise click.UsageError(f"{option_name(useless[0])} does nothing with --list-cache or --clear-cache")
        if list_cache and clear_cache:
            raise click.UsageError("--list-cache and --clear-cache are two things; run the command twice")
        show_cache(clear_cache)
        return
    if checkpoint is None:
        raise click.UsageError("name a CHECKPOINT")
    if half and int8:
        raise click.UsageError("--fp16 and --int8 are two files; run the command twice")
    if int8 and (whole_image or triton):
        raise click.UsageError("--int8 is for the network alone")
    if shape and triton:
        raise click.UsageError("Triton's images come in every size; leave --shape out")
    if engine and tensorrt:
        raise click.UsageError("--engine and --tensorrt are two engines; run the command twice")
    refuse_useless(given)
    if output is not None and not output.is_dir() and output.suffix != ".onnx":
        raise click.UsageError(f"-o {output}: the file is named .onnx; an engine comes with --engine")
    chosen = HOSTS[host]
    if chosen.symmetric and not int8:
        raise click.UsageError(f"--for {host} differs with --int8 only; leave it out")
    if chosen.fixed and (half or int8 or engine or tensorrt):
        raise click.UsageError(
            f"--for {host} takes fp32 files and no engines; half precision is that program's own choice"
        )
    if chosen.fixed and not shape:
        raise click.UsageError(f"--for {host} wants a --shape")
    if (engine or tensorrt) and int8 and not chosen.symmetric:
        raise click.UsageError("an engine in int8 wants --for tensorrt")
    if not checkpoint.exists():
        raise InputError(f"{checkpoint}: no such checkpoint file")
    try:
        import onnx  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise BackendError(f"{error.name} is missing; install it with: {install_hint('export')}") from error
    ranges = parse_shapes(shapes, shape)
    portable = engine and importlib.util.find_spec(TENSORRT_RTX.module) is not None
    if portable:
        if "device" in given:
            raise click.UsageError("--device does nothing with --engine: TensorRT for RTX builds without a card")
        import_library(TENSORRT_RTX)
    elif engine or tensorrt:
        if "compute_capability" in given:
            raise BackendError(
                f"--compute-capability is for {TENSORRT_RTX.name}, which is missing; install it with: "
                f"{install_hint(TENSORRT_RTX.extra)}"
            )
        check_tensorrt(device, engine)

    if triton is not None:
        from .triton import write_repository

        folder, lines = write_repository(checkpoint, triton, half, strength, max_gain, overwrite)
        report(folder / "1" / "model.onnx", lines)
        echo(f"{folder}: serve it with: tritonserver --model-repository={triton}")
        return
    if whole_image:
        from .whole_image import export_whole_image

        size = ("x".join(map(str, shape)),) if shape else ()
        target = name_output(checkpoint, output, ("image", *(("fp16",) if half else ()), *size))
        check_output(checkpoint, target, overwrite)
        report(target, export_whole_image(checkpoint, target, half, image_type, strength, max_gain, shape))
        return

    from .onnx_file import Precision, export_onnx

    check_multiple(checkpoint, ranges)
    precision: Precision = "fp16" if half else "int8" if int8 else "fp32"
    kind = () if precision == "fp32" else (precision,)
    tags = (*kind, *(() if chosen is ANY else (host,)), *(("x".join(map(str, shape)),) if shape else ()))
    target = name_output(checkpoint, output, tags)
    check_output(checkpoint, target, overwrite)
    if int8 and calibration is not None:
        pictures: Sequence[Array] = read_pictures(calibration)
    else:
        pictures = ()
    if half and target == name_output(checkpoint, output if output and output.is_dir() else None, tags):
        fallback = target.with_name(target.name.replace(".fp16", ""))
        if not is_of(fallback, checkpoint):
            check_output(checkpoint, fallback, overwrite)
            report(fallback, export_onnx(checkpoint, fallback, "fp32", shape, (), chosen))
    report(target, export_onnx(checkpoint, target, precision, shape, pictures, chosen))
    if portable:
        build_portable(target, ranges, workspace << 20, compute_capability)
    elif engine or tensorrt:
        build(target, ranges, workspace << 20, device)


# Options that do something only beside one of others.
WANTS = {
    "calibration": ("int8",),
    "image_type": ("whole_image",),
    "strength": ("whole_image", "triton"),
    "max_gain": ("whole_image", "triton"),
    "shapes": ("engine", "tensorrt"),
    "workspace": ("engine", "tensorrt"),
    "compute_capability": ("engine",),
    "device": ("tensorrt", "engine"),
}
# Those that do nothing beside one of others.
CLASHES = {
    "output": ("triton",),
    "host": ("whole_image", "triton"),
    "engine": ("whole_image", "triton"),
    "tensorrt": ("whole_image", "triton"),
    "whole_image": ("triton",),
    "shapes": ("shape",),
}


def refuse_useless(given: set[str]) -> None:
    """Raise click's usage error for an option of those `given` that would do nothing."""
    for name, others in WANTS.items():
        if name in given and not given.intersection(others):
            raise click.UsageError(f"{option_name(name)} does nothing without {' or '.join(map(option_name, others))}")
    for name, others in CLASHES.items():
        for other in others:
            if {name, other} <= given:
                raise click.UsageError(f"{option_name(name)} does nothing with {option_name(other)}; leave it out")


def option_name(parameter: str) -> str:
    """Return what the user types for a parameter of the command."""
    names = {"output": "-o", "host": "--for", "half": "--fp16", "checkpoint": "CHECKPOINT"}
    return names.get(parameter, f"--{parameter.replace('_', '-')}")


def name_output(checkpoint: Path, output: Path | None, tags: Sequence[str]) -> Path:
    """Return the given output, or CHECKPOINT's name with tags for the content before the suffix."""
    if output is not None and not output.is_dir():
        return output
    return (output or checkpoint.parent) / ".".join([checkpoint.stem, *tags, "onnx"])


def is_of(path: Path, checkpoint: Path) -> bool:
    """Return whether `path` is already the fp32 export of this very checkpoint."""
    from cliplit.errors import ModelError
    from cliplit.networks.checkpoint import sha256
    from cliplit.runtime.backends.model_file import model_info

    try:
        info = model_info(path)
    except (OSError, ModelError):
        return False
    return (info.checkpoint_sha256, info.precision, info.kind) == (sha256(checkpoint), "fp32", "light")


def read_pictures(folder: Path) -> list[Array]:
    """Read every picture below a folder, (H, W, 3) float32. Raises InputError if there is none."""
    import numpy as np

    from cliplit.runtime.folders import files_of
    from cliplit.runtime.image.image_io import PICTURES, read_picture, upright
    from cliplit.runtime.light.gain import WHITE

    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of calibration pictures")
    found = []
    for path, _ in files_of(str(folder), folder, PICTURES):
        picture = read_picture(path)
        pixels = upright(picture.pixels, picture.orientation)[..., :3]
        found.append(pixels.astype(np.float32) / np.float32(WHITE[pixels.dtype]))
    if not found:
        raise InputError(f"{folder}: no pictures ({', '.join(PICTURES.suffixes)}) to calibrate with")
    return found


def report(target: Path, lines: Sequence[Comparison]) -> None:
    from .parity import table

    click.echo(table(lines))
    worst = min(line.psnr for line in lines)
    echo(
        f"{target}: {target.stat().st_size / 1024:.0f} KB, largest difference to PyTorch "
        f"{max(line.largest for line in lines):.1e}, least PSNR {worst:.1f} dB"
    )


def parse_shapes(text: str | None, shape: Size | None) -> Shapes | None:
    """Parse an engine's MIN,BEST,MAX. Raises click's usage error for anything else."""
    from cliplit.runtime.backends.engine_file import Shapes

    if text is None:
        return Shapes.fixed(shape) if shape else None
    sizes = [parse_size(part) for part in text.split(",")]
    if len(sizes) != 3 or any(a > b for low, high in pairwise(sizes) for a, b in zip(low, high, strict=True)):
        raise click.UsageError(f"--shapes {text}: expected three sizes, none smaller than the one before it")
    return Shapes(*sizes)


def check_multiple(checkpoint: Path, shapes: Shapes | None) -> None:
    """Check early that the network takes pictures of these sizes. Raises InputError if not."""
    from cliplit.runtime.backends.pytorch import from_checkpoint

    _, info = from_checkpoint(checkpoint)
    for size in (shapes.least, shapes.best, shapes.most) if shapes else ():
        if any(side % info.multiple for side in size[1:]):
            raise InputError(
                f"{size[1]}x{size[2]}: the {info.name} network wants sides that are a multiple of {info.multiple}"
            )


def check_tensorrt(device: str, instead: bool) -> None:
    """Check early, before minutes of work, that an engine can be built here. Raises BackendError if not.

    `instead` of TensorRT for RTX, which is missing.
    """
    from cliplit.runtime.backends import tensorrt_native
    from cliplit.runtime.backends.devices import Device

    wanted = Device.parse(device)
    if wanted.kind != "cuda":
        raise click.UsageError(f"TensorRT runs on cuda, not on {device}")
    try:
        tensorrt_native.require(wanted)
    except BackendError as error:
        if not instead:
            raise
        remedy = install_hint(TENSORRT_RTX.extra)
        raise BackendError(f"no engine can be built here without a card but by {remedy}; {error}") from error


def build_portable(model: Path, shapes: Shapes | None, workspace: int, capability: str) -> None:
    """Build the portable engine of an exported file beside it. Raises ModelError or BackendError on failure."""
    from cliplit.runtime.backends.engine_file import Shapes, beside, write_engine
    from cliplit.runtime.backends.model_file import model_info
    from cliplit.runtime.backends.tensorrt_build import build_engine
    from cliplit.runtime.backends.tensorrt_native import portable_header

    trt, info = import_library(TENSORRT_RTX), model_info(model)
    shapes = shapes or Shapes.fixed(usual_size(info))
    data = build_engine(trt, model, shapes, info.precision, workspace, library=TENSORRT_RTX, target=capability)
    target = beside(model, shapes, "" if capability == PORTABLE else capability)
    write_engine(target, portable_header(trt, model, info, shapes, capability), data)
    cards = f"{capability} and later" if capability == PORTABLE else capability
    click.echo(
        f"{target}: {len(data) / 1024:.0f} KB, engine of {TENSORRT_RTX.name} {trt.__version__} for {shapes} on cards "
        f"of compute capability {cards}; built, not run"
    )


def usual_size(info: ModelInfo) -> Size:
    """Return the size an engine is for when none is named: the file's own, or the proxy size of 16:9."""
    from cliplit.runtime.light.proxy import proxy_size

    return info.shape or (1, *proxy_size(1080, 1920, info.proxy_short_side, info.multiple))


def build(model: Path, shapes: Shapes | None, workspace: int, device: str) -> None:
    """Build the engine of an exported file into the cache, with progress. Raises BackendError on failure."""
    from tqdm import tqdm

    from cliplit.runtime.backends import tensorrt_native
    from cliplit.runtime.backends.devices import Device
    from cliplit.runtime.backends.engine_file import Shapes

    network = tensorrt_native.open_model(model, Device.parse(device), 0)
    shapes = shapes or Shapes.fixed(usual_size(network.info))
    with tqdm(disable=None) as bar:

        def show(phase: str, done: int, steps: int) -> None:
            bar.set_description(phase, refresh=False)
            bar.total, bar.n = steps, done
            bar.refresh()

        network.engine(shapes, workspace, show)
    echo(f"{network.header(shapes).path()}: engine for {shapes} on {network.detail}")


def show_cache(clear: bool) -> None:
    from cliplit.errors import ModelError
    from cliplit.runtime.backends import engine_file

    if clear:
        files, size = engine_file.clear_cache()
        echo(f"{engine_file.cache_folder()}: {files} files, {size / 2**20:.1f} MB removed")
        return
    count = 0
    for path, header in engine_file.cached_engines():
        count += 1
        if isinstance(header, ModelError):
            echo(str(header))
            continue
        machine = header.machine
        echo(
            f"{path.name}: {path.stat().st_size / 2**20:.1f} MB, {header.model} {header.precision} for "
            f"{header.shapes}, TensorRT {machine.tensorrt}, CUDA {machine.cuda}, "
            f"{machine.gpu} ({machine.compute_capability}), {machine.system}"
        )
    echo(f"{engine_file.cache_folder()}: {count} engines")
