"""The plan of the house, as ARCHITECTURE.md tells it, held against the imports of the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import cliplit

ROOT = Path(__file__).parents[1]
FOLDERS = ("cliplit", "export", "runtime", "plugins", "benchmarks")
TRAINING = ("networks", "pictures", "guidance", "training")


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "cliplit" else ("cliplit", *parts)
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_of(path): path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}


def imports(name):
    """(module, statement) of what a module of ours imports of ours, inside functions, too."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        base = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            target = f"{base}.{alias.name}"
            found = target if target in MODULES else base
            if found in MODULES and found != name:
                yield found, node


def is_package(name):
    return MODULES[name].name == "__init__.py"


def test_there_are_modules_to_look_at():
    assert len(MODULES) > 100
    assert sum(1 for name in MODULES for _ in imports(name)) > 400


def test_no_module_imports_itself_by_way_of_others():
    edges = {name: {to for to, _ in imports(name) if not is_package(to)} for name in MODULES}
    finished, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in finished:
            path.append(name)
            for to in sorted(edges[name]):
                visit(to)
            path.pop()
            finished.add(name)

    for name in MODULES:
        visit(name)


def test_the_runtime_imports_neither_training_nor_export():
    forbidden = tuple(f"cliplit.{folder}" for folder in (*TRAINING[1:], "export", "plugins", "benchmarks"))
    found = [(name, to) for name in MODULES if name.startswith("cliplit.runtime") for to, _ in imports(name)
             if to.startswith(forbidden)]  # fmt: skip
    assert not found


def test_training_does_not_import_the_runtime():
    rooms = tuple(f"cliplit.{room}" for room in TRAINING)
    assert not [(n, to) for n in MODULES if n.startswith(rooms) for to, _ in imports(n) if "runtime" in to.split(".")]


def test_imports_inside_a_folder_are_relative_and_between_folders_absolute():
    def folder(name):
        second = name.split(".")[1:2]
        return second[0] if second and second[0] in FOLDERS else "cliplit"

    mixed = [(name, to) for name in MODULES if not name.startswith("cliplit.plugins.gimp3.entry")
             for to, node in imports(name) if bool(node.level) != (folder(name) == folder(to))
             and to != "cliplit"]  # fmt: skip
    assert not [pair for pair in mixed if pair[0] != "cliplit"]


def test_few_files_stand_in_the_hall():
    assert len(list((ROOT / "runtime").glob("*.py"))) <= 14


def test_the_version_stands_in_one_place():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == cliplit.__version__
    sources = [path for folder in FOLDERS for ext in ("py", "c", "h") for path in (ROOT / folder).rglob(f"*.{ext}")]
    copies = [path for path in sources if f'"{cliplit.__version__}"' in path.read_text(encoding="utf-8")]
    assert copies == [ROOT / "cliplit" / "__init__.py"]


def test_every_folder_of_the_code_is_on_the_page():
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    packages = {name for name in MODULES if is_package(name)}
    for name in packages - {"cliplit.plugins.gimp3"}:
        parts = name.split(".")
        folder = "/".join(parts[1:] if len(parts) > 1 and parts[1] in FOLDERS else parts)
        assert f"`{folder}" in page, folder
