"""Pictures into packets: an encoder set up for a clip, and each frame in the form that it needs."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from cliplit.errors import InputError

from ..light.colour import RGB_MATRIX, Colour, assumed_matrix
from .codecs import Choice
from .fields import FOLLOWING, FieldOrder, Order
from .frames import Clip, Frame
from .mastering import encoder_parameters
from .opening import reason
from .pixels import alpha_of, layout_of, planes_of
from .pyav import exact
from .pyav_frame import PyAVFrame
from .rate import RATES_ALONE

X264_LOOKAHEAD = {"fast": 30, "medium": 40, "slow": 50, "slower": 60, "veryslow": 60, "placebo": 60}  # frames
LOOKAHEAD_PIXELS = 62_000_000  # more than that is not looked ahead, for it takes three bytes each ...
LEAST_LOOKAHEAD = 16  # ... but so many frames always
RGB_TO = {1: "ITU709", 6: "ITU601"}  # swscale numbers matrices its own way
FIELD_ORDERS = {"progressive": 1, "tff": 2, "bff": 3}  # AVFieldOrder


class PictureEncoder:
    """Encodes the frames of a clip, each with the order of its own fields.

    x264 has one order of fields for all pictures that it holds, and changes it for those that came before, too; where
    the order changes it is emptied and begins again.

    Args:
        context: not opened yet.
        clip, choice, options: see `configure`.
    """

    def __init__(self, context: VideoCodecContext, clip: Clip, choice: Choice, options: dict[str, str]) -> None:
        self.context, self.clip, self.choice, self.options = context, clip, choice, options
        self.notes = configure(context, clip, choice, options)
        self._order: Order = clip.field_order
        self._fields = FieldOrder()

    def packets(self, frame: Frame | None) -> list[av.Packet[Any]]:
        """Return the packets ready after this frame, or all that are left after None."""
        if frame is None:
            return encoded(self.context, None)
        picture, before = prepared(frame, self.clip, self.choice), []
        if self.clip.field_order != "progressive":
            if frame.interlaced and frame.scan != self._order:
                before = self._turn(frame.scan)
            if frame.interlaced or self.choice.encoder.name not in FOLLOWING:
                picture = self._fields.marked(picture, frame.scan if frame.interlaced else self._order)
        return [*before, *encoded(self.context, picture)]

    def _turn(self, order: Order) -> list[av.Packet[Any]]:
        """Go on with the other order of fields; return what was left."""
        self._order = order
        if self.choice.encoder.name != "libx264":
            return []
        left = encoded(self.context, None) if self.context.is_open else []
        context: Any = av.CodecContext.create(self.choice.encoder.name, "w")
        context.flags |= self.context.flags & Flags.global_header
        configure(context, replace(self.clip, field_order=order), self.choice, self.options)
        self.context = context
        return left


def configure(context: VideoCodecContext, clip: Clip, choice: Choice, options: dict[str, str]) -> list[str]:
    """Set up an encoder for a clip, alike for every segment of it; return what it cannot keep."""
    notes = []
    colour = output_colour(clip, choice)
    context.width, context.height, context.pix_fmt = clip.width, clip.height, choice.pixel_format
    context.time_base, context.framerate = clip.time_base, clip.rate or Fraction(25)
    if clip.sample_aspect_ratio:
        context.sample_aspect_ratio = clip.sample_aspect_ratio
    context.colorspace, context.color_primaries = colour.matrix, colour.primaries
    context.color_trc, context.color_range = colour.transfer, colour.color_range
    context.flags |= Flags.frame_duration
    # PyAV's default, slices, is slower and makes larger files. x264 decides itself: slices with -tune zerolatency only.
    context.thread_type = "NONE" if choice.encoder.name == "libx264" else "AUTO"
    options = dict(options)
    if choice.encoder.name == "libx264":
        most = max(LOOKAHEAD_PIXELS // (clip.width * clip.height), LEAST_LOOKAHEAD)
        if X264_LOOKAHEAD.get(options.get("preset", "medium"), 0) > most:
            options.setdefault("rc-lookahead", str(most))
    if colour.chroma_location and max(layout_of(choice.pixel_format).steps) > 1:
        options.setdefault("chroma_sample_location", colour.chroma_location)
    if clip.field_order != "progressive":
        context.flags |= Flags.interlaced_dct | Flags.interlaced_me
        context.field_order = FIELD_ORDERS[clip.field_order]
        if choice.encoder.name == "libx264":  # begins with the upper field unless told
            options = with_parameter(options, "x264-params", f"{clip.field_order}=1")
    if clip.steady and choice.encoder.name == "libx264":  # the rate in the stream's own headers, not the ticks
        options = with_parameter(options, "x264-params", "force-cfr=1")
    if clip.mastering:
        static = encoder_parameters(clip.mastering, choice.encoder.name)
        if not static:
            notes.append(f"the mastering display and light levels are left out: {choice.encoder.name} cannot hold them")
        for name, value in static.items():
            options = with_parameter(options, name, value)
    context.options = options
    return notes


def with_parameter(options: dict[str, str], name: str, value: str) -> dict[str, str]:
    """Put a parameter first in the list that x264 and similar encoders take in one option; the user's win."""
    return {**options, name: f"{value}:{options[name]}" if name in options else value}


def output_colour(clip: Clip, choice: Choice) -> Colour:
    """Return the clip's own tags, except if RGB becomes Y'CbCr or the reverse."""
    before, after = layout_of(clip.pixel_format).rgb, layout_of(choice.pixel_format).rgb
    if after and not before:
        return replace(clip.colour, matrix=RGB_MATRIX, color_range=2)
    if before and not after:
        return replace(clip.colour, matrix=assumed_matrix(clip.height), color_range=1)
    return clip.colour


def encoded(context: VideoCodecContext, picture: VideoFrame | None) -> list[av.Packet[Any]]:
    """Return the packets ready after this picture, or all that are left after None."""
    try:
        return context.encode(picture)
    except (av.FFmpegError, ValueError) as error:
        few = "; it knows few frame rates: --cfr 25 gives it one of them" if context.codec.name in RATES_ALONE else ""
        raise InputError(
            f"the encoder {context.codec.name} refuses this video or its options ({reason(error)}){few}"
        ) from error


def prepared(frame: Frame, clip: Clip, choice: Choice) -> VideoFrame:
    """Convert the frame to the picture the encoder needs."""
    picture = frame.picture if isinstance(frame, PyAVFrame) else picture_of(frame)
    colour = output_colour(clip, choice)
    if picture.format.name.replace("yuvj", "yuv") != choice.pixel_format.replace("yuvj", "yuv"):
        before, after = layout_of(clip.pixel_format).rgb, layout_of(choice.pixel_format).rgb
        span: dict[str, Any] = {
            "src_color_range": clip.colour.color_range or 1,
            "dst_color_range": colour.color_range or 1,
        }
        if before:
            span = {} if after else {"dst_colorspace": RGB_TO[colour.matrix], "dst_color_range": 1}
        picture = picture.reformat(format=choice.pixel_format, **span)
    before_base = exact(picture.time_base)
    if picture.duration and before_base and before_base != frame.time_base:  # moved to a constant rate, or nearly so
        ticks = 1 if clip.rate and clip.rate * clip.time_base == 1 else picture.duration * before_base / frame.time_base
        picture.duration = max(1, round(ticks))
    picture.pts, picture.time_base = frame.pts, frame.time_base
    picture.colorspace, picture.color_range = colour.matrix, colour.color_range
    picture.color_primaries, picture.color_trc = colour.primaries, colour.transfer
    picture.pict_type = 0  # the encoder decides; a decoded frame still carries the type it had in the source
    return picture


def picture_of(frame: Frame) -> VideoFrame:
    """Copy a frame that no library owns into a picture of FFmpeg's."""
    y = frame.planes[0]
    picture = VideoFrame(y.shape[1], y.shape[0], frame.pixel_format)
    picture.pts, picture.time_base = frame.pts, frame.time_base
    gray = layout_of(frame.pixel_format).gray
    for target, plane in zip(planes_of(picture)[: 1 if gray else 3], frame.planes, strict=False):
        target[...] = plane
    alpha = alpha_of(picture)
    if alpha is not None:
        alpha[...] = frame.alpha
    return picture
