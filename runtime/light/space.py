"""Pictures whose numbers mean other colours than sRGB's: linear ones, ProPhoto, Adobe RGB, Display P3, gray profiles.

The network is shown sRGB whatever the file holds, so that the same scene gets the same light from any file. The light
is applied to the file's own numbers: its map is changed so that the tone curve there gives what it gives in sRGB.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cliplit.arrays import Array
from cliplit.srgb import to_coded, to_linear

from .gain import gain
from .proxy import Proxy

DARKEST = np.float32(2.0**-14)  # luma below which gains are those at it
DEEP = 0.01  # of white in linear light, where the curve's exponent is measured for the bound of the gain
SRGB_EXPONENT = 2.2  # of sRGB as a whole
MIDDLE, LINEAR = 0.18, 0.3  # of white: medium grey, and the number for it under which numbers count as light


@dataclass(frozen=True)
class ColourSpace:
    """How numbers of a picture become light.

    Attributes:
        curves: (3, n) float32, rising: linear light in [0, 1] of n equally spaced codes of red, green, blue.
        matrix: (3, 3), from linear light there to linear light of sRGB.
    """

    curves: Array
    matrix: Array

    def seen(self, proxy: Proxy) -> Proxy:
        """Convert a proxy to sRGB; colours that sRGB has not are clipped."""
        linear = np.stack([self._light(proxy.rgb[..., i], i) for i in range(3)], axis=-1)
        shown = to_coded(np.clip(linear @ self.matrix.T.astype(np.float32), 0.0, 1.0))
        return Proxy(shown, self._coded_luma(proxy), proxy.hidden)

    @property
    def linear(self) -> bool:
        """Whether the numbers are light, or nearly: what differs to the eye in the dark is alike there."""
        return bool(self._code(np.array([MIDDLE], np.float32))[0] < LINEAR)

    def coded(self, picture: Array) -> Array:
        """Code (H, W, 3 or 4) samples of any type as sRGB does, each channel by itself: (H, W, 3) float32 in [0, 1]."""
        if picture.dtype == np.float32:
            channels = [self._light(np.clip(np.nan_to_num(picture[..., i], nan=0.0), 0, 1), i) for i in range(3)]
            return to_coded(np.stack(channels, axis=-1))
        every = np.linspace(0.0, 1.0, np.iinfo(picture.dtype).max + 1)
        return np.stack([to_coded(self._light(every, i))[picture[..., i]] for i in range(3)], axis=-1)

    def _coded_luma(self, proxy: Proxy) -> Array:
        """Luma of the picture as sRGB codes it: of its own, so that both say the same of one point."""
        return to_coded(self._light(proxy.luma, 1))

    def own_log_light(self, log_light: Array, own: Array) -> Array:
        """Change log2 of a light map for sRGB to one for these numbers, of luma `own`; all (h, w).

        Each luma is lifted as the sRGB picture of it would be; the answer is the L with which these numbers get there.
        """
        own = np.maximum(own, DARKEST)
        light = np.maximum(self._light(own, 1), np.float32(1e-9))
        shown = to_coded(light)
        lifted = to_linear(shown * gain(np.exp2(log_light), shown))
        factor = np.maximum(self._code(lifted) / own, np.float32(1.0))
        square = (1.0 / factor**2 - own * own) / np.maximum(1.0 - own * own, np.float32(1e-4))
        bounded = np.clip(square, np.exp2(np.float32(2.0 * self.stretch) * log_light), 1.0)
        return (0.5 * np.log2(bounded)).astype(np.float32)

    @property
    def stretch(self) -> float:
        """Stops of these numbers for one of sRGB's, in the dark."""
        code = float(np.interp(DEEP, self.curves[1], np.linspace(0.0, 1.0, self.curves.shape[1])))
        half = float(np.interp(DEEP / 2, self.curves[1], np.linspace(0.0, 1.0, self.curves.shape[1])))
        return SRGB_EXPONENT * float(np.log2(code / max(half, 1e-9)))

    def _light(self, codes: Array, channel: int) -> Array:
        curve = self.curves[channel]
        return np.interp(codes, np.linspace(0.0, 1.0, len(curve)), curve).astype(np.float32)

    def _code(self, light: Array) -> Array:
        curve = self.curves[1]
        return np.interp(light, curve, np.linspace(0.0, 1.0, len(curve))).astype(np.float32)
