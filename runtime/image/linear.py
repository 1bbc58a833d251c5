"""OpenEXR and Radiance HDR: linear float. OpenEXR comes with the extra `pictures`; OpenCV reads and writes Radiance."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cliplit.arrays import Array
from cliplit.errors import InputError, first_line

from . import icc
from .extra import needs
from .picture import Belongings, FloatSamples, Picture

EXR_MAGIC = b"\x76\x2f\x31\x01"
RADIANCE_MAGIC = (b"#?RADIANCE", b"#?RGBE")
BT709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
SIZE_LINE = re.compile(rb"-Y (\d+) \+X (\d+)")


@dataclass(frozen=True)
class Exr:
    """What an EXR file holds besides colours: its header, its other channels, the sample types of the colours."""

    header: dict[str, Any] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    kinds: dict[str, Any] = field(default_factory=dict)
    premultiplied: bool = False


@dataclass(frozen=True)
class Radiance:
    """The variables of a Radiance header, without FORMAT, as lines."""

    lines: tuple[bytes, ...] = ()


def openexr() -> Any:
    try:
        import OpenEXR
    except ImportError as error:
        raise needs("OpenEXR", "OpenEXR") from error
    return OpenEXR


def exr_size(data: bytes) -> tuple[int, int]:
    """(H, W) by the header."""
    with _as_file(data) as path:
        low, high = openexr().File(str(path), header_only=True).header()["dataWindow"]
    return int(high[1]) - int(low[1]) + 1, int(high[0]) - int(low[0]) + 1


class _as_file:
    """A temporary file with these bytes: OpenEXR opens names alone."""

    def __init__(self, data: bytes = b"") -> None:
        self._data = data

    def __enter__(self) -> Path:
        self._folder = tempfile.TemporaryDirectory(prefix="cliplit-")
        path = Path(self._folder.name) / "picture.exr"
        if self._data:
            path.write_bytes(self._data)
        return path

    def __exit__(self, *exception: object) -> None:
        self._folder.cleanup()


def read_exr(data: bytes, where: str) -> Picture:
    """Decode R, G, B and A, or Y, of a file of one part; alpha is divided out, other channels are kept as they are."""
    library = openexr()
    try:
        with _as_file(data) as path:
            file = library.File(str(path), separate_channels=True)
            parts, header, channels = len(file.parts), file.header(), file.channels()
            pixels = {name: np.array(channel.pixels) for name, channel in channels.items()}
    except (RuntimeError, ValueError, TypeError) as error:
        raise InputError(f"{where}: a damaged or unsupported OpenEXR file ({first_line(error)})") from error
    if parts > 1:
        raise InputError(f"{where}: holds {parts} parts; only one is supported")
    if header.get("type") in (library.deepscanline, library.deeptile):
        raise InputError(f"{where}: deep pixels are not supported")
    colours = ("R", "G", "B") if {"R", "G", "B"} <= set(pixels) else ("Y",)
    if not set(colours) <= set(pixels) or "RY" in pixels:
        raise InputError(f"{where}: has channels {', '.join(sorted(pixels))}; expected R, G and B, or Y")
    if any(pixels[name].dtype.kind != "f" or pixels[name].shape != pixels[colours[0]].shape for name in colours):
        raise InputError(f"{where}: colours of whole numbers, or of different sizes, are not supported")
    rgb = np.dstack([pixels[name].astype(np.float32) for name in (colours if len(colours) == 3 else colours * 3)])
    used = [*colours]
    if "A" in pixels and pixels["A"].shape == rgb.shape[:2] and pixels["A"].dtype.kind == "f":
        used.append("A")
        alpha = pixels["A"].astype(np.float32)[..., None]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            rgb = np.where(alpha > 0, rgb / alpha, rgb)
        rgb = np.dstack([rgb, alpha])
    others = {name: channel for name, channel in channels.items() if name not in used}
    kept = Exr(header, others, {name: pixels[name].dtype for name in used})
    return Picture(np.ascontiguousarray(rgb, np.float32), len(colours) == 1, Belongings(attributes=kept))


def encode_exr(pixels: Array, gray: bool, belongings: Belongings) -> tuple[bytes, list[str]]:
    """Encode (H, W, 3 or 4) float32, alpha multiplied in; half where the source was, or had no float or range."""
    library = openexr()
    kept = belongings.attributes if isinstance(belongings.attributes, Exr) else Exr()
    header = {name: value for name, value in kept.header.items() if name != "channels"}
    header = {"compression": library.ZIP_COMPRESSION, "type": library.scanlineimage, **header}
    colour = pixels[..., :3]
    if pixels.shape[2] == 4:
        colour = np.where(pixels[..., 3:] > 0, colour * pixels[..., 3:], colour)
    values = {"Y": colour[..., 0]} if gray else dict(zip("RGB", np.moveaxis(colour, 2, 0), strict=True))
    if pixels.shape[2] == 4:
        values["A"] = pixels[..., 3]
    channels: dict[str, Any] = dict(kept.others)
    usual = np.dtype(np.float32 if isinstance(belongings.attributes, Radiance) else np.float16)
    if isinstance(belongings.attributes, FloatSamples):
        usual = np.dtype(belongings.attributes.kind)
    for name, plane in values.items():
        kind = kept.kinds.get(name, usual)
        limited = np.clip(plane, -65504, 65504) if kind == np.float16 else plane
        limited = np.where(np.isfinite(plane), limited, plane)
        channels[name] = np.ascontiguousarray(limited.astype(kind))
    with _as_file() as path:
        library.File(header, channels).write(str(path))
        return path.read_bytes(), lost(belongings)


def primaries(belongings: Belongings) -> tuple[float, ...]:
    """Red, green, blue and white (x, y) of an EXR's colours, eight numbers; BT.709's without a word of them."""
    kept = belongings.attributes
    if isinstance(kept, Exr) and "chromaticities" in kept.header:
        return tuple(float(number) for number in np.ravel(kept.header["chromaticities"]))
    if isinstance(kept, Radiance):
        for line in kept.lines:
            if line.startswith(b"PRIMARIES="):
                return tuple(float(number) for number in line.partition(b"=")[2].split())
    return BT709


def coded_profile(belongings: Belongings) -> bytes:
    """Make the profile of linear colours that were coded by sRGB's curve; empty for sRGB itself."""
    if isinstance(belongings.attributes, FloatSamples):
        return icc.coded_twin(belongings.icc)
    numbers = primaries(belongings)
    if len(numbers) != 8 or np.allclose(numbers, BT709, atol=0.002):
        return b""
    return icc.matrix_profile([(numbers[i], numbers[i + 1]) for i in (0, 2, 4, 6)], icc.SRGB_CURVE)


ORDINARY = frozenset(
    (
        "channels",
        "chromaticities",
        "chunkCount",
        "compression",
        "dataWindow",
        "displayWindow",
        "lineOrder",
        "name",
        "pixelAspectRatio",
        "screenWindowCenter",
        "screenWindowWidth",
        "tiles",
        "type",
        "version",
    )
)  # attributes of every OpenEXR file, about how it is stored


def unkept(belongings: Belongings) -> list[str]:
    """Name what of an OpenEXR or Radiance file a format of another kind has no place for."""
    kept = belongings.attributes
    left = []
    if isinstance(kept, Exr):
        if kept.others:
            left.append(f"left out: channels {', '.join(sorted(kept.others))}")
        if said := sorted(set(kept.header) - ORDINARY):
            left.append(f"left out: the header's {', '.join(said)}")
    elif isinstance(kept, Radiance):
        said = [line.decode("latin-1") for line in kept.lines if not line.startswith((b"PRIMARIES=", b"#"))]
        left += [f"left out: the header's {', '.join(said)}"] if said else []
    return left


def radiance_header(data: bytes, where: str) -> tuple[list[bytes], tuple[int, int], int]:
    """Return (lines, (H, W), where the pixels begin). Raises InputError for other orders of rows, and XYZ."""
    end = data.find(b"\n\n")
    line_end = data.find(b"\n", end + 2)
    size = SIZE_LINE.fullmatch(data[end + 2 : line_end]) if 0 < end < line_end else None
    if size is None:
        raise InputError(f"{where}: a damaged Radiance picture, or one whose rows do not run from top left")
    lines = [line.strip() for line in data[:end].split(b"\n")]
    if b"FORMAT=32-bit_rle_rgbe" not in lines:
        raise InputError(f"{where}: a Radiance picture that is not RGB")
    return lines, (int(size[1]), int(size[2])), line_end + 1


def read_radiance(data: bytes, where: str) -> Picture:
    lines, _, _ = radiance_header(data, where)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.float32 or pixels.ndim != 3:
        raise InputError(f"{where}: a damaged Radiance picture")
    kept = tuple(line for line in lines[1:] if line and not line.startswith(b"FORMAT="))
    return Picture(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), False, Belongings(attributes=Radiance(kept)))


def encode_radiance(pixels: Array, gray: bool, belongings: Belongings) -> tuple[bytes, list[str]]:
    """Encode (H, W, 3) float32, which has no negative numbers here."""
    bgr = cv2.cvtColor(np.maximum(pixels, 0), cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".hdr", bgr)[1].tobytes()
    _, _, rest = data.partition(b"\n\n")
    kept = belongings.attributes if isinstance(belongings.attributes, Radiance) else Radiance()
    file = b"\n".join([b"#?RADIANCE", *kept.lines, b"FORMAT=32-bit_rle_rgbe"]) + b"\n\n" + rest
    notes = lost(belongings)
    if (pixels < 0).any():
        notes.append("Radiance holds no light below 0: it is black now")
    if isinstance(belongings.attributes, Exr):
        notes.append("Radiance has no place for the header and the other channels of OpenEXR")
    return file, notes


def lost(belongings: Belongings) -> list[str]:
    """Name what linear formats have no place for."""
    held = {"EXIF": belongings.exif, "XMP": belongings.xmp, "texts": belongings.texts,
            "IPTC": belongings.iptc or belongings.photoshop,
            "the resolution": belongings.resolution}  # fmt: skip
    left = [name for name, value in held.items() if value]
    return [f"this format has no place for {', '.join(left)}"] if left else []
