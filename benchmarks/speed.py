"""Speed, memory and start-up over sizes, threads, models and devices, each next to named references of the same run.

Timings on a shared machine are noisy and only their ratios are meaningful. So everything compared is measured within
minutes on the same cores, each configuration in its own process.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from cliplit.runtime.backends import BACKENDS
from cliplit.runtime.backends.devices import cores

from .plots import Plot, curves
from .probe import CLASSICAL_NAMES, ORIGINAL, Result, Task
from .tables import Table
from .timing import run_probe, run_program
from .transcode import VIDEO, ClipTimes, measure_clip

SIZES = {"480p": (480, 854), "720p": (720, 1280), "1080p": (1080, 1920), "4K": (2160, 3840)}
OURS = ("lite", "lite exact")
STAGES = ("proxy", "network", "refine", "apply")
SHORT_CLIP = {"480p": 1.0, "720p": 1.0, "1080p": 0.75, "4K": 0.25}  # of the asked length, for encoding is slow there
MEASURED_ON = ("numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "torch", "av")
LITE = "lite"
BACKEND_NAMES = tuple(row.name for row in BACKENDS)

Say = Callable[[str], object]
Clock = Literal["frame", "cpu"]  # of a Result


@dataclass(frozen=True)
class FrameTimes:
    """One configuration: a measurement, or the reason why there is none."""

    task: Task
    result: Result | None
    reason: str = ""

    @property
    def megapixels(self) -> float:
        return self.task.height * self.task.width / 1e6


@dataclass
class Speed:
    """All measurements of a run; `as_dict` is the content of the JSON file."""

    machine: dict[str, str]
    frames: list[FrameTimes] = field(default_factory=list)
    clips: list[ClipTimes] = field(default_factory=list)
    startup: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """What to measure. `limit`: seconds one configuration may take; `clip_seconds` 0 skips the clips."""

    sizes: Sequence[str] = tuple(SIZES)
    threads: Sequence[int] = (1, 2)
    methods: Sequence[str] = (*OURS, ORIGINAL, *CLASSICAL_NAMES)
    backends: Sequence[str] = ("auto", *BACKEND_NAMES)
    devices: Sequence[str] = ("cpu", "cuda")
    limit: float = 90.0
    repeats: int = 7
    clip: Path | None = None
    clip_seconds: float = 4.0
    clip_models: Sequence[str] = ("lite",)


def measure_speed(plan: Plan, say: Say = lambda text: None) -> Speed:
    """Measure everything in the plan. Raises BackendError if a program to compare clips with is missing."""
    lent = cores()
    threads = [n for n in plan.threads if n <= lent]
    speed = Speed(machine_facts(lent))
    for left_out in sorted(set(plan.threads) - set(threads)):
        speed.notes.append(f"{left_out} threads: this machine lends {lent} cores")
    for frame in frames(plan, threads, speed.notes, say):
        speed.frames.append(frame)
    speed.startup = measure_startup(say)
    if plan.clip_seconds > 0:
        speed.clips = list(clips(plan, threads, say))
    return speed


def frames(plan: Plan, threads: Sequence[int], notes: list[str], say: Say) -> Iterator[FrameTimes]:
    """Time every method, device, thread count and size; a device that does not load is noted once and skipped."""
    for device in plan.devices:
        for backend in plan.backends:
            plain = (backend, device) == ("auto", "cpu")  # the one that always is there, and the one compared with
            first = Task(LITE, *SIZES[plan.sizes[0]], device=device, backend=backend, repeats=1)
            refused = "" if plain else run_probe(first, plan.limit)
            if isinstance(refused, str) and refused:
                notes.append(f"{backend} on {device} is left out: {refused}")
                continue
            chosen = plan.methods if backend == "auto" else [m for m in plan.methods if m in OURS]
            for method in chosen if plain else [m for m in chosen if m not in CLASSICAL_NAMES]:
                for count in threads if plain else threads[-1:]:
                    yield from sizes_of(first, method, count, plan, say)


def sizes_of(like: Task, method: str, threads: int, plan: Plan, say: Say) -> Iterator[FrameTimes]:
    """Time one method at all sizes; skip those expected to exceed the time limit, judged by the size before."""
    known: FrameTimes | None = None
    for name in plan.sizes:
        task = Task(method, *SIZES[name], threads, like.device, like.backend, plan.repeats)
        say(f"{task.label}, {name}, {threads} threads, {task.device}")
        expected = (
            known.result.first * task.height * task.width / 1e6 / known.megapixels if known and known.result else 0
        )
        if expected > plan.limit:
            yield FrameTimes(
                task, None, f"not run: about {expected:.0f} s a frame, over the limit of {plan.limit:.0f} s"
            )
            continue
        found = run_probe(task, 3 * plan.limit)
        known = FrameTimes(task, None, found) if isinstance(found, str) else FrameTimes(task, found)
        yield known


def clips(plan: Plan, threads: Sequence[int], say: Say) -> Iterator[ClipTimes]:
    from cliplit.runtime.video.cli import DEMO

    with tempfile.TemporaryDirectory() as folder:
        for name in plan.sizes:
            for model in plan.clip_models:
                for count in threads:
                    say(f"clip, {name}, {model}, {count} cores")
                    seconds = plan.clip_seconds * SHORT_CLIP[name]
                    yield measure_clip(plan.clip or DEMO, name, SIZES[name], count, seconds, model, Path(folder))


def measure_startup(say: Say) -> dict[str, float]:
    """Measure the seconds of commands that do little but start."""
    say("start-up")
    bare = [sys.executable, "-c", "pass"]
    enhancer = [sys.executable, "-c", "from cliplit import Enhancer; Enhancer('lite')"]
    commands = {"python alone": bare, "cliplit-video --help": [*VIDEO, "--help"], "Enhancer('lite') ready": enhancer}
    return {name: min(run_program(command).wall for _ in range(3)) for name, command in commands.items()}


def machine_facts(cores: int) -> dict[str, str]:
    """Collect what a reader needs to compare: processor, cores, versions. No host name, no path."""
    facts = {"processor": processor_name(), "cores": str(cores), "system": f"{platform.system()} {platform.machine()}"}
    facts["python"] = platform.python_version()
    for name in MEASURED_ON:
        try:
            facts[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    try:
        first = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True).stdout.split(" Copyright")[0]
        facts["ffmpeg"] = first.removeprefix("ffmpeg version ")
    except OSError:
        facts["ffmpeg"] = "not installed"
    return facts


def processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


# ---------------------------------------------------------------- tables and plots


def speed_tables(speed: Speed) -> list[Table]:
    """Build the tables for frames, stages, memory, clips and start-up."""
    keys = sorted({(f.task.device, f.task.threads) for f in speed.frames})
    tables = [frame_table(speed, *key) for key in keys]
    tables += [frame_table(speed, device, threads, "cpu") for device, threads in keys[-1:] if device == "cpu"]
    tables += [stage_table(speed), memory_table(speed)]
    if speed.clips:
        tables.append(clip_table(speed.clips))
    rows = tuple((name, f"{1e3 * seconds:.0f}") for name, seconds in speed.startup.items())
    return [*tables, Table("Start-up", ("command", "ms"), rows, note="Shortest of three.")]


def frame_table(speed: Speed, device: str, threads: int, clock: Clock = "frame") -> Table:
    """Tabulate milliseconds per frame, picture in, picture out; the last column is relative to lite at the top size."""
    chosen = [f for f in speed.frames if (f.task.device, f.task.threads) == (device, threads)]
    names = size_names(chosen)
    lite = {f.task.height: getattr(f.result, clock) for f in chosen if f.task.label == LITE and f.result}
    rows = []
    for method in dict.fromkeys(f.task.label for f in chosen):
        mine = {f.task.height: f for f in chosen if f.task.label == method}
        cells = [milliseconds(mine.get(SIZES[name][0]), clock) for name in names]
        common = [h for h, f in mine.items() if f.result and h in lite]
        ratio = f"{getattr(mine[max(common)].result, clock) / lite[max(common)]:.3g}" if common else ""
        rows.append((method, *cells, ratio))
    head = ("one frame, ms", *names, "times lite (largest size measured)")
    reasons = dict.fromkeys(f"{f.task.label} at {name_of(f)}: {f.reason}" for f in chosen if f.reason)
    kind = "wall time" if clock == "frame" else "processor time"
    title = f"One frame without codec, {kind}, {device}, {threads} thread{'s' if threads > 1 else ''}"
    return Table(title, head, tuple(rows), note=". ".join(reasons))


def milliseconds(frame: FrameTimes | None, clock: Clock) -> str:
    if frame is None or frame.result is None:
        return "-"
    value = 1e3 * float(getattr(frame.result, clock))
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def stage_table(speed: Speed) -> Table:
    """Tabulate where the time of a frame goes."""
    rows = []
    for f in speed.frames:
        if f.result and f.result.stages:
            stages = [f"{1e3 * f.result.stages[s]:.2f}" for s in STAGES]
            rows.append((f"{f.task.label}, {name_of(f)}, {f.task.device}, {f.task.threads} thr.", *stages))
    return Table("Stages of a frame, ms", ("configuration", *STAGES), tuple(rows))


def memory_table(speed: Speed) -> Table:
    """Tabulate peak resident memory of the whole process, Python and libraries included, with the most threads."""
    most = max((f.task.threads for f in speed.frames), default=1)
    chosen = [f for f in speed.frames if f.task.threads == most and f.task.device == "cpu"]
    names = size_names(chosen)
    rows = []
    for method in dict.fromkeys(f.task.label for f in chosen):
        mine = {f.task.height: f.result for f in chosen if f.task.label == method}
        found = [mine.get(SIZES[name][0]) for name in names]
        rows.append((method, *(f"{r.peak / 2**20:.0f}" if r else "-" for r in found)))
    return Table("Peak memory, MB", ("process for one frame", *names), tuple(rows))


def clip_table(clips: Sequence[ClipTimes]) -> Table:
    head = ("clip, cores", "frames", "cliplit-video f/s", "ffmpeg transcode f/s", "CPU ms a frame: cliplit-video",
            "ffmpeg transcode", "ffmpeg, same pictures", "ratio to same pictures", "peak MB")  # fmt: skip
    rows = tuple(
        (
            f"{c.size} {c.model}, {c.cores}",
            str(c.frames),
            f"{c.frames / c.ours.wall:.1f}",
            f"{c.frames / c.transcode.wall:.1f}",
            *(f"{1e3 * u.cpu / c.frames:.0f}" for u in (c.ours, c.transcode, c.same_pictures)),
            f"{c.ours.cpu / c.same_pictures.cpu:.2f}",
            f"{c.ours.peak / 2**20:.0f}",
        )
        for c in clips
    )
    note = "H.264 to H.264, x264 medium, crf 18. Frames a second hold start-up, which weighs in a short clip."
    return Table("Clips from file to file", head, rows, note=note)


def speed_plots(speed: Speed) -> list[Plot]:
    """Plot cost over pixels, and over threads at the largest size measured with every thread count."""
    most = max((f.task.threads for f in speed.frames), default=1)
    over_pixels: dict[str, list[tuple[float, float]]] = {}
    over_threads: dict[str, list[tuple[float, float]]] = {}
    largest = max((f.task.height for f in speed.frames if f.result and f.task.method == LITE), default=0)
    for f in speed.frames:
        if f.result is None:
            continue
        name = f.task.label if f.task.device == "cpu" else f"{f.task.label}, {f.task.device}"
        if f.task.threads == most:
            over_pixels.setdefault(name, []).append((f.megapixels, 1e3 * f.result.frame))
        if f.task.height == largest and f.task.device == "cpu":
            over_threads.setdefault(name, []).append((f.task.threads, 1e3 * f.result.frame))
    plots = [curves(f"Cost over pixels, {most} threads", "megapixels", "ms a frame", over_pixels)]
    if any(len(points) > 1 for points in over_threads.values()):
        plots.append(curves(f"Cost over threads, {largest} lines", "threads", "ms a frame", over_threads))
    return plots


def size_names(frames: Sequence[FrameTimes]) -> list[str]:
    heights = {f.task.height for f in frames}
    return [name for name, (height, _) in SIZES.items() if height in heights]


def name_of(frame: FrameTimes) -> str:
    return next(name for name, size in SIZES.items() if size == (frame.task.height, frame.task.width))
