"""Runs inside GIMP 3 with a display: opens the dialog to be accepted, repeats, opens it to be cancelled."""

import json
import os
from pathlib import Path

from gi.repository import Gimp, Gio

FOLDER = Path(os.environ["CLIPLIT_CASES"])
procedure = Gimp.get_pdb().lookup_procedure("plug-in-cliplit-enhance")
answers = {}


def run(name, mode, **arguments):
    image = Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, Gio.File.new_for_path(str(FOLDER / "photo.png")))
    config = procedure.create_config()
    config.set_property("run-mode", mode)
    config.set_property("image", image)
    config.set_core_object_array("drawables", image.get_layers())
    for key, value in arguments.items():
        config.set_property(key, value)
    (FOLDER / f"{name}.open").touch()
    answers[name] = procedure.run(config).index(0).value_nick
    Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, image, Gio.File.new_for_path(str(FOLDER / f"{name}.png")), None)
    image.delete()


run("accepted", Gimp.RunMode.INTERACTIVE, strength=0.6)
run("repeated", Gimp.RunMode.WITH_LAST_VALS)
run("cancelled", Gimp.RunMode.INTERACTIVE)
(FOLDER / "dialog.json").write_text(json.dumps(answers))
