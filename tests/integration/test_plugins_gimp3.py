"""The plug-in in GIMP 3: pixels of every kind of layer against `Enhancer`, and what it refuses.

GIMP 3 is taken from the PATH, or from a root folder named in CLIPLIT_GIMP3_ROOT (several: with colons), which must
hold this Python under its usual path.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from cliplit.plugins import gimp_install
from cliplit.runtime.enhancer import Enhancer
from cliplit.runtime.image.icc import space_of

from .conftest import missing, psnr

ROOTS = [Path(path) for path in os.environ.get("CLIPLIT_GIMP3_ROOT", "").split(":") if path]
PRECISE = ["u16_non_linear", "u16_linear", "u32_non_linear", "float_non_linear", "float_linear", "adobe", "linear",
           "alpha_float"]  # fmt: skip
REFUSED = {
    "elsewhere": "selection does not touch",
    "grey": "greyscale",
    "indexed": "indexed",
    "mask": "greyscale",
    "group": "is a layer group",
    "locked": "locked",
}


@dataclass
class Gimp:
    """A GIMP 3 with a home of its own, on this system or below a root."""

    root: Path
    home: str

    def command(self, *command, **variables):
        environment = {"HOME": self.home, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **variables}
        prefix = [] if self.root == Path("/") else ["chroot", str(self.root)]
        return [*prefix, "env", "-i", "-C", self.home, *(f"{k}={v}" for k, v in environment.items()), *command]

    def run(self, *command, **variables):
        whole = self.command(*command, **variables)
        return subprocess.run(whole, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)

    def start(self, *command, **variables):
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(self.command(*command, **variables), **quiet)  # type: ignore[call-overload]

    def outside(self, path):
        return self.root / str(path).lstrip("/")

    @property
    def version(self):
        return self.run("gimp-console", "--version").stdout.split()[-1]


@pytest.fixture(scope="module", params=ROOTS or [Path("/")], ids=lambda root: root.name or "system")
def gimp(request):
    found = Gimp(request.param, "/tmp/cliplit-gimp3-test")
    shutil.rmtree(found.outside(found.home), ignore_errors=True)
    found.outside(found.home).mkdir(parents=True)
    if shutil.which("gimp-console", path=str(found.outside("usr/bin"))) is None or not found.version.startswith("3."):
        missing("GIMP 3")
    return found


def install_into(gimp, *options):
    if not list(gimp.outside(gimp.home).glob(".config/GIMP/3.*")):  # GIMP makes its profile at its first start
        first = ["gimp-console", "-idf", "--batch-interpreter=python-fu-eval", "-b", "print('started')", "--quit"]
        assert gimp.run(*first).returncode == 0
    installed = gimp.run(sys.executable, "-m", "cliplit.plugins", "install", "gimp", "--check", *options)
    assert installed.returncode == 0, installed.stderr
    assert f"has {gimp_install.PROCEDURE}" in installed.stdout


@pytest.fixture(scope="module")
def cases(gimp, photo):
    """Folder and answers of all cases, run in one GIMP."""
    folder = Path(gimp.home) / "cases"
    gimp.outside(folder).mkdir()
    cv2.imwrite(str(gimp.outside(folder / "photo.png")), photo[..., ::-1])
    shutil.copy(Path(__file__).parent / "gimp3_cases.py", gimp.outside(folder))
    install_into(gimp)
    code = f"exec(open('{folder}/gimp3_cases.py').read())"
    batch = ["gimp-console", "-idf", "--batch-interpreter=python-fu-eval", "-b", code, "--quit"]
    answer = gimp.run(*batch, CLIPLIT_CASES=str(folder))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return gimp.outside(folder), json.loads(gimp.outside(folder / "cases.json").read_text())


def pixels(cases, name, when):
    folder, answers = cases
    height, width = answers[name]["size"]
    return np.fromfile(folder / f"{name}.{when}", np.float32).reshape(height, width, -1)


def expected(before, space=None, **settings):
    """The colours by `Enhancer`, of which transparent pixels have no say in the light."""
    return Enhancer(**settings)(np.ascontiguousarray(before, np.float32), space)[..., :3]


@pytest.mark.parametrize("name", ["u8", "half_linear", "alpha", *PRECISE])
def test_pixels_are_enhancers(cases, name):
    before, after = pixels(cases, name, "before"), pixels(cases, name, "after")
    wanted = expected(before, space_of((cases[0] / f"{name}.profile").read_bytes()))
    assert np.abs(wanted - before[..., :3]).mean() > 0.02, "the scene is not relighted at all"
    error = np.abs(np.clip(after[..., :3], 0, 1) - np.clip(wanted, 0, 1))[before[..., 3] > 0]
    bound = 2e-3 if name in PRECISE else 0.51 / 255 + 1e-3
    # What cleans chroma compares with a gate: GIMP's rounding takes single samples to its other side.
    assert (error > bound).mean() < 1e-2 and error.max() < 0.02


def test_a_photo_in_adobe_rgb_is_lifted_as_in_srgb(cases):
    """Adobe RGB (1998): a power of 563/256, and the matrix of its annex to XYZ; IEC 61966-2-1 from there to sRGB."""
    to_xyz = [[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529], [0.02703, 0.07069, 0.99134]]
    to_srgb = [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
    linear = np.clip(pixels(cases, "adobe", "after")[..., :3], 0, 1) ** (563 / 256) @ (np.array(to_srgb) @ to_xyz).T
    linear = np.clip(linear, 0, 1)
    seen = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    wanted = pixels(cases, "u16_non_linear", "after")[..., :3]
    # Luma, which the light is for, 4 codes off without the profile; colours of the dark differ a little, as chroma is
    # scaled in the layer's own numbers.
    assert (
        np.abs((seen - wanted) @ [0.2126, 0.7152, 0.0722]).mean() < 2 / 255
    )  # 4 where it is looked at in these numbers


@pytest.mark.parametrize("name", ["alpha", "alpha_float", "selection_alpha"])
def test_alpha_is_untouched(cases, name):
    before, after = pixels(cases, name, "before"), pixels(cases, name, "after")
    assert before[..., 3].min() == 0.0
    np.testing.assert_array_equal(before[..., 3], after[..., 3])


@pytest.mark.parametrize("name", ["strength0", "strength0_float"])
def test_strength_0_is_bit_identical(cases, name):
    np.testing.assert_array_equal(pixels(cases, name, "before"), pixels(cases, name, "after"))


@pytest.mark.parametrize(
    "name,settings", [("strength05", {"strength": 0.5}), ("gain2", {"max_gain": 2.0}), ("exact", {"quality": "exact"})]
)
def test_arguments_reach_the_worker(cases, name, settings):
    before, after = pixels(cases, name, "before"), pixels(cases, name, "after")
    assert psnr(after[..., :3], expected(before, **settings), 1.0) > 55
    assert psnr(after[..., :3], expected(before), 1.0) < 45


@pytest.mark.parametrize("name", ["selection", "selection_alpha"])
def test_selection_and_feathering(cases, name):
    folder, _answers = cases
    before, after = pixels(cases, name, "before"), pixels(cases, name, "after")
    selected = np.fromfile(folder / f"{name}.selection", np.float32).reshape(*before.shape[:2], 1)
    np.testing.assert_array_equal(before[selected[..., 0] == 0], after[selected[..., 0] == 0])
    assert ((selected > 0.1) & (selected < 0.9)).sum() > 1000, "the selection is not feathered"
    rows, columns = (np.flatnonzero(selected[..., 0].any(axis=axis)) for axis in (1, 0))
    bounds = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    wanted = before[..., :3].copy()
    wanted[bounds] = expected(before[bounds])  # what lies outside the selection has no say in the light
    assert np.abs(wanted - expected(before))[bounds].mean() > 0.01, "the whole layer has the say"
    blend = before[..., :3] + selected * (wanted - before[..., :3])
    seen = before[..., 3] > 0
    # GIMP may blend in linear light: at the ends both agree, and between them the change is monotonic.
    inside = (selected[..., 0] == 1) & seen
    assert np.abs(after[..., :3] - blend)[inside].max() < 3e-3 + 0.5 / 255
    assert psnr(after[..., :3][seen], blend[seen], 1.0) > 30


def test_selection_on_a_layer_with_an_offset(cases):
    before, after = pixels(cases, "offset", "before"), pixels(cases, "offset", "after")
    changed = np.argwhere(np.abs(before - after).max(axis=2) > 0.01)
    # The layer lies at (-50, 30), the selection at (10, 200) with 200x100.
    assert changed.min(axis=0).tolist() >= [170, 60]
    assert changed.max(axis=0).tolist() <= [269, 259]
    assert len(changed) > 10000


def test_several_layers(cases):
    folder, answers = cases
    assert answers["layers"]["done"]
    one, two = (np.fromfile(folder / f"layers{number}.after", np.float32) for number in (1, 2))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, pixels(cases, "u8", "after").ravel())


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_relighted_is_refused_with_a_reason(cases, name):
    _folder, answers = cases
    assert not answers[name]["done"]
    assert REFUSED[name] in answers[name]["error"]


def test_24_megapixels_are_relighted(cases):
    _folder, answers = cases
    assert answers["large"]["done"], answers["large"]["error"]
