"""The installation as such: what to type for an extra, which files are imported, and what leaves the machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cliplit import install
from cliplit.errors import BackendError
from made import backlit, write_clip

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("cliplit", "runtime", "export", "plugins", "benchmarks")


def python(code, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300, **options
    )


# ---------------------------------------------------------------- what is imported


def copy_of(folder):
    """A checkout without any installation: the rooms as they are, nothing compiled."""
    folder.mkdir()
    for name in ROOMS:
        ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd", "node_modules")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "setup.py", folder)
    return folder


EVERYTHING = """
import pkgutil, sys, importlib, cliplit, cliplit.runtime
for room in ("runtime", "export", "plugins", "benchmarks"):
    package = importlib.import_module(f"cliplit.{room}")
    for module in pkgutil.walk_packages(package.__path__, f"cliplit.{room}."):
        if module.name.endswith(("__main__", ".entry")):
            continue  # they run
        try:
            importlib.import_module(module.name)
        except Exception:
            pass  # another program's module, or an extra's
for name, module in sorted(sys.modules.items()):
    if name.partition(".")[0] == "cliplit" and getattr(module, "__file__", None):
        print(module.__file__)
"""


@pytest.mark.long
def test_a_checkout_takes_its_own_files_and_only_those(tmp_path):
    """Also beside an installed copy, which is what runs these tests in CI."""
    checkout = copy_of(tmp_path / "checkout")
    result = python(EVERYTHING, cwd=checkout)
    files = result.stdout.splitlines()
    assert len(files) > 60, result.stderr
    assert [file for file in files if not Path(file).resolve().is_relative_to(checkout.resolve())] == []


def test_a_checkout_relights_without_a_compiler(tmp_path):
    checkout = copy_of(tmp_path / "checkout")
    code = """
import numpy as np
from cliplit.runtime import Enhancer
from cliplit.runtime.light import compiled
picture = np.full((90, 160, 3), 40, np.uint8)
assert not compiled.COMPILED
assert Enhancer()(picture).mean() > 40
"""
    result = python(code, cwd=checkout)
    assert result.returncode == 0, result.stderr


# ---------------------------------------------------------------- what to type


def test_in_a_checkout_the_hint_is_its_path(monkeypatch):
    monkeypatch.setattr(install, "installer", lambda: "pip install")
    monkeypatch.setattr(install, "__file__", str(ROOT / "cliplit" / "install.py"))
    monkeypatch.setattr(install, "installed_from", lambda: (None, False))
    monkeypatch.chdir(ROOT)
    assert install.install_hint("train") == 'pip install ".[train]"'
    monkeypatch.chdir(ROOT.parent)
    assert install.install_hint("train") == f'pip install "{ROOT}[train]"'
    monkeypatch.setattr(install, "installed_from", lambda: (ROOT, True))
    assert install.install_hint("cpu") == f'pip install -e "{ROOT}[cpu]"'


def test_an_installed_copy_names_what_it_came_from_while_that_is_there(monkeypatch, tmp_path):
    monkeypatch.setattr(install, "installer", lambda: "pip install")
    monkeypatch.setattr(install, "__file__", str(tmp_path / "site-packages" / "cliplit" / "install.py"))
    wheel = tmp_path / "cliplit-1-py3-none-any.whl"
    monkeypatch.setattr(install, "installed_from", lambda: (wheel, False))
    assert install.install_hint("ray") == 'pip install "cliplit[ray]"'  # good beside an installed copy
    wheel.touch()
    assert install.install_hint("ray") == f'pip install "{wheel}[ray]"'
    monkeypatch.setattr(install, "PUBLISHED", True)
    assert install.install_hint("ray") == 'pip install "cliplit[ray]"'


@pytest.mark.parametrize(
    "file, said", [("pipx_metadata.json", "pipx install --force"), ("uv-receipt.toml", "uv tool install --force")]
)
def test_tools_are_installed_again_by_what_made_them(monkeypatch, tmp_path, file, said):
    (tmp_path / file).touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert install.install_hint("gpu").startswith(said + " ")


def test_every_extra_of_a_hint_exists():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = set(install.EXTRAS.values())
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            named.update(re.findall(r"install_hint\(['\"](\w+)['\"]\)", path.read_text(encoding="utf-8")))
    assert named and named <= set(extras)


def test_no_message_and_no_document_asks_an_index_for_the_project():
    """The name belongs to nobody there yet; cliplit/install.py has the one place that may say it."""
    for path in [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(p for r in ROOMS for p in (ROOT / r).rglob("*.py")),
    ]:
        assert not re.search(r"install[^\n]*[\"' ]cliplit\[", path.read_text(encoding="utf-8")), path


WITHOUT = {
    "cliplit-train": ("cliplit.training.cli", "torch", ["run", "--photos", "."], "train"),
    "cliplit-eval": ("cliplit.benchmarks.eval_cli", "torch", ["nothing.pt", "."], "train"),
    "cliplit-export": ("cliplit.export.cli", "torch", ["nothing.pt"], "export"),
    "cliplit-video": ("cliplit.runtime.video.cli", "onnxruntime", ["--demo", "o.mp4"], "cpu"),
    "cliplit-image": ("cliplit.runtime.image.cli", "onnxruntime", ["in.png", "o.png"], "cpu"),
}


@pytest.mark.parametrize("name", WITHOUT)
def test_a_command_without_its_extra_says_in_one_line_what_to_type(tmp_path, name):
    from PIL import Image

    module, missing, arguments, extra = WITHOUT[name]
    Image.fromarray(backlit(64, 64)).save(tmp_path / "in.png")
    (tmp_path / "nothing.pt").touch()
    hide = f"import sys; sys.modules[{missing!r}] = sys.modules['openvino'] = None; "
    code = hide + f"from {module} import main; main(prog_name={name!r})"
    result = python(code, *arguments, cwd=tmp_path)
    assert result.returncode == BackendError.exit_code, result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert f"[{extra}]" in result.stderr and " install " in result.stderr


# ---------------------------------------------------------------- what leaves the machine


def private(home):
    """The environment of a user who has set nothing: a fresh HOME, and not CI, in which libraries keep quieter."""
    kept = ("PATH", "LANG", "LD_LIBRARY_PATH", "SYSTEMROOT", "VIRTUAL_ENV", "TMPDIR")
    return {**{name: os.environ[name] for name in kept if name in os.environ}, "HOME": str(home)}


WAYS_IN = {
    "video": "from cliplit.runtime.video.cli import main; main(['in.mkv', 'out.mkv'])",
    "image": "from cliplit.runtime.image.cli import main; main(['in.png', 'out.png'])",
    "batch": "from cliplit.runtime.batch.cli import main; main(['photos', 'relit', '--engine', 'local'])",
    "doctor": "from cliplit.runtime.doctor import main; main([])",
    "filter": "from cliplit.plugins.filter_cli import main; main([])",
    "worker": "from cliplit.plugins.worker import main; main()",
    "interface": "import numpy as np; from cliplit.runtime import Enhancer; "
    "[Enhancer(backend=b)(np.full((64, 64, 3), 40, np.uint8)) for b in BACKENDS]",
    "half": "import cliplit.export.int8",
}


def samples(folder):
    from PIL import Image

    folder.mkdir()
    (folder / "photos").mkdir()
    for name in ("in.png", "photos/one.png"):
        Image.fromarray(backlit(64, 96)).save(folder / name)
    write_clip(folder / "in.mkv", [backlit(64, 96)] * 4, sound=False)
    return folder


def usable():
    from importlib.util import find_spec

    return [name for name, module in (("onnxruntime", "onnxruntime"), ("openvino", "openvino")) if find_spec(module)]


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="HOME is POSIX")
@pytest.mark.parametrize("way", WAYS_IN)
def test_nothing_leaves_the_machine(tmp_path, way):
    """No file outside the outputs, and no socket but local ones, where strace can tell."""
    if way == "half":
        pytest.importorskip("onnx")
    home, work = tmp_path / "home", samples(tmp_path / "work")
    home.mkdir()
    code = f"BACKENDS = {usable()}\nimport time\ntry:\n    {WAYS_IN[way]}\nfinally:\n    time.sleep(1)"
    trace, command = tmp_path / "trace", [sys.executable, "-c", code]
    if (strace := shutil.which("strace")) and traceable(strace):
        command = [strace, "-f", "-qq", "-e", "trace=network", "-o", str(trace), *command]
    result = subprocess.run(
        command, cwd=work, env=private(home), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )
    assert "Traceback" not in result.stderr, result.stderr
    assert [str(path.relative_to(home)) for path in home.rglob("*")] == []
    if trace.exists():
        assert [line for line in trace.read_text().splitlines() if re.search(r"AF_INET|AF_PACKET", line)] == []


def traceable(strace):
    """Containers may forbid it."""
    return subprocess.run([strace, "-qq", "-o", os.devnull, "true"], capture_output=True).returncode == 0


def test_what_the_user_has_set_stays(tmp_path):
    code = "import os, cliplit, json; print(json.dumps(dict(os.environ)))"
    quiet = json.loads(python(code, env=private(tmp_path)).stdout)
    assert (quiet["ORT_DISABLE_TELEMETRY"], quiet["RAY_USAGE_STATS_ENABLED"]) == ("1", "0")
    own = json.loads(python(code, env=private(tmp_path) | {"ORT_DISABLE_TELEMETRY": "0"}).stdout)
    assert own["ORT_DISABLE_TELEMETRY"] == "0"


def test_openvino_may_count_a_user_who_asked_for_it(tmp_path, monkeypatch):
    from cliplit import privacy

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert not privacy.opted_in()
    folder = tmp_path / ("Intel Corporation" if os.name == "nt" else "intel")
    folder.mkdir()
    for text, asked in (("0", False), ("1\n", True)):
        (folder / "openvino_telemetry").write_text(text)
        assert privacy.opted_in() is asked
        sys.modules.pop("openvino_telemetry", None)
        with privacy.without_openvino_telemetry():
            assert ("openvino_telemetry" in sys.modules) is not asked
        assert "openvino_telemetry" not in sys.modules


# ---------------------------------------------------------------- what is said of it


def test_the_tested_versions_begin_with_the_lower_bounds_of_pyproject():
    import tomllib

    from cliplit.runtime.tested import PYTHONS, TESTED, numbers

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    lows = {}
    for line in wanted:
        if (found := re.match(r"([\w.-]+)>=([\d.]+)", line)) and "python_version" not in line:
            lows[found[1]] = found[2]
    for name, (low, high) in TESTED.items():
        assert numbers(lows[name])[: len(numbers(low))] == numbers(low), name
        assert numbers(low) <= numbers(high)
    named = [line.rpartition(" ")[2] for line in project["classifiers"] if line.count(" :: ") == 2 and "3." in line]
    assert (named[0], named[-1]) == PYTHONS


@pytest.mark.parametrize(
    "name, version, said",
    [("av", "18.1.0", ""), ("av", "19.0.7", ""), ("av", "18.0.0", "older"), ("av", "20.0", "newer"),
     ("torch", "2.12.1+cu130", ""), ("somebody", "1", ""), ("python", "3.10.4", "older")],
)  # fmt: skip
def test_what_is_outside_of_the_tested_versions(name, version, said):
    from cliplit.runtime.tested import outside

    assert outside(name, version).startswith(said) and bool(outside(name, version)) is bool(said)


def test_the_doctor_reads_and_writes(tmp_path):
    from cliplit.runtime.trials import trials

    found = list(trials())
    assert len(found) == 6 and all(trial.works for trial in found), found


def test_the_page_of_an_index_has_absolute_links_or_none(monkeypatch):
    text = (ROOT / "setup.py").read_text(encoding="utf-8")
    scope = {"re": re}
    exec(text[text.index("def index_page") : text.index("\nsetup(")], scope)
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    links = r"\]\(([^)\s]+)\)"
    for url in ("", "https://example.org/cliplit"):
        found = re.findall(links, scope["index_page"](page, url))
        assert all("://" in target or target.startswith("#") for target in found)
        assert bool(found) or not url
