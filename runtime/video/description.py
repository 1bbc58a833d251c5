"""What a stream, its decoder and its first picture say of a clip: colours, rate, frames."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from cliplit.errors import InputError

from ..light.colour import (
    FULL_RANGE,
    MATRICES,
    MATRIX_NAMES,
    RGB_MATRIX,
    UNSPECIFIED,
    Coding,
    Colour,
    assumed_matrix,
    stated,
)
from ..light.hdr import TRANSFERS
from .ffmpeg_log import logged
from .frames import Matrix
from .opening import Reading
from .pixels import Layout
from .pyav import exact

NO_TIMESTAMPS = 0x80  # AVFMT_NOTIMESTAMPS
CHROMA_LOCATIONS: dict[str, list[str | None]] = {
    "chroma_sample_loc_type_top_field": ["left", "center", "topleft", "top", "bottomleft", "bottom"],  # H.264, HEVC
    "chroma_sample_position": [None, "left", "topleft", None],  # AV1
}


def colour_of(
    first: VideoFrame, context: Any, location: str | None, reading: Reading, source: object, say: Callable[[str], None]
) -> Colour:
    """Return the colours by the first picture, else by its stream, else by the user.

    Raises:
        InputError: HDR that is to be refused.
    """
    tags = [
        int(of_picture) if of_picture != UNSPECIFIED else int(of_stream)
        for of_picture, of_stream in (
            (first.colorspace, context.colorspace),
            (first.color_primaries, context.color_primaries),
            (first.color_trc, context.color_trc),
        )
    ]
    full = first.format.name.startswith("yuvj")
    span = FULL_RANGE if full else int(first.color_range) or int(context.color_range)
    colour = Colour(tags[0], tags[1], tags[2], span, location)
    if reading.input_color is not None:
        colour = stated(reading.input_color, colour)
    if colour.hdr and reading.hdr == "refuse":
        raise InputError(f"{source}: {colour.hdr} video, and --hdr refuse was given")
    if colour.hdr:
        say(f"{colour.hdr} stays HDR: the network sees it tone-mapped, lights keep their level")
    return colour


def coding_of(colour: Colour, layout: Layout, height: int, say: Callable[[str], None]) -> Coding:
    """Return how codes map to colours; a matrix that is not tagged is assumed, and said."""
    if layout.rgb:
        return Coding(full_range=True, depth=layout.depth, rgb=True)
    matrix = colour.matrix
    if matrix not in MATRICES:
        matrix = 9 if colour.hdr else assumed_matrix(height)
        what = "is not tagged" if colour.matrix in (2, RGB_MATRIX) else f"{colour.matrix} is not known"
        say(f"the colour matrix {what}; taken as {MATRIX_NAMES[matrix]} (--input-color overrides)")
    white = TRANSFERS[colour.transfer].white if colour.hdr else 1.0
    return Coding(*MATRICES[matrix], colour.full_range, layout.depth, white=white)


def rate_of(video: VideoStream, time_base: Fraction) -> Fraction | None:
    """Return the frames a second, as far as the file says."""
    stated = [video.average_rate, video.guessed_rate, video.base_rate]
    if video.container.format.flags & NO_TIMESTAMPS:  # then the first is what FFmpeg assumes of such files
        stated = stated[1:]
    rates = map(exact, stated)
    ticks = 1 / time_base  # which some files give as frames, as those of one picture
    return next((rate for rate in rates if rate and rate <= 1000 and (rate != ticks or rate <= 240)), None)


def is_steady(video: VideoStream, time_base: Fraction) -> bool:
    """Return whether the file says that all pictures follow each other at one rate."""
    rates = {exact(rate) for rate in (video.average_rate, video.base_rate)}
    return len(rates) == 1 and rates == {rate_of(video, time_base)}


def expected_frames(container: Any, video: VideoStream, time_base: Fraction, announced: int) -> int | None:
    """Return how many frames there will be, by the packets that the file announces, else by its length."""
    rate = rate_of(video, time_base)
    if announced:
        return announced
    if video.duration and video.time_base and rate:
        return round(video.duration * time_base * rate)
    if container.duration and rate:
        return round(Fraction(container.duration, av.time_base) * rate)
    return None


def chroma_location(stream: VideoStream, packet: av.Packet[Any]) -> str | None:
    """Return the location of chroma samples by the stream's headers.

    PyAV has no attribute for it, so FFmpeg's bitstream filter that prints headers is asked, before any decoder runs.
    """
    lines: list[tuple[int, str, str]] = []
    try:
        with logged(av.logging.TRACE) as lines:
            printer = av.BitStreamFilterContext("trace_headers", in_stream=stream)
            printer.filter(av.Packet(bytes(packet)))  # it takes what it is given
    except (av.FFmpegError, ValueError):  # a codec it does not know
        return None
    for _, _, line in lines:
        words = line.split()
        if len(words) > 2 and words[1] in CHROMA_LOCATIONS:
            names: list[str | None] = CHROMA_LOCATIONS[words[1]]
            return names[int(words[-1])] if int(words[-1]) < len(names) else None
    return None


def matrix_of(data: bytes | None) -> Matrix | None:
    """Return a display matrix from the side data of a picture."""
    return None if data is None else tuple(np.frombuffer(data, np.int32).tolist())
