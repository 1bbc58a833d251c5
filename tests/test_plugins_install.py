"""`cliplit-plugins`: what it writes, finds, removes, and how it fails."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cliplit.errors import BackendError, InputError
from cliplit.plugins import frei0r_install, gimp_install

COMMAND = [sys.executable, "-m", "cliplit.plugins"]


@pytest.fixture
def run(tmp_path):
    """Runs the command in a home of its own, without any GIMP on the PATH."""

    def call(*arguments, **variables):
        environment = {"HOME": str(tmp_path), "PATH": "/nowhere", **variables}
        return subprocess.run([*COMMAND, *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True)

    return call


def profile(home, version="3.0", root=".config/GIMP"):
    path = home / root / version
    path.mkdir(parents=True)
    (path / "gimprc").touch()  # GIMP has been started
    return path


@pytest.mark.parametrize("version", ["3.0", "3.2"])
def test_gimp_3_gets_an_executable_named_as_its_folder(run, tmp_path, version):
    plug_in = profile(tmp_path, version) / "plug-ins/cliplit"
    done = run("install", "gimp")
    assert done.returncode == 0, done.stderr
    assert str(plug_in) in done.stdout
    entry = plug_in / "cliplit.py"
    assert entry.stat().st_mode & stat.S_IXUSR
    assert entry.read_text().startswith("#!/usr/bin/python3\n")
    assert json.loads((plug_in / "worker.json").read_text())["command"][0] == sys.executable
    assert sorted(path.name for path in plug_in.iterdir()) == ["cliplit.py", "cliplit_plugins", "worker.json"]


def test_what_is_installed_for_gimp_needs_the_standard_library_and_gi_only(run, tmp_path):
    package = profile(tmp_path) / "plug-ins/cliplit/cliplit_plugins"
    run("install", "gimp")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import cliplit_plugins.client, cliplit_plugins.gimp3.service\n"
        "foreign = {'numpy', 'cv2', 'onnxruntime', 'cliplit', 'click'} & set(sys.modules); assert not foreign, foreign"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code, str(package.parent)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_profile_is_found(run, tmp_path):
    profile(tmp_path, "2.8"), profile(tmp_path, "2.10"), profile(tmp_path, "3.0")
    profile(tmp_path, "3.0", ".var/app/org.gimp.GIMP/config/GIMP")
    done = run("install", "gimp")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("/plug-ins/cliplit") == 2
    assert "flatpak override" in done.stderr
    flatpak = tmp_path / ".var/app/org.gimp.GIMP/config/GIMP/3.0/plug-ins/cliplit/worker.json"
    assert json.loads(flatpak.read_text())["command"][:2] == ["flatpak-spawn", "--host"]


def test_gimp_2_10_is_said_to_be_past_its_end(run, tmp_path):
    old = profile(tmp_path, "2.10")
    done = run("install", "gimp", "--profile", str(old))
    assert done.returncode == 1 and "2.10 is past its end; GIMP 3.0 and later" in done.stderr
    assert not list(old.rglob("cliplit*"))


def test_installing_again_replaces_and_uninstalling_leaves_nothing(run, tmp_path):
    plug_in = profile(tmp_path) / "plug-ins/cliplit"
    assert run("install", "gimp").returncode == 0
    (plug_in / "left-over.py").write_text("")
    assert run("install", "gimp", "--model", "lite", "--device", "cpu").returncode == 0
    assert not (plug_in / "left-over.py").exists()
    assert "cpu" in (plug_in / "worker.json").read_text()
    assert str(plug_in) in run("list").stdout
    assert run("uninstall", "gimp").returncode == 0
    assert list(plug_in.parent.iterdir()) == []
    assert "gimp 3.0\tnot installed" in run("list").stdout


def test_a_folder_of_somebody_else_is_left_alone(run, tmp_path):
    plug_in = profile(tmp_path) / "plug-ins/cliplit"
    plug_in.mkdir(parents=True)
    (plug_in / "mine.py").write_text("precious")
    done = run("install", "gimp")
    assert done.returncode == 1
    assert "is not ours" in done.stderr
    assert run("uninstall", "gimp").returncode == 1
    assert (plug_in / "mine.py").read_text() == "precious"


@pytest.mark.parametrize(
    "arguments,code,words",
    [
        (("install", "gimp"), 1, "start GIMP once"),
        (("install", "gimp", "--profile", "2.8"), 1, "GIMP 2.8 is past its end"),
        (("install", "gimp", "--profile", "elsewhere"), 1, "not a GIMP profile"),
        (("install", "gimp", "--profile", "3.0"), 1, "start GIMP once"),
        (("install", "frei0r", "--profile", "3.0"), 2, "--profile is for gimp"),
        (("install", "photoshop"), 2, "photoshop"),
        (("uninstall", "gimp"), 1, "in no GIMP profile"),
        (("uninstall", "frei0r"), 1, "is not installed"),
    ],
)
def test_failures_are_one_line_and_an_exit_code(run, arguments, code, words):
    done = run(*arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert code == 2 or done.stderr.count("\n") == 1


def test_failures_of_an_installation_that_could_be(run, tmp_path):
    profile(tmp_path)
    done = run("install", "gimp", "--model", "nope")
    assert done.returncode == 1 and "worker does not start" in done.stderr
    assert run("install", "gimp", "--check").returncode == 3


def test_gimp_that_was_never_started_keeps_its_first_start(run, tmp_path):
    """A profile with nothing but our folder is neither made nor migrated by GIMP: 12 entries instead of 33."""
    program = tmp_path / "bin/gimp"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho GNU Image Manipulation Program version 3.0.4\n")
    program.chmod(0o755)
    done = run("install", "gimp", PATH=str(program.parent))
    assert done.returncode == 1 and "start GIMP once" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / ".config").exists()
    spoiled = tmp_path / ".config/GIMP/3.0"
    (spoiled / "plug-ins/cliplit").mkdir(parents=True)  # as earlier versions left it
    done = run("install", "gimp")
    assert done.returncode == 1 and f"remove {spoiled}" in done.stderr


def test_a_filter_of_somebody_else_is_left_alone(run, tmp_path):
    library = tmp_path / ".frei0r-1/lib/cliplit.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"\x7fELF another filter of this name")
    done = run("install", "frei0r")
    assert done.returncode == 1 and "is not cliplit's" in done.stderr
    assert library.read_bytes() == b"\x7fELF another filter of this name"
    assert run("uninstall", "frei0r").returncode == 1 and library.exists()
    library.unlink()
    assert run("install", "frei0r").returncode == 0 and run("install", "frei0r").returncode == 0


def test_kdenlive_gets_the_names_of_its_sliders(run, tmp_path):
    """As its own effects have them: a parameter's name is the filter's, its range times `factor` the slider's."""
    effect = tmp_path / ".local/share/kdenlive/effects/frei0r_cliplit.xml"
    assert run("install", "frei0r").returncode == 0 and not effect.exists()
    effect.parent.parent.mkdir(parents=True)
    assert run("install", "frei0r").returncode == 0
    root = ElementTree.parse(effect).getroot()
    assert root.get("tag") == "frei0r.cliplit"
    source = (Path(frei0r_install.__file__).parent / "frei0r/plugin.c").read_text()
    for parameter in root.iter("parameter"):
        name = parameter.get("name")
        found = re.search(rf'{{"{name}", "[^"]*", ([\d.]+), ([\d.]+),\s*([\d.]+)}}', source)
        default, low, high = map(float, found.groups())
        shown = [float(parameter.get(key)) / float(parameter.get("factor")) for key in ("default", "min", "max")]
        assert shown[:2] == [default, low] and shown[2] <= high
        assert parameter.findtext("name")
    assert len(list(root.iter("parameter"))) == 3
    assert run("uninstall", "frei0r").returncode == 0 and not effect.exists()


def test_frei0r_is_installed_checked_and_removed(run, tmp_path):
    library = tmp_path / ".frei0r-1/lib/cliplit.so"
    done = run("install", "frei0r", "--check")
    assert done.returncode == 0, done.stderr
    assert "a frame went through" in done.stdout
    assert sorted(path.name for path in library.parent.iterdir()) == ["cliplit.so", "cliplit.worker"]
    assert str(library) in run("list").stdout
    assert run("uninstall", "frei0r").returncode == 0
    assert list(library.parent.iterdir()) == []


def test_a_check_of_a_filter_without_its_python_fails(run, tmp_path):
    assert run("install", "frei0r").returncode == 0
    (tmp_path / ".frei0r-1/lib/cliplit.worker").write_text("/nowhere/python\n")
    code = "from cliplit.plugins import frei0r_install as f; f.check()"
    done = subprocess.run([sys.executable, "-c", code], env={"HOME": str(tmp_path)}, capture_output=True, text=True)
    assert "a frame came back unchanged" in done.stderr
    assert "/nowhere/python: No such file" in done.stderr


def test_a_package_without_the_filter_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(frei0r_install, "__file__", str(tmp_path / "frei0r_install.py"))
    with pytest.raises(BackendError, match="C compiler"):
        frei0r_install.built_library()


def test_a_folder_that_cannot_be_written_is_named(run, tmp_path):
    (tmp_path / ".frei0r-1").write_text("a file where the folder should be")
    done = run("install", "frei0r")
    assert done.returncode == 1
    assert ".frei0r-1" in done.stderr
    assert "Traceback" not in done.stderr


def test_versions_name_profiles(tmp_path):
    for printed, expected in (("3.0.4", (3, 0)), ("3.1.2", (3, 2)), ("2.10.34", (2, 10)), ("no number", None)):
        program = tmp_path / "gimp"
        program.write_text(f"#!/bin/sh\necho GNU Image Manipulation Program version {printed}\n")
        program.chmod(0o755)
        assert gimp_install.version_of(str(program)) == expected
    assert gimp_install.version_of(str(tmp_path / "absent")) is None


def test_a_profile_is_named_after_its_version(tmp_path):
    with pytest.raises(InputError, match="named after the version"):
        gimp_install.profile_at(tmp_path)
