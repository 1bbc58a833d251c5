"""Cameras, network streams, GStreamer pipelines and files through OpenCV: the second back end of the contract.

OpenCV opens what PyAV's wheels cannot: cameras by number on every system, and GStreamer pipelines for a Jetson's
cameras and decoders (with an OpenCV built with GStreamer). It gives only 8-bit BGR pictures and no sound, and its
writer has one constant frame rate, so files use it only with `--io opencv`. Its pictures become BT.601 limited-range
4:2:0, which every encoder takes; odd sizes become full-range 4:4:4.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from cliplit.arrays import Array
from cliplit.errors import BackendError, InputError

from ..light.colour import MATRICES, Coding, Colour
from .encoder import picture_of
from .endings import cut_off
from .frames import Clip, Frame
from .names import checked_address, demuxing, local, origin_of
from .pyav import open_to_read

BT601 = 6
MICROSECOND = Fraction(1, 1_000_000)
TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
FOURCC = {".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG", ".webm": "VP90"}
TIMEOUT = 10_000  # milliseconds for a stream to open, and between its frames
NO_SOUND = (
    "OpenCV gives 8-bit pictures at BT.601 colours and no sound, subtitles or metadata, and does not say which "
    "pictures are damaged"
)

# FFmpeg inside OpenCV: RTSP over TCP, without buffers that only add delay; nothing printed.
FFMPEG_OPTIONS = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay"
CAPTURE_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
# Decoders that the FFmpeg of OpenCV's newest wheels has with known holes. 5.0.0.93 brings 8.1.1: CVE-2026-8461.
HOLES = {"magicyuv"}
_OPENING = threading.Lock()  # the environment belongs to the whole process


class OpenCVReader:
    """A camera ("0", "/dev/video0"), an address, a GStreamer pipeline ("... ! appsink") or a file as a `Source`.

    Args:
        source: what to open.
        live: the moment a frame was got is its time; otherwise the source's own.

    Raises:
        InputError: it cannot be opened, or gives no picture.
        BackendError: a GStreamer pipeline, and OpenCV was built without GStreamer.
    """

    def __init__(self, source: str | Path, live: bool = False) -> None:
        self.source, self.live = source, live
        self.decoded = self.damaged = 0
        self.notes: list[str] = [NO_SOUND]
        self.others: list[Any] = []
        self._capture, self._file = opened(source)
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)  # releases differ in the direction they turn (R2.7)
        self._turn = TURNS.get(round(self._capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 360)
        if self._capture.get(cv2.CAP_PROP_ORIENTATION_AUTO):
            self._turn = None  # OpenCV turns it although told not to
        self._start = time.monotonic()
        self._last = -1
        first = self._read()
        if first is None:
            self.close()
            raise InputError(f"{source}: opened, but gives no picture")
        self._first: tuple[Array, int] | None = first
        self.clip = self._describe(first[0])

    def _describe(self, picture: Array) -> Clip:
        height, width = picture.shape[:2]
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        even = width % 2 == 0 and height % 2 == 0
        return Clip(
            width, height, "yuv420p" if even else "yuv444p", Coding(*MATRICES[BT601], full_range=not even),
            Colour(BT601, color_range=1 if even else 2), MICROSECOND,
            Fraction(rate).limit_denominator(1001) if 1 <= rate <= 1000 else None,
            int(count) if 0 < count < 1e9 and not self.live else None,
        )  # fmt: skip

    def _read(self) -> tuple[Array, int] | None:
        """Read the next picture, upright, and its time in microseconds."""
        ok, picture = self._capture.read()
        if not ok or picture is None:
            return None
        milliseconds = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        now = (time.monotonic() - self._start) * 1e6 if self.live else milliseconds * 1e3
        self._last = max(self._last + 1, round(now))
        if self._turn is not None:
            picture = cv2.rotate(picture, self._turn)
        if picture.ndim == 2:
            picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
        return picture, self._last

    def __iter__(self) -> Iterator[Frame]:
        item, self._first = self._first, None
        while item is not None:
            picture, microseconds = item
            if picture.shape[:2] != (self.clip.height, self.clip.width):
                picture = cv2.resize(picture, (self.clip.width, self.clip.height), interpolation=cv2.INTER_AREA)
            self.decoded += 1
            yield frame_of(picture, self.clip, microseconds)
            item = self._read()

    @property
    def problems(self) -> str:
        expected = self.clip.expected_frames or 0
        if expected - self.decoded > max(2, self.decoded // 50) and isinstance(self.source, Path):
            expected, cut = described(self.source, expected)
            if cut:
                return "the file breaks off"
        absent = expected - self.decoded
        return f"{absent} of {expected} frames missing" if absent > max(2, self.decoded // 50) else ""

    def close(self) -> None:
        self._capture.release()
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> OpenCVReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def described(path: Path, otherwise: int) -> tuple[int, bool]:
    """Return how many pictures a file has by its index, or else by its packets, and whether it breaks off.

    Where there is no index OpenCV gives `otherwise`: the length of the longest stream at the highest rate.
    """
    try:
        with open_to_read(path) as container:
            if count := container.streams.video[0].frames:
                return count, False
            return sum(bool(packet.size) for packet in container.demux(video=0)), cut_off(path, container.format.name)
    except (av.FFmpegError, OSError, IndexError):
        return otherwise, False


def frame_of(bgr: Array, clip: Clip, microseconds: int) -> Frame:
    """Convert an (H, W, 3) BGR picture to a frame."""
    height, width = bgr.shape[:2]
    if clip.pixel_format == "yuv420p":
        codes = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420).reshape(-1)
        size, quarter = height * width, height * width // 4
        y = codes[:size].reshape(height, width)
        cb, cr = codes[size : size + quarter], codes[size + quarter :]
        planes = y, cb.reshape(height // 2, width // 2), cr.reshape(height // 2, width // 2)
    else:
        y, cr, cb = cv2.split(cv2.cvtColor(bgr, cv2.COLOR_BGR2YCrCb))
        planes = y, cb, cr
    return Frame(planes, clip.coding, clip.pixel_format, microseconds, MICROSECOND, key_frame=True)


def bgr_of(frame: Frame, clip: Clip) -> Array:
    """Convert a frame of any source to (H, W, 3) uint8 BGR."""
    height, width = frame.planes[0].shape
    if frame.pixel_format == "yuv420p" and clip.colour.matrix == BT601 and not frame.coding.full_range and not (
        height % 2 or width % 2
    ):  # fmt: skip
        codes = np.concatenate([plane.reshape(-1) for plane in frame.planes])
        return cv2.cvtColor(codes.reshape(height * 3 // 2, width), cv2.COLOR_YUV2BGR_I420)
    picture = picture_of(frame)
    full = clip.colour.full_range or frame.coding.full_range
    return picture.reformat(
        format="bgr24", src_colorspace=clip.colour.matrix if not frame.coding.rgb else None,
        src_color_range=2 if full else 1, dst_color_range=2,
    ).to_ndarray()  # fmt: skip


class OpenCVWriter:
    """Writes frames with OpenCV's VideoWriter, as a `Sink`: 8 bits, a constant frame rate, no sound.

    Args:
        path: the file; its suffix chooses the codec.
        clip: of the frames to come.

    Raises:
        InputError: a suffix that OpenCV cannot write.
    """

    def __init__(self, path: Path, clip: Clip) -> None:
        self.path, self.clip, self.written = path, clip, 0
        suffix = path.suffix.lower()
        if suffix not in FOURCC:
            raise InputError(f"{suffix or 'no suffix'}: OpenCV writes {', '.join(FOURCC)}")
        rate = float(clip.rate or 25)
        self.notes = [f"OpenCV writes {FOURCC[suffix]} at a constant {rate:g} frames/s, without sound"]
        # cv2 mangles non-ASCII names on Windows and crashes at those that are not UTF-8: it writes to a plain one.
        self._plain = path if str(path).isascii() else Path(tempfile.mkdtemp(prefix="cliplit")) / f"clip{suffix}"
        quiet()
        self._writer = cv2.VideoWriter(
            local(self._plain), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*FOURCC[suffix]), rate, (clip.width, clip.height)
        )
        if not self._writer.isOpened():
            self._clean()
            raise InputError(f"{path}: this OpenCV cannot write {FOURCC[suffix]} into {suffix}")

    def write(self, item: Any) -> None:
        if isinstance(item, Frame):
            self._writer.write(bgr_of(item, self.clip))
            self.written += 1

    def __enter__(self) -> OpenCVWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._writer.release()
        try:
            if kind is None:
                self._check()
                if self._plain != self.path:
                    shutil.copyfile(self._plain, self.path)  # the content alone: network shares refuse the rest
        finally:
            self._clean()

    def _check(self) -> None:
        """Read back what was written: OpenCV reports no errors, not even a full disk."""
        try:
            with open_to_read(self._plain) as file:
                arrived = sum(1 for packet in file.demux(video=0) if packet.size)
            why = f"{arrived} of {self.written} frames arrived"
        except (av.FFmpegError, OSError, ValueError, IndexError):
            arrived, why = -1, "the file cannot be read back"
        if arrived != self.written:
            raise InputError(f"cannot write the output ({why}; is the disk full?)")

    def _clean(self) -> None:
        if self._plain != self.path:
            shutil.rmtree(self._plain.parent, ignore_errors=True)


def opened(given: str | Path) -> tuple[Any, Any]:
    """Open a `cv2.VideoCapture`; also return the file it reads from if OpenCV must not see its name."""
    quiet()
    source, origin = str(given), "file" if isinstance(given, Path) else origin_of(given)
    if origin == "pipeline":
        if not has("GStreamer"):
            raise BackendError(
                "a GStreamer pipeline, and this OpenCV was built without GStreamer (pip's wheels are); on a Jetson use "
                "the OpenCV of JetPack, elsewhere the system's package (Debian: apt-get install python3-opencv)"
            )
        return _checked(cv2.VideoCapture(source, cv2.CAP_GSTREAMER), source), None
    if origin == "camera":
        device = source.removeprefix("/dev/video")
        return _checked(cv2.VideoCapture(int(device)), source, "no camera there, or another program has it"), None
    if origin == "address":
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT, cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT]
        with ffmpeg_options(demuxing("address"), FFMPEG_OPTIONS):
            capture = cv2.VideoCapture(checked_address(source), cv2.CAP_FFMPEG, timeouts)
        return _checked(capture, source, "no answer, or no video"), None
    if not Path(source).is_file():
        raise InputError(f"{source}: no such file")
    refuse_holes(Path(source))
    with ffmpeg_options(demuxing("file")):
        return _opened_file(source)


def refuse_holes(source: Path) -> None:
    """Look into a file with PyAV, whose FFmpeg is newer. Raises InputError if OpenCV would use one of `HOLES`."""
    try:
        with av.logging.Capture(), open_to_read(source) as file:
            names = {stream.codec_context.name for stream in file.streams.video}
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{source}: not a video that OpenCV can read") from error
    if found := names & HOLES:
        raise InputError(f"{source}: OpenCV's decoder of {', '.join(found)} has a known hole; --io pyav reads it")


def _opened_file(source: str) -> tuple[Any, Any]:
    if source.isascii():
        return _checked(cv2.VideoCapture(local(source), cv2.CAP_FFMPEG), source), None
    try:  # cv2 mangles other names on Windows (R3.5): it gets the open file, where it takes one
        file = Path(source).open("rb")  # noqa: SIM115 - the capture reads it, the reader closes it
        return _checked(cv2.VideoCapture(file, cv2.CAP_FFMPEG, []), source), file  # type: ignore[call-overload]
    except (TypeError, cv2.error):
        if not source.isprintable():  # bytes that are not UTF-8, at which OpenCV crashes
            raise InputError(f"{source!a}: OpenCV cannot open a file of this name; --io pyav can") from None
        return _checked(cv2.VideoCapture(local(source), cv2.CAP_FFMPEG), source), None


@contextmanager
def ffmpeg_options(held: dict[str, str], ours: str = "") -> Iterator[None]:
    """While OpenCV opens something: FFmpeg's options, in the one place where OpenCV looks, the environment.

    Args:
        held: always set, after what the user has set there himself.
        ours: set where the user has set nothing; "key;value|key;value".
    """
    with _OPENING:
        before = os.environ.get(CAPTURE_OPTIONS)
        words = [word for word in (before or ours).split("|") if word]
        words += [f"{name};{value}" for name, value in held.items()]
        os.environ[CAPTURE_OPTIONS] = "|".join(words)
        try:
            yield
        finally:
            if before is None:
                del os.environ[CAPTURE_OPTIONS]
            else:
                os.environ[CAPTURE_OPTIONS] = before


def _checked(capture: Any, source: str, why: str = "not a video that OpenCV can read") -> Any:
    if not capture.isOpened():
        raise InputError(f"{source}: {why}")
    return capture


def quiet() -> None:
    """Silence OpenCV's own messages; we report errors in one line."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    with suppress(AttributeError):
        older = getattr(cv2, "setLogLevel", None)  # before OpenCV 4.13
        older(0) if older else cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def has(feature: str) -> bool:
    """Return whether the installed OpenCV was built with this feature."""
    lines = cv2.getBuildInformation().splitlines()
    return any(line.strip().startswith(f"{feature}:") and " YES" in line for line in lines)
