"""What is asked for when a clip is relighted: frozen, so that one request serves many clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

from ..light.region import Region
from ..light.relighting import LightSettings
from .codecs import Encoding
from .compare import Comparison
from .opening import Reading

VideoIO = Literal["pyav", "opencv"]


@dataclass(frozen=True)
class Steps:
    """What is done to each frame of a clip; by default it is relighted and smoothed over time, and that is all.

    Attributes:
        time_constant: of the temporal filter in seconds; 0 relights each frame by itself.
        strength: from seconds since the first frame to a factor on the enhancer's strength; None for 1 throughout.
            Frames at 0 pass untouched.
        denoise: 0..1, before anything else.
        region: the only area to enhance.
        compare: what is written is a comparison with the original.
    """

    time_constant: float = LightSettings.time_constant
    strength: Callable[[float], float] | None = None
    denoise: float = 0.0
    region: Region | None = None
    compare: Comparison | None = None


@dataclass(frozen=True)
class Request:
    """One clip to relight.

    Attributes:
        source: a file, an address, or `PIPE_IN`.
        target: a file, which appears only when it is complete, or `PIPE_OUT`, with the name of its `container`.
        cfr: constant rate of the output in frames a second; None keeps the source's time stamps.
        resume: work in segments that a later call with the same options continues after a crash; these options.
        io: the library that reads and writes; "opencv" knows 8 bits and no sound.
    """

    source: Path | str
    target: Path | str
    encoding: Encoding = field(default_factory=Encoding)
    steps: Steps = field(default_factory=Steps)
    reading: Reading = field(default_factory=Reading)
    cfr: Fraction | None = None
    resume: Mapping[str, object] | None = None
    io: VideoIO = "pyav"
    container: str | None = None
