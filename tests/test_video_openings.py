"""Files are files: no name and no content of a local file reaches the network, another file or a device."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from cliplit.errors import InputError
from cliplit.runtime.video.frames import Frame
from cliplit.runtime.video.names import FILES, checked_address
from cliplit.runtime.video.opencv_io import OpenCVReader
from cliplit.runtime.video.pyav import open_to_read, open_to_write
from cliplit.runtime.video.pyav_reader import PyAVReader, Reading
from made import moving, video_command, write_clip

ROOT = Path(__file__).resolve().parents[1]
FFMPEG = shutil.which("ffmpeg")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("openings") / "in.mp4", moving(4, 64, 96), sound=False)


class Listener:
    """Counts who connects; answers nothing."""

    def __enter__(self):
        self.visits = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def _accept(self):
        while True:
            try:
                self._open.append(self._socket.accept()[0])
            except OSError:
                return
            self.visits += 1

    def __exit__(self, *rest):
        self._socket.close()
        for connection in self._open:
            connection.close()


@pytest.mark.skipif(os.name == "nt", reason="names that Windows forbids")
@pytest.mark.parametrize("options", [[], ["--io", "opencv"], ["--live"], ["--benchmark"]], ids=" ".join)
def test_names_that_look_like_addresses_open_nothing(tmp_path, plain, options):
    """Names of no file, without and with a real file beside them, alone and in a pattern."""
    shutil.copyfile(plain, tmp_path / "b.mp4")
    with Listener() as listener:
        names = [
            f"http:127.0.0.1:{listener.port}.mp4",
            f"tcp:127.0.0.1:{listener.port}",
            "subfile,,start,0,end,0,,:b.mp4",
        ]
        for name in [*names, "concat:b.mp4|b.mp4", "async:b.mp4", "cache:b.mp4", "data:b.mp4"]:
            result = video_command(
                *options, "--", name, *([] if "--benchmark" in options else ["out.mp4"]), cwd=tmp_path
            )
            assert (result.returncode, result.stdout) == (1, b""), name
            assert len(result.stderr.splitlines()) == 1 and b"no such file" in result.stderr, result.stderr
        assert listener.visits == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.mp4"]


@pytest.mark.skipif(os.name == "nt", reason="names that Windows forbids")
def test_files_of_such_names_give_their_own_pictures(tmp_path, plain):
    write_clip(tmp_path / "b.mp4", moving(9, 64, 96), sound=False)
    with Listener() as listener:
        for name in (f"http:127.0.0.1:{listener.port}.mp4", "subfile,,start,0,end,0,,:b.mp4", "concat:b.mp4|b.mp4"):
            shutil.copyfile(plain, tmp_path / name)
            result = video_command("--overwrite", "--json", "--", name, "out.mp4", cwd=tmp_path)
            assert result.returncode == 0 and b'"frames": 4' in result.stdout, (name, result.stderr)
        assert listener.visits == 0


def playlists(folder, port):
    """What makes FFmpeg open other files, all named as clips."""
    clip, secret = "b.mp4", folder / "secret.mp4"
    address = f"http://127.0.0.1:{port}/x.ts"
    return {
        "ffconcat": f"ffconcat version 1.0\nfile {clip}\n",
        "ffconcat-absolute": f"ffconcat version 1.0\noption safe 0\nfile '{secret}'\n",
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{clip}\n#EXT-X-ENDLIST\n",
        "hls-absolute": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        "hls-network": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
                'mediaPresentationDuration="PT1S" minBufferTime="PT1S" '
                'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011">'
                f'<Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{address}'
                "</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
               "a=rtpmap:96 H264/90000\n",
    }  # fmt: skip


@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".txt", ".sdp"])
def test_playlists_are_refused_whatever_they_are_called(tmp_path, plain, suffix):
    shutil.copyfile(plain, tmp_path / "b.mp4")
    shutil.copyfile(plain, tmp_path / "secret.mp4")
    with Listener() as listener:
        for name, text in playlists(tmp_path, listener.port).items():
            file = tmp_path / f"{name}{suffix}"
            file.write_text(text)
            with pytest.raises(InputError, match=r"is no clip but a playlist|not a video that can be read") as caught:
                PyAVReader(file)
            if name.startswith("ffconcat") or (name.startswith("hls") and suffix == ".m3u8"):
                assert "is no clip but a playlist" in str(caught.value)
            with pytest.raises(InputError, match="not a video"):
                OpenCVReader(file)
        assert listener.visits == 0


def test_playlists_that_are_asked_for_stay_among_files(tmp_path, plain):
    shutil.copyfile(plain, tmp_path / "b.mp4")
    with Listener() as listener:
        texts = playlists(tmp_path, listener.port)
        (tmp_path / "a.ffconcat").write_text(texts["ffconcat"])
        with PyAVReader(tmp_path / "a.ffconcat", Reading(playlist=True)) as reader:
            assert sum(isinstance(item, Frame) for item in reader) == 4
        result = video_command("--playlist", "a.ffconcat", "out.mp4", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        for name in ("hls-network", "dash", "sdp"):
            (tmp_path / f"{name}.m3u8").write_text(texts[name])
            with pytest.raises(InputError):
                PyAVReader(tmp_path / f"{name}.m3u8", Reading(playlist=True))
        assert listener.visits == 0


@pytest.mark.skipif(FFMPEG is None, reason="no ffmpeg")
@pytest.mark.parametrize("kind", ["ffconcat", "hls-network"])
def test_ffmpeg_itself_would_follow(tmp_path, plain, kind):
    """The tests above would see nothing if their playlists were wrong."""
    shutil.copyfile(plain, tmp_path / "b.mp4")
    with Listener() as listener:
        (tmp_path / "a.m3u8").write_text(playlists(tmp_path, listener.port)[kind])
        command = [str(FFMPEG), "-v", "error", "-protocol_whitelist", "file,http,tcp", "-rw_timeout", "500000"]
        result = subprocess.run(
            [*command, "-i", "a.m3u8", "-f", "null", "-"], cwd=tmp_path, capture_output=True, timeout=300
        )
        assert (result.returncode == 0) if kind == "ffconcat" else listener.visits > 0


@pytest.mark.parametrize(
    "scheme", ["file", "concat", "subfile", "async", "cache", "crypto", "data", "pipe", "fd", "lavfi"]
)
def test_addresses_are_of_the_network(tmp_path, plain, scheme):
    address = f"{scheme}://{plain}"
    with pytest.raises(InputError, match=r"file://|no address of a network stream"):
        checked_address(address)
    for reader in (PyAVReader, OpenCVReader):
        with pytest.raises(InputError):
            reader(address)
    result = video_command(address, "out.mp4", cwd=tmp_path)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1


def test_a_silent_address_is_given_up():
    with Listener() as listener:
        for scheme in ("http", "rtsp", "tcp", "rtmp"):
            start = time.monotonic()
            with pytest.raises(InputError):
                PyAVReader(f"{scheme}://127.0.0.1:{listener.port}/x", Reading(timeout=1.0))
            assert time.monotonic() - start < 15, scheme  # not the tests' clock: a hang, against 20 s by default
        assert listener.visits >= 4


def test_what_is_written_is_a_file_or_standard_output():
    for name in ("http://127.0.0.1/x.mp4", "tcp:127.0.0.1:1", "x.mp4"):
        with pytest.raises(ValueError, match="no path"):
            open_to_write(name, "mp4")


def test_demuxers_for_files_open_no_others():
    names = FILES.split(",")
    assert not set(names) & {"concat", "hls", "dash", "imf", "image2", "sdp", "rtsp", "rtp", "vobsub", "tty", "lavfi"}
    assert not set(names) & {"webm_dash_manifest", "vapoursynth", "avisynth", "mpjpeg", "ffmetadata", "alsa", "fbdev"}


def test_nothing_else_opens_media():
    """One function each for PyAV and OpenCV; memory is no file."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if name.split("/")[0] not in ("cliplit", "runtime", "export", "plugins", "benchmarks"):
            continue
        text = path.read_text(encoding="utf-8")
        found += [name for line in text.splitlines()
                  if re.search(r"av\.open\((?!io\.BytesIO)|cv2\.VideoCapture\(|cv2\.VideoWriter\(", line)]  # fmt: skip
    assert set(found) == {"runtime/video/pyav.py", "runtime/video/opencv_io.py", "cliplit/pictures/demo_clip.py"}
    assert 'av.open(f"file:' in (ROOT / "cliplit/pictures/demo_clip.py").read_text()


def test_opening_keeps_the_environment(plain, monkeypatch):
    for before in (None, "threads;1"):
        monkeypatch.delenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", raising=False)
        if before:
            monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", before)
        with OpenCVReader(plain):
            pass
        assert os.environ.get("OPENCV_FFMPEG_CAPTURE_OPTIONS") == before


def test_reading_back_is_held_too(tmp_path):
    """What writing and joining read again goes the same way."""
    (tmp_path / "a.mp4").write_text("ffconcat version 1.0\nfile b.mp4\n")
    with pytest.raises((OSError, ValueError)):
        open_to_read(tmp_path / "a.mp4")
