"""What all commands share: how they fail. Library code raises; this turns it into one line and an exit code.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 device or back end not available, 4 parity failed, 130 interrupted.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

import click

from .errors import BackendError, CliplitError, InputError
from .install import EXTRAS, install_hint
from .interrupt import Ended, end_as_ctrl_c

P = ParamSpec("P")
INTERRUPTED = 130
STOPPED = "interrupted; nothing was written under the final name"


def reports_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Wrap a click callback: expected failures end in one line on standard error and the error's exit code."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        end_as_ctrl_c()
        try:
            command(*args, **kwargs)
        except CliplitError as error:
            fail(str(error), error.exit_code)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing not in EXTRAS:
                raise
            fail(f"{missing} is missing; install it with: {install_hint(EXTRAS[missing])}", BackendError.exit_code)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads any more; be quiet about it
            sys.exit(1)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            fail(f"{where}{error.strerror or error}", 1)
        except MemoryError:
            fail("out of memory; use a smaller picture or --quality fast", 1)
        except Ended:
            click.echo(f"{click.get_current_context().command_path}: error: {STOPPED}", err=True)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(INTERRUPTED)  # all is cleaned up; FFmpeg's threads may crash a Python that winds down under them
        except KeyboardInterrupt:
            fail(STOPPED, INTERRUPTED)

    return wrapper


def fail(message: str, code: int) -> None:
    click.echo(f"{click.get_current_context().command_path}: error: {' '.join(message.split())}", err=True)
    sys.exit(code)


def check_output(source: Path | None, target: Path, overwrite: bool) -> None:
    """Check that writing `target` destroys nothing and can work. Raises InputError if not."""
    if source is not None and target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"{target}: is the input itself; name another output")
    if target.is_dir():
        raise InputError(f"{target}: is a folder; name a file")
    if target.exists() and not overwrite:
        raise InputError(f"{target}: exists already; use --overwrite (-y) to replace it")
    if not target.parent.is_dir():
        raise InputError(f"{target.parent}: no such folder to write {target.name} to")
