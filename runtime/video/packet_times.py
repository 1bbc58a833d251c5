"""Times of packets: moved, counted in other units, and in an order that containers take."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
from av.video.frame import VideoFrame

from .clock import PRIMING
from .pyav import exact


def hidden(packet: av.Packet[Any]) -> bool:
    """Tell whether an edit list hides a packet, and not as the priming of sound, which its decoder needs."""
    if not packet.is_discard or packet.pts is None:
        return False
    return (packet.pts + (packet.duration or 0)) * (exact(packet.time_base) or Fraction(0)) < -PRIMING


def move(item: Any, seconds: Fraction) -> Any:
    """Give a picture or a packet a later time."""
    if seconds:
        ticks = round(seconds / (exact(item.time_base) or Fraction(1)))
        item.pts = None if item.pts is None else item.pts + ticks
        if not isinstance(item, VideoFrame) and item.dts is not None:
            item.dts += ticks
    return item


def to_ticks(packet: av.Packet[Any], base: Fraction | None) -> None:
    """Count the times of a packet in another unit, rounded half away from 0 as FFmpeg's muxers do."""
    before = exact(packet.time_base)
    if not base or not before or before == base:
        return
    scale = before / base
    for name in ("pts", "dts", "duration"):
        value = getattr(packet, name)
        if value is not None:
            half = Fraction(1 if value >= 0 else -1, 2)
            setattr(packet, name, int(value * scale + half))
    packet.time_base = base


def sensible_dts(pts: int, dts: int | None, last: int | None, floor: int) -> int:
    """Return a decoding time behind the last one and not after the picture's own.

    An encoder delays by pictures, not by seconds: behind a gap of hours its dates are hours early, and right. But none
    is before the first picture by more than the delay of its pictures, hence `floor`. x265 gives clips shorter than its
    delay random ones. And each segment of a resumable run begins with dates that its encoder set back by its delay,
    which with a variable frame rate may reach behind the segment before.
    """
    if dts is None or dts > pts or dts < floor:
        dts = pts - 16 if last is None else last + 1
    return min(pts, dts if last is None else max(dts, last + 1))
