"""Small things `cliplit-doctor` does for real: a frame decoded and encoded, pictures written and read again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cliplit.errors import CliplitError, first_line

DEMO = Path(__file__).parent / "demo" / "backlit.mp4"
CODECS = {"h264": ".mp4", "ffv1": ".mkv"}


@dataclass(frozen=True)
class Trial:
    """What was tried, whether it worked, and what came out or why not."""

    name: str
    works: bool
    detail: str


def trials() -> Iterator[Trial]:
    """Try all of them; whatever goes wrong becomes a line."""
    with tempfile.TemporaryDirectory(prefix="cliplit-doctor-") as folder:
        for codec, suffix in CODECS.items():
            yield attempt(f"video {codec}", lambda c=codec, s=suffix: video(Path(folder) / f"{c}{s}", c))  # type: ignore[misc]
        for name, bits in (("8 bit.jpg", 8), ("8 bit.png", 8), ("16 bit.png", 16), ("16 bit.tif", 16)):
            yield attempt(f"picture {name}", lambda n=name, b=bits: picture(Path(folder) / n, b))  # type: ignore[misc]


def attempt(name: str, action: Callable[[], str]) -> Trial:
    try:
        return Trial(name, True, action())
    except CliplitError as error:
        return Trial(name, False, str(error))
    except Exception as error:  # a library that breaks in a way of its own is a finding, not a crash
        return Trial(name, False, f"breaks: {type(error).__name__}: {first_line(error)}")


def video(target: Path, codec: str) -> str:
    """Decode the first frame of the demo clip, encode it, and decode what came out."""
    from .video.codecs import Encoding
    from .video.frames import Frame
    from .video.pyav_reader import PyAVReader
    from .video.pyav_writer import PyAVWriter

    with PyAVReader(DEMO) as reader, PyAVWriter(target, reader.clip, Encoding(codec=codec)) as writer:
        writer.write(next(item for item in reader if isinstance(item, Frame)))
    with PyAVReader(target) as again:
        frame = next(item for item in again if isinstance(item, Frame))
        height, width = frame.planes[0].shape
    return f"a frame of {width}x{height} decoded, encoded and decoded again"


def picture(target: Path, bits: int) -> str:
    """Write a small picture and read it again; what holds 16 bits, and PNG, must give the same numbers."""
    import numpy as np

    from .image.image_io import Picture, read_picture, write_picture

    kind = np.uint16 if bits == 16 else np.uint8
    pixels = np.linspace(0, 2**bits - 1, 32 * 48 * 3).astype(kind).reshape(32, 48, 3)
    write_picture(target, Picture(pixels, False), pixels)
    read = read_picture(target).pixels
    if read.dtype != kind or read.shape != pixels.shape or (target.suffix != ".jpg" and (read != pixels).any()):
        raise CliplitError(f"gives {read.dtype} {read.shape} that is not what was written")
    return "written and read again"
