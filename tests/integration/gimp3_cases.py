"""Runs inside GIMP 3: applies the plug-in to layers of all kinds and leaves their pixels as files.

`CLIPLIT_CASES` names the folder: `photo.png` goes in; for each case `NAME.before`, `NAME.after` (float RGBA in the
layer's own space), `NAME.profile` (of that space) and `NAME.selection` (float) come out, and `cases.json` with what
the procedure answered.
"""

import json
import os
from pathlib import Path

import gi

gi.require_version("Babl", "0.1")
from gi.repository import Babl, Gegl, Gimp, Gio

PROCEDURE = "plug-in-cliplit-enhance"
FOLDER = Path(os.environ["CLIPLIT_CASES"])
answers = {}


def dump(drawable, name, model="R'G'B'A float"):
    space = Babl.format_get_space(drawable.get_format())
    form = Babl.get_name(Babl.format_with_space(model, space))
    area = Gegl.Rectangle.new(0, 0, drawable.get_width(), drawable.get_height())
    (FOLDER / name).write_bytes(drawable.get_buffer().get(area, 1.0, form, Gegl.AbyssPolicy.NONE))


def enhance(image, drawables, **arguments):
    procedure = Gimp.get_pdb().lookup_procedure(PROCEDURE)
    config = procedure.create_config()
    config.set_property("run-mode", Gimp.RunMode.NONINTERACTIVE)
    config.set_property("image", image)
    config.set_core_object_array("drawables", drawables)
    for key, value in arguments.items():
        config.set_property(key.replace("_", "-"), value)
    status = procedure.run(config).index(0)
    return {
        "done": status == Gimp.PDBStatusType.SUCCESS,
        "error": Gimp.get_pdb().get_last_error(),
    }


def load():
    return Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, Gio.File.new_for_path(str(FOLDER / "photo.png")))


def case(name, prepare=None, precision=None, **arguments):
    image = load()
    if precision is not None:
        image.convert_precision(precision)
    drawable = image.get_layers()[0]
    if prepare is not None:
        drawable = prepare(image, drawable) or drawable
    if not drawable.is_group():
        dump(drawable, f"{name}.before")
        space = Babl.format_get_space(drawable.get_format())
        (FOLDER / f"{name}.profile").write_bytes(bytes(Babl.space_get_icc(space)))
    selection = image.get_selection()
    if not Gimp.Selection.is_empty(image):
        dump(selection, f"{name}.selection", "Y float")
    answers[name] = enhance(image, [drawable], **arguments)
    answers[name]["size"] = [drawable.get_height(), drawable.get_width()]
    if not drawable.is_group():
        dump(drawable, f"{name}.after")
    image.delete()


def with_alpha(image, layer):
    layer.add_alpha()
    image.select_rectangle(Gimp.ChannelOps.REPLACE, 0, 0, layer.get_width() // 3, layer.get_height())
    layer.edit_clear()
    Gimp.Selection.none(image)


def with_selection(image, layer):
    image.select_ellipse(Gimp.ChannelOps.REPLACE, 60, 160, 300, 200)
    Gimp.Selection.feather(image, 30.0)


def with_both(image, layer):
    with_alpha(image, layer)
    with_selection(image, layer)


def in_adobe_rgb(image, layer):
    image.convert_color_profile(
        Gimp.ColorProfile.new_rgb_adobe(), Gimp.ColorRenderingIntent.RELATIVE_COLORIMETRIC, False
    )


def said_to_be_linear(image, layer):
    """The numbers stay and mean linear light, as in a renderer's file of 8 bits."""
    image.set_color_profile(Gimp.ColorProfile.new_rgb_srgb_linear())


def offset(image, layer):
    layer.set_offsets(-50, 30)
    image.select_rectangle(Gimp.ChannelOps.REPLACE, 10, 200, 200, 100)


def selected_elsewhere(image, layer):
    layer.set_offsets(300, 0)
    image.select_rectangle(Gimp.ChannelOps.REPLACE, 0, 0, 100, 100)


def grey(image, layer):
    image.convert_grayscale()


def indexed(image, layer):
    image.convert_indexed(Gimp.ConvertDitherType.NONE, Gimp.ConvertPaletteType.GENERATE, 64, False, False, "")


def group(image, layer):
    parent = Gimp.GroupLayer.new(image, "group")
    image.insert_layer(parent, None, 0)
    image.reorder_item(layer, parent, 0)
    return parent


def mask(image, layer):
    made = layer.create_mask(Gimp.AddMaskType.WHITE)
    layer.add_mask(made)
    return made


def locked(image, layer):
    layer.set_lock_content(True)


def several_layers():
    image = load()
    image.undo_enable()
    first = image.get_layers()[0]
    second = first.copy()
    image.insert_layer(second, None, 0)
    answers["layers"] = enhance(image, [first, second])
    dump(first, "layers1.after")
    dump(second, "layers2.after")


def large():
    image = Gimp.Image.new(6000, 4000, Gimp.ImageBaseType.RGB)
    layer = Gimp.Layer.new(image, "large", 6000, 4000, Gimp.ImageType.RGBA_IMAGE, 100.0, Gimp.LayerMode.NORMAL)
    image.insert_layer(layer, None, 0)
    Gimp.context_set_foreground(Gegl.Color.new("#303840"))
    layer.edit_fill(Gimp.FillType.FOREGROUND)
    answers["large"] = enhance(image, [layer])


Precision = Gimp.Precision
case("u8")
case("strength0", strength=0.0)
case("strength0_float", precision=Precision.FLOAT_LINEAR, strength=0.0)
case("strength05", strength=0.5)
case("gain2", max_gain=2.0)
case("exact", exact=True)
for precision in ("U16_NON_LINEAR", "U16_LINEAR", "U32_NON_LINEAR", "FLOAT_NON_LINEAR", "FLOAT_LINEAR", "HALF_LINEAR"):
    case(precision.lower(), precision=getattr(Precision, precision))
case("adobe", in_adobe_rgb, Precision.U16_NON_LINEAR)
case("linear", said_to_be_linear, Precision.U16_NON_LINEAR)
case("alpha", with_alpha)
case("alpha_float", with_alpha, Precision.FLOAT_LINEAR)
case("selection", with_selection)
case("selection_alpha", with_both, Precision.U16_NON_LINEAR)
case("offset", offset)
case("elsewhere", selected_elsewhere)
case("grey", grey)
case("indexed", indexed)
case("mask", mask)
case("group", group)
case("locked", locked)
several_layers()
large()
(FOLDER / "cases.json").write_text(json.dumps(answers))
