"""HDR: what the network sees of it, and its light map converted to PQ and HLG signals.

The network was trained on gamma-coded SDR pictures, so it sees a tone-mapped clip. Its light map, a gain for
gamma-coded values, is converted to one that raises the PQ or HLG signal to the same luminance; the gain is applied to
that signal. Reference white (203 cd/m2, ITU-R BT.2408) counts as white: nothing is raised above it, and brighter
lights do not change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from cliplit.arrays import Array
from cliplit.constants import LUMA_WEIGHTS

from .colour import HLG, PQ
from .gain import gain
from .proxy import Proxy

GAMMA = 2.2  # of the SDR picture the network is shown
REFERENCE_WHITE = 203.0  # cd/m2, ITU-R BT.2408
KNEE = 0.6  # linear light up to which the tone mapping changes nothing; above, it rolls off
BT2020_TO_709 = np.array(  # ITU-R BT.2087, linear light
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)

# SMPTE ST 2084
M1, M2, C1, C2, C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
# ITU-R BT.2100 HLG
A, B, C = 0.17883277, 0.28466892, 0.55991073


def pq_to_light(signal: Array) -> Array:
    """Convert a PQ signal in [0, 1] to light in cd/m2."""
    power = np.maximum(signal, 0) ** (1 / M2)
    return 10000 * (np.maximum(power - C1, 0) / (C2 - C3 * power)) ** (1 / M1)


def light_to_pq(light: Array) -> Array:
    power = (np.maximum(light, 0) / 10000) ** M1
    return ((C1 + C2 * power) / (1 + C3 * power)) ** M2


def hlg_to_light(signal: Array) -> Array:
    """Convert an HLG signal in [0, 1] to cd/m2 on a 1000 cd/m2 display, per channel."""
    scene = np.where(signal <= 0.5, signal * signal / 3, (np.exp((np.maximum(signal, 0.5) - C) / A) + B) / 12)
    return 1000 * scene**1.2


def light_to_hlg(light: Array) -> Array:
    scene = (np.maximum(light, 0) / 1000) ** (1 / 1.2)
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), A * np.log(np.maximum(12 * scene, 1) - B) + C)


@dataclass(frozen=True)
class Transfer:
    """A coding of light: signal in [0, 1] to cd/m2 and back, and the signal of reference white."""

    to_light: Callable[[Array], Array]
    to_signal: Callable[[Array], Array]
    white: float


TRANSFERS = {
    PQ: Transfer(pq_to_light, light_to_pq, float(light_to_pq(np.array(REFERENCE_WHITE)))),
    HLG: Transfer(hlg_to_light, light_to_hlg, float(light_to_hlg(np.array(REFERENCE_WHITE)))),
}


def tone_mapped(proxy: Proxy, transfer: Transfer) -> Proxy:
    """Tone-map a proxy whose values are signals relative to `transfer.white` to SDR."""
    light = transfer.to_light(proxy.rgb * transfer.white).astype(np.float32) / REFERENCE_WHITE
    light = np.clip(light @ BT2020_TO_709.T, 0.0, None)
    over = np.maximum(light - KNEE, 0.0)
    room = 1.0 - KNEE
    light = np.where(light > KNEE, KNEE + room * over / (over + room), light)
    rgb = (light ** (1 / GAMMA)).astype(np.float32)
    return Proxy(rgb, rgb @ np.array(LUMA_WEIGHTS, np.float32))


def signal_log_light(log_light: Array, signal: Array, transfer: Transfer) -> Array:
    """Convert log2 L for gamma-coded pictures to log2 L for the signal, both (h, w) at proxy size.

    `signal` is the luma of the coded picture there, relative to `transfer.white`.
    Each luma is lifted as the SDR picture of it would be; the answer is the L with which the signal gets there.
    """
    y = np.maximum(signal, np.float32(1 / 64))
    light = transfer.to_light(y * transfer.white) / REFERENCE_WHITE
    seen = np.minimum(light, 1.0) ** (1 / GAMMA)
    lifted = light * gain(np.exp2(log_light), seen) ** GAMMA
    factor = transfer.to_signal(lifted * REFERENCE_WHITE) / (y * transfer.white)
    # Solve gain(L, y) == factor for L.
    square = (1 / np.maximum(factor, 1.0) ** 2 - y * y) / np.maximum(1 - y * y, 1e-4)
    bounded = np.clip(square, np.exp2(2 * log_light), 1.0)
    return cv2.blur(0.5 * np.log2(bounded), (3, 3), borderType=cv2.BORDER_REPLICATE).astype(np.float32)
