"""TIFF samples of more than 8 bits: whole numbers of 16, CMYK and CIELab of 16, floating point as linear light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from cliplit.arrays import Array
from cliplit.errors import InputError
from cliplit.srgb import to_coded

from . import icc
from .extra import needs
from .picture import FloatSamples

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, SEPARATED, CIELAB, ICCLAB = 0, 1, 2, 5, 8, 9
NAMES = {3: "palette", 4: "mask", SEPARATED: "CMYK", 6: "YCbCr", CIELAB: "CIELab", ICCLAB: "ICCLab", 10: "ITULab"}
UNSPECIFIED, ASSOCIATED, UNASSOCIATED = 0, 1, 2
FLOAT = 3  # SampleFormat
HELP = "save it as 16-bit RGB or gray in an editor"


@dataclass(frozen=True)
class Deep:
    """Decoded samples, as `Picture` holds them.

    Attributes:
        converted: what colours became sRGB, "" for none.
        notes: what is left out.
        attributes: of float files.
    """

    pixels: Array
    gray: bool
    converted: str = ""
    notes: tuple[str, ...] = ()
    attributes: FloatSamples | None = None


def read(page: Any, data: bytes, where: str, profile: bytes) -> Deep:
    """Decode a page. Raises InputError for samples and colours that are not supported, with what to do."""
    photometric = int(page.photometric)
    floats = int(page.sampleformat or 1) == FLOAT
    counted = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3} if floats else {
        WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, SEPARATED: 4, CIELAB: 3, ICCLAB: 3}  # fmt: skip
    if int(page.sampleformat or 1) not in (1, FLOAT):  # signed, complex
        raise InputError(f"{where}: TIFF of signed or complex samples ({page.dtype}); {HELP}")
    if not floats and page.bitspersample != 16:
        raise InputError(f"{where}: TIFF of {page.bitspersample} bits a sample; expected 8 or 16; {HELP}")
    if photometric not in counted:
        kind = NAMES.get(photometric, f"photometric {photometric}")
        raise InputError(f"{where}: TIFF of {kind} in samples of {page.dtype}; {HELP}")
    pixels = _samples(page, data)
    count = counted[photometric]
    colour, rest = pixels[..., :count], pixels[..., count:]
    if colour.shape[2] != count:
        raise InputError(f"{where}: TIFF of {colour.shape[2]} samples where its colours have {count}; {HELP}")
    extra = tuple(int(kind) for kind in page.extrasamples)
    transparent = bool(rest.shape[2]) and extra[:1] in ((ASSOCIATED,), (UNASSOCIATED,))
    alpha = rest[..., :1] if transparent else None
    left = rest.shape[2] - transparent
    notes = left_out(left)
    if floats:
        return _linear(page, where, profile, colour, alpha, notes)
    colour = np.ascontiguousarray(colour.astype(np.uint16))  # in this machine's byte order
    if photometric == WHITE_IS_ZERO:
        colour = 65535 - colour
    if alpha is not None:
        alpha = alpha.astype(np.uint16)
        if extra[0] == ASSOCIATED:
            colour = unmultiplied(colour, alpha)
    converted = ""
    if photometric == SEPARATED:
        if profile and icc.channels(profile) != "CMYK":
            profile = b""
        colour, converted = from_cmyk(colour, profile), "CMYK"
    elif photometric in (CIELAB, ICCLAB):
        colour, converted = from_lab(colour, signed=photometric == CIELAB), "Lab"
    return Deep(_stacked(colour, alpha), count == 1, converted, notes)


def left_out(count: int) -> tuple[str, ...]:
    """Make the note on channels beside colour and alpha."""
    if count < 1:
        return ()
    return ("a channel that is neither colour nor alpha is left out" if count == 1 else
            f"{count} channels that are neither colour nor alpha are left out",)  # fmt: skip


def _stacked(colour: Array, alpha: Array | None) -> Array:
    colour = np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour
    return np.ascontiguousarray(colour if alpha is None else np.concatenate([colour, alpha], axis=2))


def _samples(page: Any, data: bytes) -> Array:
    """Decode to (H, W, samples), by OpenCV where tifffile lacks a codec."""
    try:
        pixels = page.asarray()
        if page.planarconfig == 2 and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
    except ValueError as error:
        ordinary = page.photometric in (BLACK_IS_ZERO, RGB) and int(page.sampleformat or 1) != FLOAT
        if "imagecodecs" not in str(error):
            raise
        if page.index or not ordinary:
            raise needs("imagecodecs", f"a TIFF of this compression ({page.compression.name})") from error
        pixels = _by_opencv(data)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _by_opencv(data: bytes) -> Array:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise needs("imagecodecs", "a TIFF of this compression")
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    return pixels


def unmultiplied(colour: Array, alpha: Array) -> Array:
    """Divide (H, W, n) uint16 by alpha (H, W, 1); what is transparent keeps its numbers."""
    divisor = np.where(alpha == 0, 65535, alpha).astype(np.float64)
    return np.minimum(np.rint(colour * (65535.0 / divisor)), 65535).astype(np.uint16)


def _linear(page: Any, where: str, profile: bytes, colour: Array, alpha: Array | None, notes: tuple[str, ...]) -> Deep:
    """Take float samples as linear light, 1 for white. Raises InputError where that is not what they are."""
    kind = colour.dtype.newbyteorder("=")
    if page.photometric == WHITE_IS_ZERO:
        raise InputError(f"{where}: a float TIFF in which white is zero; {HELP}")
    if profile and not icc.is_linear(profile):
        raise InputError(
            f"{where}: a float TIFF whose profile is not linear; save it with a linear profile, or as 16 bits"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        colour = colour.astype(np.float32)
        bright = np.nanmedian(colour) if np.isfinite(colour).any() else 0.0
    if bright > 1.0:
        raise InputError(
            f"{where}: a float TIFF in which half of all samples are above {bright:.4g}, where 1 is white; "
            "divide them by their white, or save it as 16 bits"
        )
    if alpha is not None:
        alpha = alpha.astype(np.float32)
        if int(page.extrasamples[0]) == ASSOCIATED:
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                colour = np.where(alpha > 0, colour / alpha, colour)
    if kind.itemsize > 4:
        notes = (*notes, "floating point of 64 bits is written with 32")
    kept = FloatSamples("float16" if kind.itemsize == 2 else "float32")
    return Deep(_stacked(colour, alpha), colour.shape[2] == 1, notes=notes, attributes=kept)


def from_cmyk(inks: Array, profile: bytes) -> Array:
    """Convert (H, W, 4) uint16, 0 for no ink, to sRGB (H, W, 3) uint16; without a profile by the plain formula."""
    if not profile:
        free = 65535 - inks.astype(np.uint32)
        return ((free[..., :3] * free[..., 3:] + 32767) // 65535).astype(np.uint16)
    try:
        import imagecodecs
    except ImportError as error:
        raise needs("imagecodecs", "CMYK of 16 bits") from error
    try:
        relative, black_point = 1, 0x2000  # lcms: INTENT_RELATIVE_COLORIMETRIC, cmsFLAGS_BLACKPOINTCOMPENSATION
        changed: Array = imagecodecs.cms_transform(
            inks, profile, icc.SRGB.tobytes(), colorspace="cmyk", outcolorspace="rgb", outdtype=np.uint16,
            intent=relative, flags=black_point,
        )  # fmt: skip
    except imagecodecs.CmsError as error:
        raise InputError(f"its ICC profile cannot be used ({error})") from error
    return changed


def from_lab(stored: Array, signed: bool) -> Array:
    """Convert CIE 1976 L*a*b*, D50, (H, W, 3) uint16 to sRGB uint16; what sRGB lacks is clipped.

    `signed`: photometric 8, L* 65535 for 100 and a*, b* signed 8.8; else photometric 9, 65280 for 100 and an offset of
    32768 (TIFF 6.0, section 23; Adobe's TIFF technical notes of 2002).
    """
    if signed:
        lightness = stored[..., 0] / 655.35
        a, b = (stored[..., i].view(np.int16) / 256.0 for i in (1, 2))
    else:
        lightness = stored[..., 0] / 652.80
        a, b = ((stored[..., i].astype(np.float64) - 32768) / 256.0 for i in (1, 2))
    y = (lightness + 16) / 116
    f = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, (f - 4 / 29) * 3 * (6 / 29) ** 2) * icc.D50
    linear = np.clip(xyz @ icc.XYZ_D50_TO_SRGB.T, 0.0, 1.0).astype(np.float32)
    return np.rint(np.clip(to_coded(linear), 0, 1) * 65535).astype(np.uint16)
