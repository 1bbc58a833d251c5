"""Every kind of exported file: that it computes what the checkpoint computes, and that a wrong one is refused."""

from __future__ import annotations

import collections
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from onnx import TensorProto, numpy_helper

from cliplit.errors import InputError, ModelError, ParityError
from cliplit.export import half, int8, onnx_file, parity, passes, triton, whole_image
from cliplit.export.hosts import HOSTS
from cliplit.networks import checkpoint
from cliplit.runtime import Enhancer
from cliplit.runtime.backends import open_backend
from cliplit.runtime.backends.devices import Device, nvidia_driver
from cliplit.runtime.backends.model_file import BUNDLED, model_info
from cliplit.runtime.backends.onnx_runtime import import_onnxruntime
from cliplit.runtime.backends.pytorch import TorchNetwork, from_onnx
from made import MODELS, backlit

SIZES = [(1, 7, 7), (2, 61, 43), (1, 511, 767), (1, 144, 2)]


MODEL_OF = {"relative": MODELS["lite"], "unet": MODELS["unet"]}  # by network


@pytest.fixture(scope="module", params=["lite", "unet"])
def trained(request, tmp_path_factory):
    """(network, description, checkpoint) with trained weights: those that people will export."""
    network, info = from_onnx(MODELS[request.param])
    path = tmp_path_factory.mktemp(request.param) / "c.pt"
    checkpoint.save(path, {"network": request.param, "weights": network.state_dict()})
    return network.eval(), info, path


@pytest.fixture
def few_pictures(monkeypatch):
    """The comparison at three sizes instead of eight; commands are tested for what they do, not for their patience."""
    pictures = [("a", backlit(90, 160).astype(np.float32) / 255), ("b", backlit(97, 101).astype(np.float32) / 255)]
    monkeypatch.setattr(parity, "sample_pictures", lambda: iter(pictures))
    monkeypatch.setattr(whole_image, "sample_pictures", lambda: iter(pictures))


def run(model, **inputs):
    options = import_onnxruntime().SessionOptions()
    options.log_severity_level = 4
    session = import_onnxruntime().InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, inputs)[0]


def rounded_up(size, multiple):
    return tuple(-(-side // multiple) * multiple for side in size)


def test_half_precision_equals_fp32_at_many_sizes(trained):
    """R5.11 and T7: 511x767 and sizes that 6 does not divide, in half precision too."""
    network, info, _ = trained
    model = onnx_file.light_graph(network, info, "fp16")
    reference = TorchNetwork(network, info, Device("cpu"))
    differences = []
    for batch, height, width in SIZES:
        size = rounded_up((height, width), network.multiple)
        picture = np.random.default_rng(height).random((batch, 3, *size), dtype=np.float32) ** 3
        light, expected = run(model, picture=picture), reference(picture)
        assert light.dtype == np.float32
        differences.append(float(np.abs(light - expected).max()))
        assert differences[-1] <= 2e-3, (batch, height, width)
    assert max(differences) > 0  # it is half precision


def test_half_precision_where_it_counts_and_fp32_where_it_matters(trained):
    network, info, _ = trained
    model = onnx_file.light_graph(network, info, "fp16")
    done, convolutions = half.half_convolutions(model)
    assert done == convolutions - 1  # all but the head
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    for node in model.graph.node:
        if node.op_type in ("MatMul", "CumSum", "Div", "Sigmoid", "Pow", "ReduceMean", "Sqrt", "Gemm"):
            assert types.get(node.output[0]) != TensorProto.FLOAT16, node.name
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert model.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    casts = [node for node in model.graph.node if node.op_type == "Cast"]
    made = {name: node for node in model.graph.node for name in node.output}
    for node in casts:  # none that undoes the one before
        before = made.get(node.input[0])
        assert before is None or before.op_type != "Cast" or types.get(before.output[0]) == TensorProto.INT64


def test_fixed_shapes_have_no_free_sizes(trained, tmp_path, few_pictures):
    _, _, source = trained
    lines = onnx_file.export_onnx(source, tmp_path / "m.onnx", shape=(1, 96, 160))
    model = onnx.load(str(tmp_path / "m.onnx"))
    dims = [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*model.graph.input, *model.graph.output)]
    assert dims == [[1, 3, 96, 160], [1, 1, 96, 160]]
    assert {line.picture for line in lines} == {"a", "b"}
    enhancer = Enhancer(tmp_path / "m.onnx", threads=1)
    assert enhancer.proxy_size(1080, 1920) == (96, 160)
    assert enhancer(backlit(90, 160)).shape == (90, 160, 3)
    with pytest.raises(InputError, match="takes 160x96 only"):
        Enhancer(tmp_path / "m.onnx", quality="exact")(backlit(50, 70))


def test_int8_is_quantised_and_close(trained):
    network, info, _ = trained
    pictures = [backlit(120, 200, seed).astype(np.float32) / 255 for seed in range(3)]
    model = onnx_file.light_graph(network, info, "int8", calibration=pictures)
    kinds = collections.Counter(tensor.data_type for tensor in model.graph.initializer)
    convolutions = sum(node.op_type == "Conv" for node in model.graph.node)
    weights = [t for t in model.graph.initializer if t.data_type == TensorProto.INT8 and len(t.dims) == 4]
    single = {"lite": 2, "unet": 1, "relative": 4}[
        info.name
    ]  # statistics: the global context's two, the pyramid's one cell
    assert len(weights) == convolutions - 2 - single  # all but those, the first and the head
    assert kinds[TensorProto.INT8]
    picture = np.ascontiguousarray(pictures[0][:112, :192].transpose(2, 0, 1))[None]
    expected = TorchNetwork(network, info, Device("cpu"))(picture)
    assert 0 < np.abs(run(model, picture=picture) - expected).max() < 0.08


def test_calibration_comes_from_the_pictures_given(trained):
    _, info, _ = trained
    reader = int8.Proxies([np.zeros((300, 400, 3), np.float32)] * 2, info)
    assert reader.get_next()["picture"].shape[2] == info.proxy_short_side
    assert reader.get_next() is not None
    assert reader.get_next() is None


def test_int8_of_a_fixed_size_is_calibrated_at_it(trained):
    """The pictures have other shapes, among them the demo's crops; a batch is filled."""
    network, info, _ = trained
    model = onnx_file.light_graph(network, info, "int8", (2, 96, 160))
    assert run(model, picture=np.zeros((2, 3, 96, 160), np.float32)).shape == (2, 1, 96, 160)


def test_a_file_for_a_program_without_comparisons_has_none(trained):
    """The same light maps; also of what is not picture (negative samples), and at the bend of sRGB's curve."""
    network, info, _ = trained
    model = onnx_file.light_graph(network, info, shape=(1, 96, 160), host=HOSTS["ncnn"])
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {"Less", "Greater", "Not", "Where", "Cast", "DepthToSpace"}
    rng = np.random.default_rng(0)
    for top in (1.0, 0.04045 * 2):
        picture = rng.random((1, 3, 96, 160), dtype=np.float32) * np.float32(top)
        picture[..., :40, :50] = -1.0 if info.takes_masks else 0.0
        expected = TorchNetwork(network, info, Device("cpu"))(picture)
        assert np.abs(run(model, picture=picture) - expected).max() < 1e-5


def test_a_batch_of_a_fixed_size_is_compared_and_the_runtime_refuses_it(tmp_path, lite):
    lines = onnx_file.export_onnx(lite, tmp_path / "m.onnx", shape=(2, 96, 160))
    assert lines and model_info(tmp_path / "m.onnx").shape == (2, 96, 160)
    with pytest.raises(ModelError, match=r"m\.onnx: takes 2 pictures at once.*--shape 96x160"):
        Enhancer(tmp_path / "m.onnx")


@pytest.mark.parametrize("name", ["lite", "unet"])
def test_the_files_here_are_what_the_exporter_writes(name):
    """Operator by operator, so that an exporter that learns something is not left without effect."""
    network, info = from_onnx(MODELS[name])
    bundled, made = onnx.load(MODELS[name]), onnx_file.light_graph(network, info)
    assert [node.op_type for node in bundled.graph.node] == [node.op_type for node in made.graph.node]
    assert [(entry.domain, entry.version) for entry in bundled.opset_import] == [("", onnx_file.OPSET)]


def test_the_packed_head_is_the_head(trained):
    """In 16 channels of a sixteenth of the positions, then back: the same numbers."""
    network, _, _ = trained
    if network.multiple == 1:
        pytest.skip("this network's head is at full size")
    model = onnx_file.build_graph(network)
    packed = [node for node in model.graph.node if node.op_type == "DepthToSpace"]
    assert len(packed) == 1
    assert not [t.name for t in model.graph.initializer if t.name in ("head.weight", "head.bias")]
    for size in [(1, 16, 16), (2, 48, 80), (1, 32, 112)]:
        picture = np.random.default_rng(0).random((size[0], 3, *size[1:]), dtype=np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(picture)).numpy()
        assert np.abs(run(model, picture=picture) - expected).max() < 1e-6


def test_weights_come_back_out_of_the_file(trained, tmp_path):
    network, info, _ = trained
    (tmp_path / "m.onnx").write_bytes(onnx_file.light_graph(network, info).SerializeToString())
    again, own = from_onnx(tmp_path / "m.onnx")
    assert own.name == info.name
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    (tmp_path / "half.onnx").write_bytes(onnx_file.light_graph(network, info, "fp16").SerializeToString())
    with pytest.raises(ModelError, match="give its checkpoint instead"):
        from_onnx(tmp_path / "half.onnx")


def test_names_are_restored_by_value():
    weights = {"a": np.arange(4, dtype=np.float32), "b": np.ones(3, np.float32)}
    tensors = [
        numpy_helper.from_array(weights["a"].reshape(4, 1, 1), "onnx::x"),
        numpy_helper.from_array(weights["b"], "b"),
    ]
    nodes = [onnx.helper.make_node("PRelu", ["in", "onnx::x"], ["out"])]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], [], tensors))
    passes.restore_names(model, weights)
    assert [t.name for t in model.graph.initializer] == ["a", "b"]
    assert list(model.graph.node[0].input) == ["in", "a"]


@pytest.mark.parametrize("image_type", ["uint8", "float32"])
def test_whole_image_equals_the_enhancer(trained, image_type, tmp_path):
    """Any size, batches, uint8 and float, strength and bound inside: at least 45 dB, in float nearly all bits."""
    network, info, _ = trained
    model = whole_image.whole_image_graph(network, info, False, image_type, 0.7, 6.0)
    enhancer = Enhancer(MODEL_OF[info.name], "cpu", strength=0.7, max_gain=6.0, clean_shadows=False)
    for height, width in [(180, 320), (97, 101), (401, 250), (64, 700)]:
        picture = backlit(height, width)
        if image_type == "float32":
            picture = picture.astype(np.float32) / 255
        flipped = np.ascontiguousarray(picture[::-1])
        enhanced = run(model, image=np.stack([picture, flipped]))
        assert enhanced.dtype == picture.dtype
        white = 255 if image_type == "uint8" else 1
        for number, image in enumerate((picture, flipped)):
            expected = enhancer(image)
            assert np.abs(expected.astype(float) - image).max() > 0.01 * white
            assert parity.psnr(enhanced[number] / white, expected / white) >= (50 if image_type == "uint8" else 75)


def test_whole_image_in_half_precision(trained):
    network, info, _ = trained
    model = whole_image.whole_image_graph(network, info, half=True)
    done, convolutions = half.half_convolutions(model)
    assert done == convolutions - 1
    picture = backlit(180, 320)
    expected = Enhancer(MODEL_OF[info.name], "cpu", clean_shadows=False)(picture)
    assert parity.psnr(run(model, image=picture[None])[0] / 255, expected / 255) >= 50


def test_whole_image_keeps_white_and_what_is_not_finite(trained):
    network, info, _ = trained
    picture = backlit(64, 96).astype(np.float32) / 255
    picture[3, 5] = [2.5, 0.1, 0.2]
    picture[4, 6] = np.nan
    enhanced = run(whole_image.whole_image_graph(network, info, image_type="float32"), image=picture[None])[0]
    assert enhanced[3, 5, 0] == picture[3, 5, 0]
    assert (enhanced[3, 5] >= picture[3, 5]).all()
    assert np.isnan(enhanced[4, 6]).all()
    assert np.isfinite(np.delete(enhanced.reshape(-1, 3), 4 * 96 + 6, axis=0)).all()


def test_a_whole_image_file_is_not_taken_for_a_network(trained, tmp_path):
    network, info, _ = trained
    (tmp_path / "m.image.onnx").write_bytes(whole_image.whole_image_graph(network, info).SerializeToString())
    assert model_info(tmp_path / "m.image.onnx").kind == "image"
    with pytest.raises(ModelError, match="for other programs"):
        Enhancer(tmp_path / "m.image.onnx")


def test_over_tolerance_writes_nothing(trained, tmp_path, monkeypatch, few_pictures):
    """A graph that computes something else is seen, on whatever back end, and its file does not appear."""
    _, _, source = trained
    right = passes.restore_names

    def wrong(model, weights):
        right(model, weights)
        for tensor in model.graph.initializer:
            if tensor.name.endswith("1.0.weight") or tensor.name == "cond1.weight":
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.01), tensor.name))

    monkeypatch.setattr(onnx_file, "restore_names", wrong)
    with pytest.raises(ParityError, match=r"differs from PyTorch.*nothing was written") as caught:
        onnx_file.export_onnx(source, tmp_path / "m.onnx")
    assert caught.value.exit_code == 4
    assert not list(tmp_path.iterdir())


def test_nan_does_not_pass():
    line = parity.Comparison("b", "p", float("nan"), 0.0, float("nan"))
    assert not any(line.passes(tolerance) for tolerance in parity.TOLERANCES.values())


def test_the_comparison_covers_what_it_says():
    names = [name for name, _ in parity.sample_pictures()]
    sizes = [picture.shape[:2] for _, picture in parity.sample_pictures()]
    assert (511, 767) in sizes
    assert sum(name.startswith("demo") for name in names) == 3
    assert sum(name.startswith("random") for name in names) == 2
    assert sizes == [picture.shape[:2] for _, picture in parity.sample_pictures()]  # the same each time


def test_triton_repository_passes_tritons_own_schema(trained, tmp_path, few_pictures):
    service = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    from google.protobuf import text_format

    _, info, source = trained
    folder, _ = triton.write_repository(source, tmp_path / "models")
    config = text_format.Parse((folder / "config.pbtxt").read_text(), service.ModelConfig())
    assert folder.name == config.name == f"cliplit_{info.name}"
    assert config.backend == "onnxruntime"
    assert config.max_batch_size > 1
    assert config.HasField("dynamic_batching")
    model = onnx.load(str(folder / "1" / config.default_model_filename))
    names = {service.TYPE_UINT8: TensorProto.UINT8}
    for declared, real in ((config.input, model.graph.input), (config.output, model.graph.output)):
        assert [tensor.name for tensor in declared] == [value.name for value in real]
        assert names[declared[0].data_type] == real[0].type.tensor_type.elem_type
        dims = [d.dim_value or -1 for d in real[0].type.tensor_type.shape.dim]
        assert list(declared[0].dims) == dims[1:]  # the batch is Triton's own
    with pytest.raises(InputError, match="--overwrite"):
        triton.write_repository(source, tmp_path / "models")
    triton.write_repository(source, tmp_path / "models", overwrite=True)
    assert [path.name for path in (tmp_path / "models").iterdir()] == [folder.name]


COMMAND = "from cliplit.export.cli import main; main(prog_name='cliplit-export')"


def command(*arguments, home=None):
    """In a process of its own: exit code and what was printed."""
    environment = {**os.environ, "CLIPLIT_HOME": str(home)} if home else None
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, arguments)], capture_output=True, text=True, env=environment
    )
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def lite(tmp_path_factory):
    network, _ = from_onnx(BUNDLED / "lite.onnx")
    path = tmp_path_factory.mktemp("ünï folder") / "best.pt"
    checkpoint.save(path, {"network": "lite", "weights": network.state_dict()})
    return path


def test_fp16_writes_both_files_and_the_table(lite, tmp_path):
    done = command(lite, "--fp16", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.fp16.onnx", "best.onnx"]
    assert [model_info(tmp_path / name).precision for name in ("best.fp16.onnx", "best.onnx")] == ["fp16", "fp32"]
    for word in ("back end", "largest", "mean", "PSNR", "odd 767x511", "onnxruntime cpu", "best.fp16.onnx: "):
        assert word in done.stdout
    before = (tmp_path / "best.onnx").stat().st_mtime_ns
    again = command(lite, "--fp16", "-o", tmp_path)
    assert again.returncode == 1
    assert "--overwrite" in again.stderr
    assert (tmp_path / "best.onnx").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["--fp16", "--int8"], 2, "run the command twice"),
        (["--shape", "0x16"], 2, "is not HxW"),
        (["--tensorrt", "--shapes", "16x16,8x8,32x32"], 2, "none smaller"),
        (["--int8", "--calibration", "nowhere"], 1, "no such folder"),
        (["--whole-image", "--strength", "3"], 2, "strength"),
        (["--shape", "20x20"], 1, "multiple"),
        (["--strength", "0.5"], 2, "--strength does nothing without --whole-image"),
        (["--max-gain", "4"], 2, "--max-gain does nothing without"),
        (["--image-type", "uint8"], 2, "--image-type does nothing without --whole-image"),
        (["--calibration", "."], 2, "--calibration does nothing without --int8"),
        (["--shapes", "16x16,16x16,32x32"], 2, "--shapes does nothing without --engine"),
        (["--workspace", "64"], 2, "--workspace does nothing without"),
        (["--compute-capability", "7.5"], 2, "does nothing without --engine"),
        (["--device", "cuda"], 2, "--device does nothing without"),
        (["--for", "tensorrt"], 2, "differs with --int8 only"),
        (["--for", "ncnn"], 2, "wants a --shape"),
        (["--for", "ncnn", "--fp16", "--shape", "96x96"], 2, "takes fp32 files"),
        (["--tensorrt", "--shape", "96x96", "--shapes", "96x96,96x96,96x96"], 2, "--shapes does nothing with --shape"),
        (["--list-cache"], 2, "CHECKPOINT does nothing with --list-cache"),
        (["--int8", "--engine"], 2, "wants --for tensorrt"),
        (["--whole-image", "--engine"], 2, "--engine does nothing with --whole-image"),
        (["--engine", "--tensorrt"], 2, "two engines"),
        (["--triton", "models"], 2, "-o does nothing with --triton"),
        (["--tensorrt", "--device", "cpu"], 2, "runs on cuda"),
        (["-o", "x.trt"], 2, "the file is named .onnx; an engine comes with --engine"),
        (["-o", "x"], 2, "the file is named .onnx"),
    ],
)
def test_wrong_usage(lite, tmp_path, arguments, code, words):
    done = command(lite, "-o", tmp_path / "m.onnx", *arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert not list(tmp_path.iterdir())


def test_no_engine_without_tensorrt_and_no_file_either(lite, tmp_path):
    if not nvidia_driver().problem:
        pytest.skip("there is a card")
    done = command(lite, "--fp16", "--tensorrt", "-o", tmp_path)
    assert done.returncode == 3
    assert "pip install" in done.stderr or "driver" in done.stderr
    assert not list(tmp_path.iterdir())


def test_no_checkpoint_no_export():
    assert command().returncode == 2


def test_open_backend_refuses_a_checkpoint_with_both_ways_out(lite):
    with pytest.raises(ModelError, match=r"cliplit-export .*--backend pytorch"):
        open_backend(lite)
    assert open_backend(lite, "pytorch", "cpu").info.name == "relative"


def test_the_cache_can_be_listed_and_cleared(tmp_path):
    from cliplit.runtime.backends.engine_file import EngineHeader, Machine, Shapes, write_engine

    header = EngineHeader(
        "lite",
        "ab" * 32,
        "fp16",
        Shapes.fixed((1, 192, 336)),
        Machine("11.4", "13.0", "NVIDIA H200", "9.0", "Linux x86_64"),
    )
    write_engine(tmp_path / "engines" / "x.engine", header, b"engine")
    (tmp_path / "engines" / "y.engine").write_bytes(b"junk")
    (tmp_path / "mine.txt").write_text("keep")
    listed = command("--list-cache", home=tmp_path)
    assert listed.returncode == 0
    for word in ("x.engine", "lite fp16 for 1x192x336", "TensorRT 11.4", "NVIDIA H200 (9.0)", "not an engine file"):
        assert word in listed.stdout
    assert command("--list-cache", "--clear-cache", home=tmp_path).returncode == 2
    assert "--fp16 does nothing with" in command("--clear-cache", "--fp16", home=tmp_path).stderr
    assert "2 files" in command("--clear-cache", home=tmp_path).stdout
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["mine.txt"]


def test_export_room_has_no_demo_of_its_own():
    assert parity.DEMO.is_file()
    assert Path(parity.DEMO).parent.name == "demo"
