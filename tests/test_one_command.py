"""`cliplit` and what its commands share: names, settings file, environment, looks, wrong values, help."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from importlib import import_module

import click
import pytest
from click.testing import CliRunner

from cliplit.__main__ import COMMANDS
from cliplit.__main__ import main as cliplit
from cliplit.command_line import Command
from cliplit.runtime.folders import in_and_out
from cliplit.runtime.looks import LOOKS
from made import backlit, write_clip

HERE = cliplit.list_commands(click.Context(cliplit))
SHARED = ["video", "image", "batch", "live"]


@pytest.fixture
def parsed(tmp_path, monkeypatch):
    """Parse arguments with a settings file: what a command would be given."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def parse(name, *arguments, settings=""):
        (tmp_path / "cliplit").mkdir(exist_ok=True)
        (tmp_path / "cliplit" / "config.toml").write_text(settings, encoding="utf-8")
        command = import_module(COMMANDS[name][0]).main
        return command.make_context(name, ["a", "b", *arguments]).params

    return parse


def test_importing_it_loads_nothing_heavy_and_help_lists_all():
    code = "import cliplit.__main__, sys; print([m for m in sys.modules if m in ('numpy', 'cv2', 'av', 'torch')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
    done = subprocess.run([sys.executable, "-m", "cliplit", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and all(f"  {name}" in done.stdout for name in HERE)
    assert set(COMMANDS) - set(HERE) <= {"web"}


def test_every_name_has_its_old_command(capsys):
    import tomllib
    from pathlib import Path

    scripts = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["scripts"]
    for name in HERE:
        if name != "live":
            assert scripts[f"cliplit-{name}"] == f"{COMMANDS[name][0]}:main"


@pytest.mark.parametrize("name", HERE)
def test_each_command_helps_under_both_names_and_refuses_what_it_does_not_know(name):
    pytest.importorskip("yaml") if name == "train" else None
    result = CliRunner().invoke(cliplit, [name, "--help"], prog_name="cliplit")
    assert result.exit_code == 0 and f"Usage: cliplit {name}" in result.output
    assert CliRunner().invoke(cliplit, [name, "--no-such-option"]).exit_code == 2


def test_the_report_of_a_training_run_is_reached_through_both_names(tmp_path):
    for command in (["train"], []):
        main = cliplit if command else import_module(COMMANDS["train"][0]).main
        result = CliRunner().invoke(main, [*command, "report", str(tmp_path)])
        assert result.exit_code in (1, 3) and "report: error:" in result.stderr  # 3 without PyTorch


@pytest.mark.parametrize("name", SHARED)
def test_wrong_numbers_are_exit_code_2_everywhere(name):
    """Each bounded number: below, above, no number, and "nan", which compares with nothing."""
    command = import_module(COMMANDS[name][0]).main
    bounded = [p for p in command.params if isinstance(p.type, click.FloatRange | click.IntRange)]
    bounded += [p for p in command.params if p.name in ("strength", "max_gain")]
    assert len(bounded) > 2
    for option in bounded:
        low, high = getattr(option.type, "min", 0), getattr(option.type, "max", 256)
        wrong = ["x", "nan", *([low - 1] if low is not None else []), *([high + 1] if high is not None else [])]
        for value in wrong:
            result = CliRunner().invoke(command, ["a.png", "b.png", f"{option.opts[-1]}={value}"])
            assert result.exit_code == 2, (option.opts, value, result.output)


@pytest.mark.parametrize("name", SHARED)
def test_help_is_in_groups_of_options_that_exist_with_three_examples(name):
    command = import_module(COMMANDS[name][0]).main
    assert isinstance(command, Command)
    names = {p.name for p in command.params}
    named = [option for options in command.groups.values() for option in options]
    assert set(named) <= names and len(set(named)) == len(named)
    text = CliRunner().invoke(command, ["--help"], prog_name=f"cliplit-{name}").output
    assert len(re.findall(rf"^    cliplit[- ]{name} ", text, re.MULTILINE)) == 3, text
    for habit in ("-y, --overwrite", "-q, --quiet", "-v, --verbose"):
        assert habit in text


@pytest.mark.parametrize(
    "words", ["train", "export", "eval", "bench", "bench speed", "bench quality", "plugins", "doctor"]
)
def test_help_ends_in_three_examples_whose_options_exist(words):
    pytest.importorskip("yaml") if words == "train" else None
    assert_examples(import_module(COMMANDS[words.split()[0]][0]).main, words.split())


def test_the_filters_help_ends_in_examples_whose_options_exist():
    assert_examples(import_module("cliplit.plugins.filter_cli").main, ["filter"])


def assert_examples(command, words):
    for word in words[1:]:
        command = command.commands[word]
    groups = getattr(command, "groups", {})
    named = [option for options in groups.values() for option in options]
    assert set(named) <= {p.name for p in command.params} and len(set(named)) == len(named)
    text = CliRunner().invoke(command, ["--help"]).output
    lines = text[text.index("Examples:") :].splitlines()[1:]
    assert sum(f"cliplit-{words[0]}" in line for line in lines) >= 3, text
    for line in lines:
        ours = line[line.index("cliplit-") :].partition("|")[0].split()[1:] if "cliplit-" in line else []
        inner = command
        while ours and isinstance(inner, click.Group):
            inner, ours = inner.commands[ours[0]], ours[1:]
        known = {name for option in inner.params for name in option.opts} | {"--no-python", "-"}
        assert {word for word in ours if word.startswith("-")} <= known, line


def test_the_command_line_comes_before_the_environment_and_that_before_the_file(parsed, monkeypatch):
    settings = "[video]\nstrength = 0.5\ncrf = 20\nmax-gain = 'auto'\n"
    assert parsed("video", settings=settings)["strength"] == "0.5"
    assert parsed("video", settings=settings)["max_gain"] == "auto"
    monkeypatch.setenv("CLIPLIT_VIDEO_STRENGTH", "0.6")
    assert parsed("video", settings=settings)["strength"] == "0.6"
    assert parsed("video", "--strength", "0.7", settings=settings)["strength"] == "0.7"
    assert parsed("video", "--no-config", settings=settings)["crf"] is None


def test_a_look_sets_what_nothing_else_says(parsed):
    look = LOOKS["interview"]
    assert parsed("video", "--look", "interview")["temporal"] == look["temporal"]
    assert parsed("image", "--look", "interview")["strength"] == float(look["strength"])
    assert parsed("video", "--strength", "1.5", "--look", "interview")["strength"] == "1.5"
    file = "[video]\nlook = 'interview'\nstrength = 0.1\n"
    assert parsed("video", settings=file)["strength"] == "0.1"
    assert parsed("video", settings=file)["temporal"] == look["temporal"]
    assert parsed("video", "--look", "strong", settings=file)["strength"] == LOOKS["strong"]["strength"]


@pytest.mark.parametrize(
    "settings, said",
    [
        ("[video]\nstrenght = 1", "no option strenght; did you mean strength?"), ("strength = 1", "is in no table"),
        ("[video", "mend it, or use --no-config"), ("[video]\ncrf = 99", "crf"),
        ("[video]\ndemo = 'x'", "no option demo"),
    ],
)  # fmt: skip
def test_mistakes_in_the_file_name_it(parsed, settings, said):
    with pytest.raises(click.UsageError) as caught:
        parsed("video", settings=settings)
    assert said in caught.value.format_message() and "config.toml" in caught.value.format_message()


def test_a_name_is_found_where_none_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("in.mp4", "in.flv"):
        (tmp_path / name).touch()
    (tmp_path / "clips").mkdir()
    assert in_and_out(["in.mp4"], None) == (("in.mp4",), "in.relit.mp4")
    assert in_and_out(["in.flv"], None)[1] == "in.relit.mkv"
    assert in_and_out(["clips"], None)[1] == "clips.relit"
    assert in_and_out(["a", "b"], None) == (("a",), "b")
    assert in_and_out(["a", "b"], "c") == (("a", "b"), "c")


def test_pictures_are_written_beside_themselves_and_by_o(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    Image.fromarray(backlit(64, 96)).save("in.png")
    image = import_module(COMMANDS["image"][0]).main
    for arguments, written in ((["in.png"], "in.relit.png"), (["in.png", "-o", "o.png"], "o.png")):
        result = CliRunner().invoke(image, arguments)
        assert result.exit_code == 0 and (tmp_path / written).is_file(), result.output
    assert CliRunner().invoke(image, ["in.png"]).exit_code == 1
    result = CliRunner().invoke(image, ["in.png", "-y", "-v", "--look", "strong"])
    assert result.exit_code == 0 and "strength = 1.3" in result.stderr


@pytest.mark.parametrize("name", ["video", "image", "batch"])
def test_the_shell_completes_files(name):
    """What click's completion scripts ask for: "file" makes the shell complete names of files."""
    words = {
        **os.environ,
        f"_CLIPLIT_{name.upper()}_COMPLETE": "bash_complete",
        "COMP_WORDS": "x in",
        "COMP_CWORD": "1",
    }
    code = f"from {COMMANDS[name][0]} import main; main(prog_name='cliplit-{name}')"
    done = subprocess.run([sys.executable, "-c", code], env=words, capture_output=True, text=True)
    assert done.stdout.startswith("file,"), done.stdout + done.stderr


def test_live_frames_reach_a_virtual_camera(tmp_path, monkeypatch):
    """A stand-in for pyvirtualcam: upright RGB of the clip's size and rate, and the device is closed."""
    sent, closed = [], []

    class Camera:
        device = "/dev/video9"

        def __init__(self, width, height, fps):
            self.size = height, width, 3

        def send(self, picture):
            assert picture.shape == self.size
            sent.append(picture)

        def close(self):
            closed.append(True)

    monkeypatch.setitem(sys.modules, "pyvirtualcam", types.SimpleNamespace(Camera=Camera))
    clip = write_clip(tmp_path / "in.mp4", [backlit(64, 96)] * 6)
    live = import_module(COMMANDS["live"][0]).main
    result = CliRunner().invoke(live, [str(clip), "--virtual-camera"])
    assert result.exit_code == 0, result.output
    assert sent and closed and "/dev/video9" in result.stderr
    bottom = sent[-1][-16:].reshape(-1, 3).mean(axis=0)
    assert bottom[0] > bottom[2]  # the ground is brown: more red than blue


def test_live_wants_somewhere_to_go():
    assert CliRunner().invoke(import_module(COMMANDS["live"][0]).main, ["0"]).exit_code == 2
