"""Every kind of exported file, parsed and built by TensorRT for RTX itself, which needs no card for that."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

trt = pytest.importorskip("tensorrt_rtx")
torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from onnx import numpy_helper

from cliplit.errors import BackendError, ModelError
from cliplit.export import onnx_file, whole_image
from cliplit.export.hosts import HOSTS
from cliplit.networks import checkpoint
from cliplit.networks.registry import build_network
from cliplit.runtime.backends import engine_file, open_backend, tensorrt_build, tensorrt_native
from cliplit.runtime.backends.devices import nvidia_driver
from cliplit.runtime.backends.engine_file import Shapes
from cliplit.runtime.backends.model_file import BUNDLED
from cliplit.runtime.backends.pytorch import from_checkpoint, from_onnx
from cliplit.runtime.backends.tensorrt_library import TENSORRT_RTX, logger_of
from made import MODELS, backlit

FIXED = Shapes.fixed((1, 96, 160))
BATCH = Shapes.fixed((8, 96, 160))
LEFT_OUT = (("uint8", "fp16"), ("float32", "fp32"))  # so that the whole file stays at two minutes
RANGE = Shapes((1, 32, 32), (1, 96, 160), (8, 256, 256))


@pytest.fixture(scope="module", params=["lite", "unet", "published"])
def trained(request, tmp_path_factory):
    """(network, description): trained weights, and random ones in a checkpoint as the authors of CLIP-LIT publish."""
    if request.param in ("lite", "unet"):
        network, info = from_onnx(MODELS[request.param])
        return network.eval(), info
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp(request.param) / "c.pth"
    weights = build_network("unet").state_dict()
    torch.save({f"module.{name}": value for name, value in weights.items()}, path)
    return from_checkpoint(path)


def built(folder, model, cases, precision):
    """Build for each (shapes, target) of the cases; the shape of the network's output, and its convolutions."""
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    for shapes, target in cases:
        engine = tensorrt_build.build_engine(trt, path, shapes, precision, library=TENSORRT_RTX, target=target)
        assert len(engine) > 100_000
    network, parser = tensorrt_build.parsed(trt, trt.Builder(logger_of(trt)), path, "TensorRT for RTX")
    assert parser.num_errors == 0
    assert network.num_outputs == 1
    return tuple(network.get_output(0).shape), tensorrt_build.convolutions(trt, network)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_network_builds_in_every_precision(trained, precision, tmp_path):
    """Fixed, with a range, in batches of 8, and for cards of compute capability 7.5."""
    network, info = trained
    pictures = [backlit(120, 200).astype(np.float32) / 255]
    model = onnx_file.light_graph(network, info, precision, None, pictures, HOSTS["tensorrt"])
    convolutions = sum(node.op_type == "Conv" for node in model.graph.node)
    cases = [(FIXED, "8.0"), (RANGE, "8.0"), (BATCH, "8.0"), (FIXED, "7.5")]
    shape, kinds = built(tmp_path, model, cases, precision)
    assert shape == (-1, 1, -1, -1)
    assert kinds == ((convolutions - 1, 1) if precision == "fp16" else (0, convolutions))


@pytest.mark.parametrize("name", ["lite", "unet"])
def test_the_bundled_files_build_for_old_cards(name):
    """As they lie here, for compute capability 7.5, which multiplies no matrices in fp32."""
    path = MODELS[name]
    assert len(tensorrt_build.build_engine(trt, path, FIXED, "fp32", library=TENSORRT_RTX, target="7.5")) > 100_000


def test_a_file_of_a_fixed_size_builds_and_has_it(trained, tmp_path):
    network, info = trained
    model = onnx_file.light_graph(network, info, "fp16", (2, 96, 160))
    assert not {"Shape", "Gather", "Range", "ConstantOfShape"} & {node.op_type for node in model.graph.node}
    assert built(tmp_path, model, [(Shapes.fixed((2, 96, 160)), "8.0")], "fp16")[0] == (2, 1, 96, 160)


@pytest.mark.parametrize("image_type", ["uint8", "float32"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_whole_images_build(trained, image_type, precision, tmp_path):
    """As Triton serves them (uint8), too: any size, a range, batches; and fixed. `unet` has half of the table."""
    network, info = trained
    if info.name == "unet" and (image_type, precision) in LEFT_OUT:
        pytest.skip("each type and each precision once; lite has all four")
    model = whole_image.whole_image_graph(network, info, precision == "fp16", image_type)
    cases = [(Shapes.fixed((8, 90, 160)), "8.0"), (Shapes((1, 32, 32), (1, 90, 160), (2, 120, 200)), "8.0")]
    shape, kinds = built(tmp_path, model, cases, precision)
    assert shape == (-1, -1, -1, 3)
    assert precision == "fp32" or kinds[1] == 1
    if (image_type, precision) not in LEFT_OUT:
        model = whole_image.whole_image_graph(network, info, precision == "fp16", image_type, shape=(1, 91, 161))
        assert built(tmp_path, model, [(Shapes.fixed((1, 91, 161)), "8.0")], precision)[0] == (1, 91, 161, 3)


@pytest.fixture
def lite(tmp_path):
    network, info = from_onnx(BUNDLED / "lite.onnx")
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx_file.light_graph(network.eval(), info, "fp16").SerializeToString())
    return path


def build(path, shapes=FIXED, precision="fp16"):
    return tensorrt_build.build_engine(trt, path, shapes, precision, library=TENSORRT_RTX, target="8.0")


def test_an_fp32_file_that_says_fp16_is_refused():
    with pytest.raises(ModelError, match=r"lite\.onnx: says fp16, and 19 of its 19 convolutions are in fp32"):
        build(BUNDLED / "lite.onnx")


def test_the_message_is_the_cause_and_not_the_missing_driver(lite, tmp_path):
    wrong = Shapes((1, 96, 96), (1, 64, 64), (1, 96, 96))
    cases = [(BackendError, wrong, "MIN<=OPT<=MAX"), (BackendError, Shapes.fixed((1, 90, 90)), "90|91|48|dimension")]
    for kind, shapes, words in cases:
        with pytest.raises(kind, match=words) as caught:
            build(lite, shapes)
        assert "cudaError" not in str(caught.value)
        assert "\n" not in str(caught.value)
    model = onnx.load(str(lite))
    model.graph.node[0].op_type = "Frobnicate"
    (tmp_path / "odd.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"odd\.onnx: TensorRT for RTX .* does not take it: .*Frobnicate") as caught:
        build(tmp_path / "odd.onnx")
    assert "cudaError" not in str(caught.value)
    (tmp_path / "cut.onnx").write_bytes(lite.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"cut\.onnx"):
        build(tmp_path / "cut.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    for precision in ("fp16", "fp32"):
        with pytest.raises(ModelError, match=r"text\.onnx: TensorRT for RTX .* finds no network in it"):
            build(tmp_path / "text.onnx", precision=precision)


def test_half_weights_that_came_out_full_are_counted(lite, tmp_path):
    """One convolution of the fp16 file in fp32, with casts around it: valid, and not what it says."""
    model = onnx.load(str(lite))
    index, node = next(
        (i, n) for i, n in enumerate(model.graph.node) if n.op_type == "Conv" and n.input[1] == "up3.weight_half"
    )
    for tensor in model.graph.initializer:
        if tensor.name in node.input:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    before = onnx.helper.make_node("Cast", [node.input[0]], ["wide"], to=onnx.TensorProto.FLOAT)
    after = onnx.helper.make_node("Cast", ["narrow"], [node.output[0]], to=onnx.TensorProto.FLOAT16)
    node.input[0], node.output[0] = "wide", "narrow"
    model.graph.node.insert(index, before)
    model.graph.node.insert(index + 2, after)
    del model.graph.value_info[:]
    (tmp_path / "mixed.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"says fp16, and 2 of its \d+ convolutions"):
        build(tmp_path / "mixed.onnx")


def test_a_damaged_engine_is_not_a_missing_driver(lite):
    """TensorRT says that the driver is missing for both; the file's own check comes first."""
    if not nvidia_driver().problem:
        pytest.skip("there is a card")
    engine = build(lite)
    runtime, logger = trt.Runtime(logger_of(trt)), logger_of(trt)
    for data, words in [(engine, "driver"), (engine[: len(engine) // 2], "header.size == blobSize")]:
        logger.clear()
        assert runtime.deserialize_cuda_engine(data) is None
        assert words in logger.cause
    header = tensorrt_native.portable_header(trt, lite, from_onnx(BUNDLED / "lite.onnx")[1], FIXED, "8.0")
    path = engine_file.beside(lite, FIXED)
    engine_file.write_engine(path, header, engine)
    assert engine_file.read_engine(path) == (header, engine)
    damaged = bytearray(path.read_bytes())
    damaged[-len(engine) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ModelError, match="damaged"):
        engine_file.read_engine(path)


def test_the_back_end_says_what_is_missing(lite):
    if not nvidia_driver().problem:
        pytest.skip("there is a card")
    with pytest.raises(BackendError, match="no NVIDIA driver"):
        open_backend(lite, "tensorrt-rtx")


COMMAND = "from cliplit.export.cli import main; main(prog_name='cliplit-export')"


def test_the_command_puts_the_engine_beside_the_file(tmp_path):
    network, _ = from_onnx(BUNDLED / "lite.onnx")
    checkpoint.save(tmp_path / "ünï.pt", {"network": "relative", "weights": network.state_dict()})
    fallback = onnx_file.light_graph(*from_checkpoint(tmp_path / "ünï.pt"))  # there already: not compared again
    (tmp_path / "ünï.onnx").write_bytes(fallback.SerializeToString())
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, str(tmp_path / "ünï.pt"), "--fp16", "--engine", "--compute-capability", "7.5"],
        capture_output=True, text=True, env={**os.environ, "CLIPLIT_HOME": str(tmp_path / "home")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "built, not run" in done.stdout
    (path,) = tmp_path.glob("*.engine")
    assert path.name == "ünï.fp16.cc7.5.1x192x336.engine"
    header, _ = engine_file.read_engine(path)
    assert (header.model, header.precision, header.machine.compute_capability) == ("relative", "fp16", "7.5")
    assert (header.machine.gpu, header.machine.system, header.machine.cuda) == ("any", "any", "any")
    assert header.machine.tensorrt == f"RTX {trt.__version__}"
