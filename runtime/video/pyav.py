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
from av.video.frame import VideoFrame

from .names import local

MAJOR = int(av.__version__.split(".")[0])
READING: dict[str, Any] = {"metadata_errors": "replace"} if MAJOR < 19 else {}  # 18 raises for a tag in Latin-1


PIPE_IN, PIPE_OUT = "pipe:0", "pipe:1"  # standard input and output, as FFmpeg calls them
PIPE_BUFFER = 1 << 20  # bytes read at once


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
    source: Path | str | CountedInput, timeout: float | None = None, options: dict[str, str] | None = None,
    form: str | None = None,
) -> InputContainer:  # fmt: skip
    """Open a file or an address; tags in another encoding than UTF-8 are no error.

    Args:
        source: a path, which is a local file whatever its name; text, which is an address FFmpeg knows; standard input.
        timeout: seconds without an answer after which it is given up; None waits.
        options: of the format and of the decoders that look at the first pictures.
        form: FFmpeg's name of the format, where it must not be guessed.

    Raises:
        av.FFmpegError, OSError, ValueError: as PyAV does.
    """
    if isinstance(source, CountedInput):
        return av.open(source, buffer_size=PIPE_BUFFER, options=options, **READING)
    name = local(source) if isinstance(source, Path) else source
    return av.open(name, format=form, timeout=timeout, options=options, **READING)


def open_to_write(
    target: Path | str, container: str | None = None, options: dict[str, str] | None = None
) -> OutputContainer:
    """Open a local file, or an address FFmpeg knows if it is text; `container` is FFmpeg's name of the format.

    Raises:
        av.FFmpegError, OSError, ValueError: as PyAV does.
    """
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
    data: Any = picture.side_data
    return {item.type.name: bytes(item) for item in (data[:] if MAJOR >= 19 else data)}
