"""Every code block of the README and of docs/ runs.

A block is a fence with a language. `sh` and `python` blocks are executed, in the order of their file, in one folder for
each file that holds the samples `make_samples` makes. `json` and `toml` are parsed; `text` is output and is left alone.
A block that cannot run here has a reason before it:

    <!-- not run: it needs a GPU -->

`pip` and `apt-get` install nothing here: what is asked for is looked up in pyproject.toml.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from made import backlit, write_clip

ROOT = Path(__file__).resolve().parents[1]
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELLS, PARSED, OUTPUT = {"sh", "bash", "console"}, {"json", "toml"}, {"text"}
TIMEOUT = 600

# Commands that would change the machine; they check their arguments instead.
GUARDS = """
pip() { "$CLIPLIT_PYTHON" "$CLIPLIT_TEST_DOCS" pip "$@"; }
apt-get() { :; }
sudo() { "$@"; }
"""


@dataclass(frozen=True)
class Block:
    file: str
    line: int
    language: str
    text: str
    reason: str  # why it is not run, empty if it is

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def blocks_of(path):
    """All fenced blocks. A code block without a fence, by indentation alone, has no language and fails."""
    found, inside, reason = [], None, ""
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        fence = re.match(r"\s*(`{3,})\s*(\w*)", line)
        if inside is None and fence:
            inside = (number, fence[2], [], fence[1])
        elif inside and fence and line.strip() == inside[3]:
            name = str(path.relative_to(ROOT))
            found.append(Block(name, inside[0], inside[1], "\n".join(inside[2]) + "\n", reason))
            inside, reason = None, ""
        elif inside:
            inside[2].append(line)
        elif note := re.fullmatch(r"\s*<!-- not run: (.+) -->", line):
            reason = note[1]
        elif line.startswith("    ") and number > 1 and not lines[number - 2].strip() and not in_list(lines, number):
            found.append(Block(str(path.relative_to(ROOT)), number, "", line, ""))
        elif line.strip():
            reason = ""
    assert inside is None, f"{path.name}: a fence is not closed"
    return found


def in_list(lines, number):
    """Whether an indented line continues a list item."""
    before = [line for line in lines[: number - 1] if line.strip()]
    item = next((line for line in reversed(before) if not line.startswith(" ")), "")
    return bool(re.match(r"([-*+]|\d+\.) ", item))


BLOCKS = [block for path in FILES for block in blocks_of(path)]


def make_samples(folder):
    """What blocks may name: in.mp4, in.mkv, in.mov; in.jpg, in.png; photos/, clips/, welllit/; pairs/input, pairs/gt"""
    frames = [np.roll(backlit(96, 128), 2 * i, axis=1) for i in range(12)]
    for name in ("in.mp4", "in.mkv", "in.mov", "clips/one.mp4", "clips/two.mkv"):
        (folder / name).parent.mkdir(exist_ok=True)
        write_clip(folder / name, frames)
    pictures = {"in.jpg": 0, "in.png": 1, "photos/one.jpg": 2, "photos/two.png": 3, "pairs/input/a.png": 4}
    for name, seed in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), backlit(96, 128, seed)[..., ::-1])
    for name, source in {"pairs/gt/a.png": 4, "welllit/a.png": 5}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        bright = np.round(255 * (backlit(96, 128, source) / 255) ** 0.5).astype(np.uint8)
        cv2.imwrite(str(folder / name), bright[..., ::-1])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """{file: its folder}, made when the first of its blocks runs."""
    made = {}

    def folder_of(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(Path(name).stem)
            make_samples(made[name])
        return made[name]

    return folder_of


def environment(folder):
    """The commands that are installed with this Python come first; HOME is a folder of the test."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    home = folder / ".home"
    home.mkdir(exist_ok=True)
    guards = {"CLIPLIT_PYTHON": sys.executable, "CLIPLIT_TEST_DOCS": str(Path(__file__)), "CLIPLIT_ROOT": str(ROOT)}
    return {**os.environ, "PATH": path, "HOME": str(home), "PYTHONPATH": "", **guards}


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_code_block(block, folders):
    assert block.language, f"{block}: name the language of this block (sh, python, json, toml, text)"
    if block.reason:
        pytest.skip(f"not run: {block.reason}")
    if block.language in OUTPUT:
        return
    if block.language == "json":
        json.loads(block.text)
    elif block.language == "toml":
        pytest.importorskip("tomllib", reason="Python 3.11 reads TOML").loads(block.text)
    elif block.language in SHELLS | {"python"}:
        folder = folders(block.file)
        shell = ["bash", "-euo", "pipefail", "-c", GUARDS + block.text]
        command = shell if block.language in SHELLS else [sys.executable, "-c", block.text]
        done = subprocess.run(
            command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=TIMEOUT
        )
        assert done.returncode == 0, f"{block}:\n{block.text}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
    else:
        pytest.fail(f"{block}: nothing runs {block.language!r} blocks; use one of sh, python, json, toml, text")


def test_every_document_is_in_utf8_and_links_to_what_exists():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
            assert "://" in target or (path.parent / target).exists(), f"{path.name}: links to {target}"


def check_pip(arguments):
    """`pip install` of this project's extras and of distributions by name; everything else of pip is refused."""
    import tomllib

    project = tomllib.loads((Path(os.environ["CLIPLIT_ROOT"]) / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert arguments[0] in ("install", "uninstall"), arguments
    for word in arguments[1:]:
        if word.startswith("-"):
            continue
        name, _, rest = word.partition("[")
        assert re.fullmatch(r"\.|[A-Za-z0-9._-]+", name), word
        for extra in filter(None, rest.rstrip("]").split(",")):
            assert name in (".", project["name"]) and extra in extras, f"{word}: no extra {extra!r} in pyproject.toml"


def test_an_extra_that_does_not_exist_is_noticed(tmp_path):
    command = ["bash", "-euc", GUARDS + 'pip install ".[cpu]"; pip install "cliplit[no-such-extra]"']
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True)
    assert done.returncode != 0 and "no-such-extra" in done.stderr


if __name__ == "__main__" and sys.argv[1] == "pip":
    check_pip(sys.argv[2:])
