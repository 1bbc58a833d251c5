"""HDR10's static metadata, from FFmpeg to the encoders: the grading display, and how bright the clip gets."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np


@dataclass(frozen=True)
class Mastering:
    """Static metadata of HDR10 (SMPTE ST 2086, CTA-861.3): what display the clip was graded on, how bright it gets.

    Attributes:
        primaries: (x, y) of red, green, blue and white.
        luminance: (lowest, highest) of the display in cd/m2.
        content: (brightest pixel, brightest frame average) in cd/m2.
    """

    primaries: tuple[tuple[Fraction, Fraction], ...] = ()
    luminance: tuple[Fraction, Fraction] | None = None
    content: tuple[int, int] | None = None


def mastering_of(display: bytes | None, content: bytes | None) -> Mastering | None:
    """Parse FFmpeg's side data of a frame (AVMasteringDisplayMetadata, AVContentLightMetadata)."""
    if display is None and content is None:
        return None
    primaries: tuple[tuple[Fraction, Fraction], ...] = ()
    luminance = None
    if display is not None:
        numbers = np.frombuffer(display, np.int32)
        values = [Fraction(int(n), int(d)) for n, d in zip(numbers[:20:2], numbers[1:20:2], strict=True) if d]
        if len(values) == 10 and numbers[20]:
            primaries = tuple((values[i], values[i + 1]) for i in range(0, 8, 2))
        if len(values) == 10 and numbers[21]:
            luminance = values[8], values[9]
    levels = None if content is None else tuple(int(n) for n in np.frombuffer(content, np.uint32)[:2])
    return Mastering(primaries, luminance, (levels[0], levels[1]) if levels else None)


# Encoder -> option, its parameters for the display and the light levels, whether it counts in units of the standard.
STATIC_METADATA = {
    "libx265": ("x265-params", "master-display", "max-cll", True),
    "libx264": ("x264-params", "mastering-display", "cll", True),
    "libsvtav1": ("svtav1-params", "mastering-display", "content-light", False),
}


def encoder_parameters(mastering: Mastering, encoder: str) -> dict[str, str]:
    """Convert the static metadata to options of encoders that write it into the stream; empty for others."""
    if encoder not in STATIC_METADATA:
        return {}
    option, display, content, integers = STATIC_METADATA[encoder]

    def number(value: Fraction, unit: int) -> str:
        return str(round(value * unit)) if integers else f"{float(value):.5f}"

    parts = []
    if len(mastering.primaries) == 4 and mastering.luminance:
        points = [f"({number(x, 50000)},{number(y, 50000)})" for x, y in mastering.primaries]
        red, green, blue, white = points
        low, high = (number(light, 10000) for light in mastering.luminance)
        parts.append(f"{display}=G{green}B{blue}R{red}WP{white}L({high},{low})")
    if mastering.content:
        parts.append(f"{content}={mastering.content[0]},{mastering.content[1]}")
    return {option: ":".join(parts)} if parts else {}
