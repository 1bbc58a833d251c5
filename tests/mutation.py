"""The mutation run: small faults in the arithmetic of `runtime/light` and the conversions, one at a time.

    python tests/mutation.py [MODULE ...]      e.g. gain hdr; all of them otherwise

cosmic-ray makes the faults, in a copy of the tree laid out as the package is installed, and asks for each whether a
test fails. The tests run in processes forked from one that has imported the libraries already, which makes a fault
cost half a second instead of two. What came of them is kept in build/mutation: faults that a test has noticed are not
tried again as long as the module is the same; remove the folder for a whole run. tests/MUTATIONS.md has the table, and
the survivors that no test can tell.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
SESSIONS = ROOT / "build" / "mutation"
STEPS, STANDARDS, FORMATS, GAIN = (
    f"tests/test_{name}.py" for name in ("light_steps", "standards", "pixel_formats", "gain")
)

BARS = "tests/test_bars.py"
FROZEN = f"{STEPS}::test_what_threads_share_cannot_be_changed"

# Module -> the tests that hold it, the quick ones first: the first failure ends a run.
MODULES = {
    "light/colour": [STANDARDS, STEPS],
    "light/gain": ["-k", "not(size4)", STANDARDS, GAIN],  # without the largest picture
    "light/hdr": [STANDARDS, STEPS],
    "light/light_map": [STEPS, STANDARDS],
    "light/noise": [STEPS],
    "light/pixels": [STEPS, BARS],
    "light/relighting": [STEPS, BARS],
    "light/bars": [BARS],
    "light/exposure": ["-k", "xposure or ramp or fade or dissolve", "tests/test_temporal.py"],
    "light/proxy": [STEPS, STANDARDS],
    "light/region": [STEPS, "tests/test_region.py", "--deselect=tests/test_region.py::test_range_on_a_clip",
                     "--deselect=tests/test_region.py::test_roi_and_strength_on_a_clip",
                     "--deselect=tests/test_region.py::test_wrong_usage"],
    "light/temporal": ["tests/test_temporal_numbers.py", FROZEN],
    "video/pixels": [FORMATS, FROZEN],
    "video/mastering": [FORMATS, FROZEN],
}  # fmt: skip

# One replacement of each arithmetic operator, the boundary and the reverse of each comparison; numbers by one more and
# one less, `not`, and/or, true/false, decorators and loops all.
KEPT = (
    r"(?!.*(Add_Sub|Sub_Add|Mul_Div|Div_Mul|Pow_Mul|FloorDiv_Mul|Mod_Mul|LShift_RShift|BitAnd_BitOr"
    r"|_Lt_LtE|_Lt_GtE|_LtE_Lt|_LtE_Gt|_Gt_GtE|_Gt_LtE|_GtE_Gt|_GtE_Lt|Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is"
    r"|Delete_USub|Delete_Not|Delete_Invert)$)core/Replace(Binary|Comparison|Unary)Operator_.*"
)
LONGEST = 90  # seconds that the tests of one fault may take


def main() -> None:
    wanted = [name for name in MODULES if not sys.argv[1:] or name.split("/")[1] in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        lay_out(copy)
        server = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "--serve", "ask"], cwd=copy, env=environment(copy)
        )
        try:
            for name in wanted:
                run(copy, name, server)
        finally:
            server.terminate()


def lay_out(copy: Path) -> None:
    """The tree as it is installed: cliplit/runtime/light/gain.py."""
    kept = shutil.ignore_patterns("__pycache__", "build", "*.onnx.part")
    shutil.copytree(ROOT / "cliplit", copy / "cliplit", ignore=kept)
    for name in ("runtime", "export", "plugins", "benchmarks"):
        shutil.copytree(ROOT / name, copy / "cliplit" / name, ignore=kept)
    shutil.copytree(ROOT / "tests", copy / "tests", ignore=kept)
    shutil.copy(ROOT / "pyproject.toml", copy)


def environment(copy: Path) -> dict[str, str]:
    """No byte code is written: a fault of the same length, made in the same second, would be taken for the last one."""
    return {
        **os.environ,
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # half of a quick run is looking for plug-ins
        "OMP_NUM_THREADS": "1",
    }


def run(copy: Path, name: str, server: subprocess.Popen[bytes]) -> None:
    """One module: make the faults, try them, print what came of it."""
    module = copy / "cliplit" / "runtime" / f"{name}.py"
    digest = hashlib.sha256(module.read_bytes()).hexdigest()[:12]
    session, config = SESSIONS / f"{module.stem}-{digest}.sqlite", copy / "cosmic-ray.toml"
    client = f"{sys.executable} -I -S {Path(__file__).resolve()} --ask {copy / 'ask'} {shlex.join(MODULES[name])}"
    config.write_text(
        f"[cosmic-ray]\nmodule-path = '{module.relative_to(copy)}'\ntimeout = {LONGEST + 10}.0\n"
        f"excluded-modules = []\ntest-command = '''{client}'''\n"
        "[cosmic-ray.distributor]\nname = 'local'\n"
        f"[cosmic-ray.filters.operators-filter]\nexclude-operators = ['{KEPT}']\n",
        encoding="utf-8",
    )
    commands: list[list[str | Path]] = [["cosmic-ray", "baseline", config]]
    if session.exists():
        forget_survivors(session)
    else:
        SESSIONS.mkdir(parents=True, exist_ok=True)
        commands += [["cosmic-ray", "init", config, session], ["cr-filter-operators", session, config]]
    for command in [*commands, ["cosmic-ray", "exec", config, session]]:
        subprocess.run([BIN / command[0], *command[1:]], cwd=copy, env=environment(copy), check=True)
    if server.poll() is not None:  # then every test "failed"
        session.unlink()
        raise SystemExit("the process that runs the tests has ended; nothing was kept")
    report(session, name)


def forget_survivors(session: Path) -> None:
    """So that they are tried again."""
    with sqlite3.connect(session) as database:
        database.execute("delete from work_results where test_outcome = 'SURVIVED' and worker_outcome = 'NORMAL'")


def report(session: Path, name: str) -> None:
    from cosmic_ray.work_db import use_db
    from cosmic_ray.work_item import WorkerOutcome

    killed, survivors = 0, []
    with use_db(session) as database:
        for item, result in database.completed_work_items:
            if result.worker_outcome == WorkerOutcome.SKIPPED:
                continue
            if result.is_killed:
                killed += 1
            else:
                survivors.append((item.mutations[0].start_pos[0], result.diff))
    number = killed + len(survivors)
    share = killed / max(number, 1)
    print(f"{name}: {number} faults, {killed} killed ({share:.0%}), {len(survivors)} survive", flush=True)
    for _, difference in sorted(survivors):
        lines = [line for line in difference.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
        print("   " + "\n   ".join(lines), flush=True)


def serve(address: str) -> None:
    """Runs pytest in a fork for each client, and sends back how it ended."""
    import cv2
    import hypothesis  # noqa: F401
    import numpy  # noqa: F401
    import pytest

    __import__("av")
    cv2.setNumThreads(1)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        while True:
            client, _ = server.accept()
            arguments = json.loads(client.recv(1 << 16))
            child = os.fork()
            if not child:
                signal.alarm(LONGEST)
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, 1), os.dup2(null, 2)
                os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *arguments])))
            _, status = os.waitpid(child, 0)
            client.sendall(b"0" if status == 0 else b"1")
            client.close()


def ask(address: str, arguments: list[str]) -> int:
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        server.sendall(json.dumps(arguments).encode())
        return int(server.recv(1) or b"1")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    elif sys.argv[1:2] == ["--ask"]:
        sys.exit(ask(sys.argv[2], sys.argv[3:]))
    else:
        main()
