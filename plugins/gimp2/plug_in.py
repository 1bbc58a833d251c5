"""The procedure in GIMP 2.10: registered, asked for its arguments, run on one layer in this process."""

from __future__ import annotations

import ctypes as c
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from cliplit.arrays import Array
from cliplit.errors import CliplitError, InputError

from ..attribution import AUTHORS, LICENCE, YEAR
from . import libgimp as gimp
from .dialog import Settings, settle

NAME = "plug-in-cliplit-enhance"
TITLE = "Backlit Enhancement (CLIP-LIT)"
ARGUMENTS = (
    (gimp.ARGUMENT_INT32, b"run-mode", b"The run mode { RUN-INTERACTIVE (0), RUN-NONINTERACTIVE (1) }"),
    (gimp.ARGUMENT_IMAGE, b"image", b"Input image"),
    (gimp.ARGUMENT_DRAWABLE, b"drawable", b"Input drawable"),
    (gimp.ARGUMENT_FLOAT, b"strength", b"0 changes nothing, 1 is the model's own choice, 2 is the most"),
    (gimp.ARGUMENT_FLOAT, b"max-gain", b"Upper bound of the gain, 1 to 256"),
    (gimp.ARGUMENT_INT32, b"exact", b"Run the network at full size (TRUE or FALSE)"),
)


class Remembered(c.Structure):
    """The last settings, as GIMP keeps them."""

    _fields_ = (("strength", c.c_double), ("max_gain", c.c_double), ("exact", c.c_int32))


def main() -> None:
    """Run the plug-in; the installer's script passes its own path first, then GIMP's arguments."""
    arguments = [argument.encode() for argument in sys.argv[1:]]
    info = gimp.PlugInInfo(gimp.NoArguments(), gimp.NoArguments(), gimp.NoArguments(query), gimp.Run(run))
    sys.exit(gimp.main(c.byref(info), len(arguments), (c.c_char_p * len(arguments))(*arguments)))


def query() -> None:
    definitions = (gimp.ParamDefinition * len(ARGUMENTS))(*(gimp.ParamDefinition(*row) for row in ARGUMENTS))
    # fmt: off
    gimp.install_procedure(
        NAME.encode(), b"Brighten the shadows of backlit photos",
        b"Estimates the light of the picture with a neural network and divides it out where there is little.",
        AUTHORS.encode(), LICENCE.encode(), YEAR.encode(), f"_{TITLE}...".encode(), b"RGB*",
        gimp.PLUG_IN, len(ARGUMENTS), 0, definitions, None,
    )
    # fmt: on
    gimp.menu_register(NAME.encode(), b"<Image>/Filters/Light and Shadow")


_returned = (gimp.Param * 2)()  # GIMP reads them after `run` has returned


def run(name: bytes, count: int, parameters: Any, returned_count: Any, returned: Any) -> None:
    """Handle GIMP's call. Failures become its error value with their message."""
    status, message = gimp.SUCCESS, ""
    try:
        settings = settings_of(count, parameters)
        if settings is None:
            status = gimp.CANCEL
        else:
            relight_layer(parameters[2].data.integer, settings)
            remember(settings)
            gimp.displays_flush()
    except CliplitError as error:
        status, message = gimp.EXECUTION_ERROR, str(error)
    except MemoryError:
        status, message = gimp.EXECUTION_ERROR, "out of memory"
    except Exception as error:  # an exception cannot leave a C callback
        status, message = gimp.EXECUTION_ERROR, f"internal error, {type(error).__name__}: {error}"
    _returned[0].type, _returned[0].data.integer = gimp.ARGUMENT_STATUS, status
    _returned[1].type, _returned[1].data.string = gimp.ARGUMENT_STRING, message.encode()
    returned_count[0] = 2 if message else 1
    returned[0] = c.cast(_returned, c.POINTER(gimp.Param))


def settings_of(count: int, parameters: Any) -> Settings | None:
    """Read the settings from the call, the last run or the user, by run mode; None if the user cancels."""
    mode = parameters[0].data.integer
    if mode == gimp.RUN_NONINTERACTIVE:
        if count < len(ARGUMENTS):
            raise InputError(f"{NAME} takes {len(ARGUMENTS)} arguments")
        strength, gain, exact = (parameters[number].data for number in (3, 4, 5))
        return Settings(strength.number, gain.number, bool(exact.integer))
    last = Remembered(1.0, 16.0, 0)
    gimp.get_data(NAME.encode(), c.byref(last))
    settings = Settings(last.strength, last.max_gain, bool(last.exact))
    return settings if mode == gimp.RUN_WITH_LAST_VALUES else settle(TITLE, NAME, settings)


def remember(settings: Settings) -> None:
    last = Remembered(settings.strength, settings.max_gain, settings.exact)
    gimp.set_data(NAME.encode(), c.byref(last), c.sizeof(last))


def relight_layer(drawable: int, settings: Settings) -> None:
    """Relight a layer where it is selected, as one undo step. Raises CliplitError for what cannot be relighted."""
    if gimp.is_group(drawable):
        raise InputError("this is a layer group; select a layer in it")
    if not gimp.is_rgb(drawable):
        raise InputError("this is no RGB layer; use Image > Mode > RGB first, and select the layer, not its mask")
    if gimp.is_locked(drawable):
        raise InputError("the pixels of this layer are locked; unlock them in the Layers dialog")
    area = tuple(c.c_int() for _ in range(4))
    if not gimp.mask_intersect(drawable, *area):
        raise InputError("the selection does not touch the layer")
    from cliplit.runtime import Enhancer  # here: asked for the menu, the plug-in answers at once

    model, device = installed_choice()
    enhancer = Enhancer(model, device, settings.strength, settings.max_gain, "exact" if settings.exact else "fast")
    if settings.strength == 0.0:
        return
    gimp.gegl_init(None, None)
    gimp.progress_init(TITLE.encode())
    write(drawable, enhancer(read(drawable)))
    gimp.update(drawable, *area)
    gimp.progress_update(1.0)


def installed_choice() -> tuple[str, str]:
    """Return the model and device named when the plug-in was installed."""
    path = Path(sys.argv[1]).parent / "worker.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return str(content["model"]), str(content["device"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be used; run again: cliplit-plugins install gimp") from error


def pixel_format(drawable: int) -> Any:
    """Return gamma-coded float in the layer's own colour space."""
    model = b"R'G'B'A float" if gimp.has_alpha(drawable) else b"R'G'B' float"
    return gimp.format_with_space(model, gimp.format_space(gimp.get_format(drawable)))


def read(drawable: int) -> Array:
    """Read the whole layer, (H, W, 3 or 4) float32; the light of a part can only be judged from the whole."""
    channels = 4 if gimp.has_alpha(drawable) else 3
    pixels = np.empty((gimp.height(drawable), gimp.width(drawable), channels), np.float32)
    area = gimp.Rectangle(0, 0, pixels.shape[1], pixels.shape[0])
    buffer = gimp.get_buffer(drawable)
    gimp.buffer_get(buffer, area, 1.0, pixel_format(drawable), pixels.ctypes.data, 0, 0)
    gimp.unref(buffer)
    return pixels


def write(drawable: int, pixels: Array) -> None:
    """Write through the shadow buffer, whose merge applies the selection and makes the undo step."""
    area = gimp.Rectangle(0, 0, pixels.shape[1], pixels.shape[0])
    shadow = gimp.get_shadow_buffer(drawable)
    gimp.buffer_set(shadow, area, 0, pixel_format(drawable), pixels.ctypes.data, 0)
    gimp.unref(shadow)  # flushes it
    if not gimp.merge_shadow(drawable, 1):
        raise CliplitError("GIMP did not take the pixels")
