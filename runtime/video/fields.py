"""The order of a picture's two fields, by FFmpeg's filters: PyAV tells only whether a picture is interlaced."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Literal

import av
from av.filter import Graph
from av.video.frame import VideoFrame

Order = Literal["progressive", "tff", "bff"]

TAGGED: dict[int, Order] = {2: "tff", 3: "bff", 4: "tff", 5: "bff"}  # AVFieldOrder of a stream
# Codecs whose every picture says whether it is interlaced; of the others the stream's tag is all there is.
TELLING = {"h264", "hevc", "mpeg2video", "mpeg4", "vc1", "prores", "dvvideo", "dnxhd"}
# Encoders that note the scan of each picture by itself; the others say of all what they say of one.
FOLLOWING = {"ffv1", "mpeg2video", "rawvideo"}
PEEKED = 12  # pictures that decide about a stream whose tag and first picture disagree


class Filter:
    """One of FFmpeg's filters that keeps or drops whole pictures and copies none."""

    def __init__(self, name: str, arguments: str) -> None:
        self.name, self.arguments = name, arguments
        self._graph: Graph | None = None
        self._layout: tuple[int, int, str] | None = None

    def __call__(self, picture: VideoFrame) -> VideoFrame | None:
        """Return the picture that comes out, or None."""
        layout = picture.width, picture.height, picture.format.name
        if self._graph is None or layout != self._layout:
            self._graph, self._layout = Graph(), layout
            form: Any = layout[2]
            source = self._graph.add_buffer(width=layout[0], height=layout[1], format=form, time_base=Fraction(1, 1000))
            step = self._graph.add(self.name, self.arguments)
            source.link_to(step)
            step.link_to(self._graph.add("buffersink"))
            self._graph.configure()
        base = picture.time_base
        self._graph.push(picture)
        try:
            out = self._graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return None
        assert isinstance(out, VideoFrame)
        out.pts, out.time_base = picture.pts, base
        return out


class FieldOrder:
    """Reads the order of the fields of pictures, and sets it."""

    def __init__(self) -> None:
        self._top_first = Filter("select", "eq(interlace_type,TOPFIRST)")
        self._set: dict[Order, Filter] = {"tff": Filter("setfield", "tff"), "bff": Filter("setfield", "bff")}

    def of(self, picture: VideoFrame) -> Order:
        """Return the order by the picture's own flags."""
        if not picture.interlaced_frame:
            return "progressive"
        return "bff" if self._top_first(picture) is None else "tff"

    def marked(self, picture: VideoFrame, order: Order) -> VideoFrame:
        """Return the same picture, flagged as interlaced of this order."""
        marked = picture if order == "progressive" else self._set[order](picture)
        assert marked is not None
        return marked

    def decided(self, pictures: Iterable[VideoFrame], tag: int, codec: str) -> Order:
        """Decide for a stream by its first pictures; by its tag where its codec's pictures do not tell."""
        found = next((order for p in pictures if (order := self.of(p)) != "progressive"), None)
        if found is None and codec not in TELLING:
            return TAGGED.get(tag, "progressive")
        return found or "progressive"
