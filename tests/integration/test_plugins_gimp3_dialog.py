"""The dialog of the GIMP 3 plug-in on a virtual display: preview, split, OK, repetition, Cancel."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from cliplit.runtime.enhancer import Enhancer

from .conftest import need
from .test_plugins_gimp3 import (
    gimp,  # noqa: F401 - a fixture
    install_into,
)

SCREEN = ":77"


@pytest.fixture(scope="module")
def dialog(gimp, photo):  # noqa: F811
    """Pictures and answers of the whole conversation, and the screenshots taken of it."""
    need("chroot")
    install_into(gimp)
    folder = Path(gimp.home) / "dialog"
    outside = gimp.outside(folder)
    outside.mkdir()
    cv2.imwrite(str(outside / "photo.png"), photo[..., ::-1])
    shutil.copy(Path(__file__).parent / "gimp3_dialog.py", outside)
    display = {"DISPLAY": SCREEN, "GTK_THEME": "Adwaita", "CLIPLIT_CASES": str(folder)}

    def do(*command):
        return gimp.run(*command, **display)

    def shoot(name):
        assert do("import", "-window", "root", f"{folder}/{name}.png").returncode == 0
        if artefacts := os.environ.get("CLIPLIT_ARTEFACTS"):
            shutil.copy(outside / f"{name}.png", Path(artefacts) / f"gimp-{gimp.version}-{name}.png")
        return cv2.imread(str(outside / f"{name}.png"))

    code = f"exec(open('{folder}/gimp3_dialog.py').read())"
    server = gimp.start("Xvfb", SCREEN, "-screen", "0", "1000x900x24")
    batch = ["gimp-console", "-idf", "--batch-interpreter=python-fu-eval", "-b", code, "--quit"]
    host = gimp.start(*batch, **display)
    try:
        window = wait_for(lambda: outside.joinpath("accepted.open").exists() and visible(do))
        time.sleep(3.0)  # the first preview; a slow machine's, too
        do("xdotool", "windowfocus", window)
        shots = {"preview": shoot("preview")}
        drag = ["mousemove", "100", "200", "mousedown", "1", "mousemove", "150", "200", "mouseup", "1"]
        do("xdotool", *drag)
        time.sleep(0.5)
        shots["split"] = shoot("split")
        do("xdotool", "key", "Return")
        window = wait_for(lambda: outside.joinpath("cancelled.open").exists() and visible(do))
        time.sleep(1.0)
        do("xdotool", "windowfocus", window)
        do("xdotool", "key", "Escape")
        wait_for(lambda: outside.joinpath("dialog.json").exists())
        host.wait(timeout=300)
    finally:
        for process in (host, server):
            process.kill()
            process.wait()
    pictures = {
        name: cv2.imread(str(outside / f"{name}.png"))[..., ::-1] for name in ("accepted", "repeated", "cancelled")
    }
    return pictures, shots, json.loads((outside / "dialog.json").read_text())


def visible(do):
    found = do("xdotool", "search", "--onlyvisible", "--name", "Backlit").stdout.split()
    return found[0] if found else None


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.25)
    raise AssertionError("the dialog did not get on")


def test_ok_applies_what_the_dialog_says(dialog, photo):
    pictures, _, answers = dialog
    assert answers["accepted"] == "success"
    difference = np.abs(pictures["accepted"].astype(int) - Enhancer(strength=0.6)(photo))
    assert difference.max() <= 4 and (difference > 1).mean() < 2e-3  # a gate, and GIMP's rounding


def test_values_are_remembered_for_repetition(dialog):
    pictures, _, answers = dialog
    assert answers["repeated"] == "success"
    np.testing.assert_array_equal(pictures["repeated"], pictures["accepted"])


def test_cancel_leaves_the_layer_alone(dialog, photo):
    pictures, _, answers = dialog
    assert answers["cancelled"] == "cancel"
    np.testing.assert_array_equal(pictures["cancelled"], photo)


def test_the_preview_shows_before_and_after_and_the_split_moves(dialog):
    _, shots, _ = dialog
    # The preview begins at (12, 18), 560 pixels wide; this row of it lies in the shade.
    before, after = shots["preview"][300:330, 20:280], shots["preview"][300:330, 310:560]
    assert after.mean() > 1.5 * before.mean()
    moved = shots["split"][300:330, 160:280]
    assert moved.mean() > 1.5 * shots["preview"][300:330, 160:280].mean()
