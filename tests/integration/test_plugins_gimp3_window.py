"""The plug-in in GIMP 3 as a user has it, with windows on a virtual display: one undo step, and Cancel where it is."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from made import MODELS

from .conftest import need
from .test_plugins_gimp3 import (
    Gimp,
    gimp,  # noqa: F401 - a fixture
    install_into,
)
from .test_plugins_gimp3_dialog import wait_for

SCREEN = ":78"
HEIGHT, WIDTH = 600, 900
SHORTCUT = '(file-version 1)\n(action "plug-in-cliplit-enhance" "<Primary><Shift>j")\n'


@dataclass
class Window:
    """GIMP's windows, and what a user does with them. The dialog's buttons are found from its lower right corner."""

    gimp: Gimp
    folder: Path

    def do(self, *command):
        return self.gimp.run(*command, DISPLAY=SCREEN).stdout.split()

    def find(self, name):
        return next(iter(self.do("xdotool", "search", "--onlyvisible", "--name", name)), None)

    def open_dialog(self):
        self.press("ctrl+shift+j")
        window = wait_for(lambda: self.find("Backlit"))
        wait_for(self.workers)
        time.sleep(1.0)
        self.do("xdotool", "windowfocus", window)
        size = dict(
            word.split("=") for word in self.do("xdotool", "getwindowgeometry", "--shell", window) if "=" in word
        )
        return int(size["WIDTH"]), int(size["HEIGHT"])

    def click(self, x, y):
        self.do("xdotool", "mousemove", str(x), str(y), "click", "1")

    def press(self, keys):
        """In the image window."""
        self.do("xdotool", "windowfocus", self.find("GIMP built-in"), "key", keys)
        time.sleep(1.0)

    def shoot(self, name):
        self.do("import", "-window", "root", f"{self.folder}/{name}.png")
        if artefacts := os.environ.get("CLIPLIT_ARTEFACTS"):
            shutil.copy(self.gimp.outside(self.folder / f"{name}.png"), Path(artefacts) / f"gimp-{name}.png")
        return cv2.imread(str(self.gimp.outside(self.folder / f"{name}.png")))

    def ask(self, name):
        """The layers' pixels now, (2, H, W, 3), and whether GIMP counts the image as changed."""
        folder = self.gimp.outside(self.folder)
        (folder / f"{name}.json").unlink(missing_ok=True)
        (folder / "new").write_text(name)
        (folder / "new").rename(folder / "asked")
        wait_for(lambda: (folder / f"{name}.json").exists())
        layers = [np.fromfile(folder / f"{name}.{number}", np.uint8) for number in (0, 1)]
        return np.stack(layers).reshape(2, HEIGHT, WIDTH, 3), json.loads((folder / f"{name}.json").read_text())[
            "changed"
        ]

    def workers(self):
        """Process ids of workers in GIMP's root."""
        found = []
        for path in Path("/proc").iterdir():
            try:
                if b"plugins.worker" in (path / "cmdline").read_bytes() and (path / "root").samefile(self.gimp.root):
                    found.append(int(path.name))
            except OSError:  # not a process, or not any more
                continue
        return found


@pytest.fixture(scope="module")
def window(gimp, photo):  # noqa: F811
    """GIMP with an image of two layers, both selected; the installed model is a slow one."""
    need("chroot")
    folder = Path(gimp.home) / "window"
    outside = gimp.outside(folder)
    shutil.rmtree(outside, ignore_errors=True)
    outside.mkdir()
    shutil.copy(MODELS["unet"], outside / "unet.onnx")
    install_into(gimp, "--model", str(folder / "unet.onnx"))
    cv2.imwrite(str(outside / "photo.png"), cv2.resize(photo, (WIDTH, HEIGHT))[..., ::-1])
    shutil.copy(Path(__file__).parent / "gimp3_window.py", outside)
    profile = next(gimp.outside(gimp.home).glob(".config/GIMP/3.*"))
    (profile / "shortcutsrc").write_text(SHORTCUT)
    with (profile / "gimprc").open("a") as settings:
        settings.write("\n(show-welcome-dialog no)\n")
    window = Window(gimp, folder)
    display = {"DISPLAY": SCREEN, "GTK_THEME": "Adwaita", "CLIPLIT_CASES": str(folder)}
    batch = ["--batch-interpreter=python-fu-eval", "-b", f"exec(open('{folder}/gimp3_window.py').read())"]
    server = gimp.start("Xvfb", SCREEN, "-screen", "0", "1200x900x24")
    host = gimp.start("gimp", "--no-splash", *batch, **display)
    try:
        wait_for(lambda: (outside / "ready").exists() and window.find("GIMP built-in"))
        time.sleep(2.0)
        yield window
        window.ask("quit")
    finally:
        for process in (host, server):
            process.kill()
            process.wait()


def test_all_layers_are_one_undo_step(window):
    before, changed = window.ask("before")
    assert not changed
    width, height = window.open_dialog()
    window.click(width - 68, height - 41)  # OK
    wait_for(lambda: not window.workers())
    time.sleep(1.0)
    after, changed = window.ask("after")
    assert changed
    assert all((new != old).any() for new, old in zip(after, before, strict=True))
    window.press("ctrl+z")
    undone, changed = window.ask("undone")
    np.testing.assert_array_equal(undone, before)
    assert not changed, "there is more to be undone"
    window.press("ctrl+z")  # there is nothing left
    np.testing.assert_array_equal(window.ask("undone2")[0], before)
    window.press("ctrl+y")
    redone, changed = window.ask("redone")
    np.testing.assert_array_equal(redone, after)
    assert changed
    window.press("ctrl+z")


def test_cancel_in_the_dialog_stops_the_worker(window):
    before, changed = window.ask("before")
    assert not changed
    width, height = window.open_dialog()
    window.click(24, height - 127)  # Exact: a preview that takes some time
    window.click(width - 161, height - 41)  # Cancel
    wait_for(lambda: not window.workers(), seconds=2)
    after, changed = window.ask("after")
    np.testing.assert_array_equal(after, before)
    assert not changed


def test_cancel_on_the_progress_bar_stops_the_worker_and_changes_no_layer(window):
    before, changed = window.ask("before")
    assert not changed
    idle = window.shoot("idle")
    width, height = window.open_dialog()
    window.click(24, height - 127)  # Exact
    window.click(width - 68, height - 41)  # OK
    wait_for(lambda: trough(window.shoot("progress")) > 60)
    wait_for(lambda: trough(window.shoot("progress")) < 60)  # the first layer is done, the second under way
    shot = window.shoot("progress")
    assert trough(shot) > 5, "GIMP was done before it could be cancelled"
    rows, columns = np.nonzero(np.abs(status(shot).astype(int) - status(idle)).max(axis=2) > 40)
    assert window.workers()
    top, _bottom = status_rows(idle)
    window.click(columns.max() - 20, top + int(np.median(rows)))  # Cancel is what is furthest to the right
    wait_for(lambda: not window.workers(), seconds=2)
    time.sleep(1.0)
    window.shoot("cancelled")
    assert not window.find("Message"), "GIMP has something to complain about"
    after, changed = window.ask("after")
    np.testing.assert_array_equal(after, before)
    assert not changed


def status_rows(shot):
    """The rows of the bar below the image: the last ones of GIMP's window on a black screen."""
    bottom = int(np.nonzero(shot.max(axis=(1, 2)))[0].max())
    return bottom - 35, bottom


def status(shot):
    """The bar below the image, left of the docks."""
    top, bottom = status_rows(shot)
    right = int(np.nonzero(shot[top].max(axis=1))[0].max())
    return shot[top:bottom, : right - 235]


def trough(shot):
    """The longest light run in a row there, in pixels: what the progress bar has before it."""
    longest = 0
    for row in (status(shot) > 200).all(axis=2)[::3]:
        edges = np.flatnonzero(np.diff(np.concatenate(([0], row.astype(int), [0]))))
        longest = max([longest, *(edges[1::2] - edges[::2])])
    return longest
