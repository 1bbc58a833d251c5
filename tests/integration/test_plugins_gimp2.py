"""The plug-in in GIMP 2.10: pixels against `Enhancer`, selection, alpha, repetition, and what it refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from cliplit.runtime.enhancer import Enhancer

from .conftest import missing, psnr


@pytest.fixture(scope="module")
def cases(photo, tmp_path_factory):
    """The folder of results, and all that GIMP printed."""
    program = shutil.which("gimp-console-2.10")
    if program is None:
        missing("GIMP 2.10")
    home = tmp_path_factory.mktemp("home")
    cv2.imwrite(str(home / "photo.png"), photo[..., ::-1])
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    install = [sys.executable, "-m", "cliplit.plugins", "install", "gimp", "--check"]
    installed = subprocess.run(install, env=environment, cwd=home, capture_output=True, text=True)
    assert installed.returncode == 0, installed.stderr
    script = home / "cases.scm"
    script.write_text(f'(define FOLDER "{home}")\n' + (Path(__file__).parent / "gimp2_cases.scm").read_text())
    batch = [program, "-i", "-d", "-f", "-b", f'(load "{script}")', "-b", "(gimp-quit 0)"]
    answer = subprocess.run(batch, env=environment, cwd=home, capture_output=True, text=True, timeout=180)
    return home, answer.stdout + answer.stderr


def result(cases, name):
    picture = cv2.imread(str(cases[0] / f"{name}.png"), cv2.IMREAD_UNCHANGED)
    assert picture is not None, cases[1]
    return picture[..., [2, 1, 0, 3][: picture.shape[2]]]


@pytest.mark.parametrize(
    "name,settings",
    [
        ("plain", {}),
        ("repeated", {}),
        ("strength05", {"strength": 0.5}),
        ("gain2", {"max_gain": 2.0}),
        ("exact", {"quality": "exact"}),
    ],
)
def test_pixels_are_enhancers(cases, photo, name, settings):
    wanted = Enhancer(**settings)(photo)
    assert psnr(wanted, photo) < 30, "the scene is not relighted at all"
    assert np.abs(result(cases, name).astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("name", ["sixteen", "linear"])
def test_more_than_8_bits(cases, photo, name):
    after = result(cases, name)
    wanted = Enhancer()(photo.astype(np.float32) / 255)
    if name == "linear":  # GIMP writes such a layer's PNG in linear light
        wanted = np.where(wanted <= 0.04045, wanted / 12.92, ((wanted + 0.055) / 1.055) ** 2.4)
    assert after.dtype == np.uint16
    assert np.abs(after / 65535 - wanted).max() < 2e-3
    assert len(np.unique(after)) > 3000, "went through 8 bits"


def test_strength_0_is_bit_identical(cases, photo):
    np.testing.assert_array_equal(result(cases, "strength0"), photo)


def test_alpha_is_untouched(cases):
    alpha = result(cases, "alpha")[..., 3]
    assert (alpha[:, :200] == 0).all()
    assert (alpha[:, 200:] == 255).all()


def test_selection_and_feathering(cases, photo):
    after, wanted = result(cases, "selection"), Enhancer()(photo)
    np.testing.assert_array_equal(after[:100], photo[:100])
    np.testing.assert_array_equal(after[:, 450:], photo[:, 450:])
    assert np.abs(after[250:270, 200:220].astype(int) - wanted[250:270, 200:220]).max() <= 1  # the middle
    between = after[260, 40:100].astype(float).mean(axis=1), photo[260, 40:100], wanted[260, 40:100]
    share = (between[0] - between[1].mean(axis=1)) / (between[2].mean(axis=1) - between[1].mean(axis=1))
    assert ((share > 0.15) & (share < 0.85)).sum() > 5, "the edge is hard"


@pytest.mark.parametrize("name", ["mask", "group", "locked"])
def test_what_cannot_be_relighted_is_refused(cases, name):
    assert f"refused: {name}" in cases[1]
