"""The worker as the plug-in uses it: started on first use, kept between pictures, awaited in a thread."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..client import Worker, WorkerError
from ..protocol import Request

FOLDER = Path(__file__).resolve().parents[2]  # the plug-in's, as installed
SETTINGS = FOLDER / "worker.json"
POLL = 0.05  # seconds between two looks at a running job


@dataclass(frozen=True)
class Installation:
    """The installer's file for the plug-in: the worker's command, the available models, and the default one."""

    command: list[str]
    models: list[str]
    model: str  # the one named at installation

    @classmethod
    def load(cls) -> Installation:
        """Load the file. Raises WorkerError if it is missing or damaged."""
        try:
            content = json.loads(SETTINGS.read_text(encoding="utf-8"))
            return cls(list(content["command"]), list(content["models"]), str(content["model"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WorkerError(f"{SETTINGS} cannot be used; run again: cliplit-plugins install gimp") from error


class RelightTask:
    """One picture being relighted in its own thread."""

    def __init__(self, worker: Worker, request: Request, pixels: bytes) -> None:
        self.share = 0.0  # of its bytes that went over the pipes
        self._result: bytearray | WorkerError | None = None
        self._arguments = worker, request, pixels
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def wait(self, meanwhile: Callable[[float], object]) -> bytearray:
        """Wait for the result; calls `meanwhile` with the share done now and then. Raises WorkerError."""
        while self.running:
            self._thread.join(POLL)
            meanwhile(self.share)
        return self.result()

    def result(self) -> bytearray:
        if isinstance(self._result, bytearray):
            return self._result
        raise self._result or WorkerError("the worker's thread failed")

    def _run(self) -> None:
        worker, request, pixels = self._arguments
        try:
            self._result = worker.relight(request, memoryview(pixels), self._progress)
        except WorkerError as error:
            self._result = error

    def _progress(self, share: float) -> None:
        self.share = share


class Service:
    """One worker at a time. Use as a context manager."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._worker: Worker | None = None
        self._job: RelightTask | None = None

    def start(self, request: Request, pixels: bytes) -> RelightTask:
        """Relight a picture; whatever is still under way is given up. Raises WorkerError."""
        if self._job is not None and (self._job.running or self._failed(self._job)):
            self.close()
        if self._worker is None:
            self._worker = Worker(self._command)
        self._job = RelightTask(self._worker, request, pixels)
        return self._job

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
        self._worker = self._job = None

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @staticmethod
    def _failed(job: RelightTask) -> bool:
        try:
            job.result()
        except WorkerError:
            return True
        return False
