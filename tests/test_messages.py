"""What is said when something is wrong names the user's file and what to do: kinds that once misled."""

from __future__ import annotations

import errno
import os

import pytest
from click.testing import CliRunner

from cliplit.errors import InputError
from cliplit.files import atomic_write
from cliplit.runtime.video.codecs import SYNONYMS, Encoding
from made import backlit, write_clip


def video(*arguments):
    from cliplit.runtime.video.cli import main

    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="cliplit-video")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("messages") / "in.mp4", [backlit(64, 96)] * 4)


def test_a_full_disk_names_the_file_and_what_is_free(tmp_path):
    with pytest.raises(OSError) as caught, atomic_write(tmp_path / "o.png"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == str(tmp_path / "o.png")
    assert "No space left" in caught.value.strerror and f"are free in {tmp_path}" in caught.value.strerror
    assert not list(tmp_path.iterdir())


def test_a_folder_that_takes_no_files_is_told_by_the_name_of_the_file(tmp_path, monkeypatch):
    def refused(path, *rest):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(OSError) as caught, atomic_write(tmp_path / "o.png"):
        pass
    assert caught.value.filename == str(tmp_path / "o.png") and "Read-only" in caught.value.strerror


def test_another_files_error_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, atomic_write(tmp_path / "o.png"):
        (tmp_path / "else").read_bytes()
    assert caught.value.filename == str(tmp_path / "else")


def test_a_clip_that_does_not_fit_names_its_file(clip, tmp_path, monkeypatch):
    from cliplit.runtime import Enhancer
    from cliplit.runtime.video import pyav_writer
    from cliplit.runtime.video.clip import enhance_video

    def full(self, packet):
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise pyav_writer.cannot_write(error) from error

    monkeypatch.setattr(pyav_writer.PyAVWriter, "_mux", full)
    with pytest.raises(InputError, match=r"o\.mkv: cannot write the output \(No space left.*MB are free in"):
        enhance_video(clip, tmp_path / "o.mkv", Enhancer(threads=1))


@pytest.mark.parametrize("name", SYNONYMS)
def test_other_names_of_codecs_are_known(clip, name):
    from cliplit.runtime.video.codecs import choose
    from cliplit.runtime.video.pyav_reader import PyAVReader

    with PyAVReader(clip) as reader:
        assert choose(reader.clip, Encoding(codec=name), "matroska").encoder.family == SYNONYMS[name]


def test_a_range_behind_the_end_is_said(clip, tmp_path):
    done = video(clip, tmp_path / "o.mp4", "--range", 1000, 2000)
    assert done.exit_code == 0 and "no frame was relighted" in done.stderr, done.output
    done = video(clip, tmp_path / "p.mp4", "--range", 0, "end")
    assert done.exit_code == 0 and "no frame was relighted" not in done.stderr


def test_the_filter_says_that_it_takes_pipes():
    from cliplit.plugins.filter_cli import main

    done = CliRunner().invoke(main, ["in.y4m", "out.y4m"])
    assert done.exit_code == 2 and "< in.y4m > out.y4m" in done.stderr


def test_training_into_a_file_says_what_run_is(clip):
    from cliplit.training.cli import main

    done = CliRunner().invoke(main, [str(clip)])
    assert done.exit_code == 2 and "RUN is a folder to make" in done.stderr


@pytest.mark.parametrize("advice", ["Re-running `torch.load` with `weights_only` set", "This file can still be loaded"])
def test_torchs_advice_to_execute_files_is_left_out(advice):
    from cliplit.errors import first_line

    said = f"Weights only load failed. {advice} ...\nPlease file an issue"
    assert first_line(RuntimeError(said)) == "Weights only load failed."


def test_what_a_checkpoint_would_execute_is_no_advice(tmp_path):
    torch = pytest.importorskip("torch", reason="the extra train")
    from cliplit.errors import ModelError
    from cliplit.networks.checkpoint import read

    torch.save({"weights": tmp_path}, tmp_path / "unsafe.pt")
    with pytest.raises(ModelError, match="read safely") as caught:
        read(tmp_path / "unsafe.pt")
    assert "weights_only" not in str(caught.value) and "Re-running" not in str(caught.value)


def test_a_user_without_a_card_is_not_told_to_install_for_one_first(monkeypatch):
    from cliplit.errors import BackendError
    from cliplit.runtime import Enhancer
    from cliplit.runtime.backends.devices import nvidia_driver

    problem = nvidia_driver().problem
    if not problem:
        pytest.skip("with a card")
    with pytest.raises(BackendError) as caught:
        Enhancer(device="cuda", backend="onnxruntime")
    text = str(caught.value)
    assert problem in text and ("pip" not in text or text.index(problem) < text.index("pip"))


def test_errors_carry_the_whole_command_as_it_was_typed(clip, tmp_path):
    from cliplit.__main__ import main

    done = CliRunner().invoke(main, ["video", str(clip), str(clip)], prog_name="cliplit")
    assert done.exit_code == 1 and done.stderr.startswith("cliplit video: error: ")
