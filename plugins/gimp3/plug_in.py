"""The procedure: its menu entry, its arguments, and its run."""

from __future__ import annotations

import sys
from pathlib import PurePath
from typing import Any

from ..attribution import AUTHORS, LICENCE, YEAR
from ..client import WorkerError
from ..protocol import Request
from .layers import LayerPixels, is_selected, refusal, update_display
from .libraries import Gegl, Gimp, GLib, GObject
from .service import Installation, Service
from .settings import INSTALLED_MODEL, settings_of

MODELS = {  # those in the package: what stands beside the name, and the help
    "lite": ("(fast)", "The small network, made for real time"),
}
PROCEDURE = "plug-in-cliplit-enhance"
TITLE = "Backlit Enhancement (CLIP-LIT)"


def main() -> None:
    Gimp.main(PlugIn.__gtype__, sys.argv)


class PlugIn(Gimp.PlugIn):  # type: ignore[misc]
    """The plug-in with its one procedure."""

    def do_set_i18n(self, name: str) -> bool:
        return False

    def do_query_procedures(self) -> list[str]:
        return [PROCEDURE]

    def do_create_procedure(self, name: str) -> Any:
        procedure = Gimp.ImageProcedure.new(self, name, Gimp.PDBProcType.PLUGIN, run, None)
        procedure.set_image_types("RGB*")
        mask = Gimp.ProcedureSensitivityMask
        procedure.set_sensitivity_mask(mask.DRAWABLE | mask.DRAWABLES)
        procedure.set_menu_label(f"_{TITLE}...")
        procedure.add_menu_path("<Image>/Filters/Light and Shadow")
        procedure.set_documentation(
            "Brighten the shadows of backlit photos",
            "Estimates the light of the picture with a neural network and divides it out where there is little, "
            "without clipping what is bright. Works on RGB layers of every precision.",
            name,
        )
        procedure.set_attribution(AUTHORS, LICENCE, YEAR)
        flags = GObject.ParamFlags.READWRITE
        procedure.add_double_argument(
            "strength",
            "S_trength",
            "0 changes nothing, 1 is the model's own choice, 2 is the most",
            0.0,
            2.0,
            1.0,
            flags,
        )
        procedure.add_double_argument(
            "max-gain",
            "Largest _gain",
            "How many times brighter the dark may become; lower it against noise",
            1.0,
            64.0,
            16.0,
            flags,
        )
        procedure.add_boolean_argument(
            "automatic-gain",
            "Limit the gain by the _noise",
            "Measure the noise in the dark, and bring up no more than it allows; the largest gain does not count then",
            False,
            flags,
        )
        procedure.add_choice_argument(
            "model", "_Model", "The network that estimates the light", models(), INSTALLED_MODEL, flags
        )
        procedure.add_boolean_argument(
            "exact",
            "_Full size (slow)",
            "Let the network see the whole picture and not a small one: seconds a megapixel, and a gigabyte of memory",
            False,
            flags,
        )
        return procedure


def models() -> Any:
    """Return the choice of models: the one named at installation and all bundled ones."""
    choice = Gimp.Choice.new()
    try:
        installation = Installation.load()
    except WorkerError:  # running says so; a procedure that is not there would say nothing
        installation = Installation([], [], "")
    default = PurePath(installation.model).name or "the default"
    choice.add(INSTALLED_MODEL, 0, f"Default ({default})", "The one named when the plug-in was installed")
    for number, name in enumerate(installation.models):
        words = MODELS.get(name, ("", "A model of the package"))
        choice.add(name, number + 1, f"{name} {words[0]}".strip(), words[1])
    return choice


def run(procedure: Any, run_mode: Any, image: Any, drawables: list[Any], config: Any, data: Any) -> Any:
    """Handle GIMP's call. Failures become its error value, never SUCCESS and never a traceback."""
    Gegl.init(None)
    problem = next((text for text in map(refusal, drawables) if text), None)
    if problem is None and not any(map(is_selected, drawables)):
        problem = "the selection does not touch the layer" if drawables else "no layer is selected"
    if problem is not None:
        return failure(procedure, problem)
    try:
        with Service(Installation.load().command) as service:
            if run_mode == Gimp.RunMode.INTERACTIVE:
                from .dialog import settle  # here: batch work has no display for GTK

                if not settle(procedure, config, drawables[0], service):
                    return procedure.new_return_values(Gimp.PDBStatusType.CANCEL, GLib.Error())
            relight_layers(image, [d for d in drawables if is_selected(d)], settings_of(config), service)
    except (WorkerError, RuntimeError, GLib.Error, MemoryError) as error:
        return failure(procedure, str(error) or "out of memory")
    update_display()
    return procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, GLib.Error())


def relight_layers(image: Any, drawables: list[Any], settings: Request, service: Service) -> None:
    """Relight the layers, as one undo step.

    The layers change only when all are computed: Cancel, upon which GIMP kills the plug-in, finds no undo group open
    and no layer changed.
    """
    if settings.strength == 0.0:  # nothing to do, and nothing to undo
        return
    Gimp.progress_init(TITLE)
    layers = [LayerPixels.of(drawable) for drawable in drawables]
    for number, layer in enumerate(layers):
        job = service.start(layer.request(settings), layer.read())
        done, count = float(number), len(layers)
        layer.put(job.wait(lambda share, d=done, n=count: Gimp.progress_update((d + share) / n)))  # type: ignore[misc]
    image.undo_group_start()
    try:
        for layer in layers:
            layer.merge()
    finally:
        image.undo_group_end()
        Gimp.progress_end()


def failure(procedure: Any, message: str) -> Any:
    error = GLib.Error.new_literal(Gimp.PlugIn.error_quark(), message, 0)
    return procedure.new_return_values(Gimp.PDBStatusType.EXECUTION_ERROR, error)
