"""Files appear complete or not at all, with the permissions that any program gives, and nothing special is replaced."""

from __future__ import annotations

import os
import stat
import threading

import pytest

from cliplit.files import atomic_write


def test_a_file_appears_when_it_is_complete(tmp_path):
    target = tmp_path / "out.txt"
    target.write_text("before")
    with atomic_write(target, fsync=True) as unfinished:
        unfinished.write_text("after")
        assert unfinished.suffix == ".txt" and target.read_text() == "before"
    assert target.read_text() == "after" and list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_what_was_there(tmp_path):
    target = tmp_path / "out.txt"
    target.write_text("before")
    with pytest.raises(KeyboardInterrupt), atomic_write(target) as unfinished:
        unfinished.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "before" and list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_the_mode_is_that_of_any_new_file(tmp_path):
    with atomic_write(tmp_path / "ours") as unfinished:
        unfinished.write_text("x")
    (tmp_path / "theirs").write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")
def test_a_named_pipe_is_written_to_and_stays_one(tmp_path):
    pipe, got = tmp_path / "pipe.txt", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    with atomic_write(pipe) as unfinished:
        unfinished.write_text("hello")
    reader.join(10)
    assert got == ["hello"] and stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(os.name == "nt", reason="locks of POSIX")
def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path):
    target = tmp_path / "out.txt"
    left, other, fresh = (tmp_path / f".{name}.txt" for name in ("out.0123456789ab", "out.mine", "out.fedcba987654"))
    for file in (left, other):
        file.write_text("half")
    fresh.touch()  # a process has just made it, and is about to lock it
    with atomic_write(target) as theirs:  # another process that is at work
        theirs.write_text("theirs")
        with atomic_write(target, swept=True) as ours:
            ours.write_text("ours")
            assert sorted(tmp_path.iterdir()) == sorted([other, fresh, theirs, ours])
    assert target.read_text() == "theirs"


@pytest.mark.skipif(os.name == "nt", reason="links of POSIX")
def test_nothing_is_swept_through_a_link(tmp_path):
    precious = tmp_path / "precious.txt"
    precious.write_text("precious")
    (tmp_path / ".out.0123456789ab.txt").symlink_to(precious)
    with atomic_write(tmp_path / "out.txt", swept=True) as unfinished:
        unfinished.write_text("x")
    assert precious.read_text() == "precious"
