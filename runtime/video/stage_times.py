"""The cost of each stage of a clip, run one after the other without writing: `cliplit-video --benchmark`.

In a real run decoding overlaps with the rest and the encoder has its own threads, so a clip takes less time than the
sum.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..enhancer import Enhancer
from .compare import compared_clip
from .frame_loop import FrameLoop
from .frames import Frame
from .pyav_reader import PyAVReader
from .pyav_writer import PyAVWriter
from .request import Request

Item = TypeVar("Item")


class Stopwatch:
    """Adds up the time between laps by stage name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Attribute the time since the last lap to this stage."""
        now = time.perf_counter()
        self.seconds[stage] += now - self._last
        self._last = now

    def over(self, items: Iterable[Item], stage: str) -> Iterator[Item]:
        """Yield the items; the time to make each of them counts as this stage."""
        iterator = iter(items)
        while True:
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self.lap(stage)
            yield item


@dataclass(frozen=True)
class StageTimes:
    """Wall time of each stage in its order, processor time of the process, for `frames` of a size."""

    seconds: dict[str, float]
    processor: float
    frames: int
    width: int
    height: int
    codec: str


def measure(source: Path, enhancer: Enhancer, request: Request) -> StageTimes:
    """Run a whole clip; frames are encoded and thrown away."""
    watch = Stopwatch()
    with PyAVReader(source, request.reading) as reader:
        clip = compared_clip(reader.clip, request.steps.compare)
        with PyAVWriter(Path(os.devnull), clip, request.encoding, None, "matroska") as writer:
            frames = (item for item in reader if isinstance(item, Frame))
            start = time.process_time()
            watch.lap("set up")
            loop = FrameLoop(reader.clip, enhancer, request.steps, watch.lap)
            for frame in loop(watch.over(frames, "decode")):
                writer.write(frame)
                watch.lap("encode")
        watch.lap("encode")
        codec = writer.choice.encoder.name
    watch.seconds.pop("set up")
    processor = time.process_time() - start
    return StageTimes(dict(watch.seconds), processor, writer.written, clip.width, clip.height, codec)


def stage_table(times: StageTimes) -> str:
    """Tabulate ms per frame, share, and the frames per second that a stage alone would allow."""
    total = sum(times.seconds.values())
    lines = [f"{times.frames} frames of {times.width}x{times.height}, encoder {times.codec}, one stage after the other"]
    lines.append(f"{'stage':24} {'ms/frame':>9} {'share':>7} {'frames/s':>9}")
    for name, seconds in [*times.seconds.items(), ("all", total)]:
        each = seconds / times.frames
        lines.append(f"{name:24} {1e3 * each:9.2f} {seconds / total:7.1%} {1 / max(each, 1e-9):9.1f}")
    lines.append(f"{'processor time':24} {1e3 * times.processor / times.frames:9.2f}")
    return "\n".join(lines)
