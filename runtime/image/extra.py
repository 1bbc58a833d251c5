"""The extra `pictures`: libraries for formats that few people have, which a light installation goes without."""

from __future__ import annotations

from cliplit.errors import BackendError
from cliplit.install import install_hint


def needs(module: str, what: str) -> BackendError:
    """Make the error of a library that is missing, with the command that brings it."""
    return BackendError(f"{what} needs {module}; install it with: {install_hint('pictures')}")
