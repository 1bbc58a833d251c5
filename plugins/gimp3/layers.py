"""A layer's pixels, out of GIMP and back into it.

They leave as gamma-coded float in the layer's own colour space, whatever its precision, with that space's profile, by
which the light is looked at in sRGB. They return through the shadow buffer, whose merge applies the selection and makes
the undo step. Only the bounds of the selection go: as with an area of a clip, what lies outside has no say in the
light.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..protocol import Pixels, Request
from .libraries import Babl, Gegl, Gimp


def refusal(drawable: Any) -> str | None:
    """Return the reason why a drawable cannot be relighted, None if it can."""
    name = drawable.get_name()
    if drawable.is_group():
        return f"“{name}” is a layer group; select the layers in it"
    if not drawable.is_rgb():
        kind = "an indexed" if drawable.is_indexed() else "a greyscale"
        return f"“{name}” is {kind} layer, mask or channel; use Image > Mode > RGB first, and select the layer itself"
    if drawable.get_lock_content():
        return f"the pixels of “{name}” are locked; unlock them in the Layers dialog"
    return None


@dataclass(frozen=True)
class LayerPixels:
    """Exchange of a layer's pixels, or of the bounds of the selection in it, at full size or smaller."""

    drawable: Any
    x: int
    y: int
    width: int
    height: int
    scale: float
    layout: Pixels
    format: str
    profile: bytes

    @classmethod
    def of(cls, drawable: Any, within: tuple[int, int] | None = None) -> LayerPixels:
        """Prepare the selected part, or the whole layer; with `within` (width, height), smaller, for a preview."""
        selected, x, y, width, height = drawable.mask_intersect()
        if not selected:
            x, y, width, height = 0, 0, drawable.get_width(), drawable.get_height()
        scale = min(1.0, within[0] / width, within[1] / height) if within else 1.0
        layout = Pixels.RGBA_FLOAT if drawable.has_alpha() else Pixels.RGB_FLOAT
        model = "R'G'B'A float" if drawable.has_alpha() else "R'G'B' float"
        space = Babl.format_get_space(drawable.get_format())
        name = Babl.get_name(Babl.format_with_space(model, space))
        profile = b"" if Babl.get_name(space) == "sRGB" else bytes(Babl.space_get_icc(space) or b"")
        width, height = max(1, int(width * scale)), max(1, int(height * scale))
        return cls(drawable, int(x * scale), int(y * scale), width, height, scale, layout, name, profile)

    @property
    def rectangle(self) -> Any:
        return Gegl.Rectangle.new(self.x, self.y, self.width, self.height)

    def request(self, settings: Request) -> Request:
        """Combine the settings with this picture's size, layout and profile."""
        return replace(settings, pixels=self.layout, width=self.width, height=self.height, profile=self.profile)

    def read(self) -> bytes:
        pixels: bytes = self.drawable.get_buffer().get(self.rectangle, self.scale, self.format, Gegl.AbyssPolicy.NONE)
        return pixels

    def put(self, pixels: bytearray) -> None:
        """Write into the shadow buffer; GIMP discards it if the plug-in ends before `merge`."""
        shadow = self.drawable.get_shadow_buffer()
        shadow.set(self.rectangle, self.format, bytes(pixels))
        shadow.flush()

    def merge(self) -> None:
        """Merge the shadow buffer into the layer, within the selection. Raises RuntimeError if GIMP refuses."""
        if not self.drawable.merge_shadow(True):
            raise RuntimeError(f"GIMP did not take the pixels of “{self.drawable.get_name()}”")
        _, x, y, width, height = self.drawable.mask_intersect()
        self.drawable.update(x, y, width, height)

    def for_screen(self, pixels: bytes | bytearray) -> bytes:
        """Convert the picture to 8-bit sRGB with alpha."""
        buffer = Gegl.Buffer.new(self.format, self.x, self.y, self.width, self.height)
        buffer.set(self.rectangle, self.format, bytes(pixels))
        screen: bytes = buffer.get(self.rectangle, 1.0, "R'G'B'A u8", Gegl.AbyssPolicy.NONE)
        return screen


def is_selected(drawable: Any) -> bool:
    """Return whether the selection, if any, touches the drawable."""
    return bool(drawable.mask_intersect()[0])


def update_display() -> None:
    Gimp.displays_flush()
