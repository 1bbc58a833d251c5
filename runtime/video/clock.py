"""When things are shown: a model of the clocks in a file, which may lie, jump and start again.

A clip begins at 0: the common start of all streams is taken away, which is hours for broadcasts, 1.4 s for every
MPEG transport stream, and less than 0 where a counter of 33 bits begins anew. Within one stream time goes on. Where it
does not,

- a single time that is off, while its neighbours go on, is an *outlier*: only that one is corrected;
- a jump back is a clock that starts again (recordings put one behind the other): what follows is set behind;
- a jump ahead is the same in transport and program streams, whose clocks may jump (ISO/IEC 13818-1, 2.4.3.5), as FFmpeg
  and players take it. Everywhere else it is a gap in which nothing was recorded, and stays.

All streams of a file share one clock: when it jumps, they jump together, and sparse ones (subtitles) follow the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Any

from .pyav import exact

BACK = 1  # seconds back, without decoding times, after which a clock may have started again
AHEAD = 10  # seconds ahead after which it may have jumped (FFmpeg's dts_delta_threshold)
FALTERING = 4  # packets that decoding times may go back
REORDERED = 16  # pictures that a codec may hold back (H.264 and HEVC, MaxDpbFrames)
OVERLAP = Fraction(1, 2)  # seconds by which one stream may outlast another at the end of a recording
FOLLOWING = 2  # packets of the same stream that say whether a clock jumped or one time is off
MOST_HELD = 2000  # packets of all streams while waiting for those
PICTURES_AHEAD = 3  # pictures that say the same of a picture's time
PRIMING = Fraction(1, 10)  # seconds of sound before 0, which its decoder needs and nobody hears; Opus asks for 80 ms
UNTIMED = 100  # packets at the beginning of which the first may have no times
JUMPING = ("mpegts", "mpeg", "mpegtsraw", "hls", "dash", "rtsp", "rtp")  # formats whose clocks may jump ahead

AGAIN = "the clock starts again"
JUMPS = "the clock jumps"
NO_TIMES = "pictures without a time stamp are set at the frame rate"
OFF = "time stamps that are off are set between their neighbours'"
UNSEARCHABLE = (NO_TIMES, AGAIN, JUMPS)  # notes of clips whose times depend on all that came before

Say = Callable[[str], None]


@dataclass
class Part:
    """A stretch of the file with one clock: what is added to its times, and the newest of them, in seconds."""

    shift: Fraction
    newest: Fraction


class Clock:
    """Gives all packets times of one clock that begins at 0.

    Args:
        start: the earliest time of all streams, in seconds.
        jumps: whether a jump ahead is a jump of the clock, or else a gap.
        say: takes a note.
        leading: the streams that go on all the time, pictures and sound; the others follow them.
        pictures: the stream whose packets lose a time that is off: its pictures get one later (`in_order`).
    """

    def __init__(
        self, start: Fraction, jumps: bool, say: Say, leading: Iterable[int], pictures: int | None = None
    ) -> None:
        self.jumps, self.say, self.leading, self.pictures = jumps, say, frozenset(leading), pictures
        self._parts = [Part(-start, start)]
        self._last: dict[int, Fraction] = {}  # of each stream, by its own clock
        self._length: dict[int, Fraction] = {}  # of its last packet
        self._end: dict[int, Fraction] = {}  # when what it has shown ends, by the one clock
        self._part: dict[int, int] = {}
        self._decoding: dict[int, bool] = {}  # whether the last packet had a decoding time; Matroska has none
        self._delay: dict[int, int] = {}  # ticks from decoding a packet to showing it

    def __call__(self, packets: Iterable[Any]) -> Iterator[Any]:
        """Yield the packets in their order, with corrected times; some are held until their followers are known."""
        held: deque[Any] = deque()
        for packet in packets:
            held.append(packet)
            while held and self._decide(held, last=len(held) > MOST_HELD):
                yield held.popleft()
        while held:
            self._decide(held, last=True)
            yield held.popleft()

    def _decide(self, held: deque[Any], last: bool) -> bool:
        """Set the times of the first packet; return False if more packets are needed for that."""
        packet = held[0]
        stamp = stamp_of(packet)
        if stamp is None:
            return True
        index = packet.stream.index
        if index not in self.leading:
            self._move(packet, min(self._parts[::-1], key=lambda part: abs(part.newest - stamp)))
            return True
        before = self._last.get(index)
        length = self._length.get(index, Fraction(0))
        decoding = packet.dts is not None and self._decoding.get(index, False)
        self._set_shown(packet, length)
        if before is not None and not near(stamp, before, length, decoding):
            later = self._later_part(index, stamp)
            if later is not None:
                self._part[index] = later
            else:
                following = [t for p in held if p is not packet and p.stream.index == index if (t := stamp_of(p))]
                if len(following) < FOLLOWING and not last:
                    return False
                if any(near(t, before, length, decoding) for t in following[:FOLLOWING]):
                    self._correct(packet, before)
                    return True
                self._jump(packet, stamp, before)
        part = self._parts[self._part.setdefault(index, len(self._parts) - 1)]
        self._last[index], part.newest = stamp, max(part.newest, stamp)
        self._decoding[index] = packet.dts is not None
        self._length[index] = self._length_of(packet, stamp, before)
        self._move(packet, part)
        end = (packet.dts if packet.pts is None else packet.pts) * base_of(packet) + self._length[index]
        self._end[index] = max(self._end.get(index, end), end)
        return True

    def _length_of(self, packet: Any, stamp: Fraction, before: Fraction | None) -> Fraction:
        """Return how long a packet is shown, by itself or by its distance from the one before."""
        if packet.duration:
            return packet.duration * base_of(packet)
        step = stamp - before if before is not None else Fraction(0)
        length = self._length.get(packet.stream.index, Fraction(0))
        return (step if 0 < step <= BACK and packet.dts is not None else length) or base_of(packet)

    def _set_shown(self, packet: Any, length: Fraction) -> None:
        """Correct when a packet of a copied stream is shown, where that is far from when it is decoded.

        Pictures that are decoded get theirs from their neighbours in the order they are shown (`in_order`).
        """
        index = packet.stream.index
        if packet.pts is None or packet.dts is None or index == self.pictures:
            return
        most = max(Fraction(BACK), REORDERED * length) / base_of(packet)
        if abs(packet.pts - packet.dts) <= most:
            self._delay[index] = packet.pts - packet.dts
        else:
            self.say(OFF)
            packet.pts = packet.dts + self._delay.get(index, 0)

    def _later_part(self, index: int, stamp: Fraction) -> int | None:
        """Return the part into which another stream has jumped before this one, the newest: not all parts have both."""
        now = self._part.get(index, 0)
        found = (n for n in range(len(self._parts) - 1, now, -1) if abs(self._parts[n].newest - stamp) <= AHEAD)
        return next(found, None)

    def _jump(self, packet: Any, stamp: Fraction, before: Fraction) -> None:
        index, back = packet.stream.index, stamp < before
        if not back and not self.jumps:
            return
        end = self._end[index]  # recordings end with streams of different lengths: this one goes on without a hole
        if max(self._end.values()) - end > OVERLAP:
            end = max(self._end.values())
        shown = stamp if packet.pts is None else packet.pts * base_of(packet)
        said = AGAIN if back else f"{JUMPS} by {float(stamp - before):.0f} s"
        at = before + self._parts[self._part[index]].shift
        self.say(f"{said} at {float(at):.2f} s: what follows is set behind it")
        self._parts.append(Part(end - shown, stamp))
        self._part[index] = len(self._parts) - 1

    def _correct(self, packet: Any, before: Fraction) -> None:
        """Replace a time that is off by the one that follows the packet before."""
        index = packet.stream.index
        self.say(OFF)
        if index == self.pictures:
            packet.pts = packet.dts = None
            return
        time = before + self._length[index]
        self._last[index] = time
        packet.pts = packet.dts = round((time + self._parts[self._part[index]].shift) / base_of(packet))

    @property
    def jumped(self) -> bool:
        """Whether the times at the end of the file are not those of its beginning."""
        return len(self._parts) > 1

    @staticmethod
    def _move(packet: Any, part: Part) -> None:
        ticks = round(part.shift / base_of(packet))
        if ticks:
            packet.dts = None if packet.dts is None else packet.dts + ticks
            packet.pts = None if packet.pts is None else packet.pts + ticks


def near(time: Fraction, before: Fraction, length: Fraction, decoding: bool = False) -> bool:
    """Tell whether a time goes on from the one before in its stream, whose packets are so long.

    Decoding times only rise, but for small faults. Where there are none, pictures go back as far as a codec reorders.
    """
    back: Fraction = FALTERING * length if decoding else max(Fraction(BACK), REORDERED * length)
    return -back <= time - before <= AHEAD


def base_of(packet: Any) -> Fraction:
    return exact(packet.time_base) or Fraction(1)


def stamp_of(packet: Any) -> Fraction | None:
    """Return the decoding time in seconds, by the packet's own clock; the time it is shown where there is none."""
    stamp = packet.dts if packet.dts is not None else packet.pts
    return None if stamp is None else stamp * base_of(packet)


def common_start(starts: Iterable[Fraction | None], sounds: Iterable[Fraction | None] = ()) -> Fraction:
    """Return the earliest start of all streams. The priming of sound stays before 0; pictures there would be hidden."""
    primed = (0 if start is not None and -PRIMING <= start < 0 else start for start in sounds)
    return Fraction(min((start for start in (*starts, *primed) if start is not None), default=0))


def start_of_untimed(packets: Iterable[Any], index: int, step: Fraction) -> tuple[Fraction | None, Iterator[Any]]:
    """Find when a stream begins whose first packets have no times, at `step` seconds each, and give all packets again.

    FFmpeg gives none to the packets of Matroska that are before 0. None where the first packet has one, or all lack it.
    """
    packets, held = iter(packets), []
    missing, shown = 0, []
    for packet in packets:
        held.append(packet)
        if packet.stream.index == index and packet.size:
            if packet.pts is not None:
                shown.append(packet.pts * base_of(packet))  # the first one decoded is not the first one shown
            missing += packet.pts is None
            if shown and (not missing or len(shown) == REORDERED // 4):
                break
        if len(held) == UNTIMED:
            break
    return (min(shown) - missing * step if shown and missing else None), chain(held, packets)


def in_order(pictures: Iterable[Any], is_picture: Callable[[Any], bool], step: Callable[[], int], say: Say,
             ahead: int = PICTURES_AHEAD, begin: Callable[[], int] = lambda: 0) -> Iterator[Any]:  # fmt: skip
    """Yield pictures, in the order they are shown, with rising times; whatever else comes passes through.

    Args:
        is_picture: tells them from what passes through.
        step: ticks from one picture to the next, where nothing else says it.
        say: takes a note.
        ahead: pictures that are looked at before one is given.
        begin: the time of the first picture, where neither it nor those that follow have one.
    """
    held: deque[Any] = deque()
    last: int | None = None
    for item in pictures:
        if not is_picture(item):
            yield item
            continue
        held.append(item)
        if len(held) > ahead:
            first = held.popleft()
            last = set_time(first, last, [p.pts for p in held], step, say, begin)
            yield first
    while held:
        first = held.popleft()
        last = set_time(first, last, [p.pts for p in held], step, say, begin)
        yield first


def set_time(picture: Any, last: int | None, following: list[int | None], step: Callable[[], int], say: Say,
             begin: Callable[[], int] = lambda: 0) -> int:  # fmt: skip
    """Give a picture a time behind the last one's, its own where that is in order; return it."""
    time = picture.pts
    later = [t for t in following if t is not None and (last is None or t > last + 1)]
    before = [t for t in later if time is None or t <= time]  # than this one, which may be off
    off = time is not None and 2 * len(before) > len(later)
    if time is None:
        say(OFF if later else NO_TIMES)
        time = between(last, min(later, default=None), step()) if last is not None or later else begin()
    elif off or (last is not None and time <= last and later):
        say(OFF)
        time = between(last, min(before or later), step())
    elif last is not None and time <= last:
        say("time stamps that go back are moved behind the picture before")
        time = last + max(1, step() // 2)
    picture.pts = time
    return int(time)


def between(last: int | None, bound: int | None, step: int) -> int:
    """Return the time of a picture between two others."""
    if last is None:
        return 0 if bound is None else bound - step
    return last + step if bound is None or last + step < bound else (last + bound) // 2
