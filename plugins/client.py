"""The worker's client for programs with their own Python: starts it, sends pictures, ends it.

Standard library only: the GIMP plug-in takes this file along.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable
from types import TracebackType

from .protocol import LONGEST_MESSAGE, REPLY_SIZE, ProtocolError, Reply, Request, Status

# What a host sets for its own libraries and Python breaks those of another.
DROPPED = ("PYTHONHOME", "PYTHONPATH", "PYTHONNOUSERSITE", "LD_LIBRARY_PATH", "LD_PRELOAD", "GI_TYPELIB_PATH")
CHUNK = 1 << 22  # bytes sent or received between two calls of the progress function

Progress = Callable[[float], object]  # called with the share of the bytes that went over the pipes, 0 to 1


class WorkerError(Exception):
    """The worker could not be started, refused a picture, or died; the message is one line for the user."""


class Worker:
    """A worker process. Use as a context manager, or call `close`.

    Args:
        command: program and arguments, from the plug-in's `worker.json`.
    """

    def __init__(self, command: list[str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
                env={key: value for key, value in os.environ.items() if key not in DROPPED},
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows
            )
        except OSError as error:
            self._errors.close()
            raise WorkerError(
                f"{command[0]} cannot be started ({error.strerror}); run again: cliplit-plugins install gimp"
            ) from error

    def relight(
        self, request: Request, pixels: bytes | memoryview, progress: Progress = lambda share: None
    ) -> bytearray:
        """Return the relighted pixels, as many bytes as were sent. After a WorkerError the worker is unusable."""
        if len(pixels) != request.size:
            raise ValueError(f"{len(pixels)} bytes of pixels where the request says {request.size}")
        with contextlib.suppress(OSError):  # a worker that refuses stops reading; its answer says why
            self._send(request.pack())
            self._send_pixels(memoryview(pixels), progress)
        reply = self._reply()
        if reply.length != request.size:
            raise WorkerError("the worker's answer has another size than the picture")
        answer = bytearray(reply.length)
        self._receive(memoryview(answer), lambda share: progress(0.5 + share / 2))
        return answer

    def hello(self) -> str:
        """Return the worker's name and version once it is ready."""
        with contextlib.suppress(OSError):
            self._send(Request().pack())
        return self._message(self._reply())

    def close(self) -> None:
        """Kill the process; it holds no state that could be lost."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, data: bytes | memoryview) -> None:
        assert self._process.stdin is not None
        left = memoryview(data)
        while left:
            left = left[self._process.stdin.write(left) :]

    def _send_pixels(self, pixels: memoryview, progress: Progress) -> None:
        for start in range(0, len(pixels), CHUNK):
            self._send(pixels[start : start + CHUNK])
            progress(start / len(pixels) / 2)

    def _receive(self, into: memoryview, progress: Progress = lambda share: None) -> None:
        assert self._process.stdout is not None
        size = len(into)
        while into:
            count = self._process.stdout.readinto(into[:CHUNK])  # type: ignore[attr-defined]
            if not count:
                raise WorkerError(f"the worker ended: {self._last_words()}")
            into = into[count:]
            progress(1 - len(into) / size)

    def _reply(self) -> Reply:
        header = bytearray(REPLY_SIZE)
        self._receive(memoryview(header))
        try:
            reply = Reply.unpack(header)
        except ProtocolError as error:
            raise WorkerError(str(error)) from error
        if reply.status is Status.FAILED:
            raise WorkerError(self._message(reply))
        return reply

    def _message(self, reply: Reply) -> str:
        if reply.length > LONGEST_MESSAGE:
            raise WorkerError("the worker's answer is not one of cliplit's")
        text = bytearray(reply.length)
        self._receive(memoryview(text))
        return text.decode(errors="replace")

    def _last_words(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else f"exit code {self._process.returncode}"
