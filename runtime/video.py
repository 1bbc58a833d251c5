"""A clip from end to end. The way of a frame is the loop in `enhanced`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.video.frame import VideoFrame
from cliplit.runtime.enhancer import Enhancer
from cliplit.runtime.gain import apply_planes
from cliplit.runtime.proxy import planes_proxy
from cliplit.runtime.temporal import TemporalFilter
from cliplit.runtime.video_io import Encoding, VideoReader, VideoWriter, planes_of

from cliplit.errors import InputError
from cliplit.files import appearing

Progress = Callable[[int, "int | None"], object]  # called with frames written so far and frames expected, if known


@dataclass(frozen=True)
class Summary:
    """What was done to a clip; `problems` says what of the source could not be read."""

    frames: int
    width: int
    height: int
    seconds: float
    problems: str
    notes: tuple[str, ...]


def enhance_video(
    source: Path,
    target: Path,
    enhancer: Enhancer,
    encoding: Encoding,
    progress: Progress = lambda written, expected: None,
) -> Summary:
    """Relight `source` into `target`, which appears only when complete.

    Every decoded frame is written with its own time stamp and every audio stream is copied.

    Raises:
        InputError: `source` is not a clip that can be relighted, or `target` cannot be written.
    """
    start = time.monotonic()
    written = 0
    with VideoReader(source) as reader, appearing(target) as file, VideoWriter(file, reader, encoding) as writer:
        for item in enhanced(reader, enhancer, TemporalFilter()):
            if isinstance(item, VideoFrame):
                writer.write(item)
                written += 1
                progress(written, reader.expected_frames)
            else:
                writer.copy(item)
        if not written:
            raise InputError(f"{source}: not one frame could be decoded ({reader.damaged} damaged packets)")
    seconds = time.monotonic() - start
    return Summary(written, reader.width, reader.height, seconds, problems_of(reader), tuple(reader.notes))


def problems_of(reader: VideoReader) -> str:
    """What of a clip could not be read, empty if nothing."""
    found = []
    if reader.damaged:
        found.append(f"{reader.damaged} damaged packets")
    if reader.missing:
        found.append(f"{reader.missing} of {reader.video.frames} frames missing")
    return ", ".join(found)


def enhanced(
    reader: VideoReader, enhancer: Enhancer, smooth: TemporalFilter | None
) -> Iterator[VideoFrame | av.Packet[Any]]:
    """The reader's items, each frame relighted; the rest passes through. Without `smooth`, each frame by itself."""
    size = enhancer.proxy_size(reader.height, reader.width)
    for item in reader:
        if not isinstance(item, VideoFrame) or enhancer.strength == 0.0:
            yield item
            continue
        planes = planes_of(item)
        proxy = planes_proxy(planes, reader.coding, size)
        log_light = enhancer.log_light(proxy)
        if smooth is None:
            coefficients = enhancer.refine(log_light, proxy.luma)
        else:
            steady = smooth(log_light, proxy.luma, item.time or 0.0)
            coefficients = steady.calmed(enhancer.refine(steady.log_light, steady.luma))
        coefficients = coefficients.scaled(enhancer.strength)
        result = blank_like(item, reader.pixel_format)
        apply_planes(planes, planes_of(result), coefficients, reader.coding)
        yield result


def blank_like(frame: VideoFrame, pixel_format: str) -> VideoFrame:
    """A new frame with the same time, size and colour tags. Decoded frames must not be written to: the decoder
    predicts later frames from them."""
    blank = VideoFrame(frame.width, frame.height, pixel_format)
    blank.pts, blank.time_base = frame.pts, frame.time_base
    blank.colorspace, blank.color_range = frame.colorspace, frame.color_range
    return blank
