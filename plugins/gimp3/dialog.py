"""The dialog: GIMP's own widgets for the arguments, and a live preview, before and after side by side."""

from __future__ import annotations

from typing import Any

import gi

from ..client import WorkerError
from .layers import LayerPixels
from .libraries import GLib
from .service import RelightTask, Service
from .settings import settings_of

gi.require_version("GimpUi", "3.0")
gi.require_version("Gtk", "3.0")
gi.require_version("GdkPixbuf", "2.0")

from gi.repository import Gdk, GdkPixbuf, GimpUi, Gtk  # noqa: E402

PREVIEW = (560, 340)  # pixels; with the controls below it, a portrait fits on a screen of 768 lines
LOOK = 30  # milliseconds between two looks at a running job
LINE = 0xFFFFFFFF  # RGBA of the line between before and after
ARGUMENTS = ("strength", "max-gain", "automatic-gain", "model", "exact")


def settle(procedure: Any, config: Any, drawable: Any, service: Service) -> bool:
    """Let the user choose the arguments, which `config` then holds; return False if they cancel."""
    GimpUi.init("cliplit")
    dialog = GimpUi.ProcedureDialog.new(procedure, config, None)
    dialog.get_scale_entry("strength", 1.0)
    gain = dialog.get_scale_entry("max-gain", 1.0)
    gain.set_logarithmic(True)  # as the eye sees it: twice as bright is one step anywhere
    dialog.fill(list(ARGUMENTS))
    dialog.set_sensitive("max-gain", True, config, "automatic-gain", True)
    help_button = dialog.get_widget_for_response(Gtk.ResponseType.HELP)
    if help_button is not None:  # GIMP's help has no page on us
        help_button.hide()
    preview = Preview(drawable, config, service)
    area = dialog.get_content_area()
    area.pack_start(preview.widget, True, True, 6)
    area.reorder_child(preview.widget, 0)
    accepted = bool(dialog.run())
    preview.stop()
    dialog.destroy()
    return accepted


class Preview:
    """A small picture of the layer: original on the left of a movable line, relighted on its right.

    The worker computes while the user goes on; only the latest choice is shown.
    """

    def __init__(self, drawable: Any, config: Any, service: Service) -> None:
        self._config, self._service = config, service
        self._layer = LayerPixels.of(drawable, PREVIEW)
        self._pixels = self._layer.read()
        self._before = self._after = self._pixbuf(self._pixels)
        self._split = 0.5
        self._stale, self._timer = False, 0
        self._job: RelightTask | None = None
        self._build()
        self._handler = config.connect("notify", lambda *_: self._refresh())
        self._refresh()

    def stop(self) -> None:
        """Show nothing more."""
        self._config.disconnect(self._handler)
        if self._timer:
            GLib.source_remove(self._timer)
        self._timer = 0

    def _build(self) -> None:
        self._image, self._state = Gtk.Image(), Gtk.Label()
        events = Gtk.EventBox()
        events.add_events(Gdk.EventMask.BUTTON_PRESS_MASK | Gdk.EventMask.BUTTON_MOTION_MASK)
        events.set_tooltip_text("Drag the line between before and after")
        events.set_halign(Gtk.Align.CENTER)
        events.add(self._image)
        for signal in ("button-press-event", "motion-notify-event"):
            events.connect(signal, self._drag)
        self.widget = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=3)
        self.widget.pack_start(events, True, True, 0)
        self.widget.pack_start(self._state, False, False, 0)
        self.widget.show_all()

    def _drag(self, widget: Any, event: Any) -> bool:
        self._split = min(1.0, max(0.0, event.x / self._layer.width))
        self._show()
        return True

    def _refresh(self) -> None:
        if self._job is not None and self._job.running:
            self._stale = True
            return
        self._stale = False
        self._say("Computing…")
        try:
            self._job = self._service.start(self._layer.request(settings_of(self._config)), self._pixels)
        except WorkerError as error:
            self._say(str(error))
            return
        if not self._timer:
            self._timer = GLib.timeout_add(LOOK, self._look)

    def _look(self) -> bool:
        job = self._job
        if job is not None and job.running:
            return True
        self._timer = 0
        if job is not None:
            self._finish(job)
        if self._stale:
            self._refresh()
        return False

    def _finish(self, job: RelightTask) -> None:
        try:
            self._after = self._pixbuf(job.result())
        except WorkerError as error:
            self._say(str(error))
            return
        self._say("Before  |  After")
        self._show()

    def _show(self) -> None:
        width, height = self._layer.width, self._layer.height
        at = int(self._split * width)
        shown = self._after.copy()
        if at > 0:
            self._before.copy_area(0, 0, at, height, shown, 0, 0)
        shown.new_subpixbuf(min(at, width - 1), 0, 1, height).fill(LINE)
        self._image.set_from_pixbuf(shown)

    def _say(self, text: str) -> None:
        self._state.set_text(text)
        if self._image.get_pixbuf() is None:
            self._image.set_from_pixbuf(self._before)

    def _pixbuf(self, pixels: bytes | bytearray) -> Any:
        data = GLib.Bytes.new(self._layer.for_screen(pixels))
        width, height = self._layer.width, self._layer.height
        return GdkPixbuf.Pixbuf.new_from_bytes(data, GdkPixbuf.Colorspace.RGB, True, 8, width, height, 4 * width)
