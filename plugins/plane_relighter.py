"""Relights frames given as planes of any sampling: what the runtime's pixel loop takes as it is, and what it does not.

The loop knows 4:4:4, 4:2:2 and 4:2:0. Other samplings are brought to one of these and back: 4:1:1 chroma is
repeated to 4:2:2 and averaged, which is the same gain, the mean over the luma samples it covers; grey gets
colourless chroma; interlaced 4:2:0, whose chroma lines belong to fields, goes as two fields.
"""

from __future__ import annotations

import math

import numpy as np

from cliplit.arrays import Array
from cliplit.runtime.enhancer import Enhancer
from cliplit.runtime.light.colour import Coding, Planes
from cliplit.runtime.light.gain import apply_planes, fields
from cliplit.runtime.light.light_map import Coefficients
from cliplit.runtime.light.noise import GainLimit
from cliplit.runtime.light.proxy import planes_proxy
from cliplit.runtime.light.temporal import TemporalFilter


class PlaneRelighter:
    """Relights the frames of one clip.

    Args:
        enhancer: with the strength to use.
        coding: of the clip's planes.
        time_constant: of the temporal filter in seconds; 0 for none.
    """

    def __init__(self, enhancer: Enhancer, coding: Coding, time_constant: float) -> None:
        self.enhancer, self.coding = enhancer, coding
        self._smooth, self._limit = TemporalFilter(time_constant), GainLimit()

    def __call__(self, planes: list[Array], out: list[Array], time: float, interlaced: bool) -> None:
        """Relight luma, then Cb and Cr if any, then alpha if any, from `planes` into `out`."""
        if self.enhancer.strength == 0.0:
            for source, target in zip(planes, out, strict=True):
                target[...] = source
            return
        full = with_chroma(planes, self.coding)
        proxy = planes_proxy(full, self.coding, self.enhancer.proxy_size(*planes[0].shape))
        steady = self._smooth(self.enhancer.log_light(proxy), proxy.luma, time)
        bearable = math.inf
        if self.enhancer.heeds_noise:
            black, scale, *_ = self.coding.numbers
            bearable = self._limit(planes[0], black, scale, time)
        coefficients = self.enhancer.refine_steady(steady, bearable)
        relight_planes(planes, out, coefficients.scaled(self.enhancer.strength), self.coding, interlaced)


def with_chroma(planes: list[Array], coding: Coding) -> Planes:
    """Luma, Cb and Cr; grey gets colourless chroma."""
    if len(planes) >= 3:
        return planes[0], planes[1], planes[2]
    shape = tuple(-(-side // 2) for side in planes[0].shape)
    neutral = np.full(shape, 1 << (coding.depth - 1), planes[0].dtype)
    return planes[0], neutral, neutral


def relight_planes(
    planes: list[Array], out: list[Array], coefficients: Coefficients, coding: Coding, interlaced: bool
) -> None:
    """Apply a light map to luma, then Cb and Cr if any; alpha, if any, is copied."""
    colour = len(planes) >= 3
    full = with_chroma(planes, coding)
    into = (out[0], out[1], out[2]) if colour else (out[0], np.empty_like(full[1]), np.empty_like(full[2]))
    apply_any(full, into, coefficients, coding, interlaced)
    rest = 3 if colour else 1
    for source, target in zip(planes[rest:], out[rest:], strict=True):
        target[...] = source


def apply_any(planes: Planes, out: Planes, coefficients: Coefficients, coding: Coding, interlaced: bool) -> None:
    """`apply_planes` for every sampling, and for fields."""
    if -(-planes[0].shape[1] // planes[1].shape[1]) == 4:
        wide = repeated(planes, axis=1)
        relighted = wide[0], np.empty_like(wide[1]), np.empty_like(wide[2])
        apply_any(wide, (out[0], relighted[1], relighted[2]), coefficients, coding, interlaced)
        for target, source in zip(out[1:], relighted[1:], strict=True):
            target[...] = averaged(source, target.shape[1])
    else:
        for field, field_out in zip(fields(planes, interlaced), fields(out, interlaced), strict=True):
            apply_planes(field, field_out, coefficients, coding)


def repeated(planes: Planes, axis: int) -> Planes:
    """The same with each chroma sample twice along a row, cut to half of luma's width."""
    width = -(-planes[0].shape[1] // 2)
    cb, cr = (np.ascontiguousarray(plane.repeat(2, axis)[:, :width]) for plane in planes[1:])
    return planes[0], cb, cr


def averaged(plane: Array, width: int) -> Array:
    """Means of pairs of columns, the last one by itself where its partner is missing."""
    whole = np.pad(plane, ((0, 0), (0, 2 * width - plane.shape[1])), mode="edge").astype(np.uint32)
    return (whole[:, ::2] + whole[:, 1::2] + 1) // 2
