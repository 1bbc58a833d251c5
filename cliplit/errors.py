"""The errors a user can meet. Every message says what was found, where, and what to do about it."""

from __future__ import annotations

import re

# torch's, by running what is in the file; nothing here does that. How 2.6 and later say it, and how 1.13 to 2.5 did.
UNSAFE_ADVICE = re.compile("This file can still be loaded|Re-running `torch.load`|In PyTorch 2.6, we changed")


def first_line(error: BaseException) -> str:
    """Return the first line of another library's error message, without torch's unsafe advice, or the error's type."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return UNSAFE_ADVICE.split(line, maxsplit=1)[0].strip()


def worded(error: BaseException) -> str:
    """Return an error's message: of the system's errors the file and the reason, without their number."""
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    return str(error)


def printable(text: str) -> str:
    r"""Escape what a terminal would obey or could not show: control characters, bytes that are not UTF-8.

    Line breaks become `\n`, so that one message stays one line: names and tags are made by strangers.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


class CliplitError(Exception):
    """Base of all expected failures; a command prints its message as one line and exits with `exit_code`."""

    exit_code = 1


class InputError(CliplitError):
    """A file, a picture or an option value cannot be used."""


class OptionError(InputError):
    """An option has a value that nothing can be done with: wrong usage."""

    exit_code = 2


class DivergedError(CliplitError):
    """A training lost its way: a loss or a weight is no longer a finite number."""


class ModelError(CliplitError):
    """A checkpoint or an ONNX file has the wrong content."""


class BackendError(CliplitError):
    """A device or an inference library was requested and cannot be used."""

    exit_code = 3


class ParityError(CliplitError):
    """An exported model does not compute what its checkpoint computes."""

    exit_code = 4
