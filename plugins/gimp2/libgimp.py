"""The part of libgimp 2.10, GEGL, babl and GTK 2 that the plug-in uses, through ctypes.

Declarations follow the libraries' own reference manuals. Loaded when this module is imported, which only GIMP's own
start of the plug-in does.
"""

from __future__ import annotations

import ctypes as c
from typing import Any

Pointer, Text, Int, Double = c.c_void_p, c.c_char_p, c.c_int, c.c_double

RUN_INTERACTIVE, RUN_NONINTERACTIVE, RUN_WITH_LAST_VALUES = range(3)
EXECUTION_ERROR, CALLING_ERROR, PASS_THROUGH, SUCCESS, CANCEL = range(5)
ARGUMENT_INT32, ARGUMENT_FLOAT, ARGUMENT_STRING, ARGUMENT_IMAGE, ARGUMENT_DRAWABLE, ARGUMENT_STATUS = (
    0,
    3,
    4,
    13,
    16,
    21,
)
PLUG_IN = 1
RESPONSE_OK, RESPONSE_CANCEL = -5, -6


class Colour(c.Structure):
    _fields_ = (("red", Double), ("green", Double), ("blue", Double), ("alpha", Double))


class ParamData(c.Union):
    """GimpParamData; the colour gives it its size."""

    _fields_ = (("integer", c.c_int32), ("number", Double), ("string", Text), ("pointer", Pointer), ("colour", Colour))


class Param(c.Structure):
    _fields_ = (("type", Int), ("data", ParamData))


class ParamDefinition(c.Structure):
    _fields_ = (("type", Int), ("name", Text), ("description", Text))


class Rectangle(c.Structure):
    _fields_ = (("x", Int), ("y", Int), ("width", Int), ("height", Int))


NoArguments = c.CFUNCTYPE(None)
Run = c.CFUNCTYPE(None, Text, Int, c.POINTER(Param), c.POINTER(Int), c.POINTER(c.POINTER(Param)))


class PlugInInfo(c.Structure):
    _fields_ = (("init", NoArguments), ("quit", NoArguments), ("query", NoArguments), ("run", Run))


def _load(name: str) -> c.CDLL:
    return c.CDLL(name, c.RTLD_GLOBAL)


def _function(library: c.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(library, name)
    function.restype, function.argtypes = result, list(arguments)
    return function


_gimp, _gegl = _load("libgimp-2.0.so.0"), _load("libgegl-0.4.so.0")
_babl, _object = _load("libbabl-0.1.so.0"), _load("libgobject-2.0.so.0")

main = _function(_gimp, "gimp_main", Int, c.POINTER(PlugInInfo), Int, c.POINTER(Text))
# fmt: off
install_procedure = _function(_gimp, "gimp_install_procedure", None, *[Text] * 8, Int, Int, Int,
                              c.POINTER(ParamDefinition), Pointer)
# fmt: on
menu_register = _function(_gimp, "gimp_plugin_menu_register", Int, Text, Text)
get_data = _function(_gimp, "gimp_procedural_db_get_data", Int, Text, Pointer)
set_data = _function(_gimp, "gimp_procedural_db_set_data", Int, Text, Pointer, c.c_uint32)
progress_init = _function(_gimp, "gimp_progress_init_printf", Int, Text)
progress_update = _function(_gimp, "gimp_progress_update", Int, Double)
displays_flush = _function(_gimp, "gimp_displays_flush", None)

is_group = _function(_gimp, "gimp_item_is_group", Int, c.c_int32)
is_rgb = _function(_gimp, "gimp_drawable_is_rgb", Int, c.c_int32)
is_locked = _function(_gimp, "gimp_item_get_lock_content", Int, c.c_int32)
has_alpha = _function(_gimp, "gimp_drawable_has_alpha", Int, c.c_int32)
width = _function(_gimp, "gimp_drawable_width", Int, c.c_int32)
height = _function(_gimp, "gimp_drawable_height", Int, c.c_int32)
get_format = _function(_gimp, "gimp_drawable_get_format", Pointer, c.c_int32)
get_buffer = _function(_gimp, "gimp_drawable_get_buffer", Pointer, c.c_int32)
get_shadow_buffer = _function(_gimp, "gimp_drawable_get_shadow_buffer", Pointer, c.c_int32)
merge_shadow = _function(_gimp, "gimp_drawable_merge_shadow", Int, c.c_int32, Int)
update = _function(_gimp, "gimp_drawable_update", Int, c.c_int32, Int, Int, Int, Int)
mask_intersect = _function(_gimp, "gimp_drawable_mask_intersect", Int, c.c_int32, *[c.POINTER(Int)] * 4)

gegl_init = _function(_gegl, "gegl_init", None, Pointer, Pointer)
# fmt: off
buffer_get = _function(_gegl, "gegl_buffer_get", None, Pointer, c.POINTER(Rectangle), Double, Pointer, Pointer,
                       Int, Int)
# fmt: on
buffer_set = _function(_gegl, "gegl_buffer_set", None, Pointer, c.POINTER(Rectangle), Int, Pointer, Pointer, Int)
format_space = _function(_babl, "babl_format_get_space", Pointer, Pointer)
format_with_space = _function(_babl, "babl_format_with_space", Pointer, Text, Pointer)
unref = _function(_object, "g_object_unref", None, Pointer)
