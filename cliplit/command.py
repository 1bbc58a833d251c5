"""What all commands share: how they fail. Library code raises; this turns it into one line and an exit code.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 device or back end not available, 4 parity failed, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

import click

from .errors import BackendError, CliplitError, InputError, printable, worded
from .install import EXTRAS, install_hint
from .interrupt import Ended, end_as_ctrl_c

P = ParamSpec("P")
INTERRUPTED = 130
STOPPED = "interrupted; nothing was written under the final name"


def reports_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Wrap a click callback: expected failures end in one line on standard error and the error's exit code."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        occupy_streams()
        end_as_ctrl_c()
        logging.getLogger("cliplit").addFilter(printable_logs)
        quiet_readers()
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
            fail(worded(error), 1)
        except MemoryError:
            fail("out of memory; use a smaller picture or --quality fast", 1)
        except Ended as error:
            with contextlib.suppress(OSError, AttributeError, ValueError):  # closed streams
                echo(f"{click.get_current_context().command_path}: error: {str(error) or STOPPED}", err=True)
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(INTERRUPTED)  # all is cleaned up; FFmpeg's threads may crash a Python that winds down under them
        except KeyboardInterrupt as error:
            fail(str(error) or STOPPED, INTERRUPTED)

    return wrapper


def fail(message: str, code: int) -> None:
    with contextlib.suppress(OSError):  # nobody listens: the exit code says it
        echo(f"{click.get_current_context().command_path}: error: {' '.join(message.split())}", err=True)
    sys.exit(code)


def echo(line: object = "", err: bool = False) -> None:
    """Print one line of text; what in it a terminal would obey is escaped, so that no name or tag forges a line."""
    with contextlib.suppress(OSError) if err else contextlib.nullcontext():  # a word that cannot be said stops no work
        click.echo(printable(str(line)), err=err)


def occupy_streams() -> None:
    """Put something in the place of closed standard streams, or the next file that is opened gets their number.

    What libraries print would go into that file. Words are thrown away; pictures to or from a closed
    stream are an error.
    """
    for number, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDWR)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, flags)  # the lowest free number
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
    if sys.stderr is None:
        sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115 - it stays open


def quiet_readers() -> None:
    """Keep what libraries say of damaged pictures to themselves: the one line about such a file is ours."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"PIL\.")


def printable_logs(record: logging.LogRecord) -> bool:
    """Escape a message of the log, as a filter of a logger."""
    record.msg, record.args = printable(record.getMessage()), ()
    return True


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
