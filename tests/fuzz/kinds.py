"""What each kind of input is given to. An attempt may succeed or raise a `CliplitError`; all else is a fault."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import random
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from cliplit.config import TrainConfig, read_json, read_yaml
from cliplit.errors import CliplitError, InputError
from cliplit.plugins import protocol
from cliplit.plugins.worker import StreamPixels, serve
from cliplit.runtime import Enhancer
from cliplit.runtime.backends import engine_file
from cliplit.runtime.backends.engine_file import EngineHeader, Machine, Shapes
from cliplit.runtime.image.enhance import enhance_picture
from cliplit.runtime.image.icc import matrix_profile
from cliplit.runtime.network import LightMapNetwork
from cliplit.runtime.video import clip as clips_of
from cliplit.runtime.video.codecs import Encoding
from cliplit.runtime.video.pyav_reader import Reading
from cliplit.runtime.video.request import Request
from cliplit.runtime.video.work_folder import folder_for
from made import backlit, moving, write_clip

from .networks import checkpoints, damaged, onnx_files

FAST = Encoding(preset="ultrafast")
PICTURE = np.full((1, 3, 64, 96), 0.5, np.float32)
Attempt = tuple[str, Callable[[], object]]


@functools.cache
def enhancer() -> Enhancer:
    return Enhancer(threads=1, device="cpu")


def seeds(seed: int) -> Iterator[int]:
    while True:
        yield seed
        seed += 1


def run_network(path: Path, backend: str) -> None:
    LightMapNetwork(path, "cpu", 1, backend).light_maps(PICTURE)


def onnx_kind(folder: Path, seed: int) -> Iterator[Attempt]:
    """All that are made by hand on two back ends, then damaged ones; OpenVINO 2026.4 itself crashes on some."""
    backends = ("onnxruntime", "pytorch")
    for backend in backends:
        LightMapNetwork("lite", "cpu", 1, backend)  # libraries are loaded before the clock runs
    for name, path in onnx_files(folder):
        for backend in backends:
            yield f"{name} on {backend}", functools.partial(run_network, path, backend)
    data = (Path(__file__).parents[2] / "runtime" / "models" / "lite.onnx").read_bytes()
    for number in seeds(seed):
        path = folder / "damaged.onnx"
        path.write_bytes(damaged(data, number))
        yield f"damaged {number}", functools.partial(run_network, path, backends[number % 2])


def checkpoint_kind(folder: Path, seed: int) -> Iterator[Attempt]:
    proof = folder / "proof"
    LightMapNetwork("lite", "cpu", 1, "pytorch")  # libraries are loaded before the clock runs

    def load(path: Path) -> None:
        try:
            run_network(path, "pytorch")
        finally:
            if proof.exists():
                raise SystemExit("code of a checkpoint was run")

    for name, path in checkpoints(folder, proof):
        yield name, functools.partial(load, path)
    data = (folder / "one_more_tensor.pt").read_bytes()
    for number in seeds(seed + 100):
        (folder / "damaged.pt").write_bytes(damaged(data, number))
        yield f"damaged {number}", functools.partial(load, folder / "damaged.pt")


def picture_kind(folder: Path, seed: int) -> Iterator[Attempt]:
    picture = backlit(48, 64)
    samples = []
    for suffix in (".png", ".jpg", ".tif", ".webp", ".bmp"):
        for kind in (picture, picture[..., 0], picture.astype(np.uint16) * 257):
            with contextlib.suppress(cv2.error):
                done, data = cv2.imencode(suffix, kind)
                samples += [(suffix, data.tobytes())] if done else []
    for number in seeds(seed):
        suffix, data = samples[number % len(samples)]
        path = folder / f"in{suffix}"
        path.write_bytes(damaged(data, number))
        out = folder / f"out{suffix if suffix != '.bmp' else '.png'}"
        yield f"picture {number}", partial(enhance_picture, path, out, enhancer(), overwrite=True)


@functools.cache
def clip_samples(folder: Path) -> list[tuple[str, bytes]]:
    """Read small clips of most containers and codecs."""
    made = []
    for suffix, codec, form in ((".mp4", "libx264", "yuv420p"), (".mkv", "ffv1", "yuv444p"), (".mov", "prores_ks", "yuv422p10le"),
                                (".webm", "libvpx-vp9", "yuv420p"), (".ts", "mpeg2video", "yuv420p"), (".avi", "mjpeg", "yuvj420p"),
                                (".mkv", "libx265", "yuv420p10le"), (".nut", "ffv1", "gray16le"), (".flv", "libx264", "yuv420p"),
                                (".y4m", "wrapped_avframe", "yuv420p"), (".mpg", "mpeg2video", "yuv420p")):  # fmt: skip
        path = folder / f"sample{len(made)}{suffix}"
        with contextlib.suppress(av.FFmpegError, ValueError), av.logging.Capture():
            write_clip(path, moving(6, 48, 64), sound=suffix in (".mp4", ".mkv"), codec=codec, pixel_format=form)
            made.append((suffix, path.read_bytes()))
    return made


def relight(path: Path, out: Path) -> None:
    request = Request(path, out, FAST, reading=Reading(max_pixels=1 << 20))
    clips_of.run(request, enhancer())


def clip_kind(folder: Path, seed: int) -> Iterator[Attempt]:
    samples = clip_samples(folder)
    assert len(samples) > 6
    for number in seeds(seed):
        suffix, data = samples[number % len(samples)]
        path = folder / f"in{suffix}"
        path.write_bytes(damaged(data, number))
        yield f"clip {number} ({suffix})", functools.partial(relight, path, folder / "out.mkv")


def y4m_kind(folder: Path, seed: int) -> Iterator[Attempt]:
    """Headers of words in any order, sizes of any size, frames of any length."""
    words = ["W64", "H48", "W0", "H0", "W-1", "H99999999", "W2147483648", "F25:1", "F0:0", "F-1:0", "F1:0", "Ip", "It", "Im", "A0:0",
             "A99999999:1", "C420", "C444alpha", "C420p10", "Cmono", "Cmono16", "C411", "Cx", "XYSCSS=420JPEG", "X" * 300, "\0", ""]  # fmt: skip
    for number in seeds(seed):
        chance = random.Random(number)
        chosen = [*chance.sample(["W64", "H48", "F25:1", "C420"], 4), *chance.choices(words, k=chance.randrange(4))]
        head = " ".join(["YUV4MPEG2", *chosen]).encode("latin-1") + b"\n"
        frames = b"".join(
            b"FRAME" + chance.choice([b"", b" Ip", b" X" * 99, b"\0"]) + b"\n" + chance.randbytes(chance.choice([4608, 4608, 10, 0]))
            for _ in range(3)
        )  # fmt: skip
        (folder / "in.y4m").write_bytes(damaged(head + frames, number) if number % 3 == 0 else head + frames)
        yield f"y4m {number}", functools.partial(relight, folder / "in.y4m", folder / "out.mkv")


def engine_kind(folder: Path, seed: int) -> Iterator[Attempt]:
    header = EngineHeader("lite", "0" * 64, "fp32", Shapes.fixed((1, 64, 64)), Machine("10", "12", "c", "9", "L"))
    good = folder / "engines" / "good.engine"
    engine_file.write_engine(good, header, b"engine" * 20)
    data, start = good.read_bytes(), len(engine_file.MAGIC) + 12
    described = json.loads(data[start : data.index(b"engineengine")])
    values: list[Any] = [
        None,
        3,
        -1,
        1.5,
        "x",
        "../x",
        [],
        [1, 2, 3],
        {},
        {"least": [1, 2]},
        True,
        1 << 70,
        "\x1b[2J",
        float("nan"),
    ]
    path = folder / "bad.engine"

    def read() -> None:
        found, _ = engine_file.read_engine(path)
        found.path()
        found.mismatches(header)
        found.shapes.cover((1, 64, 64))
        assert str(found.shapes)

    for number in seeds(seed):
        chance = random.Random(number)
        if number % 2:
            path.write_bytes(damaged(data, number))
        else:
            changed = {**described, chance.choice([*described, "more"]): chance.choice(values)}
            if chance.random() < 0.5:
                inner = chance.choice(["shapes", "machine"])
                changed[inner] = {**described[inner], chance.choice(list(described[inner])): chance.choice(values)}
            text, engine = json.dumps(changed).encode(), b"engine" * 20
            path.write_bytes(engine_file.MAGIC + struct.pack("<IQ", len(text), len(engine)) + text + engine)
        yield f"engine {number}", read


def resume_kind(folder: Path, seed: int) -> Iterator[Attempt]:
    """Folders of an interrupted run, of which the manifest, a state or packets are damaged, with and without hashes."""
    from cliplit.runtime.video import segments

    segments.SECONDS = segments.SECONDS / 40
    source, target = folder / "in.mp4", folder / "out.mkv"
    write_clip(source, moving(30, 48, 64), gop_size=5)
    work = folder_for(target)

    def stop(written: int, expected: int | None) -> None:
        if written > 15:
            raise KeyboardInterrupt

    def go(progress: Callable[..., object] = lambda written, expected: None) -> None:
        target.unlink(missing_ok=True)
        request = Request(source, target, FAST, resume={"x": 1})
        clips_of.run(request, enhancer(), progress)

    for number in seeds(seed):
        with contextlib.suppress(CliplitError, KeyboardInterrupt):
            go(stop)
        files = sorted(work.iterdir())
        chance = random.Random(number)
        victim = chance.choice([file for file in files if file.name != "lock"])
        victim.write_bytes(damaged(victim.read_bytes(), number))
        manifest = work / "manifest.json"
        with contextlib.suppress(ValueError, KeyError, TypeError, IndexError):
            content = json.loads(manifest.read_text())
            if victim.suffix != ".json":  # with a hash that fits, as an attacker would
                entry = content["segments"][int(victim.stem)]["files"]
                place = 0 if victim.suffix == ".packets" else 1
                entry[place] = [victim.stat().st_size, hashlib.sha256(victim.read_bytes()).hexdigest()]
            elif chance.random() < 0.7:
                segment = chance.choice(content["segments"])
                wrong: list[Any] = [None, -1, "x", [], 1 << 70, {}, 1.5, [[1]], True]
                segment[chance.choice([*segment, "more"])] = chance.choice(wrong)
            manifest.write_text(json.dumps(content))

        def again() -> None:
            try:
                go()
            finally:
                for file in work.iterdir() if work.is_dir() else ():
                    file.unlink()

        yield f"resume {number} ({victim.name})", again


def protocol_kind(folder: Path, seed: int) -> Iterator[Attempt]:
    """Requests of any bytes, sizes, numbers and profiles to the worker that GIMP and frei0r start."""
    linear = matrix_profile([(0.64, 0.33), (0.3, 0.6), (0.15, 0.06), (0.3127, 0.329)], [1.0])
    for number in seeds(seed):
        chance = random.Random(number)
        numbers = [0.0, 1.0, -1.0, float("nan"), float("inf"), -1e300, 16.0, 1e-300]
        sizes = [0, 1, 3, 17, 64, 1 << 18, (1 << 32) - 1]
        stream = b""
        for _ in range(chance.randrange(1, 4)):
            profile = chance.choice([b"", b"", b"", linear, damaged(linear, number), chance.randbytes(200)])
            lies = [1, 1 << 24, (1 << 24) + 1, (1 << 64) - 1]
            request = protocol._REQUEST.pack(
                chance.choice([b"CLIT"] * 9 + [b"XXXX"]), chance.choice([protocol.VERSION] * 9 + [0, 99]),
                chance.choice([0, 1, 2, 3, 3, 77]),
                chance.choice(sizes), chance.choice(sizes), chance.choice([0, 0, 0, 1, 5]), *chance.choices(numbers, k=4),
                chance.choice([b"", b"", b"lite", b"../x", b"\xff" * 16, b"unet"]),
                chance.choice([len(profile)] * 9 + lies),
            )  # fmt: skip
            stream += request + profile + chance.randbytes(chance.choice([0, 4, 12, 3 * 17 * 4, 64 * 64 * 4]))
        data = damaged(stream, number) if number % 4 == 0 else stream

        def talk(data: bytes = data) -> None:
            source, sink = io.BytesIO(data), io.BytesIO()
            with contextlib.suppress(EOFError):  # the client is gone
                serve(source, sink, StreamPixels(source, sink), "lite", "cpu")
            if any(protocol._REPLY.pack(b"CLIT", protocol.VERSION, 1, 0, 0)[:12] in part for part in [sink.getvalue()]):
                raise InputError("a request was refused")

        yield f"requests {number}", talk


def configuration_kind(folder: Path, seed: int) -> Iterator[Attempt]:
    values: list[Any] = [None, -1, 0, 1 << 70, 1.5, float("nan"), float("inf"), "x", "", "\x1b[2J", [], [1], [[]], {}, {"a": 1},
                         True, "9" * 5000, [[1, 2], 3], "192x", ["-1x-1"], [1e308, 1e308]]  # fmt: skip
    texts = [b"", b"[", b"- a", b"a: &x [1]\nb: [*x, *x]", b"\xff\xfe", b"[" * 50_000, b"{" * 9999, b"!!python/object:os.system x",
             b"1: 2", b"? [a]\n: b", b"null", b"a: " + b"9" * 9999, b"%YAML 9.9\n---\n", b"date: 2001-99-99"]  # fmt: skip
    names = list(TrainConfig.__dataclass_fields__)
    for number in seeds(seed):
        chance = random.Random(number)
        path = folder / f"config{chance.choice(['.json', '.yaml'])}"
        if number % 3 == 0:
            path.write_bytes(
                damaged(texts[number // 3 % len(texts)], number) if number > 60 else texts[number // 3 % len(texts)]
            )
        else:
            content = {
                "photos": ["x"],
                **{chance.choice(names): chance.choice(values) for _ in range(chance.randrange(1, 4))},
            }
            path.write_text(json.dumps(content))
        read = read_json if path.suffix == ".json" else (lambda path: read_yaml(str(path)))
        yield f"configuration {number}", partial(lambda read, path: TrainConfig.from_dict(read(path)), read, path)


KINDS: dict[str, Callable[[Path, int], Iterator[Attempt]]] = {
    "onnx": onnx_kind, "checkpoints": checkpoint_kind, "pictures": picture_kind, "clips": clip_kind, "y4m": y4m_kind,
    "engines": engine_kind, "resume": resume_kind, "protocol": protocol_kind, "configurations": configuration_kind,
}  # fmt: skip
__all__ = ["KINDS"]
