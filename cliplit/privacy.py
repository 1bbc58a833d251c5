"""Keeps what a user relights to himself: the libraries that count their users are told not to, before they load.

`cliplit` calls `keep_private` when it is imported, so every way in has it: commands, the Python interface, workers,
plug-ins, export, benchmarks. Child processes inherit the variables. What a user has set himself stays as he set it; a
program that imports onnxruntime or openvino before cliplit has decided for itself, and nothing here can take it back.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

# ONNX Runtime 1.29 and later: a device id and a queue of events below ~/.cache/Microsoft, and a collector. It asks for
# this variable once, when it is loaded; `disable_telemetry_events` comes too late. Hugging Face's hub (by open_clip,
# timm and pyiqa) says what asks for a file and looks for its own updates. Ray reports each cluster.
QUIET = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
OPENVINO = "openvino_telemetry"  # the package; OpenVINO does without where it is not installed


def keep_private() -> None:
    """Set the variables that switch usage statistics off, save those the user has set."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def without_openvino_telemetry() -> Iterator[None]:
    """While OpenVINO is imported: it finds no telemetry package. It has no variable, and asks Google Analytics at once.

    A user who has opted in by OpenVINO's own `opt_in_out` keeps that.
    """
    if opted_in() or OPENVINO in sys.modules:
        yield
        return
    sys.modules[OPENVINO] = None  # type: ignore[assignment]  # the import system's word for "not there"
    try:
        yield
    finally:
        sys.modules.pop(OPENVINO, None)


def opted_in() -> bool:
    """Whether the user has allowed OpenVINO's statistics; it writes a 1 then, and nothing unless it was asked to."""
    try:
        folder = Path(os.environ["LOCALAPPDATA"], "Intel Corporation") if os.name == "nt" else Path.home() / "intel"
        return (folder / OPENVINO).read_text().strip() == "1"
    except (OSError, KeyError, RuntimeError, UnicodeDecodeError):
        return False
