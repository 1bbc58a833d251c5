"""ICC profiles: made for pictures that say their colours otherwise, and applied to what is not RGB (ICC.1:2022)."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image, ImageCms

from cliplit.arrays import Array

from ..light.space import ColourSpace
from .picture import Belongings

# Primaries and white of H.273 table 2: red, green, blue, white as (x, y).
D65 = (0.3127, 0.3290)
PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), D65),
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),
}
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
D50 = np.array([0.9642, 1.0, 0.8249])
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
BT709_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
# Transfer code point of H.273 table 3 -> parametric curve of ICC.1 10.18: type 0 (gamma) or 3.
CURVES: dict[int, tuple[float, ...]] = {
    1: BT709_CURVE, 6: BT709_CURVE, 14: BT709_CURVE, 15: BT709_CURVE, 4: (2.2,), 5: (2.8,), 8: (1.0,), 13: SRGB_CURVE,
    17: (2.6,),
}  # fmt: skip
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def profile_for(belongings: Belongings) -> bytes:
    """Make a profile of what code points, or gAMA and cHRM, say; empty where they say sRGB or nothing.

    Raises:
        ValueError: no profile can say it: PQ, HLG, code points that are not known.
    """
    code = belongings.cicp
    if code is None and belongings.icc:
        return belongings.icc
    if code:  # which in a PNG comes before its profile (third edition, 4.3)
        if code.primaries in (1, 2) and code.transfer in (1, 2, 6, 13, 14, 15):
            return b""
        primaries = PRIMARIES.get(1 if code.primaries == 2 else code.primaries)
        curve = CURVES.get(13 if code.transfer == 2 else code.transfer)
        if primaries is None or curve is None:
            raise ValueError(f"colours of code points {code.primaries} and {code.transfer} (ITU-T H.273)")
        return matrix_profile(primaries, curve)
    if belongings.intent is not None or (belongings.gamma is None and not belongings.chromaticities):
        return b""
    chosen = PRIMARIES[1]
    if belongings.chromaticities:
        white, red, green, blue = (
            (belongings.chromaticities[i] / 100000, belongings.chromaticities[i + 1] / 100000) for i in (0, 2, 4, 6)
        )
        chosen = (red, green, blue, white)
    near = np.allclose(np.array(chosen), np.array(PRIMARIES[1]), atol=0.002)
    if near and belongings.gamma in (None, 45455):
        return b""
    if min(y for _, y in chosen) <= 0 or belongings.gamma == 0:
        raise ValueError("colours of a gAMA or cHRM chunk that makes no sense")
    return matrix_profile(chosen, SRGB_CURVE if belongings.gamma is None else (100000 / belongings.gamma,))


def with_profile(belongings: Belongings) -> Belongings:
    """Say by a profile what code points or chunks of PNG say, for formats that hold nothing else."""
    return replace(belongings, icc=profile_for(belongings), cicp=None, gamma=None, chromaticities=(), intent=None)


def matrix_profile(primaries: Sequence[tuple[float, float]], curve: Sequence[float]) -> bytes:
    """Make a display profile of red, green, blue and white points and a parametric curve."""
    xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries])
    scale = np.linalg.solve(xyz[:3].T, xyz[3])
    adapt = np.linalg.inv(BRADFORD) @ np.diag((BRADFORD @ D50) / (BRADFORD @ xyz[3])) @ BRADFORD
    columns = adapt @ (xyz[:3] * scale[:, None]).T
    kind = {1: 0, 5: 3}[len(curve)]
    trc = b"para" + struct.pack(">IHH", 0, kind, 0) + _fixed(curve)
    tags = {
        b"desc": _text("made from the picture's own tags"),
        b"cprt": _text("No copyright, use freely"),
        b"wtpt": b"XYZ \0\0\0\0" + _fixed(D50),
        b"chad": b"sf32\0\0\0\0" + _fixed(adapt.ravel()),
        **{name: b"XYZ \0\0\0\0" + _fixed(columns[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), trc),
    }
    table, body, at = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    whole = 128 + len(table) + len(body)
    header = struct.pack(">I4sI4s4s4s", whole, b"\0" * 4, 0x04400000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + b"\0" * 28 + _fixed(D50)
    return header.ljust(128, b"\0") + table + body


def _fixed(numbers: Sequence[float] | Array) -> bytes:
    return b"".join(struct.pack(">i", round(float(value) * 65536)) for value in numbers)


def _text(text: str) -> bytes:
    data = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, len(data), 28) + data


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert CMYK, or Lab where `profile` is empty, to sRGB. Raises ValueError for a profile of another kind."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile else ImageCms.createProfile("LAB")
        changed = ImageCms.profileToProfile(image, source, SRGB, ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB",
                                            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION)  # fmt: skip
    except (ImageCms.PyCMSError, OSError) as error:
        raise ValueError(f"its ICC profile cannot be used ({error})") from error
    assert changed is not None
    return changed


def is_srgb(profile: bytes) -> bool:
    """Return whether a profile shows colours as sRGB does, within a code of 8 bits."""
    if not profile:
        return True
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        steps = np.linspace(0, 255, 6).astype(np.uint8)
        cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(6, 36, 3)
        shown = ImageCms.profileToProfile(Image.fromarray(cube), source, SRGB, ImageCms.Intent.RELATIVE_COLORIMETRIC)
    except (ImageCms.PyCMSError, OSError):
        return False
    return bool(np.abs(np.asarray(shown).astype(int) - cube).max() <= 1)


def is_linear(profile: bytes) -> bool:
    """Return whether numbers of this profile, of matrix and curves or of gray, are light."""
    try:
        space = _space(profile)
    except (KeyError, ValueError, struct.error, IndexError):
        return False
    return bool(np.abs(space.curves - np.linspace(0.0, 1.0, SAMPLES)).max() < 1e-3)


def coded_twin(profile: bytes) -> bytes:
    """Make a profile of the same primaries with sRGB's curve; empty where that is sRGB, or `profile` is of gray."""
    if channels(profile) != "RGB":
        return b""
    columns = [np.frombuffer(_tags(profile)[name], ">i4", 3, 8) / 65536 for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    places = [(float(x / total), float(y / total)) for x, y, total in ((c[0], c[1], c.sum()) for c in (*columns, D50))]
    made = matrix_profile(places, SRGB_CURVE)
    return b"" if is_srgb(made) else made


SAMPLES = 4096  # of a curve
XYZ_D50_TO_SRGB = np.array([
    [3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427],
])  # fmt: skip


def space_of(profile: bytes) -> ColourSpace | None:
    """Read what numbers of a picture with this profile mean; None for sRGB, and for profiles made of tables.

    Matrix and curves (ICC.1:2022, 8.3.3) or a gray curve (8.3.4): the profiles that cameras, phones and editors embed.
    """
    kind = channels(profile)
    if not profile or kind not in ("RGB", "GRAY") or is_srgb(profile):
        return None
    try:
        return _space(profile)
    except (KeyError, ValueError, struct.error, IndexError):
        return None


def _space(profile: bytes) -> ColourSpace:
    """Read matrix and curves, or a gray curve. Raises KeyError, ValueError, IndexError or struct.error for others."""
    gray = channels(profile) == "GRAY"
    tags = _tags(profile)
    curves = np.stack([_curve(tags[name]) for name in ([b"kTRC"] * 3 if gray else [b"rTRC", b"gTRC", b"bTRC"])])
    if gray:
        return ColourSpace(curves, np.eye(3, dtype=np.float32))
    columns = [np.frombuffer(tags[name], ">i4", 3, 8) / 65536 for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    return ColourSpace(curves, (XYZ_D50_TO_SRGB @ np.array(columns).T).astype(np.float32))


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    table = [struct.unpack_from(">4sII", profile, 132 + 12 * i) for i in range(min(count, 100))]
    return {name: profile[at : at + size] for name, at, size in table}


def _curve(tag: bytes) -> Array:
    """Sample a curve (10.6 curveType, 10.18 parametricCurveType). Raises ValueError for another type."""
    x = np.linspace(0.0, 1.0, SAMPLES)
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        values = np.frombuffer(tag, ">u2", count, 12).astype(np.float64)
        if count == 0:
            y = x
        elif count == 1:
            y = x ** (values[0] / 256)
        else:
            y = np.interp(x, np.linspace(0.0, 1.0, count), values / 65535)
    elif tag[:4] == b"para":
        (form,) = struct.unpack_from(">H", tag, 8)
        given = (np.frombuffer(tag, ">i4", (1, 3, 4, 5, 7)[form], 12) / 65536).tolist()
        g, a, b, c, d, e, f = given + [1.0, 0.0, 0.0, 0.0, 0.0, 0.0][len(given) - 1 :]
        if form in (1, 2):  # from -b / a on; below it a constant
            c, d, e, f = 0.0, -b / a, c if form == 2 else 0.0, c if form == 2 else 0.0
        y = np.where(x >= d, np.maximum(a * x + b, 0.0) ** g + e, c * x + f)
    else:
        raise ValueError("a curve of another type")
    return np.maximum.accumulate(np.clip(y, 0.0, 1.0)).astype(np.float32)


def channels(profile: bytes) -> str:
    """Name the kind of colours a profile is of: "RGB", "GRAY", "CMYK"; empty for none."""
    return profile[16:20].decode("ascii", "replace").strip()
