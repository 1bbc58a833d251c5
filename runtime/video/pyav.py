"""PyAV 18.1 and 19 side by side: the three places where they differ for us.

19 has no wheels for Python 3.11, 18.1 is the first that tells and sets the order of fields. 19 gives its own rationals
(which multiply in 32 bits, inexactly), keys where side data is iterated, and tags with surrogates in place of the bytes
that are not UTF-8.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame

from .names import checked_address, demuxing, local

MAJOR = int(av.__version__.split(".")[0])
READING: dict[str, Any] = {"metadata_errors": "replace"} if MAJOR < 19 else {}  # 18 raises for a tag in Latin-1


PIPE_IN, PIPE_OUT = "pipe:0", "pipe:1"  # standard input and output, as FFmpeg calls them
PIPE_BUFFER = 1 << 20  # bytes read at once
TIMEOUT = 20.0  # seconds


class CountedInput:
    """Standard input for FFmpeg, which knows how many bytes came: some of its demuxers drop a last part silently."""

    def __init__(self) -> None:
        self.count = 0
        self._file = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 - it stays open

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes; none at the end."""
        data = self._file.read(size) or b""
        self.count += len(data)
        return data


def open_to_read(
    source: Path | str | CountedInput, timeout: float = TIMEOUT, options: dict[str, str] | None = None,
    form: str | None = None, playlist: bool = False,
) -> InputContainer:  # fmt: skip
    """Open a file or an address; tags in another encoding than UTF-8 are no error.

    All that reads media goes through here: a file is read by the demuxers of `names.FILES` and reaches nothing else.

    Args:
        source: a path, which is a local file whatever its name; text, which is an address; standard input.
        timeout: seconds without an answer after which an address is given up.
        options: of the format and of the decoders that look at the first pictures.
        form: FFmpeg's name of the format, where it must not be guessed.
        playlist: whether the file may name other files (HLS, DASH, ffconcat), which are then read.

    Raises:
        InputError: an address that is none of the network.
        av.FFmpegError, OSError, ValueError: as PyAV does.
    """
    options = dict(options or {})
    if isinstance(source, CountedInput):
        return av.open(source, buffer_size=PIPE_BUFFER, options=options | demuxing("pipe"), **READING)
    if isinstance(source, Path):
        held = demuxing("playlist" if playlist else "file")
        return av.open(local(source), format=form, options=options | held, **READING)
    name, held = checked_address(source), demuxing("address")
    return av.open(name, format=form, timeout=timeout, options=options | held, **READING)


def open_to_write(
    target: Path | str, container: str | None = None, options: dict[str, str] | None = None
) -> OutputContainer:
    """Open a local file, or standard output; `container` is FFmpeg's name of the format.

    Raises:
        ValueError: text that is not `PIPE_OUT`.
        av.FFmpegError, OSError, ValueError: as PyAV does.
    """
    if not isinstance(target, Path) and target != PIPE_OUT:
        raise ValueError(f"{target}: is no path")
    name = local(target) if isinstance(target, Path) else target
    return av.open(name, "w", format=container, container_options=options or {})


def exact(rational: Any) -> Fraction | None:
    """Turn what PyAV gives as a rate, a ratio or a time base into a Fraction; None for none, 0/1 and x/0."""
    return Fraction(rational.numerator, rational.denominator) if rational else None


def text(tag: str) -> str:
    """Put U+FFFD in the place of what is not UTF-8; the text can be printed and written."""
    return tag.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def texts(tags: Mapping[str, str]) -> dict[str, str]:
    """Give the tags of a container or a stream as texts that can be printed and written."""
    return {text(name): text(value) for name, value in tags.items()}


def side_data_of(picture: VideoFrame) -> dict[str, bytes]:
    """Return what hangs on a decoded picture: {name of FFmpeg's type without its prefix: bytes}."""
    # Not `picture.side_data`: the frame keeps that, and it the frame. Circles of pictures that waited in `prefetch`
    # are freed by a full collection alone, which comes once in a thousand frames.
    data: Any = SideDataContainer(picture)  # type: ignore[call-arg]
    return {item.type.name: bytes(item) for item in (data[:] if MAJOR >= 19 else data)}
