"""TensorRT without a card: engine files, their cache, the builder's logic, and our calls against the real bindings."""

from __future__ import annotations

import ast
import importlib
import json
import struct
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cliplit.errors import BackendError, ModelError
from cliplit.runtime.backends import device_memory, engine_file, tensorrt_build, tensorrt_library, tensorrt_native
from cliplit.runtime.backends.devices import Device, nvidia_driver
from cliplit.runtime.backends.engine_file import EngineHeader, Machine, Shapes
from cliplit.runtime.backends.model_file import BUNDLED
from cliplit.runtime.backends.tensorrt_library import TENSORRT, TENSORRT_RTX, import_library, logger_of

MACHINE = Machine("11.4.0.106", "13.0", "NVIDIA H200", "9.0", "Linux x86_64")
HEADER = EngineHeader("lite", "ab" * 32, "fp16", Shapes.fixed((1, 192, 336)), MACHINE)
HALF = {"Name": "conv", "Inputs": [{"Name": "a", "Format/Datatype": "Row major linear FP32"}], "Outputs": [
    {"Name": "b", "Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}]}  # fmt: skip
FLOAT = {"Name": "conv", "Inputs": [{"Name": "a", "Format/Datatype": "Row major linear FP32"}], "Outputs": []}


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPLIT_HOME", str(tmp_path / "home"))


def test_an_engine_file_comes_back(tmp_path):
    path = tmp_path / "a.engine"
    engine_file.write_engine(path, HEADER, b"\0\1engine" * 100)
    assert engine_file.read_header(path) == HEADER
    assert engine_file.read_engine(path) == (HEADER, b"\0\1engine" * 100)


@pytest.mark.parametrize("keep", [0, 5, 20, 27, 200, -1])
def test_a_file_cut_short_is_seen(tmp_path, keep):
    path = tmp_path / "a.engine"
    engine_file.write_engine(path, HEADER, b"engine" * 100)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"a\.engine"):
        engine_file.read_engine(path)


def test_other_files_and_other_formats_are_refused(tmp_path):
    path = tmp_path / "a.engine"
    for data, words in [(b"PK\3\4" * 50, "not an engine file"), (engine(b"{}"), "header"), (engine(b"[1]"), "header")]:
        path.write_bytes(data)
        with pytest.raises(ModelError, match=words):
            engine_file.read_header(path)
    path.write_bytes(engine(b'{"format": 99}'))
    with pytest.raises(ModelError, match="another version of cliplit"):
        engine_file.read_header(path)


def engine(header, data=b"e"):
    return engine_file.MAGIC + struct.pack("<IQ", len(header), len(data)) + header + data


@pytest.mark.parametrize(
    "change, words",
    [
        ({"tensorrt": "10.16.1.11"}, "TensorRT 10.16.1.11, here 11.4.0.106"),
        ({"gpu": "NVIDIA L4"}, "GPU NVIDIA L4, here NVIDIA H200"),
        ({"compute_capability": "8.9"}, "compute capability 8.9, here 9.0"),
        ({"cuda": "12.4"}, "CUDA 12.4, here 13.0"),
        ({"system": "Windows AMD64"}, "operating system Windows AMD64, here Linux x86_64"),
    ],
)
def test_what_does_not_fit_is_said_in_words(change, words):
    found = replace(HEADER, machine=replace(MACHINE, **change))
    assert found.mismatches(HEADER) == [words]
    assert found.path() == HEADER.path()  # the same place in the cache: seen and replaced, not kept beside


def test_a_portable_engine_fits_what_the_library_says_and_no_less():
    made = Machine("RTX 1.7.1.116", "any", "any", "8.0+", "any")
    here = Machine("RTX 1.7.1.116", "13.0", "NVIDIA GeForce RTX 4090", "8.9", "Windows AMD64")
    wanted, found = replace(HEADER, machine=here), replace(HEADER, machine=made)
    assert found.mismatches(wanted) == []
    for capability, fits in [("8.0", True), ("12.0", True), ("10.3", True), ("7.5", False)]:
        other = replace(wanted, machine=replace(here, compute_capability=capability))
        assert (not found.mismatches(other)) is fits, capability
    turing = replace(HEADER, machine=replace(made, compute_capability="7.5"))
    assert turing.mismatches(wanted) == ["compute capability 7.5, here 8.9"]
    other = replace(wanted, machine=replace(here, tensorrt="RTX 1.8.0.1"))
    assert found.mismatches(other) == ["TensorRT RTX 1.7.1.116, here RTX 1.8.0.1"]


def test_a_bit_that_flipped_is_seen(tmp_path):
    path = tmp_path / "a.engine"
    engine_file.write_engine(path, HEADER, b"engine" * 100)
    data = bytearray(path.read_bytes())
    data[-77] ^= 4
    path.write_bytes(data)
    assert engine_file.read_header(path) == HEADER
    with pytest.raises(ModelError, match="damaged"):
        engine_file.read_engine(path)


def test_another_model_or_shape_is_another_place():
    assert HEADER.mismatches(HEADER) == []
    others = [replace(HEADER, model_sha256="cd" * 32), replace(HEADER, shapes=Shapes.fixed((1, 192, 256)))]
    assert len({header.path() for header in [HEADER, *others]}) == 3
    assert others[0].mismatches(HEADER) == ["another model file"]
    assert others[1].mismatches(HEADER) == ["shapes 1x192x256, wanted 1x192x336"]


def test_shapes():
    free = Shapes((1, 64, 64), (1, 192, 336), (4, 512, 512))
    assert free.cover((2, 192, 192))
    assert not free.cover((1, 32, 192))
    assert not free.cover((8, 192, 192))
    assert not free.are_fixed
    assert str(free) == "1x64x64,1x192x336,4x512x512"


def test_half_precision_is_read_from_the_inspector():
    read = tensorrt_build.half_layers
    assert read(json.dumps({"Layers": [HALF, FLOAT, HALF]})) == (2, 3)
    assert read(json.dumps({"Layers": [{"Inputs": [{"Format/Datatype": "Half"}], "Outputs": []}]})) == (1, 1)
    assert read(json.dumps({"Layers": ["conv1", "half of a name"]})) == (0, 2)  # names only: proves nothing
    assert read(json.dumps({"Layers": [{**FLOAT, "Name": "to_half"}]})) == (0, 1)
    assert read("{}") == (0, 0)
    with pytest.raises(BackendError, match="without a layer in half precision"):
        tensorrt_build.check_half(json.dumps({"Layers": [FLOAT]}), Path("m.onnx"))


class FakeTensorRt(types.ModuleType):
    """The few calls of the module we make, recorded; what `build_serialized_network` gives is the test's choice."""

    def __init__(self, layers=(HALF,), built=b"ENGINE", parses=True, convolutions=("half", "float")):
        super().__init__("tensorrt")
        self.__version__, self.calls, self.builds = "11.4.0.106", [], 0
        fake = self

        class ILogger:
            INTERNAL_ERROR, ERROR, WARNING, INFO = 0, 1, 2, 3

        class IProgressMonitor:
            pass

        class Config:
            profiling_verbosity = progress_monitor = None

            def set_memory_pool_limit(self, pool, size):
                fake.calls.append(("workspace", pool, size))

            def add_optimization_profile(self, profile):
                return 0

            def create_timing_cache(self, data):
                fake.calls.append(("timing cache", bytes(data)))
                return types.SimpleNamespace(serialize=lambda: b"TIMINGS")

            def set_timing_cache(self, cache, ignore_mismatch):
                self.cache = cache
                return True

            def get_timing_cache(self):
                return self.cache

        class Builder:
            def __init__(self, logger):
                self.logger = logger

            def create_network(self, flags):
                fake.calls.append(("flags", flags))
                made = [
                    types.SimpleNamespace(
                        type="conv", get_output=lambda i, kind=kind: types.SimpleNamespace(dtype=kind)
                    )
                    for kind in convolutions
                ]
                return types.SimpleNamespace(
                    get_input=lambda i: types.SimpleNamespace(name="picture", shape=(-1, 3, -1, -1)),
                    num_layers=len(made),
                    get_layer=lambda i: made[i],
                )

            def create_builder_config(self):
                self.config = Config()
                return self.config

            def create_optimization_profile(self):
                return types.SimpleNamespace(set_shape=lambda *a: fake.calls.append(("profile", *a)))

            def build_serialized_network(self, network, config):
                fake.builds += 1
                fake.calls.append(("verbosity", config.profiling_verbosity))
                config.progress_monitor.phase_start("tactics", None, 2)
                assert config.progress_monitor.step_complete("tactics", 0)
                config.progress_monitor.phase_finish("tactics")
                if built is None:
                    self.logger.log(ILogger.ERROR, "out of\n tactics")
                return built

        class OnnxParser:
            num_errors = 1

            def __init__(self, network, logger):
                pass

            def parse(self, data, path):
                return parses

            def get_error(self, index):
                return types.SimpleNamespace(desc=lambda: "no importer", node_operator=lambda: "Frobnicate")

        class Runtime:
            def __init__(self, logger):
                pass

            def deserialize_cuda_engine(self, data):
                if bytes(data) != built:
                    return None
                inspector = types.SimpleNamespace(
                    get_engine_information=lambda form: json.dumps({"Layers": list(layers)})
                )
                return types.SimpleNamespace(create_engine_inspector=lambda: inspector)

        self.ILogger, self.IProgressMonitor, self.Builder = ILogger, IProgressMonitor, Builder
        self.OnnxParser, self.Runtime = OnnxParser, Runtime
        self.LayerType = types.SimpleNamespace(CONVOLUTION="conv")
        self.DataType = types.SimpleNamespace(HALF="half")
        self.NetworkDefinitionCreationFlag = types.SimpleNamespace(STRONGLY_TYPED=1)
        self.MemoryPoolType = types.SimpleNamespace(WORKSPACE="workspace")
        self.ProfilingVerbosity = types.SimpleNamespace(DETAILED="detailed")
        self.LayerInformationFormat = types.SimpleNamespace(JSON="json")


LITE = BUNDLED / "lite.onnx"


def test_the_build_is_strongly_typed_with_profile_workspace_and_timings():
    trt, seen = FakeTensorRt(), []
    shapes = Shapes((1, 64, 64), (1, 192, 336), (2, 512, 512))
    built = tensorrt_build.build_engine(trt, LITE, shapes, "fp16", 1 << 30, lambda *a: seen.append(a))
    assert built == b"ENGINE"
    assert ("flags", 2) in trt.calls  # 1 << STRONGLY_TYPED
    assert ("workspace", "workspace", 1 << 30) in trt.calls
    assert ("profile", "picture", (1, 3, 64, 64), (1, 3, 192, 336), (2, 3, 512, 512)) in trt.calls
    assert ("verbosity", "detailed") in trt.calls
    assert ("timing cache", b"") in trt.calls
    assert seen == [("tactics", 0, 2), ("tactics", 1, 2)]
    tensorrt_build.build_engine(trt, LITE, shapes, "fp16")
    assert ("timing cache", b"TIMINGS") in trt.calls  # the second build starts from the first one's


def test_an_fp32_engine_is_not_passed_off_as_fp16():
    trt = FakeTensorRt(layers=(FLOAT,))
    with pytest.raises(BackendError, match="without a layer in half precision"):
        tensorrt_build.build_engine(trt, LITE, HEADER.shapes, "fp16")
    assert tensorrt_build.build_engine(trt, LITE, HEADER.shapes, "fp32") == b"ENGINE"


@pytest.mark.parametrize("convolutions", [("half", "float", "float"), ("float",), ("half", "half", "float", "float")])
def test_a_file_that_says_fp16_and_is_not_is_refused_before_the_build(convolutions):
    trt = FakeTensorRt(convolutions=convolutions)
    with pytest.raises(ModelError, match=r"lite\.onnx: says fp16, and \d of its \d convolutions are in fp32"):
        tensorrt_build.build_engine(trt, LITE, HEADER.shapes, "fp16")
    assert trt.builds == 0


def test_the_first_error_is_the_cause_and_there_is_one_logger():
    trt = FakeTensorRt()
    logger = logger_of(trt)
    assert logger_of(trt) is logger
    assert logger.cause == "no reason given"
    logger.log(trt.ILogger.WARNING, "a weak\n guess")
    logger.log(trt.ILogger.INFO, "all is well")
    assert logger.cause == "a weak guess"
    logger.log(trt.ILogger.ERROR, "MIN<=OPT<=MAX")
    logger.log(trt.ILogger.INTERNAL_ERROR, "cudaError 35")
    assert logger.cause == "MIN<=OPT<=MAX"
    logger.clear()
    assert logger.cause == "no reason given"


def test_failures_of_parser_and_builder_have_their_reason():
    with pytest.raises(ModelError, match="Frobnicate: no importer"):
        tensorrt_build.build_engine(FakeTensorRt(parses=False), LITE, HEADER.shapes, "fp32")
    with pytest.raises(BackendError, match=r"could not build lite\.onnx for 1x192x336: out of tactics"):
        tensorrt_build.build_engine(FakeTensorRt(built=None), LITE, HEADER.shapes, "fp32")


class HostMemory:
    """`Memory` in the computer's own memory; copies are done when they are started."""

    name = "host"

    def __init__(self, captures=True):
        self.blocks, self.captures, self.launches, self.held = {}, captures, 0, 0

    def active(self):
        import contextlib

        return contextlib.nullcontext()

    def allocate(self, size):
        address = 1000 + len(self.blocks)
        self.blocks[address] = np.zeros(size // 4, np.float32)
        return address

    def free(self, address):
        self.blocks[address] = None

    def pinned(self, shape):
        self.held += 1
        return np.zeros(shape, np.float32)

    def unpin(self, array):
        self.held -= 1

    def stream(self):
        self.held += 1
        return 7

    def close_stream(self, stream):
        self.held -= 1

    def to_device(self, address, source, stream):
        self.blocks[address][:] = source.ravel()

    def to_host(self, target, address, stream):
        target[...] = self.blocks[address].reshape(target.shape)

    def synchronize(self, stream):
        pass

    def capture(self, work, stream):
        if not self.captures:
            return None
        work()
        self.held += 1

        def launch():
            self.launches += 1
            work()

        def close():
            self.held -= 1

        return device_memory.Graph(launch, close)

    def cuda_version(self):
        return "13.0"


class FakeEngine:
    """Twice the red channel, on `HostMemory`."""

    def __init__(self, memory):
        self.memory = memory

    def get_tensor_name(self, index):
        return ("picture", "light")[index]

    def create_execution_context(self):
        addresses, shape = {}, {}

        def execute(stream):
            batch, _, height, width = shape["picture"]
            source = self.memory.blocks[addresses["picture"]].reshape(batch, 3, height, width)
            self.memory.blocks[addresses["light"]][:] = 2 * source[:, 0].ravel()
            return True

        return types.SimpleNamespace(
            set_optimization_profile_async=lambda index, stream: True,
            set_input_shape=lambda name, size: shape.update({name: size}) or True,
            set_tensor_address=lambda name, address: addresses.update({name: address}) or True,
            execute_async_v3=execute,
        )


@pytest.mark.parametrize("captures", [True, False])
def test_a_lane_copies_runs_and_gives_its_memory_back(captures):
    memory = HostMemory(captures)
    lane = tensorrt_native.Lane(FakeEngine(memory), memory, (2, 4, 6))
    pictures = np.random.default_rng(0).random((2, 3, 4, 6), dtype=np.float32)
    light = lane(pictures)
    assert np.array_equal(light, 2 * pictures[:, :1])
    lane(pictures * 0)
    assert light.any()  # the caller's own
    assert memory.launches == (2 if captures else 0)
    lane.close()
    assert all(block is None for block in memory.blocks.values())
    assert memory.held == 0  # pinned memory, stream, graph


@pytest.fixture
def network():
    trt, memory = FakeTensorRt(), HostMemory()
    opened = tensorrt_native.TensorRtNetwork(trt, LITE, Device("cuda"), memory, MACHINE)
    opened._runtime = types.SimpleNamespace(deserialize_cuda_engine=lambda data: FakeEngine(memory))
    return opened


def test_one_build_a_size_and_none_the_second_time(network):
    pictures = np.ones((1, 3, 32, 48), np.float32)
    for _ in range(3):
        assert (network(pictures) == 2).all()
    assert network._trt.builds == 1
    network(np.ones((1, 3, 48, 32), np.float32))
    network(pictures)  # back again: from the cache
    assert network._trt.builds == 2
    again = tensorrt_native.TensorRtNetwork(network._trt, LITE, Device("cuda"), HostMemory(), MACHINE)
    assert again.engine(Shapes.fixed((1, 32, 48))) == b"ENGINE"
    assert network._trt.builds == 2


def test_threads_share_the_lanes(network):
    import concurrent.futures

    pictures = [np.full((1, 3, 32, 48), value, np.float32) for value in range(16)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for value, light in enumerate(pool.map(network, pictures)):
            assert (light == 2 * value).all()


def test_threads_with_pictures_of_different_sizes(network):
    import concurrent.futures

    pictures = [np.full((1, 3, 32, 48 if value % 3 else 64), value, np.float32) for value in range(24)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for value, light in enumerate(pool.map(network, pictures, timeout=30)):
            assert light.shape[2:] == pictures[value].shape[2:]
            assert (light == 2 * value).all()
    assert network._trt.builds == 2


def test_after_a_build_that_failed_the_next_call_works(network, monkeypatch):
    network(np.ones((1, 3, 32, 48), np.float32))
    with monkeypatch.context() as broken:
        broken.setattr(tensorrt_native, "build_engine", lambda *a: (_ for _ in ()).throw(BackendError("no room")))
        with pytest.raises(BackendError, match="no room"):
            network(np.ones((1, 3, 64, 48), np.float32))
    assert (network(np.ones((1, 3, 32, 48), np.float32)) == 2).all()


def test_an_engine_with_a_range_serves_every_size_in_it(network):
    network.engine(Shapes((1, 16, 16), (1, 32, 48), (4, 64, 64)))
    network(np.ones((1, 3, 32, 48), np.float32))
    network(np.ones((2, 3, 64, 16), np.float32))
    assert network._trt.builds == 1
    network(np.ones((1, 3, 80, 16), np.float32))
    assert network._trt.builds == 2


def test_an_engine_of_another_machine_is_built_anew_with_the_reason(network, caplog):
    shapes = Shapes.fixed((1, 32, 48))
    wanted = network.header(shapes)
    old = replace(wanted, machine=replace(MACHINE, tensorrt="10.16.1.11", gpu="NVIDIA L4"))
    engine_file.write_engine(wanted.path(), old, b"OLD")
    with caplog.at_level("WARNING", logger="cliplit"):
        assert network.engine(shapes) == b"ENGINE"
    assert "which was made for: TensorRT 10.16.1.11, here 11.4.0.106; GPU NVIDIA L4, here NVIDIA H200" in caplog.text
    assert engine_file.read_header(wanted.path()) == wanted


def test_a_damaged_engine_is_built_anew(network, caplog):
    shapes = Shapes.fixed((1, 32, 48))
    network.header(shapes).path().parent.mkdir(parents=True)
    network.header(shapes).path().write_bytes(b"half an eng")
    with caplog.at_level("WARNING", logger="cliplit"):
        assert network.engine(shapes) == b"ENGINE"
    assert "not an engine file" in caplog.text


@pytest.mark.parametrize(
    "library, versions, words",
    [(TENSORRT, ("8.6.1", "12.0"), "10 or 11 is needed"), (TENSORRT_RTX, ("0.9", "2.0", "10.1"), "1 is needed")],
)
def test_versions_we_do_not_know_are_refused(monkeypatch, library, versions, words):
    for version in versions:
        module = types.ModuleType(library.module)
        module.__version__ = version
        monkeypatch.setitem(sys.modules, library.module, module)
        with pytest.raises(BackendError, match=f"{library.name} {version} is installed, {words}"):
            import_library(library)
    monkeypatch.setitem(sys.modules, library.module, None)
    with pytest.raises(BackendError, match=rf' install .*\[{library.extra}\]"'):
        import_library(library)


def test_device_memory_names_what_is_missing(monkeypatch):
    for name in ("pycuda", "pycuda.driver", "cuda", "cuda.bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendError, match=r'cuda-python or PyCUDA .* install .*\[tensorrt\]"'):
        device_memory.open_memory(0)


def test_a_cuda_error_comes_with_its_text():
    runtime = pytest.importorskip("cuda.bindings.runtime")
    if not nvidia_driver().problem:
        pytest.skip("there is a card")
    with pytest.raises(BackendError, match=r"CUDA: .*driver.* \(error 35\)"):
        device_memory.CudaPython(0)
    assert runtime


def called(module, variable):
    """{"Builder", "MemoryPoolType.WORKSPACE", ...}: dotted names behind a variable in a module's source."""
    names = set()
    for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
        parts = []
        while isinstance(node, ast.Attribute):
            parts.insert(0, node.attr)
            node = node.value
        root = ast.unparse(node) if parts else ""
        if root == variable:
            names.add(".".join(parts))
    return names


def test_our_calls_exist_in_cuda_python():
    runtime = pytest.importorskip("cuda.bindings.runtime")
    names = {name.removeprefix("_cuda.") for name in called(device_memory, "self") if name.startswith("_cuda.")}
    assert len(names) > 12
    for name in names:
        assert hasattr(runtime, name.split(".")[0]), name


# Methods of TensorRT's objects that we call, by the class they belong to.
METHODS = {
    "Builder": ["create_network", "create_builder_config", "create_optimization_profile", "build_serialized_network"],
    "IBuilderConfig": [
        "set_memory_pool_limit", "profiling_verbosity", "progress_monitor", "add_optimization_profile",
        "create_timing_cache", "set_timing_cache", "get_timing_cache",
    ],
    "ITimingCache": ["serialize"],
    "INetworkDefinition": ["get_input", "num_layers", "get_layer"],
    "IOptimizationProfile": ["set_shape"],
    "OnnxParser": ["parse", "num_errors", "get_error"],
    "ParserError": ["desc", "node_operator"],
    "Runtime": ["deserialize_cuda_engine"],
    "ICudaEngine": ["create_engine_inspector", "create_execution_context", "get_tensor_name"],
    "EngineInspector": ["get_engine_information"],
    "IExecutionContext": [
        "set_optimization_profile_async", "set_input_shape", "set_tensor_address", "execute_async_v3",
    ],
    "IProgressMonitor": ["phase_start", "step_complete", "phase_finish"],
    "ILogger": ["log", "ERROR", "WARNING"],
}  # fmt: skip


# Those of TensorRT for RTX alone, and of TensorRT alone.
METHODS_RTX = {
    "IBuilderConfig": ["num_compute_capabilities", "set_compute_capability"],
    "ICudaEngine": ["create_runtime_config"],
    "IRuntimeConfig": ["cuda_graph_strategy", "create_runtime_cache", "set_runtime_cache", "get_runtime_cache"],
    "IRuntimeCache": ["serialize", "deserialize"],
}
ONLY_RTX = {"ComputeCapability", "CudaGraphStrategy.WHOLE_GRAPH_CAPTURE"}


@pytest.mark.parametrize("library", [TENSORRT, TENSORRT_RTX], ids=lambda library: library.module)
def test_our_calls_exist(library):
    """Against the real bindings, which load without a card if their libraries are there (or stand-ins for them)."""
    try:
        trt = importlib.import_module(f"{library.module}_bindings" if library is TENSORRT else library.module)
    except (ImportError, OSError):
        trt = pytest.importorskip(library.module, exc_type=ImportError)
    for module in (tensorrt_build, tensorrt_native, tensorrt_library):
        own = {name.removeprefix("_trt.") for name in called(module, "self") if name.startswith("_trt.")}
        for name in called(module, "trt") | own - {"__version__"}:
            if library is TENSORRT and name in ONLY_RTX:
                continue
            target = trt
            for part in name.split("."):
                assert hasattr(target, part), f"{name} in {library.name} {trt.__version__}"
                target = getattr(target, part)
    for methods in (METHODS, METHODS_RTX if library is TENSORRT_RTX else {}):
        for kind, names in methods.items():
            for method in names:
                assert hasattr(getattr(trt, kind), method), f"{kind}.{method} in {library.name} {trt.__version__}"
    logger_of(trt).log(trt.ILogger.ERROR, "x")
    tensorrt_build.progress_monitor(trt, lambda *a: None).phase_start("a", None, 3)
    for _, capability in library.targets:
        assert not capability or hasattr(trt.ComputeCapability, capability)


@pytest.mark.gpu
def test_a_real_engine(tmp_path):
    """On a card with TensorRT: half precision inside, close to fp32 outside (T7)."""
    if nvidia_driver().problem:
        pytest.skip(nvidia_driver().problem)
    pytest.importorskip("tensorrt")
    onnx_file = pytest.importorskip("cliplit.export.onnx_file")
    from cliplit.runtime.backends import open_backend
    from cliplit.runtime.backends.pytorch import from_onnx

    network, info = from_onnx(LITE)
    (tmp_path / "m.onnx").write_bytes(onnx_file.light_graph(network.eval(), info, "fp16").SerializeToString())
    picture = np.random.default_rng(0).random((1, 3, 192, 336), dtype=np.float32) ** 3
    light = open_backend(tmp_path / "m.onnx", "tensorrt", "cuda")(picture)
    assert np.abs(light - open_backend("lite", "onnxruntime", "cpu")(picture)).max() < 5e-3
