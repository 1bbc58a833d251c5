"""Measures programs: wall time, processor time and peak memory of one child process alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cliplit.errors import BackendError, first_line

from .probe import Result, Task, high_water

POLL = 0.005  # seconds between two looks at a running program


@dataclass(frozen=True)
class Usage:
    """Seconds and bytes of one finished program, its children included."""

    wall: float
    cpu: float
    peak: int


def run_program(command: Sequence[str | Path], cores: int = 0) -> Usage:
    """Run it on `cores` cores (0: all). Raises BackendError with its last words where it fails."""
    words = [str(word) for word in command]
    start = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        pinned = _pin(cores) if cores and hasattr(os, "sched_setaffinity") else None
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=log, preexec_fn=pinned)
        peak = 0
        while True:  # its own figures; getrusage would mix all children, and knows no peak of its own
            found, status, usage = os.wait4(process.pid, os.WNOHANG)
            if found:
                break
            peak = max(peak, high_water(process.pid))
            time.sleep(POLL)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            last = log.read().decode(errors="replace").strip()[-300:]
            raise BackendError(f"{words[0]} failed with exit code {process.returncode}: {last}")
    return Usage(wall, usage.ru_utime + usage.ru_stime, peak)


def _pin(cores: int) -> Callable[[], None]:
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    return lambda: os.sched_setaffinity(0, chosen)


def run_probe(task: Task, limit: float) -> Result | str:
    """Run a measurement; return its result, or a short reason why there is none."""
    command = [sys.executable, "-m", "cliplit.benchmarks.probe", json.dumps(asdict(task))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return f"took more than {limit:.0f} s"
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1] if lines else f"ended with exit code {done.returncode}"
        return first_line(RuntimeError(reason.split(": ", 1)[-1]))[:160]
    return Result(**json.loads(done.stdout.splitlines()[-1]))
