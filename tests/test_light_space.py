"""The light of one scene is the same whatever space its numbers are of. Spaces by the numbers of their standards."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageCms

from cliplit.runtime.enhancer import Enhancer
from cliplit.runtime.image import icc
from cliplit.runtime.light.bars import Area, whole
from cliplit.runtime.light.proxy import visible_area
from cliplit.runtime.light.space import ColourSpace
from made import backlit

# White D50; primaries of ROMM RGB (ISO 22028-2); BT.2020; Adobe RGB (1998).
D50 = (0.3457, 0.3585)
SPACES = {
    "linear sRGB": (((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), icc.D65), (1.0,)),
    "ProPhoto": (((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), D50), (1.8,)),
    "Adobe RGB": (((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), icc.D65), (2.19921875,)),
    "BT.2020, linear": (((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), icc.D65), (1.0,)),
}
D65_XYZ, D50_XYZ = np.array([0.95047, 1.0, 1.08883]), np.array([0.96422, 1.0, 0.82521])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def to_xyz(primaries):
    """3x3 from linear RGB to XYZ of D65, adapted by Bradford where white is D50."""
    xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries])
    matrix = (xyz[:3] * np.linalg.solve(xyz[:3].T, xyz[3])[:, None]).T
    if primaries[3] == D50:
        cones = np.diag((BRADFORD @ D65_XYZ) / (BRADFORD @ D50_XYZ))
        matrix = np.linalg.inv(BRADFORD) @ cones @ BRADFORD @ matrix
    return matrix


def decoded(coded):
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


def encoded(linear):
    x = np.clip(linear, 0, 1)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("name", SPACES)
def test_a_scene_gets_the_same_light_in_every_space(enhancer, name):
    primaries, (gamma,) = SPACES[name]
    between = np.linalg.inv(to_xyz(primaries)) @ to_xyz(SPACES["linear sRGB"][0])
    coded = backlit() / 255
    own = np.clip(decoded(coded) @ between.T, 0, 1) ** (1 / gamma)
    picture = np.round(own * 65535).astype(np.uint16)
    space = icc.space_of(icc.matrix_profile(primaries, (gamma,)))
    assert isinstance(space, ColourSpace)
    relit = enhancer(picture, space) / 65535
    shown = encoded(relit**gamma @ np.linalg.inv(between).T)
    wanted = enhancer(np.round(coded * 65535).astype(np.uint16)) / 65535
    lifted = np.abs(wanted - coded).mean()
    assert lifted > 0.05
    luma = np.array([0.2126, 0.7152, 0.0722])
    assert np.abs((shown - wanted) @ luma).mean() < 0.1 * lifted
    blind = encoded((enhancer(picture) / 65535) ** gamma @ np.linalg.inv(between).T)
    if gamma < 2:
        assert np.abs((blind - wanted) @ luma).mean() > 0.1 * lifted  # or this would hold nothing


def test_srgb_is_no_other_space():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert icc.space_of(srgb) is None and icc.space_of(b"") is None and icc.space_of(b"\0" * 200) is None


@pytest.mark.parametrize("parameters", [(2.4,), (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)])
def test_curves_are_read_as_the_standard_has_them(parameters):
    curve = icc._curve(icc._tags(icc.matrix_profile(icc.PRIMARIES[12], parameters))[b"gTRC"])
    x = np.linspace(0, 1, len(curve))
    wanted = x**2.4 if len(parameters) == 1 else decoded(x)
    assert np.abs(curve - wanted).max() < 1e-4


def test_strength_0_changes_nothing_in_another_space(enhancer):
    picture = (backlit().astype(np.uint16)) * 200
    space = icc.space_of(icc.matrix_profile(*SPACES["ProPhoto"]))
    assert np.array_equal(enhancer.adjusted(0.0)(picture, space), picture)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_a_dark_ground_in_linear_light_is_no_bar(kind):
    """Its codes differ by less than a bar's there, and by much more in sRGB."""
    rng = np.random.default_rng(0)
    coded = rng.uniform(0.0, 0.1, (120, 160, 3)).astype(np.float32)
    coded[:40] += 0.8
    linear = ColourSpace(np.tile(np.linspace(0, 1, 4096, dtype=np.float32), (3, 1)), np.eye(3, dtype=np.float32))
    assert linear.linear and not srgb_like().linear
    scale = 1.0 if kind is np.float32 else np.iinfo(kind).max
    picture = (decoded(coded) * scale).astype(np.float32)
    picture = picture.astype(kind) if kind is np.float32 else np.round(picture).astype(kind)
    assert visible_area(picture, linear.coded(picture)) == whole(120, 160)
    assert linear.coded(picture) == pytest.approx(coded, abs=0.03 if kind is np.uint8 else 1e-3)
    barred = picture.copy()
    barred[100:] = 0
    assert visible_area(barred, linear.coded(barred)) == Area(0, 100, 0, 160)
    relit = Enhancer()(picture, linear)
    assert (relit[50:].astype(float) > 2 * picture[50:]).mean() > 0.9


def srgb_like():
    curve = decoded(np.linspace(0, 1, 4096)).astype(np.float32)
    return ColourSpace(np.tile(curve, (3, 1)), np.eye(3, dtype=np.float32))
