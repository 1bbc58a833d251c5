"""Clips at full size on a card, here with PyTorch on the CPU in fp32: the same frames as by way of numpy and C, and no
full-size light map on the host."""

from __future__ import annotations

import logging
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from cliplit.errors import BackendError
from cliplit.runtime import Enhancer
from cliplit.runtime.backends.devices import Device, nvidia_driver
from cliplit.runtime.backends.model_file import find_model
from cliplit.runtime.backends.pytorch import open_model
from cliplit.runtime.exact import exact_torch, torch_gain
from cliplit.runtime.exact.card import Card
from cliplit.runtime.exact.exact_torch import ExactTorch
from cliplit.runtime.light.colour import (
    PQ,
    Coding,
    Colour,
)
from cliplit.runtime.light.light_map import softly_bounded
from cliplit.runtime.light.pixels import PlanarPixels
from cliplit.runtime.light.region import Region
from cliplit.runtime.video.frame_loop import FrameLoop
from cliplit.runtime.video.frames import Clip, Frame
from cliplit.runtime.video.request import Steps
from cliplit.runtime.video.schedule import Schedule, StrengthCurve
from cliplit.runtime.video.segments import load_state, save_state
from made import MODELS, backlit, enhanced

HEIGHT, WIDTH = 260, 390  # more than the proxy of `lite`, so that maps are shrunk and enlarged
RATE = Fraction(1, 25)
NO_CARD = "the network was asked by way of the host"


def shot(count, coding, sampling=(2, 2), size=(HEIGHT, WIDTH), interlaced=False, sigma=4.0):
    """(clip, frames) of a still scene with sensor noise; a shadow falls on it in the middle."""
    height, width = size
    rng, top = np.random.default_rng(1), (1 << coding.depth) - 1
    dtype = np.uint8 if coding.depth == 8 else np.uint16
    y_offset, y_scale, c_offset, *_ = coding.numbers
    frames = []
    for number in range(count):
        picture = backlit(height, width).astype(np.float32) * (0.7 if number >= count // 2 else 1.0)
        picture = np.clip(picture + rng.normal(0, sigma, picture.shape), 0, 255) / 255
        if coding.rgb:
            planes = [picture[..., channel] * top for channel in range(3)]
        else:
            fy, fx = sampling
            chroma = rng.normal(0, 6, (2, -(-height // fy), -(-width // fx))) * (1 << (coding.depth - 8))
            planes = [picture[..., 1] / y_scale + y_offset, *(chroma + c_offset)]
        y, cb, cr = (np.clip(np.round(plane), 0, top).astype(dtype) for plane in planes)
        frames.append(Frame((y, cb, cr), coding, "made", number, RATE, scan="tff" if interlaced else "progressive"))
    return Clip(width, height, "made", coding, Colour(), RATE), frames


def copies(frames):
    for frame in frames:
        copy = frame.copy()
        copy.scan = frame.scan
        yield copy


def on_processor(model="lite", **settings):
    return Enhancer(model, quality="exact", backend="pytorch", device="cpu", threads=1, **settings)


def on_card(model="lite", half=False, **settings):
    """An enhancer whose clips go the card's way; anything that asks its network by way of the host fails."""
    enhancer = on_processor(model, **settings)
    enhancer.network.card = Card(open_model(find_model(model), Device("cpu"), 1), half)

    def never(pictures):
        raise AssertionError(NO_CARD)

    enhancer.network.light_maps = never
    return enhancer


def both(clip, frames, make_steps, **settings):
    """The frames by way of numpy and C, and by the card's way, as lists of planes."""
    ways = (on_processor(**settings), on_card(**settings))
    assert ways[0].network.card is None and ways[1].network.card is not None
    return [[frame.planes for frame in enhanced(clip, copies(frames), way, make_steps())] for way in ways]


def largest_differences(expected, got):
    """(largest, 99.9th percentile) in codes over all planes of all frames."""
    assert len(expected) == len(got)
    assert all(a.shape == b.shape and a.dtype == b.dtype for x, y in zip(expected, got, strict=True)
               for a, b in zip(x, y, strict=True))  # fmt: skip
    apart = [np.abs(a.astype(int) - b).ravel() for x, y in zip(expected, got, strict=True)
             for a, b in zip(x, y, strict=True)]  # fmt: skip
    apart = np.concatenate(apart)
    return int(apart.max()), float(np.percentile(apart, 99.9))


def changes(planes, frames):
    """Mean change of luma, or red, in codes: that something was done at all."""
    return np.mean([np.abs(a[0].astype(float) - f.planes[0]).mean() for a, f in zip(planes, frames, strict=True)])


KINDS = {
    "420": (Coding(), (2, 2), (HEIGHT, WIDTH)),
    "420-odd-size": (Coding(kr=0.299, kb=0.114, full_range=True), (2, 2), (HEIGHT + 1, WIDTH + 1)),
    "422-10-bit": (Coding(depth=10), (1, 2), (HEIGHT, WIDTH)),
    "444-12-bit": (Coding(depth=12), (1, 1), (HEIGHT, WIDTH)),
    "420-small": (Coding(), (2, 2), (66, 91)),
    "rgb": (Coding(rgb=True, full_range=True), (1, 1), (HEIGHT, WIDTH)),
    "rgb-16-bit": (Coding(rgb=True, full_range=True, depth=16), (1, 1), (HEIGHT, WIDTH)),
}


@pytest.mark.parametrize("temporal", [True, False], ids=["filtered", "frame-by-frame"])
@pytest.mark.parametrize("kind", KINDS)
def test_frames_come_out_the_same(kind, temporal):
    """Noise, a step in exposure, two batches; every sampling and depth; within two 8-bit codes everywhere."""
    coding, sampling, size = KINDS[kind]
    clip, frames = shot(6, coding, sampling, size)
    expected, got = both(clip, frames, lambda: Steps() if temporal else Steps(0.0), strength=0.8)
    unit = 1 << (coding.depth - 8)
    largest, most = largest_differences(expected, got)
    assert largest <= 2 * unit and most <= unit
    assert changes(expected, frames) > 8 * unit


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (HEIGHT + 2, WIDTH)], ids=["fields", "too-odd-for-fields"])
def test_interlaced_frames(size):
    clip, frames = shot(5, Coding(), size=size, interlaced=True)
    expected, got = both(clip, frames, lambda: Steps())
    assert largest_differences(expected, got)[0] <= 2
    progressive = copies(shot(5, Coding(), size=size)[1])
    woven = [frame.planes for frame in enhanced(clip, progressive, on_card(), Steps())]
    assert (largest_differences(woven, got)[0] > 2) == (size == (HEIGHT, WIDTH))  # the fields do make a difference


def test_a_region():
    clip, frames = shot(3, Coding())
    expected, got = both(clip, frames, lambda: Steps(region=Region(40, 100, 200, 120)))
    assert largest_differences(expected, got)[0] <= 2
    for planes, frame in zip(got, frames, strict=True):
        assert np.array_equal(planes[0][:, 250:], frame.planes[0][:, 250:])
        assert planes[0][150:200, 100:200].mean() > 1.2 * frame.planes[0][150:200, 100:200].mean()


def test_strength_over_time():
    """0 passes untouched, in the middle of a batch, and the others get the strength of their own moment."""
    clip, frames = shot(6, Coding())
    moments = StrengthCurve.parse("0:0,0.08:0,0.2:2")
    expected, got = both(clip, frames, lambda: Steps(strength=Schedule(moments)))
    assert largest_differences(expected, got)[0] <= 2
    assert all(np.array_equal(got[n][p], frames[n].planes[p]) for n in range(3) for p in range(3))
    assert changes(got[5:], frames[5:]) > changes(got[3:4], frames[3:4]) + 5


def test_a_gain_bounded_by_noise():
    clip, frames = shot(4, Coding(), sigma=6.0)
    expected, got = both(clip, frames, lambda: Steps(), max_gain="auto")
    free, _ = both(clip, frames, lambda: Steps())
    assert largest_differences(expected, got)[0] <= 2
    assert changes(got, frames) < 0.95 * changes(free, frames)  # the bound was at work


@pytest.mark.parametrize("kind", ["side", "split", "wipe"])
def test_comparisons(kind):
    clip, frames = shot(5, Coding())
    expected, got = both(clip, frames, lambda: Steps(compare=kind))
    assert largest_differences(expected, got)[0] <= 2


def test_the_full_size_light_map_stays_on_the_device(monkeypatch):
    """What becomes a numpy array is codes, and maps of proxy size."""
    fetched = []
    real = torch.Tensor.numpy

    def watched(tensor, *arguments, **options):
        fetched.append((tensor.dtype, tuple(tensor.shape)))
        return real(tensor, *arguments, **options)

    monkeypatch.setattr(torch.Tensor, "numpy", watched)
    monkeypatch.setattr(torch.Tensor, "__array__", lambda *rest, **options: pytest.fail("an array behind our back"))
    clip, frames = shot(6, Coding())
    enhancer = on_card()
    assert len(list(enhanced(clip, copies(frames), enhancer, Steps()))) == 6
    h, w = enhancer.steady_size(HEIGHT, WIDTH)
    assert h < HEIGHT and w < WIDTH
    assert {shape for dtype, shape in fetched if dtype.is_floating_point} == {(4, 2, h, w), (2, 2, h, w), (1, h, w)}
    once = [shape for dtype, shape in fetched if dtype == torch.uint8]
    assert once.count((HEIGHT, WIDTH)) == 6 and once.count((HEIGHT // 2, WIDTH // 2)) == 12  # down
    assert sum(shape[0] for shape in once if shape[1:] == (HEIGHT, WIDTH)) == 6  # up
    assert sum(shape[0] for shape in once if shape[1:] == (HEIGHT // 2, WIDTH // 2)) == 12
    assert len(once) == 3 * 6 + 3 * 2


def test_hdr_goes_by_the_processor():
    clip, frames = shot(1, Coding(depth=10))
    hdr = Clip(clip.width, clip.height, "made", clip.coding, Colour(transfer=PQ), RATE)
    pixels = PlanarPixels(frames[0].planes, hdr.coding, transfer=PQ)
    assert not on_card().network.card.takes(pixels)
    assert on_card().network.card.takes(replace(pixels, transfer=1))


def test_a_resumed_run_goes_on_where_it_was(tmp_path):
    """Also where it was another way: the state is the same."""
    clip, frames = shot(10, Coding())
    whole = [f.planes for f in enhanced(clip, copies(frames), on_card(), Steps())]
    for first, second in ((on_card, on_card), (on_card, on_processor), (on_processor, on_card)):
        before, after = FrameLoop(clip, first(), Steps()), FrameLoop(clip, second(), Steps())
        list(before(copies(frames[:5])))
        save_state(tmp_path / "state.npz", before)
        load_state(tmp_path / "state.npz", after)
        rest = [f.planes for f in after(copies(frames[5:]))]
        # Batches begin elsewhere, and PyTorch sums them otherwise: a code may be rounded the other way, and lifted.
        assert largest_differences(whole[5:], rest)[0] <= (1 if first is second else 3)


class Watched:
    """The items of a source and the calls of a network, in the order in which they happen."""

    def __init__(self, exact, items):
        self.events = []
        self._items, self._network = items, exact.network
        exact.network = self

    def __call__(self, rgb):
        self.events.append(len(rgb))
        return self._network(rgb)

    def __iter__(self):
        yield from self._items


def test_batches_are_asked_for_ahead_and_everything_keeps_its_order():
    clip, frames = shot(10, Coding(), size=(66, 91))
    enhancer = on_card()
    packets = [object() for _ in range(4)]
    items = [packets[0], *copies(frames[:3]), packets[1], packets[2], *copies(frames[3:]), packets[3]]
    watched = Watched(enhancer.network.card, items)
    given = []
    for item in enhanced(clip, watched, enhancer, Steps()):
        given.append(item.pts if isinstance(item, Frame) else item)
        watched.events.append(given[-1])
    assert given == [packets[0], 0, 1, 2, packets[1], packets[2], *range(3, 10), packets[3]]
    assert watched.events == [4, 4, *given[:7], 2, *given[7:]]


def test_live_frames_do_not_wait_for_the_next():
    clip, frames = shot(3, Coding(), size=(66, 91))
    enhancer = on_card()
    asked = []

    def source():
        for frame in copies(frames):
            asked.append(frame.pts)
            yield frame

    for item in enhanced(clip, source(), enhancer, Steps(), live=True):
        assert asked[-1] == item.pts


def test_overflow_in_half_precision_goes_on_in_fp32(caplog):
    """While the next batch is on its way in half precision already: one note, and every frame right."""
    clip, frames = shot(6, Coding(), size=(66, 91))
    enhancer = on_card(MODELS["unet"], half=True)
    expected = [f.planes for f in enhanced(clip, copies(frames), on_processor(MODELS["unet"]), Steps())]
    exact = enhancer.network.card
    half = exact.network
    exact.network = lambda rgb: half(rgb) * float("nan")
    exact.batch = 2
    with caplog.at_level(logging.WARNING, logger="cliplit"):
        got = [f.planes for f in enhanced(clip, copies(frames), enhancer, Steps())]
    assert largest_differences(expected, got)[0] <= 2
    assert len(caplog.records) == 1 and "going on in fp32" in caplog.text


def test_nan_in_fp32_is_an_error():
    clip, frames = shot(2, Coding(), size=(66, 91))
    enhancer = on_card()
    real = enhancer.network.card.network
    enhancer.network.card.network = lambda rgb: real(rgb) * float("inf")
    with pytest.raises(BackendError, match="NaN or infinity"):
        list(enhanced(clip, copies(frames), enhancer, Steps()))
    with pytest.raises(BackendError, match="NaN or infinity"):
        enhancer(backlit(40, 60))


class SmallCard:
    """A network on a card whose memory holds so many frames."""

    def __init__(self, exact, fits):
        self.sizes = []
        self._network, self._fits = exact.network, fits
        exact.network = self

    def __call__(self, rgb):
        self.sizes.append(len(rgb))
        if len(rgb) > self._fits:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.")
        return self._network(rgb)


@pytest.mark.parametrize("fits, sizes", [(2, [4, 2, 2, 2]), (1, [4, 2, 1, 1, 1, 1, 1, 1])])
def test_a_card_too_small_for_a_batch_takes_smaller_ones(fits, sizes):
    clip, frames = shot(6, Coding(), size=(66, 91))
    enhancer = on_card()
    small = SmallCard(enhancer.network.card, fits)
    got = [f.planes for f in enhanced(clip, copies(frames), enhancer, Steps())]
    expected = [f.planes for f in enhanced(clip, copies(frames), on_card(), Steps())]
    assert largest_differences(expected, got)[0] <= 1
    assert small.sizes == sizes
    exact = on_card().network.card
    codes = exact.codes([frame.planes for frame in frames])
    alone = exact.enhance_planes(codes, clip.coding, 1.0, 16.0)
    small = SmallCard(exact, fits)
    again = exact.enhance_planes(codes, clip.coding, 1.0, 16.0)
    assert max(float((one - other).abs().max()) for one, other in zip(alone, again, strict=True)) <= 1
    assert small.sizes == sizes


def test_batches_keep_below_the_most_numbers_of_a_tensor(monkeypatch):
    """8K: two pictures of the paper's 64 channels are more than PyTorch pads by reflection on a card."""
    enhancer = on_card(MODELS["unet"])
    exact = enhancer.network.card
    small = SmallCard(exact, 4)
    rgb = torch.rand(4, 3, 66, 90)
    monkeypatch.setattr(exact_torch, "MOST", 2 * 64 * 68 * 92)
    with torch.inference_mode():
        exact.light(rgb)
    assert small.sizes == [2, 2] and exact.batch == 4


def test_a_card_too_small_for_a_frame_is_an_error():
    clip, frames = shot(1, Coding(), size=(66, 91))
    enhancer = on_card()
    SmallCard(enhancer.network.card, 0)
    with pytest.raises(BackendError, match=r"too little memory.*CUDA out of memory.*quality 'fast'"):
        list(enhanced(clip, copies(frames), enhancer, Steps()))
    with pytest.raises(BackendError, match="too little memory"):
        enhancer(backlit(40, 60))


@pytest.mark.parametrize("small", [(192, 288), (130, 195), (260, 390), (37, 53)])
def test_maps_are_shrunk_and_enlarged_as_opencv_does_it(small):
    full = backlit(HEIGHT, WIDTH)[..., 1].astype(np.float32) / 255
    device = torch.device("cpu")
    tensor = torch.from_numpy(full)[None, None]
    got = torch_gain.Shrink((HEIGHT, WIDTH), small, device)(tensor)
    expected = cv2.resize(full, small[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(got[0, 0].numpy() - expected).max() < 1e-5
    back = torch_gain.enlarged(got, (HEIGHT, WIDTH))[0, 0].numpy()
    assert np.abs(back - cv2.resize(expected, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)).max() < 1e-4


def test_a_soft_bound_is_the_same():
    stops = np.linspace(-5, 0, 50, dtype=np.float32)
    got = torch_gain.softly_bounded(torch.from_numpy(stops), 6.0).numpy()
    assert np.abs(got - softly_bounded(stops, 6.0)).max() < 1e-6


def test_sixteen_bits_survive_the_way_up_and_down():
    exact = ExactTorch(open_model(find_model("lite"), Device("cpu"), 1))
    codes = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(exact.down(exact.up([codes, codes[::-1]])[1], codes.dtype), codes[::-1])


def test_the_benchmark_times_this_way():
    """The part of it that needs no card."""
    from cliplit.benchmarks.exact import clip_seconds

    enhancer = on_card()
    watched = Watched(enhancer.network.card, [])
    assert clip_seconds(enhancer, (66, 90), 6) > 0
    assert watched.events == [4, 4, 4, 2]  # eight frames that warm up, then six


@pytest.mark.gpu
def test_on_a_real_card():
    """Half precision: close to the processor's frames, and the same with and without looking ahead."""
    if nvidia_driver().problem:
        pytest.skip(nvidia_driver().problem)
    clip, frames = shot(10, Coding(), size=(540, 960))
    card = Enhancer(MODELS["unet"], quality="exact", backend="pytorch", device="cuda")
    assert isinstance(card.network.card, Card)
    expected = [f.planes for f in enhanced(clip, copies(frames), on_processor(MODELS["unet"]), Steps())]
    got = [f.planes for f in enhanced(clip, copies(frames), card, Steps())]
    one_by_one = [f.planes for f in enhanced(clip, copies(frames), card, Steps(), live=True)]
    assert largest_differences(expected, got)[1] <= 2
    assert largest_differences(one_by_one, got)[1] <= 2
