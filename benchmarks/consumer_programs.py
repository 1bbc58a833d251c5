"""The programs of `benchmarks/consumers.py`: how each reads an ONNX file and runs it, as a user would.

Each text runs in a process of its own, in the environment that has the program. It finds the file FILE, the name and
the array of its input, NAME and X, and name and shape of its output, RESULT and SHAPE. It leaves the output in Y, and
its version in VERSION; Y is None where a program converts or builds on this machine and runs on another.
"""

from __future__ import annotations

PROGRAMS = {
    "onnxruntime": """
import onnxruntime
VERSION = onnxruntime.__version__
Y = onnxruntime.InferenceSession(FILE, providers=["CPUExecutionProvider"]).run(None, {NAME: X})[0]
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
if not hasattr(cv2.dnn, "ENGINE_CLASSIC"):
    raise ImportError("OpenCV 4 has one engine")
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
network = MNN.nn.load_module_from_file(made, [NAME], [RESULT])
kind = MNN.expr.uint8 if X.dtype == numpy.uint8 else MNN.expr.float
found = network.forward([MNN.expr.const(X, list(X.shape), MNN.expr.NCHW, kind)])[0]
Y = numpy.array(MNN.expr.convert(found, MNN.expr.NCHW).read())
""",
    "ncnn": """
import os, subprocess, sys
import ncnn
VERSION = ncnn.__version__
shape = ",".join(map(str, X.shape))
tool = os.path.join(os.path.dirname(sys.executable), "pnnx")
kind = "u8" if X.dtype == numpy.uint8 else "f32"
subprocess.run([tool, FILE, f"inputshape=[{shape}]{kind}"], capture_output=True, cwd=os.path.dirname(FILE))
network = ncnn.Net()
network.opt.use_fp16_packed = network.opt.use_fp16_storage = network.opt.use_fp16_arithmetic = False
base = FILE.removesuffix(".onnx") + ".ncnn"
if network.load_param(base + ".param") or network.load_model(base + ".bin"):
    raise RuntimeError("pnnx makes layers that ncnn has not")
extractor = network.create_extractor()
extractor.input("in0", ncnn.Mat(X[0]).clone())
Y = numpy.array(extractor.extract("out0")[1])
""",
    # onnx2tf compares with pictures that it fetches from the web, unless a file of that name is in the folder.
    "litert": """
import glob
import onnx2tf
from importlib import metadata
from ai_edge_litert.interpreter import Interpreter
VERSION = metadata.version("ai-edge-litert") + "+" + metadata.version("onnx2tf")
numpy.save("calibration_image_sample_data_20x128x128x3_float32.npy", numpy.zeros((20, 128, 128, 3), numpy.float32))
kept = [NAME] if X.shape[-1] == 3 else None  # a whole image has its channels last already
size = [NAME + ":" + ",".join(map(str, X.shape))]
options = {"overwrite_input_shape": size, "keep_shape_absolutely_input_names": kept}
onnx2tf.convert(FILE, output_folder_path=FILE + ".tf", non_verbose=True, **options)
network = Interpreter(model_path=glob.glob(FILE + ".tf/*float32.tflite")[0])
network.allocate_tensors()
taken = network.get_input_details()[0]
network.set_tensor(taken["index"], X if tuple(taken["shape"]) == X.shape else X.transpose(0, 2, 3, 1))
network.invoke()
Y = network.get_tensor(network.get_output_details()[0]["index"])
""",
    # coremltools reads no ONNX since version 6: the network comes out of the file into PyTorch, and from there.
    "coreml": """
import sys
import coremltools, torch
from cliplit.runtime.backends.model_file import model_info
from cliplit.runtime.backends.pytorch import from_onnx
from pathlib import Path
VERSION = coremltools.__version__
if model_info(Path(FILE)).kind != "light" or model_info(Path(FILE)).precision != "fp32":
    raise RuntimeError("coremltools reads no ONNX; through PyTorch it has the network alone, in fp32")
network, _ = from_onnx(Path(FILE))
program = torch.export.export(network.eval(), (torch.zeros(X.shape),)).run_decompositions({})
model = coremltools.convert(program, compute_precision=coremltools.precision.FLOAT32)
made = tuple(model.get_spec().description.output[0].type.multiArrayType.shape)
if made != SHAPE:
    raise RuntimeError(f"an output of {made}")
Y = None
if sys.platform == "darwin":  # Core ML runs on macOS only
    Y = list(model.predict({model.get_spec().description.input[0].name: X}).values())[0]
""",
    "tensorrt-rtx": """
import tensorrt_rtx as trt
VERSION = trt.__version__
logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
builder = trt.Builder(logger)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
parser = trt.OnnxParser(network, logger)
if not parser.parse_from_file(FILE):
    raise RuntimeError(parser.get_error(0).desc().replace(chr(10), " "))
config, profile = builder.create_builder_config(), builder.create_optimization_profile()
profile.set_shape(NAME, X.shape, X.shape, X.shape)
config.add_optimization_profile(profile)
made = tuple(network.get_output(0).shape)
if len(made) != len(SHAPE) or any(a not in (-1, b) for a, b in zip(made, SHAPE)):
    raise RuntimeError(f"an output of {made}")
if builder.build_serialized_network(network, config) is None:
    raise RuntimeError("no engine")
Y = None
""",
}
RUN = """
import json, sys, numpy
FILE, source, target = sys.argv[1:]
X = numpy.load(source)
about = json.load(open(source + ".json"))
NAME, RESULT, SHAPE = about["name"], about["result"], tuple(about["output"])
{program}
if Y is not None:
    numpy.save(target, numpy.asarray(Y, numpy.float32))
print("\\nVERSION", VERSION)
"""
NODE_PROGRAMS = ("onnxruntime-node", "onnxruntime-web")
RUN_NODE = """
const fs = require("fs"), path = require("path"), [name, file, source, target] = process.argv.slice(2);
const runtime = require(name), about = JSON.parse(fs.readFileSync(source + ".json"));
(async () => {
  if (name === "onnxruntime-web") runtime.env.wasm.numThreads = 1;
  const session = await runtime.InferenceSession.create(fs.readFileSync(file));
  const bytes = fs.readFileSync(source + ".raw"), kind = about.kind === "uint8" ? Uint8Array : Float32Array;
  const own = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  const X = new runtime.Tensor(about.kind, new kind(own), about.shape);
  const out = await session.run({[about.name]: X});
  fs.writeFileSync(target, JSON.stringify(Array.from(out[about.result].data)));
  const about_it = path.join(process.env.NODE_PATH, name, "package.json");
  console.log("\\nVERSION " + JSON.parse(fs.readFileSync(about_it)).version);
  process.exit(0);
})().catch(error => { console.error(String(error)); process.exit(1); });
"""
