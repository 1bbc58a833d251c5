"""Pictures and clips that the tests make themselves."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from cliplit.runtime.backends.model_file import BUNDLED

# The bundled model, and the paper's network with weights of our own, which is not bundled.
MODELS = {"lite": BUNDLED / "lite.onnx", "unet": Path(__file__).parent / "models" / "unet.onnx"}


def backlit(height=180, width=320, seed=0):
    """(H, W, 3) uint8: a dark textured foreground under a bright gradient, a crisp skyline between them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    skyline = height * (0.55 + 0.15 * np.sin(x / width * 9) + 0.05 * np.sign(np.sin(x / width * 40)))
    texture = rng.random((height, width, 1)).astype(np.float32)
    sky = np.stack([0.75 + 0.2 * y / height, 0.82 + 0.15 * y / height, np.full_like(y, 0.97)], axis=-1)
    ground = np.array([0.10, 0.08, 0.05], np.float32) * (0.5 + texture)
    return np.round(np.where((y > skyline)[..., None], ground, sky) * 255).astype(np.uint8)


def write_clip(
    path, frames, rate=25, sound=True, codec="libx264", pixel_format="yuv420p", pts=None, movflags="", **tags
):
    """Encode (H, W, 3) uint8 frames; `pts` in ticks of 1 / (100 rate), `tags` are codec context attributes."""
    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as container:
        video = container.add_stream(codec, rate=rate, options={"crf": "12"} if codec == "libx264" else {})
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = pixel_format
        video.codec_context.time_base = video.time_base = Fraction(1, 100 * rate)
        for name, value in tags.items():
            setattr(video.codec_context, name, value)
        audio = container.add_stream("aac", rate=48000, layout="mono") if sound else None
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixel_format)
            frame.time_base, frame.pts = Fraction(1, 100 * rate), number * 100 if pts is None else pts[number]
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            samples = (np.sin(np.arange(48000 * len(frames) // rate) / 20) * 8000).astype(np.int16)[None]
            wave = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            wave.sample_rate, wave.pts, wave.time_base = 48000, 0, Fraction(1, 48000)
            container.mux(audio.encode(wave))
            container.mux(audio.encode(None))
    return Path(path)


def read_clip(path, form="rgb24"):
    """(frames as arrays, pts as exact times) of the first video stream."""
    with av.open(str(path)) as container:
        decoded = list(container.decode(video=0))
    return [f.to_ndarray(format=form) for f in decoded], [f.pts * f.time_base for f in decoded]


def packets(path, kind):
    """[(time, bytes), ...] of all packets of each stream of one kind."""
    with av.open(str(path)) as container:
        result = {s.index: [] for s in container.streams if s.type == kind}
        for packet in container.demux([container.streams[i] for i in result]):
            if packet.size:
                result[packet.stream.index].append((packet.pts * packet.time_base, bytes(packet)))
    return list(result.values())


def float_rgb(frame, kr, kb, full):
    """A decoded 8-bit frame as (H, W, 3) float32 RGB, by the definition (ITU-T H.273), chroma repeated.

    swscale's quick conversion is up to three codes off in the dark, which a gain of ten makes visible.
    """
    y, cb, cr = (
        np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width].astype(np.float32) for p in frame.planes
    )
    fy, fx = -(-y.shape[0] // cb.shape[0]), -(-y.shape[1] // cb.shape[1])
    cb, cr = (c.repeat(fy, 0).repeat(fx, 1)[: y.shape[0], : y.shape[1]] for c in (cb, cr))
    y = y / 255 if full else (y - 16) / 219
    cb, cr = ((c - 128) / (255 if full else 224) for c in (cb, cr))
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return np.clip(np.stack([red, green, blue], axis=-1), 0, 1).astype(np.float32)


def write_rich_clip(path, frames, rate=25, audio_start=0, video_start=0):
    """A Matroska clip with two languages, subtitles, an attachment, chapters and tags.

    The starts are in milliseconds.
    """
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "A rich clip"
        video = container.add_stream("libx264", rate=rate, options={"crf": "12", "preset": "ultrafast"})
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        sounds = []
        for language, title, codec in (("deu", "Ton", "aac"), ("eng", "Commentary", "flac")):
            sound = container.add_stream(codec, rate=48000, layout="mono")
            sound.metadata.update(language=language, title=title)
            sounds.append(sound)
        sounds[0].disposition = av.stream.Disposition.default
        sounds[1].disposition = av.stream.Disposition.comment
        text = container.add_mux_stream("subrip")
        text.time_base = Fraction(1, 1000)
        text.metadata["language"] = "fra"
        container.add_attachment("font.ttf", "application/x-truetype-font", b"not really a font")
        container.set_chapters(
            [
                {"id": 1, "start": 0, "end": 300, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}},
                {"id": 2, "start": 300, "end": 800, "time_base": Fraction(1, 1000), "metadata": {"title": "Two"}},
            ]
        )
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = video_start + number * 1000 // rate, Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for sound in sounds:
            kind = "fltp" if sound.codec_context.name == "aac" else "s16"
            wave = (np.sin(np.arange(48000 * len(frames) // rate) / 20) * 0.25)[None]
            wave = wave.astype(np.float32) if kind == "fltp" else (wave * 32767).astype(np.int16)
            samples = av.AudioFrame.from_ndarray(wave, format=kind, layout="mono")
            samples.sample_rate, samples.time_base, samples.pts = 48000, Fraction(1, 48000), audio_start * 48
            container.mux(sound.encode(samples))
            container.mux(sound.encode(None))
        for start, words in ((100, b"Bonjour"), (500, b"Au revoir")):
            packet = av.Packet(words)
            packet.pts = packet.dts = start
            packet.duration, packet.time_base, packet.stream = 200, Fraction(1, 1000), text
            container.mux(packet)
    return Path(path)


class Constant:
    """A network that answers with the same light everywhere."""

    def __init__(self, network, light):
        self.info, self.path, self.device, self.light = network.info, network.path, "cpu", light

    def __call__(self, rgb):
        return np.full(rgb.shape[:2], self.light, np.float32)


def with_network(enhancer, network):
    """`enhancer` with another network in it."""
    import copy

    other = copy.copy(enhancer)
    object.__setattr__(other, "network", network)
    return other


def identity(enhancer):
    """`enhancer` with a network whose light map is 1 everywhere: what it enhances must not change."""
    return with_network(enhancer, Constant(enhancer.network, 1.0))


def video_command(*arguments, **options):
    """`cliplit-video` in a process of its own: exit codes and streams are what is tested."""
    code = "from cliplit.runtime.video.cli import main; main(prog_name='cliplit-video')"
    settings = {"capture_output": True, "timeout": 120, **options}
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], **settings)


def camera_noise(picture, count, sigma=3.0, seed=0):
    """`count` noisy uint8 versions of a picture."""
    rng = np.random.default_rng(seed)
    noisy = (np.round(picture + rng.normal(0, sigma, picture.shape)) for _ in range(count))
    return [np.clip(codes, 0, 255).astype(np.uint8) for codes in noisy]


def moving(count=20, height=120, width=192, step=2):
    """A pan over the backlit picture."""
    wide = backlit(height, width + count * step)
    return [np.ascontiguousarray(wide[:, step * i : step * i + width]) for i in range(count)]


def enhanced(clip, items, enhancer, *rest, **options):
    """The items of a source, each frame relighted; the arguments are those of `FrameLoop`."""
    from cliplit.runtime.video.frame_loop import FrameLoop

    return FrameLoop(clip, enhancer, *rest, **options)(items)
