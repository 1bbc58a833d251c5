"""The dialog of the GIMP 2.10 plug-in: strength, gain and quality, in GTK 2 through ctypes."""

from __future__ import annotations

import ctypes as c
from dataclasses import dataclass

from .libgimp import RESPONSE_CANCEL, RESPONSE_OK, Double, Int, Pointer, Text, _function, _load

STRENGTH, GAIN = (0.0, 2.0, 0.01), (1.0, 64.0, 0.5)  # lowest, highest, step


@dataclass(frozen=True)
class Settings:
    strength: float = 1.0
    max_gain: float = 16.0
    exact: bool = False


def settle(title: str, procedure: str, settings: Settings) -> Settings | None:
    """Return what the user chose, None if they cancelled."""
    ui, widgets, gtk = map(_load, ("libgimpui-2.0.so.0", "libgimpwidgets-2.0.so.0", "libgtk-x11-2.0.so.0"))
    box = _function(gtk, "gtk_vbox_new", Pointer, Int, Int)(0, 6)
    pack = _function(gtk, "gtk_box_pack_start", None, Pointer, Pointer, Int, Int, c.c_uint)

    def scale(label: bytes, value: float, bounds: tuple[float, float, float]) -> int:
        row = _function(gtk, "gtk_hbox_new", Pointer, Int, Int)(0, 12)
        widget: int = _function(gtk, "gtk_hscale_new_with_range", Pointer, Double, Double, Double)(*bounds)
        _function(gtk, "gtk_range_set_value", None, Pointer, Double)(widget, value)
        _function(gtk, "gtk_widget_set_size_request", None, Pointer, Int, Int)(widget, 260, -1)
        pack(row, _function(gtk, "gtk_label_new", Pointer, Text)(label), 0, 0, 0)
        pack(row, widget, 1, 1, 0)
        pack(box, row, 0, 0, 0)
        return widget

    _function(ui, "gimp_ui_init", None, Text, Int)(b"cliplit", 0)
    make = widgets.gimp_dialog_new  # takes buttons as variable arguments, so each one is typed here
    make.restype = Pointer
    # fmt: off
    dialog = make(Text(title.encode()), Text(b"cliplit"), Pointer(None), Int(0), Pointer(None),
                  Text(procedure.encode()), Text(b"_Cancel"), Int(RESPONSE_CANCEL),
                  Text(b"_OK"), Int(RESPONSE_OK), Pointer(None))
    # fmt: on
    _function(gtk, "gtk_dialog_set_default_response", None, Pointer, Int)(dialog, RESPONSE_OK)
    pack(_function(gtk, "gtk_dialog_get_content_area", Pointer, Pointer)(dialog), box, 1, 1, 12)
    strength = scale(b"Strength", settings.strength, STRENGTH)
    gain = scale(b"Maximum gain", settings.max_gain, GAIN)
    exact = _function(gtk, "gtk_check_button_new_with_label", Pointer, Text)(b"Exact: the network at full size, slow")
    _function(gtk, "gtk_toggle_button_set_active", None, Pointer, Int)(exact, settings.exact)
    pack(box, exact, 0, 0, 0)
    _function(gtk, "gtk_widget_show_all", None, Pointer)(dialog)
    answer = _function(widgets, "gimp_dialog_run", Int, Pointer)(dialog)
    value = _function(gtk, "gtk_range_get_value", Double, Pointer)
    chosen = Settings(
        value(strength), value(gain), bool(_function(gtk, "gtk_toggle_button_get_active", Int, Pointer)(exact))
    )
    _function(gtk, "gtk_widget_destroy", None, Pointer)(dialog)
    return chosen if answer == RESPONSE_OK else None
