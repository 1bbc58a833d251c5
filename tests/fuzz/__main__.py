"""Hostile inputs for as long as one likes, from the repository's root:

python -m tests.fuzz                          every kind, 200 inputs each
python -m tests.fuzz clips --minutes 120      one kind for two hours, from a seed that is printed
python -m tests.fuzz clips --seed 71 --count 1    that input again

An input may succeed or fail with one of cliplit's own errors. Anything else - another exception, a crash, a hang of three
minutes, gigabytes of memory - ends the run with its name and exit code 1; the input stays in the folder that is named.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # made.py

HANG = 180.0  # seconds; a busy machine is slow
MEMORY = 12 << 30  # bytes of addresses; threads and libraries map three


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=None)
    parser.add_argument("--minutes", type=float, default=None)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cliplit-fuzz-"))
    os.environ["CLIPLIT_HOME"] = str(folder)

    from .kinds import KINDS

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    count = given.count or (200 if given.minutes is None else None)
    for kind in given.kinds or list(KINDS):
        (folder / kind).mkdir()
        attempt_all(kind, folder / kind, given.seed, count, given.minutes)
    shutil.rmtree(folder)


def attempt_all(kind: str, folder: Path, seed: int, count: int | None, minutes: float | None) -> None:
    """Run one kind; prints what became of its inputs."""
    from cliplit.errors import CliplitError

    from .kinds import KINDS

    faults = tried = succeeded = 0
    end = None if minutes is None else time.monotonic() + 60 * minutes
    for name, attempt in KINDS[kind](folder, seed):
        (folder / "attempt.txt").write_text(f"{kind}: {name}\n")  # what a crash leaves
        faulthandler.dump_traceback_later(HANG, exit=True)
        tried += 1
        try:
            attempt()
            succeeded += 1
        except CliplitError as error:
            if len(str(error).splitlines()) != 1:
                print(f"{kind}: {name}: not one line: {error}")
                faults += 1
        except MemoryError:
            pass
        except OSError as error:
            if error.strerror is None:
                faults += 1
                traceback.print_exc()
        except Exception:
            faults += 1
            print(f"{kind}: {name}:", file=sys.stderr)
            traceback.print_exc(limit=-6)
        faulthandler.cancel_dump_traceback_later()
        if tried == count or (end is not None and time.monotonic() > end):
            break
    print(
        f"{kind}: {tried} tried from seed {seed}, {succeeded} taken, {tried - succeeded - faults} refused, {faults} faults"
    )
    if faults:
        sys.exit(f"{faults} faults; the last input is in {folder}")


if __name__ == "__main__":
    main()
