"""Made folders for the batch tests, and a way to make workers of other processes misbehave."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np

from made import backlit, write_clip

# Runs at the start of every Python process that has its folder in PYTHONPATH: the workers' jobs then do what their
# file names say. `slow` and `endless` wait, `deadly` kills the process, `once` kills it the first time only.
MISBEHAVE = """
import os, sys, pathlib, time

class Hook:
    def find_spec(self, name, path=None, target=None):
        if name != "cliplit.runtime.batch.work":
            return None
        sys.meta_path.remove(self)
        import importlib.util
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module
        def exec_module(module):
            execute(module)
            relight = module.run_job
            def misbehaving(job, *rest):
                log = pathlib.Path(os.environ["CLIPLIT_TEST_LOG"])
                (log / f"{job.name.replace('/', '_')}.{os.getpid()}").touch()
                if "endless" in job.name:
                    time.sleep(300)
                if "slow" in job.name:
                    time.sleep(0.4)
                if "deadly" in job.name or ("once" in job.name and len(list(log.glob("*once*"))) == 1):
                    os._exit(9)
                if "flaky" in job.name and len(list(log.glob("*flaky*"))) < 2:
                    (log / "flaky-first").touch()
                    raise OSError("the network is gone for a moment")
                return relight(job, *rest)
            module.run_job = misbehaving
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Hook())
"""


def make_folder(folder, names, size=(48, 64)):
    """PNG pictures (and clips, by suffix) of different content."""
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".mp4":
            write_clip(path, [backlit(*size, seed + i) for i in range(6)])  # type: ignore[call-arg]
        else:
            cv2.imwrite(str(path), backlit(*size, seed)[..., ::-1])  # type: ignore[call-arg]
    return folder


def digests(folder):
    """{name: SHA-256} of all results, without the manifest."""
    files = (
        p for p in Path(folder).rglob("*") if p.is_file() and not p.is_relative_to(Path(folder) / ".cliplit-batch")
    )
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(files)}


def misbehaving(tmp_path):
    """Environment variables that make workers do what file names say; and the folder where they leave marks."""
    site, log = tmp_path / "site", tmp_path / "log"
    site.mkdir()
    log.mkdir()
    (site / "sitecustomize.py").write_text(MISBEHAVE)
    return {"PYTHONPATH": str(site), "CLIPLIT_TEST_LOG": str(log)}, log


def long_clip(path, seconds=40, rate=4):
    """A low-rate clip with a key frame every two seconds and changing light: four pieces of ten seconds each."""
    frames = [
        np.clip(np.roll(backlit(64, 96, i // 40), i, axis=1) * (0.6 + 0.4 * np.sin(i / 5) ** 2), 0, 255)
        for i in range(seconds * rate)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_clip(path, [frame.astype(np.uint8) for frame in frames], rate=rate, gop_size=2 * rate, max_b_frames=2)
