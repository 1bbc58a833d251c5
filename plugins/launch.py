"""The command that starts the worker in this installation's Python; plug-ins keep it in a file."""

from __future__ import annotations

import sys
from pathlib import Path

from cliplit.errors import InputError

from .client import Worker, WorkerError

# Neither the user's PYTHONPATH (-E) nor the folder the host was started in decides what is imported.
BOOT = "import sys; sys.path.pop(0); from cliplit.plugins.worker import main; main()"


def worker_command(model: str, device: str) -> list[str]:
    """Build the worker's command. Raises InputError if a worker started with it does not become ready."""
    path = Path(model)
    if path.suffix and path.is_file():
        model = str(path.resolve())
    command = [sys.executable, "-E", "-c", BOOT, "--model", model, "--device", device]
    if any("\n" in argument for argument in command):
        raise InputError(f"{sys.executable}: a path with a line break in it cannot be used by plug-ins")
    try:
        with Worker(command) as worker:
            worker.hello()
    except WorkerError as error:
        raise InputError(f"the worker does not start ({error})") from error
    return command
