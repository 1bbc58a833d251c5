"""How a source is read, and its opening by FFmpeg; what is missing or no video ends in one line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av

from cliplit.errors import InputError

from .containers import PATTERN, several_in
from .ffmpeg_log import logged
from .names import exists, origin_of
from .pyav import CountedInput, open_to_read

ENCRYPTED = "{}: is encrypted (CENC); decrypt it first, with its key"
PROTECTED = (b"encv", b"sinf")  # boxes of MP4 whose samples are encrypted (ISO/IEC 14496-12, 8.12)
MAX_PIXELS = 1 << 28  # 16384x16384; 8K is an eighth of it
NOT_LISTED = "Format not on whitelist"
OTHER_KIND = "is no clip but a playlist, a list of files or another text (--playlist reads the files a playlist names)"
REFUSED_SIZE = re.compile(r"[Pp]icture size (\d+)x(\d+)")  # in FFmpeg's messages


@dataclass(frozen=True)
class Reading:
    """How a clip is read.

    Attributes:
        video_stream: which of several, cover art not counted.
        input_color: see `colour.stated`; overrides the tags of the file.
        hdr: "refuse" stops at PQ and HLG.
        timeout: seconds without an answer after which a network address is given up.
        max_pixels: a larger picture is refused: a small file can ask for all memory.
        playlist: whether a file may be a playlist (HLS, DASH, ffconcat): the files it names are read.
        fps: rate of numbered pictures in frames a second; None takes 25.
    """

    video_stream: int = 0
    input_color: str | None = None
    hdr: Literal["keep", "refuse"] = "keep"
    timeout: float = 20.0
    max_pixels: int = MAX_PIXELS
    playlist: bool = False
    fps: Fraction | None = None


def opened(source: Path | str | CountedInput, reading: Reading) -> av.container.InputContainer:
    """Open a source. Raises InputError with one line if it is missing, empty, no video or does not answer."""
    remote = isinstance(source, str) and origin_of(source) == "address"
    if not remote and not isinstance(source, CountedInput):
        source = Path(source)
        if not exists(source):
            if PATTERN.search(source.name):
                raise InputError(f"{source}: {several_in(source)}")
            raise InputError(f"{source}: no such file")
        if source.is_dir():
            raise InputError(f"{source}: is a folder")
    try:
        with logged(av.logging.ERROR) if isinstance(source, Path) else av.logging.Capture() as lines:
            return open_to_read(source, reading.timeout, limits(reading), playlist=reading.playlist)
    except (av.FFmpegError, OSError, ValueError) as error:
        if found := next((f for _, _, line in lines if (f := REFUSED_SIZE.search(line))), None):
            raise too_large(source, int(found[1]), int(found[2]), reading) from error
        if isinstance(source, Path) and is_protected(source):
            raise InputError(ENCRYPTED.format(source)) from error
        if any(NOT_LISTED in line for _, _, line in lines):
            raise InputError(f"{source}: {OTHER_KIND}") from error
        raise InputError(f"{source}: not a video that can be read ({reason(error)})") from error


def is_protected(path: Path) -> bool:
    """Tell whether the head of a file that cannot be opened is that of an encrypted MP4."""
    with path.open("rb") as file:
        head = file.read(1 << 20)
    return head[4:8] == b"ftyp" and all(box in head for box in PROTECTED)


def limits(reading: Reading) -> dict[str, str]:
    """Return the options of FFmpeg's decoders that keep a small file from asking for all memory.

    They count the pixels as coded, in whole blocks and with a margin; what comes out is held to the limit itself.
    """
    return {"max_pixels": str(reading.max_pixels * 5 // 4 + (1 << 18))}


def too_large(source: object, width: int, height: int, reading: Reading) -> InputError:
    return InputError(
        f"{source}: pictures of {width}x{height} are more than {reading.max_pixels} pixels; "
        "--max-pixels raises the limit"
    )


def reason(error: BaseException) -> str:
    """Return the part of an FFmpeg error that a user can act on."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
