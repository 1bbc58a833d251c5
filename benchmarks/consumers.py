"""Which programs run the exported files, and whether they compute the same: a table.

    python -m cliplit.benchmarks.consumers                   # what is installed here
    python -m cliplit.benchmarks.consumers --python mobile/bin/python --node node_modules

Each program runs in a process of its own, so that one that crashes is a line, not the end. `--python` names another
environment (an old ONNX Runtime, MNN, ncnn with pnnx, tract: `pip install MNN ncnn pnnx tract`), `--node` a folder with
onnxruntime-node or onnxruntime-web from npm. "Close" is a light map within the bound of half precision in
`cliplit.export.parity`, "wrong" one that is not; "refused" is an error, with its last line.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from cliplit.arrays import Array
from cliplit.command import reports_errors
from cliplit.export.hosts import HOSTS
from cliplit.export.onnx_file import Precision, light_graph
from cliplit.export.parity import TOLERANCES
from cliplit.runtime.backends.devices import Device
from cliplit.runtime.backends.model_file import find_model
from cliplit.runtime.backends.pytorch import TorchNetwork, from_checkpoint, from_onnx

SIZE = (96, 160)
SLACK = 10.0  # times the bound of fp32: programs that fuse and reorder round in other ways
SECONDS = 120

# Each reads the file FILE and the picture X, (1, 3, H, W) float32, and leaves the light map in Y.
PROGRAMS = {
    "onnxruntime": """
import onnxruntime
VERSION = onnxruntime.__version__
Y = onnxruntime.InferenceSession(FILE, providers=["CPUExecutionProvider"]).run(None, {"picture": X})[0]
""",
    "openvino": """
import openvino
VERSION = openvino.__version__.split("-")[0]
Y = openvino.Core().compile_model(FILE, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([X])[0]
""",
    "opencv": """
import cv2
VERSION = cv2.__version__
network = cv2.dnn.readNetFromONNX(FILE)
network.setInput(X)
Y = network.forward()
""",
    "opencv classic": """
import cv2
VERSION = cv2.__version__
network = cv2.dnn.readNetFromONNX(FILE, engine=cv2.dnn.ENGINE_CLASSIC)
network.setInput(X)
Y = network.forward()
""",
    "tract": """
import tract
from importlib import metadata
VERSION = metadata.version("tract")
Y = tract.Onnx().load(FILE).into_model().into_runnable().run([X])[0].to_numpy()
""",
    "mnn": """
import os, subprocess, sys
import MNN, MNN.nn, MNN.expr
VERSION = MNN.version()
tool, made = os.path.join(os.path.dirname(sys.executable), "mnnconvert"), FILE + ".mnn"
subprocess.run([tool, "-f", "ONNX", "--modelFile", FILE, "--MNNModel", made, "--bizCode", "x"], capture_output=True)
network = MNN.nn.load_module_from_file(made, ["picture"], ["light"])
light = network.forward([MNN.expr.const(X, list(X.shape), MNN.expr.NCHW)])[0]
Y = numpy.array(MNN.expr.convert(light, MNN.expr.NCHW).read())
""",
    "ncnn": """
import os, subprocess, sys
import ncnn
VERSION = ncnn.__version__
shape = ",".join(map(str, X.shape))
tool = os.path.join(os.path.dirname(sys.executable), "pnnx")
subprocess.run([tool, FILE, f"inputshape=[{shape}]"], capture_output=True, cwd=os.path.dirname(FILE))
network = ncnn.Net()
network.opt.use_fp16_packed = network.opt.use_fp16_storage = network.opt.use_fp16_arithmetic = False
base = FILE.removesuffix(".onnx") + ".ncnn"
if network.load_param(base + ".param") or network.load_model(base + ".bin"):
    raise RuntimeError("pnnx makes layers that ncnn has not")
extractor = network.create_extractor()
extractor.input("in0", ncnn.Mat(X[0]).clone())
Y = numpy.array(extractor.extract("out0")[1])
""",
}
RUN = """
import json, sys, numpy
FILE, source, target = sys.argv[1:]
X = numpy.load(source)
{program}
numpy.save(target, numpy.asarray(Y, numpy.float32))
print("\\nVERSION", VERSION)
"""
RUN_NODE = """
const fs = require("fs"), name = process.argv[2], [file, source, target] = process.argv.slice(3);
const runtime = require(name), shape = JSON.parse(fs.readFileSync(source + ".json"));
(async () => {
  if (name === "onnxruntime-web") runtime.env.wasm.numThreads = 1;
  const session = await runtime.InferenceSession.create(fs.readFileSync(file));
  const data = new Float32Array(fs.readFileSync(source + ".raw").buffer.slice(0));
  const out = await session.run({picture: new runtime.Tensor("float32", data, shape)});
  fs.writeFileSync(target, JSON.stringify(Array.from(out.light.data)));
  console.log("\\nVERSION " + require(name + "/package.json").version);
  process.exit(0);
})().catch(error => { console.error(String(error)); process.exit(1); });
"""


@dataclass(frozen=True)
class Line:
    """One program on one file: "ok", "close", "wrong" or "refused", with the difference or the reason."""

    program: str
    version: str
    file: str
    verdict: str
    detail: str


def exported(folder: Path, models: tuple[str, ...], everything: bool) -> Iterator[tuple[Path, str, Array, Array]]:
    """Yield (file, its precision, the picture, PyTorch's light map) of every kind of file of each model."""
    rng = np.random.default_rng(0)
    picture = rng.random((1, 3, *SIZE), dtype=np.float32) ** 3 * np.linspace(0.05, 0.6, SIZE[1], dtype=np.float32)
    kinds: list[tuple[str, Precision, bool, str]] = [("fixed", "fp32", True, "any"), ("ncnn", "fp32", True, "ncnn")]
    if everything:
        kinds += [("free", "fp32", False, "any"), ("fp16", "fp16", True, "any"), ("int8", "int8", True, "any")]
        kinds += [("int8-tensorrt", "int8", True, "tensorrt")]
    for model in models:
        path = Path(model) if Path(model).suffix in (".pt", ".pth") else find_model(model)
        network, info = from_checkpoint(path) if path.suffix != ".onnx" else from_onnx(path)
        light = TorchNetwork(network.eval(), info, Device("cpu"))(picture)
        for name, precision, fixed, host in kinds:
            file = folder / f"{info.name}_{name}.onnx"
            shape = (1, *SIZE) if fixed else None
            file.write_bytes(light_graph(network, info, precision, shape, (), HOSTS[host]).SerializeToString())
            yield file, precision, picture, light


def consumed(command: list[str], program: str, file: Path, precision: str, picture: Array, light: Array) -> Line:
    """Run one program on one file, in a process of its own, and compare."""
    source, target = file.with_name("x.npy"), file.with_name("y.json" if "-c" not in command else "y.npy")
    target.unlink(missing_ok=True)
    np.save(source, picture)
    Path(f"{source}.raw").write_bytes(picture.tobytes())
    Path(f"{source}.json").write_text(json.dumps(picture.shape))
    arguments = [*command, str(file), str(source), str(target)]
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=SECONDS, cwd=file.parent)
    except subprocess.TimeoutExpired:
        return Line(program, "", file.stem, "refused", f"no answer in {SECONDS} s")
    version = next((line.split()[1] for line in done.stdout.splitlines() if line.startswith("VERSION ")), "")
    if done.returncode or not target.is_file():
        last = [line for line in done.stderr.strip().splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        if last[-1].startswith(("ModuleNotFoundError", "ImportError", "Error: Cannot find module")):
            return Line(program, "", file.stem, "not here", last[-1][:80])
        return Line(program, version, file.stem, "refused", last[-1][:100])
    own = np.load(target) if target.suffix == ".npy" else np.array(json.loads(target.read_text()), np.float32)
    if own.size != light.size:
        return Line(program, version, file.stem, "wrong", f"shape {own.shape}")
    apart = float(np.abs(own.reshape(light.shape) - light).max())
    bound = TOLERANCES[precision].largest * (SLACK if precision == "fp32" else 1.0)
    verdict = "ok" if apart <= bound else "close" if apart <= TOLERANCES["fp16"].largest else "wrong"
    return Line(program, version, file.stem, verdict, f"{apart:.1e}")


def lines(models: tuple[str, ...], pythons: tuple[str, ...], node: Path | None, everything: bool) -> Iterator[Line]:
    """Yield a line for each program and file; programs that are not installed are left out."""
    with tempfile.TemporaryDirectory() as place:
        for file, precision, picture, light in exported(Path(place), models, everything):
            commands = [
                (program, [python, "-c", RUN.replace("{program}", text)])
                for python in pythons
                for program, text in PROGRAMS.items()
            ]
            if node is not None and shutil.which("node"):
                script = node.resolve().parent / ".consumers.cjs"
                script.write_text(RUN_NODE)
                commands += [(name, ["node", str(script), name]) for name in ("onnxruntime-node", "onnxruntime-web")]
            for program, command in commands:
                line = consumed(command, program, file, precision, picture, light)
                if line.verdict != "not here":
                    yield line
            if node is not None:
                (node.resolve().parent / ".consumers.cjs").unlink(missing_ok=True)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--model", "models", multiple=True, default=("lite", "unet"), show_default=True, help="Or a checkpoint.")
@click.option("--python", "pythons", multiple=True, default=(sys.executable,), help="Environments to look in.")
@click.option("--node", type=click.Path(path_type=Path, exists=True), help="A folder node_modules.")
@click.option("--all", "everything", is_flag=True, help="Free sizes, fp16 and int8, too.")
@reports_errors
def main(models: tuple[str, ...], pythons: tuple[str, ...], node: Path | None, everything: bool) -> None:
    """Run the exported files in every program at hand and compare with PyTorch."""
    for line in lines(models, pythons, node, everything):
        click.echo(f"{line.program:18} {line.version:12} {line.file:24} {line.verdict:8} {line.detail}")


if __name__ == "__main__":
    main()
