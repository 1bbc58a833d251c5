"""Golden pictures: what the bundled models make of made pictures, so that a wrong conversion cannot land unseen (R8.1).

The references are committed PNGs, written by `python tests/test_golden.py` when a model or the pixel loop changes on
purpose. 60 dB leaves room for other processors' rounding (one code in one sample of fifteen) and for nothing else, as
the mutations below show.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from made import MODELS

GOLDEN = Path(__file__).parent / "golden"
LEAST = 60.0  # dB
CASES = [(model, quality) for model in ("lite", "unet") for quality in ("fast", "exact")]
SIZE = 216, 320  # larger than both proxies, so that the resize is seen


def pixels(value):
    """Integers to [0, 1] by a hash (Wang's), the same on every machine and with every numpy."""
    x = value.astype(np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(40)).astype(np.float64) / 2**24


def made_picture():
    """(H, W, 3) uint8: a warm, dark interior, a blue window with a frame, a lamp; coarse texture and grain."""
    height, width = SIZE
    y, x = np.mgrid[0:height, 0:width]
    coarse = pixels((y // 9) * 1000 + x // 9)
    grain = pixels(y * 100003 + x * 7 + 1)
    wall = (14 + 22 * coarse + 6 * grain)[..., None] * np.array([1.35, 1.0, 0.6])
    sky = np.stack([170 + 60 * y / height, 195 + 45 * y / height, 250 - 10 * x / width], axis=-1)
    window = (x > 190) & (x < 300) & (y > 20) & (y < 140) & (abs(x - 245) > 3) & (abs(y - 80) > 3)
    lamp = (x - 60) ** 2 + (y - 60) ** 2 < 300
    figure = (abs(x - 225) < 16) & (y > 90)
    picture = np.where(window[..., None] & ~figure[..., None], sky, wall)
    picture = np.where(lamp[..., None], [250, 225, 140], picture)
    return np.clip(np.floor(picture + 0.5), 0, 255).astype(np.uint8)


def psnr(one, other):
    error = np.mean((one.astype(np.float64) - other) ** 2)
    return 10 * np.log10(255**2 / max(error, 1e-10))


def golden(model, quality):
    data = np.fromfile(GOLDEN / f"{model}-{quality}.png", np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


def enhancer(model, quality):
    from cliplit.runtime import Enhancer

    return Enhancer(MODELS[model], device="cpu", quality=quality)


def test_the_made_picture_is_the_same_everywhere():
    picture = made_picture()
    assert picture.shape == (*SIZE, 3)
    assert picture.astype(np.int64).sum() == TOTAL
    weights = np.arange(picture.size, dtype=np.int64) % 251
    assert int((picture.ravel() * weights).sum()) == WEIGHTED


@pytest.mark.parametrize("model, quality", CASES)
def test_models_give_the_golden_pictures(model, quality):
    assert psnr(enhancer(model, quality)(made_picture()), golden(model, quality)) >= LEAST


@pytest.mark.parametrize("model, quality", CASES)
def test_a_golden_picture_is_a_relighted_one(model, quality):
    """So that nobody commits a black or an unchanged one."""
    before, after = made_picture().astype(int), golden(model, quality).astype(int)
    dark = before.max(axis=2) < 60
    assert after[dark].mean() > 1.5 * before[dark].mean()
    assert (after >= before).all()


@pytest.mark.parametrize("model", ["lite", "unet"])
def test_the_video_path_gives_them_too(model):
    """Planes instead of pixels, 4:4:4 so that nothing is lost: within the rounding of the Y'CbCr conversion."""
    from cliplit.runtime.light.colour import Coding
    from cliplit.runtime.light.gain import apply_planes
    from cliplit.runtime.light.proxy import planes_proxy

    picture, coding = made_picture(), Coding(full_range=True)
    planes = planes_of(picture, coding)
    relight = enhancer(model, "fast")
    proxy = planes_proxy(planes, coding, relight.proxy_size(*SIZE))
    out = tuple(np.empty_like(plane) for plane in planes)
    apply_planes(planes, out, relight.refine(relight.log_light(proxy), proxy.luma), coding)
    assert psnr(rgb_of(out, coding), golden(model, "fast")) >= 35


# ---------------------------------------------------------------- mutations that must not pass


def swapped_channels(monkeypatch, relight):
    network = relight.network
    object.__setattr__(relight, "network", Wrapped(network, lambda rgb: np.ascontiguousarray(rgb[..., ::-1])))


def linear_light(monkeypatch, relight):
    object.__setattr__(relight, "network", Wrapped(relight.network, lambda rgb: rgb ** np.float32(2.2)))


def wrong_range(monkeypatch, relight):
    """Values that were scaled to 0..255/256 instead of 0..1."""
    object.__setattr__(relight, "network", Wrapped(relight.network, lambda rgb: rgb * np.float32(219 / 255)))


def nearest_resize(monkeypatch, relight):
    from cliplit.runtime.light import proxy

    def shrink(picture, size):
        return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_NEAREST)

    monkeypatch.setattr(proxy, "shrink", shrink)


def other_gain(monkeypatch, relight):
    """The paper's plain division in the place of the protected gain."""
    import cliplit.runtime.enhancer as module

    def divide(picture, coefficients, cleanup):
        from cliplit.runtime.light.gain import full_size_log_light
        from cliplit.runtime.light.proxy import rgb_proxy

        light = np.exp2(full_size_log_light(rgb_proxy(picture, picture.shape[:2]).luma, coefficients))
        return np.clip(np.round(picture / light[..., None]), 0, 255).astype(np.uint8)

    monkeypatch.setattr(module, "apply_rgb", divide)


def shifted_light(monkeypatch, relight):
    """A light map one proxy pixel to the side: what a wrong align_corners or padding looks like."""
    network = relight.network
    object.__setattr__(relight, "network", Wrapped(network, lambda rgb: rgb, lambda light: np.roll(light, 1, axis=1)))


class Wrapped:
    """A network with something wrong before or after it."""

    def __init__(self, network, before, after=lambda light: light):
        self.network, self.before, self.after, self.info = network, before, after, network.info

    def __call__(self, rgb):
        return self.after(self.network(self.before(rgb)))


@pytest.mark.parametrize("model", ["lite", "unet"])
@pytest.mark.parametrize(
    "mutation", [swapped_channels, linear_light, wrong_range, nearest_resize, other_gain, shifted_light]
)
def test_a_wrong_conversion_is_seen(monkeypatch, model, mutation):
    relight = enhancer(model, "fast")
    mutation(monkeypatch, relight)
    assert psnr(relight(made_picture()), golden(model, "fast")) < LEAST - 5


def test_rounding_of_another_processor_passes(monkeypatch):
    relight = enhancer("lite", "fast")
    error = np.float32(1e-5) * (pixels(np.arange(10**6)) - 0.5).astype(np.float32)

    def rounded(light):
        return light + error[: light.size].reshape(light.shape)

    object.__setattr__(relight, "network", Wrapped(relight.network, lambda rgb: rgb, rounded))
    assert psnr(relight(made_picture()), golden("lite", "fast")) >= LEAST


def planes_of(picture, coding):
    """Y'CbCr codes of RGB by the definition (ITU-T H.273), full range."""
    r, g, b = (picture[..., i].astype(np.float64) for i in range(3))
    y = coding.kr * r + (1 - coding.kr - coding.kb) * g + coding.kb * b
    cb, cr = (b - y) / (2 * (1 - coding.kb)) + 128, (r - y) / (2 * (1 - coding.kr)) + 128
    return tuple(np.clip(np.round(p), 0, 255).astype(np.uint8) for p in (y, cb, cr))


def rgb_of(planes, coding):
    y, cb, cr = (p.astype(np.float64) for p in planes)
    r, b = y + 2 * (1 - coding.kr) * (cr - 128), y + 2 * (1 - coding.kb) * (cb - 128)
    g = (y - coding.kr * r - coding.kb * b) / (1 - coding.kr - coding.kb)
    return np.clip(np.round(np.stack([r, g, b], axis=-1)), 0, 255)


TOTAL, WEIGHTED = 11740830, 1464097764

if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for model, quality in CASES:
        enhanced = enhancer(model, quality)(made_picture())
        _, encoded = cv2.imencode(".png", enhanced[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
        (GOLDEN / f"{model}-{quality}.png").write_bytes(encoded.tobytes())
    picture = made_picture()
    weights = np.arange(picture.size, dtype=np.int64) % 251
    print("TOTAL, WEIGHTED =", picture.astype(np.int64).sum(), ",", int((picture.ravel() * weights).sum()))
