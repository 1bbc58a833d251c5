"""Which programs run the exported files, and whether they compute the same: a table.

    python -m cliplit.benchmarks.consumers                   # what is installed here
    python -m cliplit.benchmarks.consumers --python mobile/bin/python --node node_modules

Each program runs in a process of its own, so that one that crashes is a line, not the end. `--python` names another
environment (an old ONNX Runtime; `pip install MNN ncnn pnnx tract`; `pip install onnx2tf ai-edge-litert`), `--node` a
folder with onnxruntime-node or onnxruntime-web from npm. "Close" is a light map within the bound of half precision in
`cliplit.export.parity`, "wrong" one that is not; "refused" is an error, with its last line; "made" was converted or
built here, for a machine that is not at hand. Whole images are compared with `Enhancer` by PSNR.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from cliplit.arrays import Array
from cliplit.command import reports_errors
from cliplit.export.hosts import HOSTS
from cliplit.export.onnx_file import Precision, light_graph
from cliplit.export.parity import TOLERANCES, psnr
from cliplit.export.whole_image import LEAST_PSNR, ImageType, whole_image_graph
from cliplit.runtime import Enhancer
from cliplit.runtime.backends.devices import Device
from cliplit.runtime.backends.model_file import find_model
from cliplit.runtime.backends.pytorch import TorchNetwork, from_checkpoint, from_onnx
from cliplit.runtime.network import LightMapNetwork

from .consumer_programs import NODE_PROGRAMS, PROGRAMS, RUN, RUN_NODE

SIZE = (96, 160)
SLACK = 10.0  # times the bound of fp32: programs that fuse and reorder round in other ways
SECONDS = 120

CELLS = {"made": "made", "refused": "no"}


@dataclass(frozen=True)
class Sample:
    """An exported file, an input for it, and the output that PyTorch and `Enhancer` have for that.

    `kind` names what the file is: "fixed", "free", "fp16", "image uint8" ...
    """

    path: Path
    model: str
    kind: str
    precision: Precision
    source: Array
    expected: Array

    @property
    def whole(self) -> bool:
        return self.kind.startswith("image")

    def verdict(self, own: Array) -> tuple[str, str]:
        """Judge an output: (verdict, difference)."""
        if own.size != self.expected.size:
            return "wrong", f"shape {own.shape}"
        own = own.reshape(self.expected.shape).astype(np.float64)
        if self.whole:
            white = 255.0 if self.source.dtype == np.uint8 else 1.0
            likeness = psnr(own / white, self.expected / white)
            return ("ok" if likeness >= LEAST_PSNR else "wrong"), f"{likeness:.0f} dB"
        apart = float(np.abs(own - self.expected).max())
        bound = TOLERANCES[self.precision].largest * (SLACK if self.precision == "fp32" else 1.0)
        close = apart <= TOLERANCES["fp16"].largest
        return ("ok" if apart <= bound else "close" if close else "wrong"), f"{apart:.1e}"


@dataclass(frozen=True)
class Line:
    """One program on one file: "ok", "close", "wrong", "refused", "made" or "not here", with difference or reason."""

    program: str
    version: str
    model: str
    kind: str
    verdict: str
    detail: str


def exported(folder: Path, models: tuple[str, ...], everything: bool) -> Iterator[Sample]:
    """Yield every kind of file of each model."""
    rng = np.random.default_rng(0)
    picture = rng.random((1, 3, *SIZE), dtype=np.float32) ** 3 * np.linspace(0.05, 0.6, SIZE[1], dtype=np.float32)
    kinds: list[tuple[str, Precision, bool, str]] = [("fixed", "fp32", True, "any"), ("ncnn", "fp32", True, "ncnn")]
    if everything:
        kinds += [("free", "fp32", False, "any"), ("fp16", "fp16", True, "any"), ("int8", "int8", True, "any")]
        kinds += [("int8-tensorrt", "int8", True, "tensorrt")]
    for model in models:
        path = Path(model) if Path(model).suffix in (".pt", ".pth") else find_model(model)
        network, info = from_checkpoint(path) if path.suffix != ".onnx" else from_onnx(path)
        opened = TorchNetwork(network.eval(), info, Device("cpu"))
        light = opened(picture)
        for kind, precision, fixed, host in kinds:
            file = folder / f"{path.stem}_{kind}.onnx"
            shape = (1, *SIZE) if fixed else None
            file.write_bytes(light_graph(network, info, precision, shape, (), HOSTS[host]).SerializeToString())
            yield Sample(file, path.stem, kind, precision, picture, light)
        if not everything:
            continue
        enhancer = Enhancer(LightMapNetwork(opened), clean_shadows=False)  # as the graph
        plain = np.ascontiguousarray(picture[0].transpose(1, 2, 0))
        image_types: tuple[ImageType, ...] = ("uint8", "float32")
        for image_type in image_types:
            image = np.round(plain * 255).astype(np.uint8) if image_type == "uint8" else plain
            enhanced = enhancer(image)[None]
            for size in ("fixed", "free"):
                file, shape = folder / f"{path.stem}_{image_type}_{size}.onnx", (1, *SIZE) if size == "fixed" else None
                graph = whole_image_graph(network, info, False, image_type, shape=shape)
                file.write_bytes(graph.SerializeToString())
                yield Sample(file, path.stem, f"image {image_type} {size}", "fp32", image[None], enhanced)


def consumed(command: list[str], environment: dict[str, str], program: str, sample: Sample) -> Line:
    """Run one program on one file, in a process of its own, and compare."""
    file = sample.path
    source, target = file.with_name("x.npy"), file.with_name("y.json" if "-c" not in command else "y.npy")
    target.unlink(missing_ok=True)
    np.save(source, sample.source)
    Path(f"{source}.raw").write_bytes(sample.source.tobytes())
    name, result = ("image", "enhanced") if sample.whole else ("picture", "light")
    about = {"name": name, "result": result, "kind": str(sample.source.dtype)}
    Path(f"{source}.json").write_text(
        json.dumps({**about, "shape": sample.source.shape, "output": sample.expected.shape})
    )

    def line(verdict: str, detail: str) -> Line:
        return Line(program, version, sample.model, sample.kind, verdict, detail)

    version, arguments = "", [*command, str(file), str(source), str(target)]
    try:
        done = subprocess.run(
            arguments,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            cwd=file.parent,
            env={**os.environ, **environment},
        )
    except subprocess.TimeoutExpired:
        return line("refused", f"no answer in {SECONDS} s")
    version = next((said.split()[1] for said in done.stdout.splitlines() if said.startswith("VERSION ")), "")
    if not done.returncode and version and not target.is_file():
        return line("made", "converted or built here, not run")
    if done.returncode or not target.is_file():
        last = [said for said in done.stderr.strip().splitlines() if said.strip()] or [f"exit code {done.returncode}"]
        absent = last[-1].startswith(("ModuleNotFoundError", "ImportError")) or "Cannot find module" in done.stderr
        return line("not here", last[-1][:80]) if absent else line("refused", last[-1][:100])
    own = np.load(target) if target.suffix == ".npy" else np.array(json.loads(target.read_text()), np.float32)
    return line(*sample.verdict(own))


def lines(
    models: tuple[str, ...], pythons: tuple[str, ...], node: Path | None, everything: bool, chosen: tuple[str, ...] = ()
) -> Iterator[Line]:
    """Yield a line for each program, or those `chosen`, and file; programs that are not installed are left out."""
    commands: list[tuple[str, list[str], dict[str, str]]] = [
        (program, [python, "-c", RUN.replace("{program}", text)], {})
        for python in pythons
        for program, text in PROGRAMS.items()
    ]
    with tempfile.TemporaryDirectory() as place:
        if node is not None and shutil.which("node"):
            script = Path(place) / "run.cjs"
            script.write_text(RUN_NODE)
            commands += [
                (name, ["node", str(script), name], {"NODE_PATH": str(node.resolve())}) for name in NODE_PROGRAMS
            ]
        commands = [command for command in commands if not chosen or command[0] in chosen]
        absent: set[int] = set()
        for sample in exported(Path(place), models, everything):
            for number, (program, command, environment) in enumerate(commands):
                if number in absent:
                    continue
                line = consumed(command, environment, program, sample)
                if line.verdict == "not here":
                    absent.add(number)
                else:
                    yield line


def table(found: Sequence[Line]) -> str:
    """Format as tables in Markdown, one a model: programs down, kinds of file across."""
    texts = []
    for model in dict.fromkeys(line.model for line in found):
        mine = [line for line in found if line.model == model]
        kinds = list(dict.fromkeys(line.kind for line in mine))
        texts.append(f"| `{model}` | {' | '.join(kinds)} |\n|{'---|' * (len(kinds) + 1)}")
        programs: dict[tuple[str, str], dict[str, str]] = {}
        versions = {line.program: line.version for line in reversed(mine) if line.version}
        for line in mine:  # one that is refused may not have come as far as its version
            row = programs.setdefault((line.program, line.version or versions.get(line.program, "")), {})
            row[line.kind] = (
                line.detail if line.verdict == "ok" else CELLS.get(line.verdict, f"{line.verdict} {line.detail}")
            )
        for (program, version), row in programs.items():
            texts.append(f"| {program} {version} | {' | '.join(row.get(kind, '') for kind in kinds)} |")
        texts.append("")
    return "\n".join(texts)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--model", "models", multiple=True, default=("lite",), show_default=True, help="Or a file.")
@click.option("--python", "pythons", multiple=True, default=(sys.executable,), help="Environments to look in.")
@click.option("--node", type=click.Path(path_type=Path, exists=True), help="A folder node_modules.")
@click.option("--program", "chosen", multiple=True, type=click.Choice((*PROGRAMS, *NODE_PROGRAMS)), help="Only this.")
@click.option("--all", "everything", is_flag=True, help="Free sizes, fp16, int8 and whole images, too.")
@click.option("--table", "wants_table", is_flag=True, help="At the end, tables in Markdown as in docs/export.md.")
@reports_errors
def main(
    models: tuple[str, ...],
    pythons: tuple[str, ...],
    node: Path | None,
    chosen: tuple[str, ...],
    everything: bool,
    wants_table: bool,
) -> None:
    """Run the exported files in every program at hand and compare with PyTorch."""
    found = []
    for line in lines(models, pythons, node, everything, chosen):
        found.append(line)
        click.echo(f"{line.program:18} {line.version:14} {line.model:6} {line.kind:20} {line.verdict:8} {line.detail}")
    if wants_table:
        click.echo("\n" + table(found))


if __name__ == "__main__":
    main()
