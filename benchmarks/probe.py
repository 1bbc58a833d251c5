"""One configuration, measured in its own process, so that start-up and peak memory are its own too.

    python -m cliplit.benchmarks.probe '{"method": "lite", "height": 1080, "width": 1920, "threads": 1}'

prints one line of JSON. `speed.py` starts these; a method that fails or runs too long harms no other.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SLOW = 2.0  # seconds from which one call is the measurement
ORIGINAL = "PyTorch original"


@dataclass(frozen=True)
class Task:
    """What to measure: `method` is lite, `lite exact`, the PyTorch original or a classical method's name."""

    method: str
    height: int
    width: int
    threads: int = 1
    device: str = "cpu"
    backend: str = "auto"
    repeats: int = 7

    @property
    def label(self) -> str:
        return self.method if self.backend == "auto" else f"{self.method}, {self.backend}"


@dataclass
class Result:
    """Seconds and bytes of memory.

    `frame` is wall time; `cpu` is processor time of all threads, which other programs disturb less; `stages` are those
    of one frame, for this project's methods.
    """

    load: float = 0.0
    first: float = 0.0
    frame: float = 0.0
    cpu: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    peak: int = 0


def measure(task: Task) -> Result:
    """Run the measurement in the child process."""
    pin(task.threads)
    result = Result()
    load = PREPARE.get(task.method, prepare_ours)(task)
    start = time.perf_counter()
    enhance, stages = load()
    result.load = time.perf_counter() - start
    picture = sample_frame(task.height, task.width)
    start, busy = time.perf_counter(), time.process_time()
    enhance(picture)
    result.first, result.cpu = time.perf_counter() - start, time.process_time() - busy
    result.frame = result.first
    if result.first <= SLOW:
        busy = time.process_time()
        result.frame = median_time(lambda: enhance(picture), task.repeats)
        result.cpu = (time.process_time() - busy) / task.repeats
    if stages and result.first <= SLOW:
        result.stages = stages(picture, task.repeats)
    result.peak = peak_memory()
    return result


def pin(threads: int) -> None:
    """Pin this process to as many cores as there are threads, if the system can; libraries then use as many."""
    os.environ |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


Stages = Callable[[Any, int], "dict[str, float]"]
Load = Callable[[], "tuple[Callable[[Any], Any], Stages | None]"]


def prepare_ours(task: Task) -> Load:
    """Prepare lite, `lite exact` or a file: import now, load when called."""
    import cv2

    from cliplit.runtime import Enhancer
    from cliplit.runtime.light.gain import apply_rgb
    from cliplit.runtime.light.proxy import rgb_proxy

    cv2.setNumThreads(task.threads)
    model, _, quality = task.method.partition(" ")

    def load() -> tuple[Callable[[Any], Any], Stages | None]:
        enhancer = Enhancer(
            model,
            task.device,
            quality="exact" if quality == "exact" else "fast",
            threads=task.threads,
            backend=task.backend,
        )

        def stages(picture: Any, repeats: int) -> dict[str, float]:
            size = enhancer.proxy_size(*picture.shape[:2])
            proxy = rgb_proxy(picture, size)
            light = enhancer.log_light(proxy)
            coefficients = enhancer.refine(light, proxy.luma)
            return {
                "proxy": median_time(lambda: rgb_proxy(picture, size), repeats),
                "network": median_time(lambda: enhancer.log_light(proxy), repeats),
                "refine": median_time(lambda: enhancer.refine(light, proxy.luma), repeats),
                "apply": median_time(lambda: apply_rgb(picture, coefficients), repeats),
            }

        return enhancer, stages

    return load


def prepare_original(task: Task) -> Load:
    """Prepare the paper's method: the whole network at full size in PyTorch, division and clip."""
    import numpy as np
    import torch

    from cliplit.networks.unet import UNet

    torch.set_num_threads(task.threads)

    def load() -> tuple[Callable[[Any], Any], Stages | None]:
        network = UNet().eval().to(task.device)

        def enhance(picture: Any) -> Any:
            batch = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None].to(task.device)
            with torch.no_grad():
                result = (batch / (network(batch) + 1e-9)).clamp(0, 1)
            return (result[0].permute(1, 2, 0) * 255).round().byte().cpu().numpy()

        return enhance, None

    return load


def prepare_classical(task: Task) -> Load:
    import cv2

    from .methods import CLASSICAL

    cv2.setNumThreads(task.threads)
    enhance = next(method.enhance for method in CLASSICAL if method.name == task.method)
    return lambda: (enhance, None)


CLASSICAL_NAMES = ("CLAHE", "gamma 0.5", "exposure fusion", "LIME-style")  # of methods.py, without importing OpenCV
PREPARE = {ORIGINAL: prepare_original, **dict.fromkeys(CLASSICAL_NAMES, prepare_classical)}


def sample_frame(height: int, width: int) -> Any:
    """Make a noisy (H, W, 3) uint8 frame with a bright sky over a dark foreground."""
    import numpy as np

    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    light = 1 / (1 + np.exp((y - height * 0.5 - 0.07 * height * np.sin(x / width * 15)) / 12))
    noise = np.random.default_rng(0).standard_normal((height, width, 3), dtype=np.float32) * 0.01
    return np.round(np.clip(0.08 + 0.8 * light[..., None] + noise, 0, 1) * 255).astype(np.uint8)


def median_time(work: Callable[[], object], repeats: int) -> float:
    """Return the median seconds of a warm call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def peak_memory() -> int:
    """Return the peak resident memory of this process so far, in bytes."""
    return high_water("self")


def high_water(process: int | str) -> int:
    """Return the peak resident bytes of a running process, or 0 if the system does not report it (Linux does).

    Not getrusage's figure: that starts at what the parent had when it forked.
    """
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


if __name__ == "__main__":
    print(json.dumps(asdict(measure(Task(**json.loads(sys.argv[1]))))))
