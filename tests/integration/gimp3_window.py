"""Runs inside GIMP 3 with its windows: shows an image of two layers and writes its pixels whenever it is asked to.

`CLIPLIT_CASES` names the folder: `photo.png` goes in, and a name in `asked` brings out `NAME.0`, `NAME.1` (8-bit RGB)
and `NAME.json`, until it is "quit".
"""

import json
import os
import time
from pathlib import Path

import gi

gi.require_version("Babl", "0.1")
from gi.repository import Gegl, Gimp, Gio

FOLDER = Path(os.environ["CLIPLIT_CASES"])


def shown():
    image = Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, Gio.File.new_for_path(str(FOLDER / "photo.png")))
    first = image.get_layers()[0]
    second = first.copy()
    image.insert_layer(second, None, 0)
    image.set_selected_layers([first, second])
    image.undo_disable()  # what came so far cannot be undone
    image.undo_enable()
    image.clean_all()
    Gimp.Display.new(image)
    Gimp.displays_flush()
    return image


def answer(name):
    for number, layer in enumerate(image.get_layers()):
        area = Gegl.Rectangle.new(0, 0, layer.get_width(), layer.get_height())
        pixels = layer.get_buffer().get(area, 1.0, "R'G'B' u8", Gegl.AbyssPolicy.NONE)
        (FOLDER / f"{name}.{number}").write_bytes(pixels)
    (FOLDER / "answer").write_text(json.dumps({"changed": image.is_dirty()}))
    (FOLDER / "answer").rename(FOLDER / f"{name}.json")


image = shown()
(FOLDER / "ready").touch()
gimp = os.getppid()
name = ""
while name != "quit" and os.getppid() == gimp:
    time.sleep(0.05)
    if (FOLDER / "asked").exists():
        name = (FOLDER / "asked").read_text()
        (FOLDER / "asked").unlink()
        answer(name)
