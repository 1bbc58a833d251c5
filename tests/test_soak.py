"""Three thousand frames: memory and descriptors are flat, whatever the warm-up took."""

from __future__ import annotations

import io
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cliplit.plugins.protocol import REPLY_SIZE, Pixels, Request
from cliplit.plugins.worker import StreamPixels, serve
from cliplit.runtime.video.clip import enhance_video
from cliplit.runtime.video.codecs import Encoding
from made import backlit

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc has the numbers")
FRAMES, WARM, RATE = 3000, 500, 25
GROWTH = 4 << 20  # bytes that an allocator may keep; one picture of 64x48 lost with each frame would be 11 MB


def long_clip(path: Path) -> Path:
    """64x48, with sound that goes on as long as the pictures."""
    pictures = [np.roll(backlit(48, 64), shift, axis=1) for shift in range(8)]
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=RATE)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=8000, layout="mono")
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(pictures[number % 8], format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(video.encode(frame))
            samples = np.full((1, 8000 // RATE), number % 500, np.int16)
            wave = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            wave.sample_rate, wave.pts, wave.time_base = 8000, number * 8000 // RATE, Fraction(1, 8000)
            container.mux(sound.encode(wave))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path


def resident() -> int:
    """Bytes of this process in memory that are its own, files that are mapped left out."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def flat(found: list[tuple[int, int, int]]) -> None:
    """Check that from WARM on neither memory nor the number of descriptors grows."""
    warm = [item for item in found if item[0] >= WARM]
    print({number: (round(size / 1e6, 1), files) for number, size, files in found})  # pytest -s shows it
    assert [number for number, _, _ in warm] == list(range(WARM, FRAMES + 1, 500))
    assert max(size for _, size, _ in warm) - warm[0][1] < GROWTH, found
    assert max(files for _, _, files in warm) <= warm[0][2], found


def test_a_clip_with_sound(tmp_path, enhancer):
    found = []

    def look(written, expected):
        if written % 500 == 0 and written not in [number for number, _, _ in found]:
            found.append((written, resident(), descriptors()))

    source = long_clip(tmp_path / "in.mkv")
    before = descriptors()
    result = enhance_video(source, tmp_path / "out.mkv", enhancer, Encoding(preset="ultrafast"), progress=look)
    assert result.frames == FRAMES
    assert descriptors() <= before
    flat(found)


class Requests(io.RawIOBase):
    """The pictures of a host that plays a clip, one after the other."""

    def __init__(self, found):
        picture = np.dstack([backlit(48, 64), np.full((48, 64), 255, np.uint8)])
        self.one = Request(Pixels.RGBA8, 64, 48).pack() + picture.tobytes()
        self.found, self.sent, self.rest = found, 0, b""

    def readable(self):
        return True

    def readinto(self, buffer):
        if not self.rest and self.sent < FRAMES:
            if self.sent % 500 == 0 and self.sent:
                self.found.append((self.sent, resident(), descriptors()))
            self.sent, self.rest = self.sent + 1, self.one
        part, self.rest = self.rest[: len(buffer)], self.rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


class Count(io.RawIOBase):
    size = 0

    def writable(self):
        return True

    def write(self, data):
        self.size += memoryview(data).nbytes
        return memoryview(data).nbytes


def test_a_worker_of_a_host():
    found, answers = [], Count()
    source = io.BufferedReader(Requests(found))
    serve(source, answers, StreamPixels(source, answers), "lite", "cpu")
    found.append((FRAMES, resident(), descriptors()))
    assert answers.size == FRAMES * (REPLY_SIZE + 64 * 48 * 4)  # all are pictures
    flat(found)
