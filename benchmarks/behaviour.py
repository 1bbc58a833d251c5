"""Whether the light behaves like light: laws that no score shows, measured on any photos and on clips made of them.

    python -m cliplit.benchmarks.behaviour PHOTOS             # every picture below the folder, well lit ones say most
    python -m cliplit.benchmarks.behaviour PHOTOS --model your.onnx

Levels are mean luma in 8-bit codes. Photos are shrunk to at most `--side` pixels. Exposure is changed in linear light,
then rounded to 8 bits. Every line is a bound that should hold, and what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np

from cliplit.arrays import Array
from cliplit.command import reports_errors
from cliplit.constants import LUMA_WEIGHTS
from cliplit.errors import InputError
from cliplit.pictures.picture_folder import decoded, list_pictures
from cliplit.pictures.tone import srgb_decode, srgb_encode
from cliplit.runtime import Enhancer, PackedRGB, Relighting

from .quality import pair_scores
from .tables import Table, markdown

RATE = 25
STOPS = np.arange(17) / 4  # of underexposure
BARS = {"black": 0, "white": 255, "grey": 128}
BLACK_LEVEL = 6.0  # mean luma of the input below which a fade has ended
SHADOWS = 4.0, 60.0  # luma in codes
LEAST_EDGES = 0.15  # mean step in codes; less tells nothing
COARSE = 8  # pixels over which still parts are averaged


@dataclass(frozen=True)
class Finding:
    """One law: `found` should be at most `bound`, or at least where `least`."""

    law: str
    found: float
    bound: float
    unit: str
    least: bool = False

    @property
    def holds(self) -> bool:
        return self.found >= self.bound if self.least else self.found <= self.bound


def level(picture: Array) -> float:
    return float((picture[..., :3] @ np.array(LUMA_WEIGHTS)).mean())


def exposed(picture: Array, stops: float) -> Array:
    """Change the exposure of (H, W, 3) uint8 by so many stops."""
    light = srgb_decode(picture.astype(np.float32) / 255) * np.float32(2.0**stops)
    return np.round(srgb_encode(light) * 255).astype(np.uint8)


def exposure_curve(relight: Callable[[Array], Array], photo: Array) -> list[float]:
    """Return the level of a relighted photo that gets less and less light, by `STOPS`."""
    return [level(relight(exposed(photo, -stops))) for stops in STOPS]


def captioned(picture: Array) -> Array:
    """Write two lines of white text into a copy of (H, W, 3) uint8."""
    text, (height, width) = picture.copy(), picture.shape[:2]
    for line in range(2):
        place = width // 8, height - height // 12 - line * height // 10
        cv2.putText(text, "what was it that you said", place, 0, width / 700, (255, 255, 255), 2)
    return text


def relighted(enhancer: Enhancer, frames: Sequence[Array]) -> list[Array]:
    """Relight a clip of (H, W, 3) uint8 frames with the temporal filter as shipped."""
    clip, results = Relighting(enhancer), []
    for number, frame in enumerate(frames):
        pixels = PackedRGB(frame)
        out = clip.relight(pixels, clip.look([pixels])[0], number / RATE)
        assert isinstance(out, PackedRGB)
        results.append(out.samples)
    return results


# ---------------------------------------------------------------- pictures


def bars(enhancer: Enhancer, photos: Sequence[Array]) -> Iterator[Finding]:
    """Measure how much the content changes, on average over a picture, by what surrounds it; the worst photo."""
    worst, moved = 0.0, 0.0
    for number, photo in enumerate(photos):
        rows, columns = (round(side * share) for side, share in zip(photo.shape, (0.12, 0.2), strict=False))
        plain = enhancer(photo).astype(np.float32)
        for index, value in enumerate(BARS.values()):
            sides = ((rows, rows), (0, 0)) if (number + index) % 2 else ((0, 0), (columns, columns))
            before = np.pad(photo, (*sides, (0, 0)), constant_values=value)
            after = enhancer(before)
            content = tuple(slice(a, side - b) for (a, b), side in zip(sides, before.shape, strict=False))
            worst = max(worst, float(np.abs(after[content] - plain).mean()))
            outside = np.ones(before.shape[:2], bool)
            outside[content] = False
            moved = max(moved, float(np.abs(after[outside].astype(int) - before[outside]).max()))
    yield Finding("bars: content changes", worst, 1.0, "codes")
    yield Finding("bars: they themselves change", moved, 0.0, "codes")


def transparency(enhancer: Enhancer, photos: Sequence[Array]) -> Iterator[Finding]:
    """Measure how much the seen part of a cut-out depends on the colour that transparent pixels hide."""
    worst = 0.0
    for photo in photos:
        height, width = photo.shape[:2]
        alpha = np.zeros((height, width), np.uint8)
        cv2.ellipse(alpha, (width // 2, height // 2), (width // 3, height // 3), 0, 0, 360, 255, -1)
        hidden = [np.where(alpha[..., None] > 0, photo, np.uint8(value)) for value in (0, 255)]
        black, white = (enhancer(np.dstack([picture, alpha]))[alpha > 0].astype(int) for picture in hidden)
        worst = max(worst, float(np.abs(black - white).mean()))
    yield Finding("alpha: what is hidden changes what is seen", worst, 1.0, "codes")


def exposure(enhancer: Enhancer, photos: Sequence[Array]) -> Iterator[Finding]:
    """Measure how the level answers to less and less light, in quarter stops."""
    rises, alike, curves = [], [], []
    for photo in photos:
        curve = exposure_curve(enhancer, photo)
        curves.append(curve)
        rises.append(float(np.diff(curve).max()))
        alike.append(pair_scores(photo, enhancer(photo), photo)["ssim"])
    yield Finding("exposure: largest rise for less light", max(rises), 2.0, "codes")
    yield Finding("exposure: photos that rise by more than 2 codes", sum(rise > 2.0 for rise in rises), 0.0, "")
    yield Finding("exposure: SSIM to the photo itself, mean", float(np.mean(alike)), 0.975, "", least=True)
    yield Finding("exposure: SSIM to the photo itself, worst", min(alike), 0.90, "", least=True)


def gradient(enhancer: Enhancer, _: Sequence[Array]) -> Iterator[Finding]:
    """Measure the largest step made of steps of one code."""
    ramp = np.repeat(np.repeat(np.arange(17, 37, dtype=np.uint8), 16)[None, :, None], 180, axis=0).repeat(3, axis=2)
    after = enhancer(ramp)[90].astype(int)
    yield Finding("gradient 17..36: largest step", float(np.abs(np.diff(after, axis=0)).max()), 3.0, "codes")


def grain(enhancer: Enhancer, photos: Sequence[Array]) -> Iterator[Finding]:
    """Measure how much noise and block edges of chroma grow in shadows: out over in, the worst photo.

    Noise is what two pictures with noise of their own differ by; edges, how much larger steps are on JPEG's grid of
    16 pixels than half-way between.
    """
    noise, edges = [], []
    for number, photo in enumerate(photos):
        dark = exposed(photo, -2.5)
        light = dark @ np.array(LUMA_WEIGHTS)
        shadows = (light > SHADOWS[0]) & (light < SHADOWS[1])
        if shadows.mean() < 0.02:
            continue
        chance = np.random.default_rng(number)
        pair = [np.clip(np.round(dark + chance.normal(0.0, 2.0, dark.shape)), 0, 255).astype(np.uint8) for _ in "ab"]
        before, after = (chroma(a) - chroma(b) for a, b in (pair, map(enhancer, pair)))
        noise.append(float(after[shadows].std() / before[shadows].std()))
        coded = cv2.imencode(".jpg", dark[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
        blocks = np.ascontiguousarray(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))[..., ::-1])
        if (found := block_edges(chroma(blocks), shadows)) > LEAST_EDGES:
            edges.append(block_edges(chroma(enhancer(blocks)), shadows) / found)
    yield Finding("chroma in shadows: noise of 2 codes grows", max(noise, default=0.0), 1.5, "times")
    yield Finding("chroma in shadows: edges of JPEG's blocks grow", max(edges, default=0.0), 1.5, "times")


def block_edges(maps: Array, seen: Array) -> float:
    """Compute how much larger steps between columns of (H, W, n) are on the grid of 16 than 8 beside it."""
    both = seen[:, 1:] & seen[:, :-1]
    step = np.abs(np.diff(maps, axis=1))
    on, beside = ((both[:, first::16], step[:, first::16]) for first in (15, 7))
    return float(on[1][on[0]].mean() - beside[1][beside[0]].mean())


def chroma(picture: Array) -> Array:
    """Compute Cr and Cb, (H, W, 2) in codes, of (H, W, 3) uint8 RGB."""
    return cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb)[..., 1:].astype(float)


# ---------------------------------------------------------------- clips


def hunting(enhancer: Enhancer, photos: Sequence[Array]) -> Iterator[Finding]:
    """Measure the swing of a clip whose exposure goes to and fro by 0.2 stops, as a share of the input's."""
    worst = 0.0
    for photo in photos:
        frames = [exposed(photo, -1.0 + 0.1 * np.sin(2 * np.pi * n / 20)) for n in range(50)]
        before, after = (np.log([level(f) for f in clip[20:]]) for clip in (frames, relighted(enhancer, frames)))
        worst = max(worst, float(np.ptp(after) / np.ptp(before)))
    yield Finding("hunting by 0.2 stops: swing, relative to the input's", worst, 1.0, "")


def fades(enhancer: Enhancer, photos: Sequence[Array]) -> Iterator[Finding]:
    """Measure how far the ratio of output to input strays during a fade of two seconds, and how much it goes wrong."""
    for name, order in (("out", 1), ("in", -1)):
        strays, wrong = [], []
        for photo in photos:
            shares = np.concatenate([np.ones(15), np.linspace(1.0, 0.0, 2 * RATE), np.zeros(5)])[::order]
            frames = [np.round(photo * share).astype(np.uint8) for share in shares]
            before, after = (np.array([level(f) for f in clip]) for clip in (frames, relighted(enhancer, frames)))
            seen = before > BLACK_LEVEL
            ratio = after[seen] / before[seen]
            steady = ratio[0] if order == 1 else ratio[-1]
            strays.append(float(np.abs(ratio / steady - 1.0).max()))
            wrong.append(float((np.diff(after) * order).max()))
        yield Finding(f"fade {name}: ratio strays by", 100 * max(strays), 10.0, "%")
        yield Finding(f"fade {name}: largest step the wrong way", max(wrong), 1.0, "codes")


def pans(enhancer: Enhancer, photos: Sequence[Array]) -> Iterator[Finding]:
    """Measure how much the light of what stays in sight changes from frame to frame while a camera pans over a photo.

    Three quarters of a photo are seen, 1.5 stops too dark; what both frames show is compared, in stops of coded values.
    """
    worst = 0.0
    for photo in photos:
        wide = exposed(photo, -1.5)
        seen = wide.shape[1] * 3 // 4
        lefts = np.linspace(0, wide.shape[1] - seen, 2 * RATE).astype(int)
        frames = [np.ascontiguousarray(wide[:, left : left + seen]) for left in lefts]
        after = relighted(enhancer, frames)
        for number, step in enumerate(np.diff(lefts)):
            shared = after[number][:, step:], after[number + 1][:, : seen - step]
            one, other = (np.log2(max(level(part), 1.0)) for part in shared)
            worst = max(worst, abs(float(one - other)))
    yield Finding("pan: light of what stays in sight changes a frame", worst, 0.05, "stops")


def still_parts(enhancer: Enhancer, photos: Sequence[Array]) -> Iterator[Finding]:
    """Measure how much still parts change a frame while a figure crosses, and in all after it and under a caption."""
    crossing, crossed, under_text = 0.0, 0.0, 0.0
    for photo in photos:
        height, width = photo.shape[:2]
        ground, span = exposed(photo, -1.5), width // 4
        frames, still = [], np.ones((height, width), bool)
        for number in range(40):
            frame, left = ground.copy(), int((number - 10) / 20 * (width + span)) - span
            area = np.s_[height // 5 :, max(left, 0) : max(left + span, 0)]
            frame[area] = 4
            still[area] = False
            frames.append(frame)
        after = relighted(enhancer, frames)
        crossing = max(crossing, largest_step(after, still))
        crossed = max(crossed, largest_step([after[9], after[-1]], ~still))
        text = captioned(ground)
        rest = (text == ground).all(axis=2)
        after = relighted(enhancer, [ground] * 15 + [text] * 15)
        before = after[14].astype(float)
        under_text = max(under_text, float(np.abs(after[-1][rest] - before[rest]).mean()))
    yield Finding("still parts: change a frame while a figure crosses", crossing, 0.02, "stops")
    yield Finding("still parts: change where a figure has been", crossed, 0.02, "stops")
    yield Finding("caption: change of the rest", under_text, 1.0, "codes")


def largest_step(frames: Sequence[Array], still: Array) -> float:
    """Return the largest change of light, in stops, from each frame to the next of a part that stands still."""
    if still.mean() < 0.02:
        return 0.0
    size = still.shape[1] // COARSE, still.shape[0] // COARSE
    share = cv2.resize(still.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    coarse = []
    for frame in frames:
        light = srgb_decode(frame.astype(np.float32) / 255) @ np.array(LUMA_WEIGHTS, np.float32)
        small = cv2.resize(light * still, size, interpolation=cv2.INTER_AREA) / np.maximum(share, 1e-3)
        coarse.append(np.log2(np.maximum(small, 1e-3)))
    steps = np.abs(np.diff(np.array(coarse), axis=0))[:, (share > 0.9) & (coarse[0] > -7)]
    return float(np.quantile(steps, 0.999)) if steps.size else 0.0


Law = Callable[[Enhancer, Sequence[Array]], Iterator[Finding]]
LAWS: dict[str, Law] = {law.__name__: law for law in (bars, transparency, exposure, gradient, grain)}
LAWS |= {law.__name__: law for law in (hunting, fades, pans, still_parts)}


def read_photos(folder: Path, side: int, count: int) -> list[Array]:
    """Read 8-bit pictures, (H, W, 3), evenly taken from the folder. Raises InputError where there are none."""
    paths = list_pictures([folder])
    photos = []
    for path in paths[:: max(1, -(-len(paths) // count))]:
        photo = decoded(path)
        if photo is None or photo.dtype != np.uint8:
            continue
        scale = min(1.0, side / max(photo.shape[:2]))
        photos.append(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    if not photos:
        raise InputError(f"{folder}: no 8-bit pictures")
    return photos


def table(title: str, findings: Sequence[Finding]) -> Table:
    """Tabulate what was found against what should hold."""
    rows = tuple(
        (f.law, f"{f.found:.3g} {f.unit}", f"{'>=' if f.least else '<='} {f.bound:g} {f.unit}", "" if f.holds else "no")
        for f in findings
    )
    return Table(title, ("law", "found", "should be", "holds"), rows)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("photos", type=click.Path(path_type=Path))
@click.option("--model", default="lite", show_default=True, help="Bundled model or file.")
@click.option("--count", default=24, show_default=True, help="Photos looked at, evenly from the folder.")
@click.option("--clips", default=4, show_default=True, help="Of those, how many become clips.")
@click.option("--side", default=512, show_default=True, help="Longest side they are shrunk to.")
@click.option("--law", "laws", multiple=True, type=click.Choice(list(LAWS)), help="Only these; repeatable.")
@reports_errors
def main(photos: Path, model: str, count: int, clips: int, side: int, laws: tuple[str, ...]) -> None:
    """Measure how the light answers to bars, transparency, exposure, fades, and to what moves elsewhere."""
    pictures = read_photos(photos, side, count)
    few = pictures[:: max(1, len(pictures) // clips)][:clips]
    enhancer = Enhancer(model, device="cpu", threads=1)
    findings: list[Finding] = []
    for name in laws or LAWS:
        findings += LAWS[name](enhancer, few if name in ("hunting", "fades", "still_parts") else pictures)
    click.echo(markdown(table(f"{model}, {len(pictures)} photos of {photos}", findings)))


if __name__ == "__main__":
    main()
