"""One moment of a clip, before and after, as a picture: a look before a long job.

The light is what the whole clip would have there: the temporal filter sees the seconds before first.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from cliplit.arrays import Array
from cliplit.errors import InputError

from ..enhancer import Enhancer
from ..image.picture import upright
from ..light.hdr import TRANSFERS, tone_mapped
from ..light.pixels import PlanarPixels
from .denoise import WINDOW
from .frame_loop import FrameLoop
from .frames import Clip, Frame
from .opening import Reading
from .pyav_reader import PyAVReader
from .request import Steps
from .schedule import seconds

PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
LEAST_BEFORE = 0.5  # seconds that the filter sees before the moment, ...
TIME_CONSTANTS = 1.0  # ... and in its time constants; docs/looks.md has what more of them would change
GAP, WHITE = 8, 255  # pixels between pictures


class OutsideClip(InputError):
    """A moment that the clip does not have: a wrong value, as far as the command is concerned."""

    exit_code = 2


@dataclass(frozen=True)
class Moment:
    """A time in a clip: in seconds from its first frame, or as a share (0..1) of its length."""

    value: float
    share: bool = False

    @classmethod
    def parse(cls, text: str) -> Moment:
        """Read "12.5", "1:30" or "10%". Raises InputError for anything else."""
        if found := PERCENT.fullmatch(text.strip()):
            if float(found[1]) > 100:
                raise InputError(f"{text}: is more than 100%")
            return cls(float(found[1]) / 100, share=True)
        try:
            value = seconds(text)
        except InputError:
            raise InputError(f"{text!r} is no moment; expected 12.5, 1:30, 0:01:30 or 10%") from None
        return cls(1.0, share=True) if math.isinf(value) else cls(value)

    def within(self, length: float) -> float:
        """Return its seconds in a clip of a length. Raises InputError for a share of an unknown length, 0."""
        if self.share and not length:
            raise OutsideClip("the clip does not tell its length; give a moment in seconds instead of percent")
        return self.value * length if self.share else self.value


@dataclass(frozen=True)
class Pair:
    """A frame of a clip and what relighting makes of it: (H, W, 3) uint8 RGB, upright, of square pixels."""

    time: float  # seconds from the first frame
    before: Array
    after: Array


def pairs_at(
    source: Path, moments: Sequence[Moment], enhancer: Enhancer, steps: Steps, reading: Reading | None = None
) -> Iterator[Pair]:
    """Yield the frame that is shown at each of the moments, before and after.

    Raises:
        InputError: not a clip that can be read.
        OutsideClip: a moment after its end, or a share of a length that it does not tell.
    """
    for moment in moments:
        with PyAVReader(source, reading) as reader:
            yield pair_at(reader, moment, enhancer, steps)


def pair_at(reader: PyAVReader, moment: Moment, enhancer: Enhancer, steps: Steps) -> Pair:
    """Return the pair of one moment, with a reader that has just been opened; see `pairs_at`."""
    clip = reader.clip
    frames = (item for item in reader if isinstance(item, Frame))
    start = next(frames).time
    step = float(1 / (clip.rate or 25))
    length = length_of(reader)
    wanted = moment.within(length)
    if moment.share:
        wanted = max(min(wanted, length - step), 0.0)
    before = max(LEAST_BEFORE, TIME_CONSTANTS * steps.time_constant) + (WINDOW * step if steps.denoise else 0.0)
    reader.skip_to(math.floor((start + Fraction(max(wanted - before, 0.0))) / clip.time_base))
    chosen: list[Frame] = []
    end = start + Fraction(wanted) + clip.time_base / 2  # a decimal such as 0.04 is not quite a frame's time

    def until() -> Iterator[Frame]:
        for item in reader:
            if not isinstance(item, Frame):
                continue
            if item.time > end and chosen:
                return
            chosen[:] = [item.copy()]
            yield item
        if not moment.share and chosen and float(end - chosen[0].time) > 1.5 * step + 0.1:
            at = float(chosen[0].time - start)
            raise OutsideClip(f"{reader.source}: {wanted:g} s is after its end; the last frame is at {at:.2f} s")

    if not moment.share and length and wanted > length + max(1.0, 0.1 * length):  # lengths are a little off at times
        raise OutsideClip(f"{reader.source}: {wanted:g} s is after its end, at {length:.2f} s")
    last = deque(FrameLoop(clip, enhancer, replace(steps, compare=None), start=start)(until()), maxlen=1)
    if not last:
        raise OutsideClip(f"{reader.source}: has no frame at {wanted:g} s, or it cannot be decoded")
    return Pair(float(chosen[0].time - start), shown(chosen[0], clip), shown(last[0], clip))


def length_of(reader: PyAVReader) -> float:
    """Return the seconds of the pictures, as far as the file tells; 0 if it does not."""
    clip = reader.clip
    return float(clip.expected_frames / clip.rate if clip.expected_frames and clip.rate else reader.length)


def shown(frame: Frame, clip: Clip) -> Array:
    """Return a frame as a viewer sees it: (H, W, 3) uint8 RGB, HDR tone-mapped, upright, of square pixels."""
    pixels = PlanarPixels(frame.planes, frame.coding, frame.interlaced, clip.colour.transfer)
    proxy = pixels.proxy(pixels.size)
    transfer = TRANSFERS.get(clip.colour.transfer)
    rgb = tone_mapped(proxy, transfer).rgb if transfer else proxy.rgb
    codes: Array = np.round(np.clip(rgb, 0.0, 1.0) * WHITE).astype(np.uint8)
    aspect = float(clip.sample_aspect_ratio or 1)
    if aspect != 1.0:
        height, width = codes.shape[:2]
        size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
        codes = cv2.resize(codes, size, interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(upright(codes, clip.orientation))


def beside(pair: Pair, kind: str = "side") -> Array:
    """Return both in one picture: "side" by side, or "split" in the middle; the original is on the left."""
    if kind == "side":
        gap = np.full((pair.before.shape[0], GAP, 3), WHITE, np.uint8)
        return np.hstack([pair.before, gap, pair.after])
    picture, middle = pair.after.copy(), pair.after.shape[1] // 2
    picture[:, :middle] = pair.before[:, :middle]
    picture[:, max(middle - 1, 0) : middle + 1] = WHITE
    return picture


def rows(pairs: Sequence[Pair], kind: str) -> Array:
    """Return several pairs of one clip in one picture, one below the other."""
    gap = np.full((GAP, beside(pairs[0], kind).shape[1], 3), WHITE, np.uint8)
    parts = [part for pair in pairs for part in (beside(pair, kind), gap)]
    return np.vstack(parts[:-1])


CELLS, COLUMNS, CELL = 12, 3, 360  # pictures of a sheet, in a row, and the longer side of each half
LABEL = 22  # rows of text below


def sheet(pairs: Sequence[Pair], kind: str) -> Array:
    """Return a contact sheet: small pairs in rows, the time below each."""
    cells = [cell(pair, kind) for pair in pairs]
    height, width = cells[0].shape[:2]
    lines = -(-len(cells) // COLUMNS)
    columns = min(COLUMNS, len(cells))
    page = np.full((lines * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), WHITE, np.uint8)
    for number, picture in enumerate(cells):
        y, x = (
            GAP + place * (side + GAP) for place, side in zip(divmod(number, COLUMNS), (height, width), strict=True)
        )
        page[y : y + height, x : x + width] = picture
    return page


def cell(pair: Pair, kind: str) -> Array:
    """Return one pair of a contact sheet."""
    height, width = pair.before.shape[:2]
    scale = min(1.0, CELL / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in (pair.before, pair.after)]
    picture = beside(Pair(pair.time, *small), kind)
    text = np.full((LABEL, picture.shape[1], 3), WHITE, np.uint8)
    cv2.putText(text, clock(pair.time), (2, LABEL - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (60, 60, 60), 1, cv2.LINE_AA)
    return np.vstack([picture, text])


def clock(time: float) -> str:
    """Write seconds as 1:02.5 or 1:00:02.5."""
    tenths = round(time * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02}" if hours else f"{minutes}") + f":{rest / 10:04.1f}"


def spread(count: int = CELLS) -> list[Moment]:
    """Return moments evenly over a clip, none at its very ends."""
    return [Moment((number + 0.5) / count, share=True) for number in range(count)]
