"""What the page's tests want from Python: pictures, what `Enhancer` makes of them, and how far two pictures lie apart.

reference.py pictures FOLDER          makes the pictures and prints their names
reference.py relight MODEL FOLDER NAME...   relights them as NAME.reference.png
reference.py compare A B ...          prints the PSNR of each pair
reference.py files FOLDER             makes files of several kinds, good and broken
reference.py camera FILE              makes a y4m clip that a camera can play: two shots, with a cut between them
reference.py look PICTURE             prints size, orientation, and the quarter that is red
reference.py default                  prints the model that `Enhancer` takes when it is not asked
reference.py constants                prints the numbers that src/light has, too, by its files
reference.py noise FOLDER             makes pictures as raw RGBA, and prints name, size and chroma noise of each
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
from PIL import Image

from cliplit import constants
from cliplit.arrays import Array
from cliplit.runtime import Enhancer
from cliplit.runtime.light import noise, proxy, shadows
from cliplit.srgb import to_coded, to_linear


def scene(height: int, width: int, seed: int) -> Array:
    """Draw a bright window or sky behind dark objects of any colour, with texture and noise, (H, W, 3) uint8."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / np.float32(max(height, width))
    sky = 0.55 + 0.4 * np.exp(-8 * ((x - random.uniform(0.2, 0.8)) ** 2 + (y - 0.1) ** 2))
    picture = np.stack([sky, sky * 0.98, np.minimum(sky * 1.05, 1.0)], axis=-1)
    for _ in range(12):
        points = random.uniform(0, 1, (6, 2)) * (width, height * 0.8) + (0, height * 0.3)
        colour = tuple(float(c) for c in random.uniform(0.01, 0.3, 3))
        cv2.fillConvexPoly(picture, cv2.convexHull(points.astype(np.int32)), colour, cv2.LINE_AA)
    texture = cv2.resize(
        random.uniform(0.7, 1.3, (height // 3 + 1, width // 3 + 1)).astype(np.float32), (width, height)
    )
    picture = picture * texture[..., None] + random.normal(0, 0.006, picture.shape)
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def letterboxed(picture: Array) -> Array:
    """Blacken a ninth of the height above and below."""
    bar = picture.shape[0] // 9
    picture[:bar] = picture[-bar:] = 2
    return picture


def framed(picture: Array) -> Array:
    """Put a white frame around the picture."""
    return cv2.copyMakeBorder(picture, 31, 17, 23, 41, cv2.BORDER_CONSTANT, value=(250, 250, 248))


def cut_out(picture: Array) -> Array:
    """Make everything but an ellipse transparent, with a soft edge."""
    height, width = picture.shape[:2]
    alpha = np.zeros((height, width), np.uint8)
    cv2.ellipse(alpha, (width // 2, height // 2), (width // 3, height // 2 - 9), 0, 0, 360, 255, -1, cv2.LINE_AA)
    return np.dstack([picture, alpha])


# Sides that are no multiples of anything, smaller than the network's, panoramas, bars, frames, transparency.
MADE: dict[str, Callable[[], Array]] = {
    "odd": lambda: scene(601, 907, 1),
    "portrait": lambda: scene(1013, 677, 2),
    "large": lambda: scene(1201, 1843, 3),
    "small": lambda: scene(97, 131, 4),
    "just-smaller": lambda: scene(187, 251, 5),
    "panorama": lambda: scene(219, 1811, 6),
    "tower": lambda: scene(1409, 173, 7),
    "letterbox": lambda: letterboxed(scene(719, 1281, 8)),
    "frame": lambda: framed(scene(533, 811, 9)),
    "transparent": lambda: cut_out(scene(457, 613, 10)),
    "halves": lambda: scene(1536, 2304, 11),
}


def underexposed(picture: Array, shot: float, seed: int) -> Array:
    """Take three stops of light away, and add a sensor's noise: of variance shot * light + (shot's root / 20)^2."""
    random = np.random.default_rng(seed)
    light = to_linear(picture.astype(np.float32) / 255) / 8
    light += random.normal(0, 1, light.shape) * np.sqrt(shot * light + shot / 400)
    return np.rint(to_coded(np.clip(light, 0, 1).astype(np.float32)) * 255).astype(np.uint8)


# Deep, noisy shadows: what the page cleans when it lifts them.
NOISY: dict[str, Callable[[], Array]] = {
    "noisy": lambda: underexposed(scene(487, 731, 12), 1e-4, 1),
    "noisier": lambda: underexposed(scene(683, 1021, 13), 6e-4, 2),
    "noisy-portrait": lambda: underexposed(scene(911, 607, 14), 3e-4, 3),
    "noisy-letterbox": lambda: letterboxed(underexposed(scene(719, 1283, 15), 3e-4, 4)),
    "noisy-halves": lambda: underexposed(scene(768, 1152, 17), 3e-4, 6),
    "noisy-small": lambda: underexposed(scene(61, 83, 16), 3e-4, 5),
}
QUALITIES = 40, 80  # of JPEG


def make(folder: Path) -> list[str]:
    for name, picture in {**MADE, **NOISY}.items():
        Image.fromarray(picture()).save(folder / f"{name}.png")
    for name, picture in NOISY.items():
        for quality in QUALITIES:
            Image.fromarray(picture()).save(folder / f"{name}-{quality}.jpg", quality=quality)
    jpegs = [f"{name}-{quality}.jpg" for name in NOISY for quality in QUALITIES]
    return [f"{name}.png" for name in (*MADE, *NOISY)] + jpegs


# Files of src/light, and the modules whose numbers they repeat under the same names.
REPEATED: dict[str, tuple[ModuleType, ...]] = {
    "constants.js": (constants, proxy),
    "noise.js": (noise,),
    "shadows.js": (shadows,),
}


def repeated() -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for file, modules in REPEATED.items():
        numbers = {name: value for module in modules for name, value in vars(module).items() if name.isupper()}
        kinds = int | float | tuple | np.floating
        found[file] = {name: value for name, value in numbers.items() if isinstance(value, kinds)}
    found["shadows.js"]["YCBCR"] = {key: getattr(shadows.JPEG, key) for key in ("r_cr", "g_cb", "g_cr", "b_cb")}
    return found


def make_for_noise(folder: Path) -> list[dict[str, object]]:
    """Write pictures with more and less noise, enlarged ones, JPEGs, and sides that blocks and halves do not fit."""
    random = np.random.default_rng(1)
    pictures = {name: picture() for name, picture in NOISY.items()}
    pictures["enlarged"] = cv2.resize(pictures["noisier"], (1367, 913), interpolation=cv2.INTER_CUBIC)
    pictures["jpeg"] = cv2.imdecode(
        cv2.imencode(".jpg", pictures["noisy-portrait"], [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR
    )
    pictures["bright"] = np.full((200, 300, 3), 200, np.uint8)
    for height, width in ((15, 90), (16, 128), (33, 71), (63, 65), (264, 328), (67, 271)):
        pictures[f"{width}x{height}"] = random.integers(20, 60, (height, width, 3)).astype(np.uint8)
    found: list[dict[str, object]] = []
    for name, picture in pictures.items():
        height, width = picture.shape[:2]
        (folder / name).write_bytes(np.dstack([picture, np.full((height, width), 255, np.uint8)]).tobytes())
        found.append(
            {
                "name": name,
                "height": height,
                "width": width,
                "noise": noise.rgb_grain(shadows.rgb_planes(picture)).chroma,
            }
        )
    return found


ORIENTATION = 274  # tag of EXIF


def make_files(folder: Path) -> list[str]:
    """Write a turned JPEG, a large one, a 16-bit PNG, and what is no picture."""
    Image.fromarray(scene(300, 400, 1)).save(folder / "photo.jpg", quality=92)
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be turned clockwise
    quarters = np.zeros((300, 400, 3), np.uint8)
    quarters[:150, :200] = 200, 30, 30  # the stored top left is the top right that is seen
    Image.fromarray(quarters).save(folder / "turned.jpg", quality=95, exif=exif)
    large = cv2.resize(scene(1000, 1500, 2), (6000, 4000), interpolation=cv2.INTER_LINEAR)
    Image.fromarray(large).save(folder / "large.jpg", quality=90)
    cv2.imwrite(str(folder / "deep.png"), scene(120, 160, 3).astype(np.uint16) * 257)
    (folder / "broken.jpg").write_bytes((folder / "photo.jpg").read_bytes()[:200])
    (folder / "empty.png").write_bytes(b"")
    (folder / "words.txt").write_text("no picture\n")
    Image.fromarray(np.full((2, 9000, 3), 40, np.uint8)).save(folder / "wide.png")
    return sorted(path.name for path in folder.iterdir())


def make_camera(path: Path) -> list[int]:
    """Write two shots of a second each, 320x240, 4:2:0 with 30 frames a second."""
    width, height, frames = 320, 240, 30
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F30:1 Ip A1:1 C420jpeg\n".encode())
        for seed in (1, 2):
            planes = cv2.cvtColor(scene(height, width, seed) // seed, cv2.COLOR_RGB2YUV_I420).tobytes()
            for _ in range(frames):
                file.write(b"FRAME\n" + planes)
    return [2 * frames]


def relight(model: str, folder: Path, names: list[str]) -> list[str]:
    enhancer = Enhancer(model, device="cpu")
    for name in names:
        with Image.open(folder / name) as image:
            picture = np.asarray(image if image.mode == "RGBA" else image.convert("RGB"))
        Image.fromarray(enhancer(picture)).save(folder / f"{name}.reference.png")
    return names


def seen(path: Path) -> Array:
    """Read a picture, (H, W, 3) float64 in [0, 255], as it is seen: what is transparent is black."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGBA")).astype(np.float64)
    return pixels[..., :3] * pixels[..., 3:] / 255


def psnr(first: Path, second: Path) -> float:
    """Compute 10 log10(255^2 / mean squared error), in dB; 99 for equal pictures, -1 for pictures of other sizes."""
    a, b = seen(first), seen(second)
    if a.shape != b.shape:
        return -1.0
    error = float(np.mean((a - b) ** 2))
    return 99.0 if error == 0 else 10 * float(np.log10(255**2 / error))


def look(path: Path) -> dict[str, object]:
    with Image.open(path) as image:
        orientation = image.getexif().get(ORIENTATION, 1)
        pixels = np.asarray(image.convert("RGB")).astype(int)
    excess = cv2.resize((pixels[..., 0] - pixels[..., 1]).astype(np.float32), (2, 2), interpolation=cv2.INTER_AREA)
    row, column = np.unravel_index(int(excess.argmax()), excess.shape)
    size = [pixels.shape[1], pixels.shape[0]]
    return {"size": size, "orientation": orientation, "red": [int(column), int(row)]}


def main(task: str, *arguments: str) -> object:
    if task == "pictures":
        return make(Path(arguments[0]))
    if task == "relight":
        return relight(arguments[0], Path(arguments[1]), list(arguments[2:]))
    if task == "files":
        return make_files(Path(arguments[0]))
    if task == "camera":
        return make_camera(Path(arguments[0]))
    if task == "look":
        return look(Path(arguments[0]))
    if task == "default":
        return inspect.signature(Enhancer).parameters["model"].default
    if task == "constants":
        return repeated()
    if task == "noise":
        return make_for_noise(Path(arguments[0]))
    pairs = zip(arguments[::2], arguments[1::2], strict=True)
    return [psnr(Path(a), Path(b)) for a, b in pairs]


if __name__ == "__main__":
    json.dump(main(*sys.argv[1:]), sys.stdout, default=float)  # numpy's numbers
