"""What is trusted lies in folders of the user's own and counts by its content."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

import pytest

from cliplit.errors import CliplitError, ModelError
from cliplit.files import check_private, private_folder
from cliplit.runtime.backends.engine_file import EngineHeader, Machine, Shapes, read_engine, write_engine
from cliplit.runtime.backends.home import cache
from cliplit.runtime.batch.job import Model
from cliplit.runtime.batch.work import model_here
from cliplit.runtime.video.work_folder import check_ours, locked

pytestmark = pytest.mark.skipif(os.name == "nt", reason="owners and modes of POSIX")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPLIT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_are_the_users_alone(tmp_path, own_home):
    old = os.umask(0)
    try:
        made = cache("models")
    finally:
        os.umask(old)
    assert (mode(own_home), mode(made)) == (0o700, 0o700)
    made.chmod(0o777)  # an older version's, or an accident
    assert mode(cache("models")) == 0o700


def test_links_and_files_are_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(CliplitError, match="a link or a file"):
            private_folder(tmp_path / name)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root gives folders away")
def test_folders_of_others_are_refused(tmp_path, own_home):
    (own_home / "models").mkdir(parents=True)
    os.chown(own_home / "models", 12345, 12345)
    with pytest.raises(CliplitError, match=r"another user \(number 12345\)"):
        model_here(Model("x", "0" * 64, b"network"))
    with pytest.raises(CliplitError, match="CLIPLIT_HOME"):
        check_private(own_home / "models")
    (tmp_path / ".out.mp4.resume").mkdir()
    os.chown(tmp_path / ".out.mp4.resume", 12345, 12345)
    with pytest.raises(CliplitError, match="belongs to another user"):
        check_ours(tmp_path / ".out.mp4.resume")


def test_a_sent_model_counts_by_its_content(own_home):
    data = os.urandom(1000)
    first = Path(model_here(Model("x", "../../evil", data, "/../../x.onnx")))  # nothing of the sender's names the file
    assert first == own_home / "models" / f"{hashlib.sha256(data).hexdigest()}.onnx"
    first.write_bytes(bytes(1000))  # another one of that size
    assert Path(model_here(Model("x", "../../evil", data))).read_bytes() == data


def test_an_engine_counts_by_its_content():
    machine = Machine("10", "12", "card", "9.0", "Linux")
    header = EngineHeader("lite", "0" * 64, "fp32", Shapes.fixed((1, 64, 64)), machine)
    path = header.path()
    write_engine(path, header, b"engine" * 100)
    assert read_engine(path)[1] == b"engine" * 100 and mode(path.parent) == 0o700
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"!")
    with pytest.raises(ModelError, match="not the one its header speaks of"):
        read_engine(path)


def test_the_folder_of_resume_is_closed_and_its_lock_no_link(tmp_path):
    folder = tmp_path / ".out.mp4.resume"
    with locked(folder):
        assert mode(folder) == 0o700
    (folder / "lock").unlink()
    (tmp_path / "victim").write_text("kept")
    (folder / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"), locked(folder):
        pass


def test_no_temporary_name_can_be_guessed():
    """`gettempdir` with a name of one's own is how it began; tempfile's functions draw theirs."""
    for path in sorted(ROOT.rglob("*.py")):
        if path.relative_to(ROOT).parts[0] in ("cliplit", "runtime", "export", "plugins", "benchmarks"):
            text = path.read_text(encoding="utf-8")
            if path.name == "leftovers.py":  # looks there for what it drew by tempfile, and whose process is gone
                continue
            assert not re.search(r"gettempdir\(|tempfile\.mktemp\(|['\"]/tmp/|['\"]/var/tmp", text), path
    for path in (ROOT / "plugins" / "frei0r").glob("*.[ch]"):
        assert not re.search(r"tmpnam|tempnam|/tmp/", path.read_text()), path
