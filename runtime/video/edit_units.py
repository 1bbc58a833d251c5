"""MXF as FFmpeg writes it (OP1a, SMPTE ST 378): pictures and sound in units of one picture, both from 0 to one end.

It has no times. FFmpeg puts every picture into the next unit, whatever its time, and drops the pictures behind the end
of the sound, and the sound behind the last picture. So a picture is repeated until the next one comes, and sound is
silent where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av

from .frames import Frame

BYTES = {"pcm_s16le": 2, "pcm_s24le": 3}  # of a sample
SLACK = Fraction(1, 100)  # seconds by which sound may be off, as the packets of most codecs are counted
LONGEST = 48000  # samples of silence in one packet


class EditUnits:
    """Fills what FFmpeg would close up.

    Args:
        rate: units a second.

    Attributes:
        repeated: pictures that were added.
    """

    def __init__(self, rate: Fraction) -> None:
        self.rate, self.repeated = rate, 0
        self._next = 0  # unit
        self._before: Frame | None = None
        self._ends: dict[int, Fraction] = {}  # seconds, by the index of the stream

    def pictures(self, frame: Frame) -> Iterator[Frame]:
        """Yield a picture, whose pts is its unit, behind what is shown until then: the one before it, or itself."""
        for number in range(self._next, frame.pts):
            self.repeated += 1
            yield replace(self._before or frame, pts=number, time_base=frame.time_base)
        self._next, self._before = frame.pts + 1, frame
        yield frame

    def sound(self, packet: av.Packet[Any], stream: Any) -> Iterator[av.Packet[Any]]:
        """Yield a packet of PCM behind the silence until then."""
        end = self._ends.get(stream.index, Fraction(0))
        if packet.pts is not None and packet.time_base:
            start = packet.pts * Fraction(packet.time_base.numerator, packet.time_base.denominator)
            if start - end > SLACK:
                yield from self._silence(stream, start)
        end = self._ends.get(stream.index, Fraction(0))
        self._ends[stream.index] = end + Fraction(packet.size // width_of(stream), rate_of(stream))
        yield packet

    def rest(self, stream: Any) -> Iterator[av.Packet[Any]]:
        """Yield the silence from the end of a stream of sound to the last picture's."""
        yield from self._silence(stream, self._next / self.rate)

    def left_over(self, stream: Any) -> Fraction:
        """Return by how many seconds sound outlasts the pictures."""
        return max(Fraction(0), self._ends.get(stream.index, Fraction(0)) - self._next / self.rate)

    def _silence(self, stream: Any, until: Fraction) -> Iterator[av.Packet[Any]]:
        rate = rate_of(stream)
        at = round(self._ends.get(stream.index, Fraction(0)) * rate)
        while (samples := min(round(until * rate) - at, LONGEST)) > 0:
            packet: av.Packet[Any] = av.Packet(bytes(samples * width_of(stream)))
            packet.stream, packet.time_base = stream, Fraction(1, rate)
            packet.pts = packet.dts = at
            packet.duration = samples
            at += samples
            self._ends[stream.index] = Fraction(at, rate)
            yield packet


def width_of(stream: Any) -> int:
    """Return the bytes of one sample of all channels."""
    return int(BYTES[stream.codec_context.codec.canonical_name] * stream.codec_context.layout.nb_channels)


def rate_of(stream: Any) -> int:
    return int(stream.codec_context.sample_rate)
