"""Prints `VERSION PATH` for each Python of pyproject's classifiers that is on this machine; fails if there is none.

Looked for: `pythonX.Y` on the PATH, and pyenv's versions. Standard error names what was not found.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def classifiers() -> list[str]:
    """Read the Pythons that pyproject.toml names, such as 3.12."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return re.findall(r'"Programming Language :: Python :: (3\.\d+)"', text)


def found(version: str) -> str | None:
    """Find a Python of that version which runs."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)]
    question = "import sys; print('%d.%d' % sys.version_info[:2])"
    for path in filter(None, map(str, filter(None, candidates))):  # pyenv has shims for all versions
        said = subprocess.run([path, "-c", question], capture_output=True, text=True)
        if said.returncode == 0 and said.stdout.strip() == version:
            return path
    return None


def main() -> None:
    paths = {version: found(version) for version in classifiers()}
    for version, path in paths.items():
        if path is None:
            print(f"Python {version} is not on this machine: not tested", file=sys.stderr)
        else:
            print(version, path)
    if not any(paths.values()):
        sys.exit("none of the classifiers' Pythons is on this machine")


if __name__ == "__main__":
    main()
