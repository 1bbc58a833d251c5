"""The array type of the code base.

Docstrings give shapes, types and ranges: numpy's and OpenCV's stubs cannot carry them through arithmetic, and casts at
every line would hide more than they check.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
