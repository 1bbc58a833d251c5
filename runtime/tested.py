"""Which versions of the libraries cliplit was tested with: the oldest and the newest that `.ci/run` had on any Python.

The oldest are the lower bounds of pyproject.toml, which a test compares; the newest are those of the last run's day.
"""

from __future__ import annotations

import re

TESTED = {
    "numpy": ("2.0", "2.5"),
    "opencv-python-headless": ("4.12", "5.0"),
    "av": ("18.1", "19.0"),
    "click": ("8.1", "8.5"),
    "pillow": ("12.3", "13.0"),
    "tifffile": ("2024.7", "2026.11"),
    "tqdm": ("4.66", "4.70"),
    "onnxruntime": ("1.20", "1.32"),
    "openvino": ("2025.0", "2026.4"),
    "torch": ("2.10", "2.15"),
    "onnx": ("1.21", "1.23"),
}
PYTHONS = ("3.11", "3.13")


def outside(name: str, version: str) -> str:
    """Say how a version lies outside of what was tested; empty where it does not, or where `name` is not ours.

    Only as many numbers count as the table has: a correction of a tested version is a tested one.
    """
    bounds = PYTHONS if name == "python" else TESTED.get(name)
    if bounds is None:
        return ""
    low, high = (numbers(bound) for bound in bounds)
    if numbers(version)[: len(low)] < low:
        return f"older than {bounds[0]}, the oldest that was tested"
    if numbers(version)[: len(high)] > high:
        return f"newer than {bounds[1]}, the newest that was tested"
    return ""


def numbers(version: str) -> tuple[int, ...]:
    """Give the leading numbers of a version, such as (2, 6) for 2.6+cpu."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()
