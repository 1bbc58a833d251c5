"""The user's choices in the dialog or a script, in the worker's form."""

from __future__ import annotations

from typing import Any

from ..protocol import AUTOMATIC, Request

INSTALLED_MODEL = "default"


def settings_of(config: Any) -> Request:
    """Return the user's choices as a request without a picture."""
    model = config.get_property("model")
    return Request(
        strength=config.get_property("strength"),
        max_gain=AUTOMATIC if config.get_property("automatic-gain") else config.get_property("max-gain"),
        exact=config.get_property("exact"),
        model="" if model == INSTALLED_MODEL else model,
    )
