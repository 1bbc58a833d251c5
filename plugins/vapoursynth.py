"""A filter for VapourSynth scripts.

    from cliplit.plugins.vapoursynth import enhance
    clip = enhance(clip, strength=0.8)

In VapourSynth a frame is a function of its number: scripts ask for frames in any order, several at once, and expect the
same pixels each time. A filter over time, which runs from the first frame to the last, is not like that. So the clip is
cut into spans. A frame's light is that of the filter started one span before the frame's own, long enough ago for it
to have forgotten where it started, and run up to the frame. That is the same whatever was asked for before, and in
a clip shorter than two spans it is the filter as other programs run it.

The way of a frame is three clips: `light` (what the network sees in each frame by itself), `coefficients` (the same
over time; it asks for the light of up to two spans, which VapourSynth keeps) and the result. Lifted shadows are not
cleaned: how depends on the frames before, and scripts have filters of their own against bands and noise.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import vapoursynth as vs

from cliplit.arrays import Array
from cliplit.constants import MAX_GAIN
from cliplit.errors import InputError
from cliplit.runtime import Enhancer, LightSettings, PackedRGB, PlanarPixels, Relighting
from cliplit.runtime.enhancer import Quality
from cliplit.runtime.light import colour
from cliplit.runtime.light.colour import Coding
from cliplit.runtime.light.light_map import Coefficients
from cliplit.runtime.light.relighting import Light
from cliplit.runtime.light.temporal import TEMPORAL
from cliplit.runtime.light.temporal import time_constant as seconds_of

CONSTANT_LUMINANCE = 10  # BT.2020's, whose planes no single gain relights
MATRICES = {code: weights for code, weights in colour.MATRICES.items() if code != CONSTANT_LUMINANCE}
TRANSFERS_REFUSED = {8: "linear light", colour.PQ: "HDR (PQ)", colour.HLG: "HDR (HLG)"}
SAMPLINGS = {(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)}  # log2 of luma columns, rows to a chroma sample

KNOWN = "GRAY, YUV (420, 422, 444, 411, 440) and RGB of 8 to 16 bits, and RGBS"

LONGEST_TIME_CONSTANT = 2.0  # seconds
FORGOTTEN = 2.0  # time constants a span lasts; the first frame has 14 % of the weight then, 2 % after two spans
LONGEST_SPAN = 240  # frames
USUAL_DURATION = Fraction(1, 25)  # seconds, of frames that do not tell
KEPT = 32  # frames whose light stays at hand for requests that come late


def enhance(
    clip: vs.VideoNode,
    strength: float = 1.0,
    model: str | Path = "lite",
    max_gain: float = MAX_GAIN,
    temporal: float = TEMPORAL,
    device: str = "auto",
    quality: Quality = "fast",
    time_constant: float | None = None,
) -> vs.VideoNode:
    """Relight a clip; format, length, frame properties and attached alpha stay.

    Args:
        clip: of one format and size: GRAY or YUV of 8 to 16 bits (4:2:0, 4:2:2, 4:4:4, 4:1:1, 4:4:0), RGB of 8 to 16
            bits, or RGBS; gamma-coded, SDR. Matrix and range are taken from each frame's properties; without them
            YUV is of limited range, BT.709 from 720 lines on and BT.601 below.
        strength: exponent on the gain, 0 to 2; 0 returns `clip` itself.
        model: "lite", or the path of an exported ONNX file.
        max_gain: upper bound of the gain, 1 to 256.
        temporal: steadiness over time, 0 to 0.7: a still scene is averaged over 4 * temporal**2 seconds. With 0 each
            frame is by itself, which is what parallel and random access like best.
        device: "auto", "cpu" or "cuda".
        quality: "fast", or "exact" to run the network at full size.
        time_constant: the same as `temporal`, in seconds, up to 2.

    Raises:
        InputError: a format or an argument that cannot be used. Frames that cannot (their matrix, HDR, linear light)
            fail with a `vs.Error` whose last line says why.
    """
    check_clip(clip)
    seconds = seconds_of(temporal) if time_constant is None else time_constant
    if not 0.0 <= seconds <= LONGEST_TIME_CONSTANT:
        raise InputError(
            f"a time constant of {seconds:g} s; VapourSynth allows {LONGEST_TIME_CONSTANT:g} s (temporal 0.7) at most"
        )
    enhancer = Enhancer(model, device, strength, max_gain, quality, clean_shadows=False)
    if enhancer.auto_max_gain:
        raise InputError("max_gain 'auto' is not for VapourSynth; name a number, and denoise the clip before")
    if enhancer.strength == 0.0:
        return clip
    light = light_clip(clip, enhancer)
    coefficients = coefficients_clip(light, enhancer, seconds)

    def relight(n: int, f: list[vs.VideoFrame]) -> vs.VideoFrame:
        frame, maps = f
        slope, offset = halves(maps)
        found = Coefficients(slope, offset, -math.log2(enhancer.max_gain)).scaled(enhancer.strength)
        result = frame.copy()
        pixels = pixels_of(frame)
        if isinstance(pixels, PackedRGB):
            relighted = pixels.like()
            pixels.relight(found, relighted)
            for channel, plane in enumerate(planes_of(result)):
                plane[...] = relighted.samples[..., channel]
        else:
            pixels.relight(found, replace(pixels, planes=planes_of(result)))
        return result

    return clip.std.ModifyFrame([clip, coefficients], relight)


def check_clip(clip: vs.VideoNode) -> None:
    """Raise InputError for what is not a clip of one format that can be relighted."""
    if not isinstance(clip, vs.VideoNode):
        raise InputError(f"a clip must be a VapourSynth video node, not {type(clip).__name__}")
    form = clip.format
    if form is None or form.color_family == vs.UNDEFINED or not clip.width or not clip.height:
        raise InputError("the clip changes its format or size; make it uniform with resize first")
    if form.sample_type == vs.FLOAT:
        known = form.color_family == vs.RGB and form.bits_per_sample == 32
    else:
        known = form.bits_per_sample <= 16 and (form.subsampling_w, form.subsampling_h) in SAMPLINGS
    if not known:
        raise InputError(f"a clip of format {form.name.upper()}; known are {KNOWN}")


def light_clip(clip: vs.VideoNode, enhancer: Enhancer) -> vs.VideoNode:
    """Make the clip of each frame's log light map above the proxy's luma: GRAYS, twice the proxy's height."""
    size = enhancer.proxy_size(clip.height, clip.width)
    relighting = Relighting(enhancer, LightSettings(bars=False))  # the maps of all frames have one size

    def look(n: int, f: list[vs.VideoFrame]) -> vs.VideoFrame:
        frame, blank = f
        check_transfer(frame)
        light = relighting.look_at(pixels_of(frame))
        result = blank.copy()
        set_halves(result, light.log_light, light.luma)
        for name in ("_DurationNum", "_DurationDen"):
            if name in frame.props:
                result.props[name] = frame.props[name]
        return result

    blank = vs.core.std.BlankClip(clip, size[1], 2 * size[0], vs.GRAYS, keep=True).std.RemoveFrameProps()
    return blank.std.ModifyFrame([clip, blank], look)


def coefficients_clip(light: vs.VideoNode, enhancer: Enhancer, time_constant: float) -> vs.VideoNode:
    """Make the clip of slopes above the offsets of each frame's light map, smoothed over time."""
    duration = 1 / light.fps if light.fps else USUAL_DURATION
    span = min(math.ceil(Fraction(FORGOTTEN * time_constant) / duration), LONGEST_SPAN)
    looks = min(2 * span, light.num_frames) or 1
    steady = SteadyLight(enhancer, time_constant, span, duration)

    def settle(n: int, f: vs.VideoFrame | list[vs.VideoFrame]) -> vs.VideoFrame:
        frames = f if isinstance(f, list) else [f]
        found = steady(n, frames)
        result = frames[0].copy()
        set_halves(result, found.slope, found.offset)
        return result

    vs.core.std.SetVideoCache(light, mode=1, fixedsize=True, maxsize=looks + 2 * vs.core.num_threads)
    return light.std.ModifyFrame([light, *(delayed(light, k) for k in range(1, looks))], settle)


def delayed(clip: vs.VideoNode, frames: int) -> vs.VideoNode:
    """Delay the clip by some frames, of the same length; its first frame stands until then."""
    return clip[0] * frames + clip[: clip.num_frames - frames]


class SteadyLight:
    """The filter over time, for frames that are asked for in any order.

    Args:
        enhancer: what refines the filtered light along edges.
        time_constant: of the filter, in seconds; 0 for none.
        span: frames between two starts of the filter.
        duration: of frames that do not tell, in seconds.
    """

    def __init__(self, enhancer: Enhancer, time_constant: float, span: int, duration: Fraction) -> None:
        self._enhancer, self._time_constant, self._span, self._duration = enhancer, time_constant, span, duration
        self._runs: OrderedDict[int, Run] = OrderedDict()  # by first frame; those used last stand last
        self._lock = threading.Lock()

    def __call__(self, n: int, frames: list[vs.VideoFrame]) -> Coefficients:
        """Those of frame `n`; `frames[k]` is that of `light` k frames before it."""
        if not self._span:
            return Relighting(self._enhancer, LightSettings(0.0)).coefficients(light_of(frames[0]), 0.0)
        first = max(0, n // self._span - 1) * self._span
        with self._lock:
            run = self._runs.pop(first, None)
            if run is None or (n < run.next and n not in run.results):
                run = Run(first, self._enhancer, self._time_constant)
            self._runs[first] = run
            for number in range(run.next, n + 1):
                run.step(frames[n - number], self._duration)
            while len(self._runs) > 2:
                self._runs.popitem(last=False)
            return run.results[n]


class Run:
    """One run of the filter, from frame `first` on."""

    def __init__(self, first: int, enhancer: Enhancer, time_constant: float) -> None:
        self.next = first
        self.results: dict[int, Coefficients] = {}
        self._relighting = Relighting(enhancer, LightSettings(time_constant))
        self._time = Fraction(0)

    def step(self, frame: vs.VideoFrame, duration: Fraction) -> None:
        """Filter the next frame of `light`."""
        self.results[self.next] = self._relighting.coefficients(light_of(frame), float(self._time))
        self.results.pop(self.next - KEPT, None)
        told = int(frame.props.get("_DurationNum", 0)), int(frame.props.get("_DurationDen", 0))
        self._time += Fraction(*told) if told[0] > 0 and told[1] > 0 else duration
        self.next += 1


def light_of(frame: vs.VideoFrame) -> Light:
    """Return what `light_clip` put into a frame."""
    log_light, luma = halves(frame)
    return Light(log_light, luma, luma)


def pixels_of(frame: vs.VideoFrame) -> PackedRGB | PlanarPixels:
    """Return the frame's samples: planes as views, floats packed."""
    planes, bits = planes_of(frame), frame.format.bits_per_sample
    if frame.format.sample_type == vs.FLOAT:
        return PackedRGB(np.stack(planes, axis=-1))
    if frame.format.color_family == vs.RGB:
        return PlanarPixels(planes, Coding(rgb=True, full_range=True, depth=bits))
    return PlanarPixels(planes, coding_of(frame), is_interlaced(frame))


def planes_of(frame: vs.VideoFrame) -> list[Array]:
    """Return the planes as views, (rows, columns); those of a copied frame can be written to."""
    return [np.asarray(frame[plane]) for plane in range(frame.format.num_planes)]


def coding_of(frame: vs.VideoFrame) -> Coding:
    """Read a GRAY or YUV frame's properties. Raises InputError for a matrix that is none of luma weights."""
    matrix = int(frame.props.get("_Matrix", colour.UNSPECIFIED))
    if matrix == colour.UNSPECIFIED or frame.format.color_family == vs.GRAY:
        matrix = colour.assumed_matrix(frame.height)
    if matrix not in MATRICES:
        known = ", ".join(map(str, MATRICES))
        raise InputError(f"the frame has matrix {matrix} (ITU-T H.273), known are {known}; convert it with resize")
    return Coding(*MATRICES[matrix], is_full_range(frame), frame.format.bits_per_sample)


def is_full_range(frame: vs.VideoFrame) -> bool:
    """`_Range` counts as H.273 does; `_ColorRange`, its older name, the other way round."""
    if "_Range" in frame.props:
        return int(frame.props["_Range"]) == 1
    return int(frame.props.get("_ColorRange", 1)) == 0


def is_interlaced(frame: vs.VideoFrame) -> bool:
    return int(frame.props.get("_FieldBased", 0)) > 0


def check_transfer(frame: vs.VideoFrame) -> None:
    """Raise InputError for a frame whose samples are not gamma-coded SDR."""
    transfer = int(frame.props.get("_Transfer", colour.UNSPECIFIED))
    if transfer in TRANSFERS_REFUSED:
        raise InputError(f"the frame is in {TRANSFERS_REFUSED[transfer]}; convert it with resize, transfer_s='709'")
    if frame.format.color_family == vs.RGB and frame.props.get("_Range", 1) == 0:
        raise InputError("the frame is RGB of limited range; convert it with resize, range_s='full'")


def halves(frame: vs.VideoFrame) -> tuple[Array, Array]:
    """Return the upper and the lower half of a GRAYS frame, contiguous copies."""
    upper, lower = np.split(np.asarray(frame[0]), 2)
    return upper.copy(), lower.copy()


def set_halves(frame: vs.VideoFrame, upper: Array, lower: Array) -> None:
    plane = np.asarray(frame[0])
    plane[: len(upper)], plane[len(upper) :] = upper, lower
