"""The exact mode that stays on the card, here on the CPU: the same pictures as the path through numpy and C."""

from __future__ import annotations

import logging

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from cliplit.runtime import Enhancer
from cliplit.runtime.backends.devices import Device, nvidia_driver
from cliplit.runtime.backends.model_file import find_model
from cliplit.runtime.backends.pytorch import open_model
from cliplit.runtime.exact.exact_torch import ExactTorch, half_precision
from cliplit.runtime.light.colour import Coding
from cliplit.runtime.light.gain import planes_reference
from cliplit.runtime.light.proxy import planes_proxy
from made import MODELS, backlit

WHITE = {"uint8": 255, "uint16": 65535, "float32": 1}


def psnr(a, b, white):
    error = np.mean((a.astype(np.float64) - b) ** 2)
    return 200.0 if error == 0 else 10 * np.log10(white**2 / error)


@pytest.fixture(scope="module", params=["lite", "unet"])
def model(request):
    return MODELS[request.param]


@pytest.mark.parametrize("half, least", [(False, 100), (True, 60)])
@pytest.mark.parametrize("dtype", list(WHITE))
def test_pictures(model, half, least, dtype):
    picture = backlit(66, 91)
    if dtype == "uint16":
        picture = picture.astype(np.uint16) * 257
    elif dtype == "float32":
        picture = picture.astype(np.float32) / 255
        picture[2, 3], picture[4, 5] = 2.0, np.nan
    expected = Enhancer(model, quality="exact", strength=0.8, max_gain=9.0, backend="onnxruntime")(picture)
    enhanced = ExactTorch(open_model(find_model(model), Device("cpu"), 0), half).rgb(picture, 0.8, 9.0)
    assert enhanced.dtype == picture.dtype
    assert np.array_equal(np.isnan(enhanced), np.isnan(expected))
    assert psnr(np.nan_to_num(enhanced), np.nan_to_num(expected), WHITE[dtype]) >= least
    assert psnr(np.nan_to_num(enhanced), np.nan_to_num(picture), WHITE[dtype]) < 40  # it did something


def test_alpha_is_copied():
    picture = np.dstack([backlit(40, 50), np.arange(2000, dtype=np.uint16).reshape(40, 50).astype(np.uint8)])
    enhanced = ExactTorch(open_model(find_model("lite"), Device("cpu"), 0)).rgb(picture, 1.0, 16.0)
    assert np.array_equal(enhanced[..., 3], picture[..., 3])


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("sampling", [(2, 2), (1, 2), (1, 1)])
def test_planes(sampling, depth):
    """A batch of different frames of odd size, 4:2:0 to 4:4:4, 8 and 10 bit, limited range."""
    fy, fx = sampling
    height, width, unit = 67, 91, 1 << (depth - 8)
    dtype = np.uint8 if depth == 8 else np.uint16
    rng, coding = np.random.default_rng(0), Coding(depth=depth)
    frames = []
    for seed in range(3):
        luma = (16 + backlit(height, width, seed)[..., 1].astype(np.float32) * 219 / 255) * unit
        chroma = rng.integers(110, 146, (2, -(-height // fy), -(-width // fx))) * unit
        frames.append(tuple(plane.astype(dtype) for plane in (luma, *chroma)))
    enhancer = Enhancer("lite", quality="exact", strength=0.8, backend="onnxruntime")
    exact = ExactTorch(open_model(find_model("lite"), Device("cpu"), 0))
    relighted = exact.enhance_planes(exact.codes(frames), coding, 0.8, 16.0)
    results = zip(*(exact.down(plane[:, 0], np.dtype(dtype)) for plane in relighted), strict=True)
    for planes, enhanced in zip(frames, results, strict=True):
        proxy = planes_proxy(planes, coding, (height, width))
        coefficients = enhancer.refine(enhancer.log_light(proxy), proxy.luma).scaled(0.8)
        for plane, expected in zip(enhanced, planes_reference(planes, coefficients, coding), strict=True):
            assert plane.dtype == dtype
            # chroma that OpenCV enlarges is rounded to whole codes on the way to the network
            assert psnr(plane, expected, 255 * unit) >= (58 if fy * fx > 1 else 90)


def test_the_head_stays_in_fp32(model):
    network = open_model(find_model(model), Device("cpu"), 0).module
    half = half_precision(network)
    types = [parameter.dtype for parameter in half.parameters()]
    assert types.count(torch.float32) == 2  # weight and bias of the head
    assert types.count(torch.float16) == len(types) - 2
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
    assert half(torch.rand(1, 3, 32, 48)).dtype == torch.float32


def test_half_precision_pools_wide_pictures_exactly():
    """A half cannot count beyond 2048 (R5.11)."""
    from cliplit.networks.pooling import adaptive_average_pool

    x = torch.rand(1, 2, 5, 3843).half()
    for cells in (1, 2, 3, 6):
        expected = torch.nn.functional.adaptive_avg_pool2d(x.float(), cells)
        assert (adaptive_average_pool(x, cells).float() - expected).abs().max() < 1e-3


def test_overflow_goes_on_in_fp32_and_says_so_once(caplog):
    backend = open_model(MODELS["unet"], Device("cpu"), 0)
    with torch.no_grad():  # equal in fp32, beyond a half in between
        backend.module.condx.weight *= 1e6
        backend.module.condx.bias *= 1e6
        backend.module.condy.weight /= 1e6
    picture = backlit(40, 60)
    with caplog.at_level(logging.WARNING, logger="cliplit"):
        exact = ExactTorch(backend, half=True)
        enhanced = [exact.rgb(picture, 1.0, 16.0) for _ in range(2)]
    expected = Enhancer(MODELS["unet"], quality="exact", backend="onnxruntime")(picture)
    assert psnr(enhanced[0], expected, 255) > 60
    assert np.array_equal(*enhanced)
    assert len(caplog.records) == 1
    assert "going on in fp32" in caplog.text


@pytest.mark.gpu
def test_on_a_card(backlit_picture):
    if nvidia_driver().problem:
        pytest.skip(nvidia_driver().problem)
    enhancer = Enhancer(MODELS["unet"], device="cuda", quality="exact", backend="pytorch")
    assert enhancer.network.card is not None
    expected = Enhancer(MODELS["unet"], device="cpu", quality="exact")(backlit_picture)
    assert psnr(enhancer(backlit_picture), expected, 255) >= 50
