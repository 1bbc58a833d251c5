"""One contract, every back end: the same tests for each, on what this machine has (R5.1-R5.5, R5.8)."""

from __future__ import annotations

import concurrent.futures
import logging
import shutil
import threading

import numpy as np
import pytest

from cliplit.errors import BackendError, InputError, ModelError
from cliplit.install import install_hint
from cliplit.runtime import Enhancer, backends
from cliplit.runtime.backends import BACKENDS, Row, onnx_runtime, open_backend
from cliplit.runtime.backends.devices import Device, Driver, nvidia_driver
from cliplit.runtime.backends.model_file import BUNDLED, ModelInfo, find_model, model_info
from cliplit.runtime.network import LightMapNetwork
from made import MODELS

CASES = [
    pytest.param(row, kind, id=f"{row.name}-{kind}", marks=[pytest.mark.gpu] if kind == "cuda" else [])
    for row in BACKENDS
    for kind in row.devices
]
TOLERANCE = {False: 1e-5, True: 2e-2}  # of the light map against ONNX Runtime; True: computes in less than fp32


@pytest.fixture(scope="module", params=["lite", "unet"])
def model(request):
    return MODELS[request.param]


def opened(row, kind, model):
    """The back end, or a skip that says why it cannot run here."""
    if kind == "cuda" and nvidia_driver().problem:
        pytest.skip(nvidia_driver().problem)
    try:
        return row.open(find_model(model), Device(kind), 1)
    except BackendError as error:
        pytest.skip(str(error))


def proxy(batch, height, width, seed=0):
    """A dark picture with a bright window and grain, which gives the map structure."""
    rng = np.random.default_rng(seed)
    picture = 0.05 + 0.05 * rng.random((batch, 3, height, width))
    picture[:, :, : height // 3, : width // 2] += 0.8
    return picture.astype(np.float32)


@pytest.mark.parametrize("row, kind", CASES)
def test_contract(row, kind, model):
    """Shape, type, range, values, batches, a result of one's own, other sizes in between."""
    backend = opened(row, kind, model)
    reference = open_backend(model, "onnxruntime", "cpu", 1)
    assert backend.device.split(":")[0] == kind
    assert backend.info == reference.info
    assert backend.detail
    assert backend.precision in ("fp32", "bf16", "fp16")
    for size in [(1, 96, 144), (2, 96, 144), (1, 144, 96), (1, 96, 144)]:
        pictures = proxy(*size)
        light, expected = backend(pictures), reference(pictures)
        assert light.shape == (size[0], 1, *size[1:])
        assert light.dtype == np.float32
        assert expected.std() > 1e-3  # or the comparison would say nothing
        assert np.abs(light - expected).max() <= TOLERANCE[row.reduced], size
        kept = light.copy()
        backend(proxy(*size, seed=1))
        assert np.array_equal(light, kept), "a later call wrote into an earlier result"


@pytest.mark.parametrize("row, kind", CASES)
def test_calls_from_several_threads(row, kind):
    backend = opened(row, kind, "lite")
    pictures = [proxy(1, 64, 96, seed) for seed in range(8)]
    alone = [backend(picture) for picture in pictures]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = list(pool.map(backend, pictures * 4))
    for number, light in enumerate(together):
        assert np.abs(light - alone[number % 8]).max() < 1e-6


def bound_session(model="lite"):
    """ONNX Runtime with bound memory, which it has on a card, on the CPU: the calls are the same."""
    session = open_backend(model, "onnxruntime", "cpu", 1)
    assert not session.binds
    session.binds = True
    return session


def test_bound_memory_gives_the_same_and_is_kept(model):
    session, plain = bound_session(model), open_backend(model, "onnxruntime", "cpu", 1)
    for size in [(1, 96, 144), (2, 96, 144), (1, 144, 96)]:
        places, results = set(), []
        for seed in range(4):
            results.append((session(proxy(*size, seed)), plain(proxy(*size, seed))))
            bound = session.bound((size[0], 3, *size[1:]))
            places.add((id(bound), bound.input.data_ptr(), bound.output.data_ptr()))
        assert len(places) == 1  # the same memory for every picture of a size
        assert all(np.array_equal(light, expected) for light, expected in results)  # each result is its own array


def test_each_thread_has_bound_memory_of_its_own():
    session, ready = bound_session(), threading.Barrier(4)
    pictures = [proxy(1, 64, 96, seed) for seed in range(4)]
    alone = [session(picture) for picture in pictures]

    def work(number):
        ready.wait(20)
        lights = [session(pictures[number]) for _ in range(8)]
        return lights, session.bound((1, 3, 64, 96)).input.data_ptr()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(4)))
    assert len({place for _, place in results}) == 4
    for number, (lights, _) in enumerate(results):
        assert all(np.array_equal(light, alone[number]) for light in lights)


def test_a_failure_with_bound_memory_is_told_and_the_next_call_works():
    session = bound_session()
    expected = session(proxy(1, 64, 96))
    with pytest.raises(BackendError, match="ONNX Runtime on cpu failed"):
        session(proxy(1, 60, 90))  # sides that the network does not take
    assert np.array_equal(session(proxy(1, 64, 96)), expected)


@pytest.mark.parametrize("row, kind", CASES)
def test_pictures_come_out_the_same(row, kind, backlit_picture):
    if kind == "cuda" and nvidia_driver().problem:
        pytest.skip(nvidia_driver().problem)
    try:
        enhanced = Enhancer("lite", backend=row.name, device=kind, threads=1)(backlit_picture)
    except BackendError as error:
        pytest.skip(str(error))
    expected = Enhancer("lite", backend="onnxruntime", device="cpu")(backlit_picture)
    assert np.abs(enhanced.astype(int) - expected).max() <= (3 if row.reduced else 1)


@pytest.mark.parametrize("row, kind", CASES)
def test_a_file_that_is_no_model_is_named(row, kind, tmp_path):
    if kind == "cuda" and nvidia_driver().problem:
        pytest.skip(nvidia_driver().problem)
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a model at all")
    with pytest.raises((ModelError, BackendError)) as caught:
        row.open(path, Device(kind), 1)
    if isinstance(caught.value, BackendError):
        pytest.skip(str(caught.value))
    assert "broken.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_devices():
    assert Device.parse("cuda:3") == Device("cuda", 3)
    assert str(Device.parse("cuda")) == "cuda:0"
    for wrong in ("gpu", "cuda:", "cuda:-1", "CPU", "cpu:0", ""):
        with pytest.raises(InputError, match="not one of"):
            Device.parse(wrong)


@pytest.mark.parametrize(
    "backend",
    ["auto", "onnxruntime", "onnxruntime-tensorrt", "tensorrt", "tensorrt-rtx", "onnxruntime-tensorrt-rtx", "pytorch"],
)
def test_cuda_asked_for_and_not_there_is_an_error(backend):
    if not nvidia_driver().problem:
        pytest.skip("there is a card")
    with pytest.raises(BackendError, match=r"libcuda|driver|pip install"):
        open_backend("lite", backend, "cuda")


def test_a_back_end_is_not_run_on_what_it_cannot():
    with pytest.raises(BackendError, match="openvino runs on cpu"):
        open_backend("lite", "openvino", "cuda")
    with pytest.raises(BackendError, match="tensorrt runs on cuda"):
        open_backend("lite", "tensorrt", "cpu")
    with pytest.raises(InputError, match="one of auto, onnxruntime"):
        open_backend("lite", "tensorflow")


def card(monkeypatch, cuda=(13, 0)):
    """Pretend there is a card, so that what comes after the driver is reached."""
    driver = Driver("", cuda, (("NVIDIA H200", (9, 0)),))
    for module in (backends, backends.onnx_runtime, __import__("cliplit.runtime.backends.devices", fromlist=["x"])):
        if hasattr(module, "nvidia_driver"):
            monkeypatch.setattr(module, "nvidia_driver", lambda: driver)


def test_auto_falls_back_and_says_so(monkeypatch, caplog):
    """A card is there, its libraries are not: the CPU does the work, and one line says why."""
    if not nvidia_driver().problem:
        pytest.skip("there is a card")
    card(monkeypatch)
    with caplog.at_level(logging.WARNING, logger="cliplit"):
        backend = open_backend("lite")
    assert backend.device == "cpu"
    assert len(caplog.records) == 1
    assert "running on cpu" in caplog.text
    assert "pip install" in caplog.text


def test_the_cpu_is_silent_where_there_is_no_card(caplog):
    if not nvidia_driver().problem:
        pytest.skip("there is a card")
    with caplog.at_level(logging.WARNING, logger="cliplit"):
        open_backend("lite")
    assert not caplog.records


def test_auto_takes_openvino_for_full_size_where_it_is_installed(monkeypatch, caplog):
    pytest.importorskip("openvino")
    assert "openvino" in open_backend("lite", device="cpu", full_size=True).detail
    assert "openvino" in Enhancer("lite", device="cpu", quality="exact").network.backend.detail
    assert "onnxruntime" in open_backend("lite", device="cpu").detail
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    assert "onnxruntime" in open_backend("lite", device="cpu", full_size=True).detail
    assert not caplog.records


def test_a_driver_too_old_is_told_apart(monkeypatch):
    card(monkeypatch, cuda=(11, 8))
    from cliplit.runtime.backends.devices import cuda_problem

    assert "driver is too old" in cuda_problem(Device("cuda"), (13, 0))
    assert "no card 2" in cuda_problem(Device("cuda", 2), (11, 4))
    assert cuda_problem(Device("cuda"), (11, 4)) == ""


def test_a_silent_fall_back_of_onnx_runtime_is_an_error(monkeypatch):
    """What the wheel for GPUs does without its libraries: the session runs, on the CPU."""
    card(monkeypatch)
    runtime = onnx_runtime.import_onnxruntime()
    monkeypatch.setattr(runtime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    real = runtime.InferenceSession
    monkeypatch.setattr(
        runtime, "InferenceSession", lambda path, options, providers: real(path, options, ["CPUExecutionProvider"])
    )
    with pytest.raises(BackendError, match=r"fell back to CPUExecutionProvider.*pip install"):
        open_backend("lite", "onnxruntime", "cuda")


def test_both_onnxruntime_packages_are_named(monkeypatch):
    monkeypatch.setattr(onnx_runtime, "installed_distributions", lambda: ["onnxruntime 1", "onnxruntime-gpu 1"])
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in onnx_runtime._install_advice()
    assert install_hint("gpu") in onnx_runtime._gpu_advice(onnx_runtime.import_onnxruntime(), False)


def test_a_missing_provider_library_is_named(tmp_path):
    """The loader's own words, for a library that needs one which is not there."""

    class Runtime:
        __file__ = str(tmp_path / "__init__.py")

    (tmp_path / "capi").mkdir()
    (tmp_path / "capi" / "libonnxruntime_providers_cuda.so").write_bytes(b"no library")
    why = onnx_runtime._why_not(Runtime, "CUDAExecutionProvider")
    assert why.startswith("CUDAExecutionProvider does not load (")
    assert "libonnxruntime_providers_cuda.so" in why


def test_the_row_checks_what_it_got(monkeypatch):
    row = Row("liar", "onnx_runtime", ("cuda", "cpu"), "answers with another device")
    on_cpu = open_backend("lite", "onnxruntime", "cpu", 1)
    monkeypatch.setattr(onnx_runtime, "open_model", lambda *arguments, **settings: on_cpu)
    with pytest.raises(BackendError, match=r"runs on cpu; cuda:0 was asked for"):
        row.open(BUNDLED / "lite.onnx", Device("cuda"), 1)


class Overflowing:
    """A half-precision back end whose light map has NaN in it."""

    device, detail, precision = "cpu", "half of something", "fp16"

    def __init__(self, info):
        self.info = info

    def __call__(self, pictures):
        light = np.full((len(pictures), 1, *pictures.shape[2:]), 0.5, np.float32)
        light[..., 0, 0] = np.nan
        return light


def test_nan_in_half_precision_goes_on_in_fp32(monkeypatch, tmp_path, caplog):
    shutil.copy(BUNDLED / "lite.onnx", tmp_path / "m.onnx")
    info = model_info(tmp_path / "m.onnx")
    half = ModelInfo(**{**vars(info), "precision": "fp16"})
    network = LightMapNetwork(tmp_path / "m.onnx", "cpu", 1)
    network.backend = Overflowing(half)
    picture = proxy(1, 64, 96)[0].transpose(1, 2, 0)
    with caplog.at_level(logging.WARNING, logger="cliplit"):
        light = network(picture)
        assert np.array_equal(network(picture), light)
    assert np.isfinite(light).all()
    assert np.array_equal(light, LightMapNetwork("lite", "cpu", 1)(picture))
    assert len(caplog.records) == 1
    assert "going on in fp32" in caplog.text


def test_nan_without_a_full_precision_model_is_an_error():
    info = ModelInfo(**{**vars(model_info(BUNDLED / "lite.onnx")), "precision": "fp16"})
    with pytest.raises(BackendError, match="NaN or infinity in fp16"):
        LightMapNetwork(Overflowing(info))(np.zeros((64, 64, 3), np.float32))


def test_metadata_is_read_without_onnx(tmp_path):
    info = model_info(MODELS["unet"])
    assert (info.name, info.precision, info.kind, info.shape) == ("unet", "fp32", "light", None)
    for name, data in {"empty": b"", "cut": (BUNDLED / "lite.onnx").read_bytes()[:1000], "text": b"x" * 99}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ModelError, match=name):
            model_info(tmp_path / name)


def test_unknown_metadata_of_a_later_version_is_skipped():
    text = '{"name": "n", "version": "9", "colour_order": "RGB", "value_range": "0..1", "proxy_short_side": 1, '
    text += '"multiple": 1, "training": "", "checkpoint_sha256": "", "novelty": 5, "shape": [1, 2, 3]}'
    assert ModelInfo.from_json(text, BUNDLED).shape == (1, 2, 3)
    with pytest.raises(ModelError, match="BGR"):
        ModelInfo.from_json(text.replace("RGB", "BGR"), BUNDLED)
    with pytest.raises(ModelError, match="cannot be read"):
        ModelInfo.from_json('{"name": "n"}', BUNDLED)
