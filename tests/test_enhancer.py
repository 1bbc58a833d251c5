"""`Enhancer`: what every picture may expect, also the strange ones."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cliplit.constants import LUMA_WEIGHTS
from cliplit.errors import BackendError, InputError, ModelError
from cliplit.runtime import Enhancer
from cliplit.runtime.enhancer import check_memory
from made import MODELS, backlit

DTYPES = [np.uint8, np.uint16, np.float32]


def as_type(picture, dtype):
    if dtype == np.uint16:
        return picture.astype(np.uint16) * 257
    return picture if dtype == np.uint8 else picture.astype(np.float32) / 255


@pytest.mark.parametrize("dtype", DTYPES)
def test_foreground_is_brightened_and_sky_left_alone(enhancer, dtype):
    picture = as_type(backlit(), dtype)
    enhanced = enhancer(picture)
    assert enhanced.dtype == dtype
    assert enhanced.shape == picture.shape
    ground, sky = np.s_[150:, :], np.s_[:40, :]
    assert enhanced[ground].mean() > 2.0 * picture[ground].mean()
    assert abs(float(enhanced[sky].mean()) / float(picture[sky].mean()) - 1) < 0.10


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [3, 4])
def test_strength_zero_is_the_identity_bit_for_bit(dtype, channels):
    rng = np.random.default_rng(0)
    picture = as_type(rng.integers(0, 256, (37, 53, channels), dtype=np.uint8), dtype)
    enhanced = Enhancer(strength=0)(picture)
    assert enhanced is not picture
    assert np.array_equal(enhanced, picture)


def test_strength_moves_monotonically(backlit_picture):
    means = [Enhancer(strength=s)(backlit_picture).mean() for s in (0.0, 0.25, 0.5, 1.0, 1.5)]
    assert means == sorted(means)
    assert means[3] > means[0] * 1.1


def test_max_gain_bounds_the_gain(backlit_picture):
    """Of luma; a channel may gain from its surroundings what is taken as noise (`runtime.light.shadows`)."""
    before, after = (p @ np.array(LUMA_WEIGHTS) for p in (backlit_picture, Enhancer(max_gain=1.5)(backlit_picture)))
    assert (after <= before * 1.5 + 1.5).all()
    exact = Enhancer(max_gain=1.5, quality="exact")(backlit_picture)
    assert (exact <= backlit_picture * 1.5 + 0.51).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_alpha_is_untouched(enhancer, dtype):
    rng = np.random.default_rng(1)
    alpha = rng.integers(1, 256, (180, 320, 1), dtype=np.uint8)  # 0 hides: test_bars.py
    picture = as_type(np.concatenate([backlit(), alpha], axis=2), dtype)
    enhanced = enhancer(picture)
    assert np.array_equal(enhanced[..., 3], picture[..., 3])
    assert np.array_equal(enhanced[..., :3], enhancer(np.ascontiguousarray(picture[..., :3])))


def test_same_picture_at_three_depths_looks_the_same(enhancer, backlit_picture):
    """Debanding is of 8 bits alone: less than half a code, lifted."""
    eight = enhancer(backlit_picture).astype(float)
    sixteen = enhancer(as_type(backlit_picture, np.uint16)) / 257
    assert np.abs(sixteen - eight).max() <= 4.0 and np.abs(sixteen - eight).mean() < 0.5
    assert np.abs(enhancer(as_type(backlit_picture, np.float32)) * 255 - sixteen).max() <= 0.1


@pytest.mark.parametrize("quality", ["fast", "exact"])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (3, 500), (500, 3), (17, 31), (127, 255)])
def test_odd_and_tiny_sizes(quality, size):
    picture = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
    enhanced = Enhancer(quality=quality)(picture)
    assert enhanced.shape == picture.shape
    assert (enhanced >= picture).all()


@pytest.mark.long
def test_8k(enhancer):
    picture = np.tile(backlit(1080, 1920), (4, 4, 1))
    assert picture.shape == (4320, 7680, 3)
    enhanced = enhancer(picture)
    assert enhanced.mean() > picture.mean()


@pytest.mark.parametrize("quality", ["fast", "exact"])
def test_all_black_stays_black_and_all_white_stays_white(quality):
    enhancer = Enhancer(quality=quality)
    for value in (0, 255):
        picture = np.full((64, 96, 3), value, np.uint8)
        assert np.array_equal(enhancer(picture), picture)


def test_non_finite_samples_pass_and_do_not_spread(enhancer):
    clean = as_type(backlit(), np.float32)
    dirty = clean.copy()
    dirty[10, 10] = np.nan
    dirty[20, 20, 1] = np.inf
    dirty[30, 30] = 4.0  # a highlight above white, as float pictures have
    enhanced = enhancer(dirty)
    assert np.isnan(enhanced[10, 10]).all()
    assert np.isposinf(enhanced[20, 20, 1])
    assert np.allclose(enhanced[30, 30], 4.0)
    others = np.ones(clean.shape[:2], bool)
    others[0:60, 0:60] = False
    assert np.isfinite(enhanced[others]).all()
    assert np.abs(enhanced - enhancer(clean))[others].max() < 0.02


def test_light_map_has_full_size_and_its_bounds(enhancer, backlit_picture):
    light = enhancer.light_map(backlit_picture)
    assert light.shape == backlit_picture.shape[:2]
    assert light.dtype == np.float32
    assert light.min() >= 1 / 16 - 1e-6
    assert light.max() <= 1.0
    assert light[160].mean() < light[10].mean()


def test_no_halo_at_the_skyline(enhancer):
    """Just above a crisp skyline the sky must not be brighter or darker than far above it."""
    picture = np.full((240, 320, 3), (150, 165, 190), np.uint8)
    picture[140:] = (20, 18, 15)
    enhanced = enhancer(picture).astype(float)[:, 40:280].mean(axis=(1, 2))
    sky = enhanced[20:139]
    assert sky.max() - sky.min() < 0.08 * sky.mean()
    ground = enhanced[141:220]
    assert ground.max() - ground.min() < 0.35 * ground.mean()


def test_rows_of_a_view_and_fortran_order_are_accepted(enhancer, backlit_picture):
    reference = enhancer(backlit_picture)
    assert np.array_equal(enhancer(np.asfortranarray(backlit_picture)), reference)
    wide = np.zeros((180, 640, 3), np.uint8)
    wide[:, 100:420] = backlit_picture
    assert np.array_equal(enhancer(wide[:, 100:420]), reference)


def test_several_threads_share_one_enhancer(enhancer):
    pictures = [backlit(seed=s) for s in range(6)]
    alone = [enhancer(p) for p in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(enhancer, pictures))
    for a, b in zip(alone, together, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("model, network", [("lite", "relative"), ("unet", "unet")])
def test_models_say_what_they_are(model, network):
    info = Enhancer(MODELS[model]).network.info
    assert info.name == network
    assert info.checkpoint_sha256
    assert "paired" in info.training


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4,), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((2, 4, 4, 1), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.int16),
        np.zeros((4, 4, 3), np.complex64),
        [[1, 2, 3]],
    ],
)
def test_what_is_no_picture_is_refused(enhancer, picture):
    with pytest.raises(InputError, match="picture"):
        enhancer(picture)


def test_wrong_arguments_are_refused(tmp_path):
    for arguments in ({"strength": -1}, {"strength": 3}, {"max_gain": 0.5}, {"quality": "best"}, {"device": "tpu"}):
        with pytest.raises(InputError):
            Enhancer(**arguments)
    with pytest.raises(InputError, match="lite"):
        Enhancer("no_such_model")
    checkpoint = tmp_path / "x.pth"
    checkpoint.write_bytes(b"x")
    with pytest.raises(ModelError, match="cliplit-export"):
        Enhancer(checkpoint)
    noise = tmp_path / "x.onnx"
    noise.write_bytes(b"not an onnx file")
    with pytest.raises(ModelError, match=r"x\.onnx"):
        Enhancer(noise)


def test_cuda_that_is_not_there_is_said():
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has a CUDA build of ONNX Runtime")
    with pytest.raises(BackendError, match="onnxruntime"):
        Enhancer(device="cuda")


def test_exact_beyond_memory_is_refused_before_it_starts():
    with pytest.raises(InputError, match="fast"):
        check_memory(200_000, 200_000)


def test_other_arrays_that_people_have(enhancer, backlit_picture):
    """Gray, float64, the other byte order and batches give what the ordinary picture gives."""
    reference = enhancer(backlit_picture)
    gray = backlit_picture[..., 1]
    expected = enhancer(np.dstack([gray] * 3))[..., 0]
    assert np.array_equal(enhancer(gray), expected) and np.array_equal(enhancer(gray[..., None])[..., 0], expected)
    halves = enhancer(backlit_picture / 255.0)
    assert halves.dtype == np.float64
    assert np.array_equal(halves.astype(np.float32), enhancer((backlit_picture / 255.0).astype(np.float32)))
    deep = as_type(backlit_picture, np.uint16)
    swapped = enhancer(deep.astype(">u2"))
    assert swapped.dtype == np.dtype(">u2") and np.array_equal(swapped, enhancer(deep))
    other = backlit(180, 320, 4)
    batch = enhancer(np.stack([backlit_picture, other]))
    assert np.array_equal(batch[0], reference) and np.array_equal(batch[1], enhancer(other))
    assert enhancer.light_map(gray).shape == gray.shape


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_float_of_0_to_255_is_refused(enhancer, backlit_picture, kind):
    """It came back as it was: all of it is above white."""
    with pytest.raises(InputError, match="divide it by 255"):
        enhancer(backlit_picture.astype(kind))
    lights = np.full((40, 60, 3), 0.1, kind)
    lights[:10] = 30.0  # a quarter of it brighter than white, as HDR pictures have
    assert np.array_equal(enhancer(lights)[:10], lights[:10])


def test_an_enhancer_does_not_change(enhancer):
    with pytest.raises(AttributeError, match="adjusted"):
        enhancer.strength = 0.5
    with pytest.raises(AttributeError):
        del enhancer.max_gain
    exact = enhancer.adjusted(quality="exact", max_gain="auto")
    softer = exact.adjusted(0.5)
    assert (softer.strength, softer.quality, softer.auto_max_gain) == (0.5, "exact", True)
    assert softer.network is enhancer.network
    with Enhancer() as used:
        assert used.adjusted(max_gain=np.float32(8)).max_gain == 8.0


def test_pickling_says_what_to_do(enhancer):
    with pytest.raises(TypeError, match="make one Enhancer in each process"):
        pickle.dumps(enhancer)
    assert copy.deepcopy(enhancer).network is enhancer.network


@pytest.mark.parametrize(
    "arguments",
    [{"strength": "1"}, {"strength": None}, {"strength": float("nan")}, {"max_gain": None}, {"max_gain": True},
     {"quality": ["fast"]}, {"model": 5}, {"threads": "2"}, {"threads": -1}, {"device": None}, {"backend": 3}],
)  # fmt: skip
def test_arguments_of_wrong_types_are_refused_by_name(arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        Enhancer(**arguments)
