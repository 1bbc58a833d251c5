"""Sound that a container does not hold as it is, in a codec that it holds: lossless sound stays lossless if it can."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
from av.container import OutputContainer

SOUND = {
    "webm": "libopus", "ogg": "libopus", "ogv": "libopus", "avi": "libmp3lame", "flv": "aac", "asf": "wmav2",
    "mpeg": "mp2", "vob": "mp2",
}  # fmt: skip
# Containers in which players expect PCM, FLAC or ALAC, in the order they are tried.
LOSSLESS = {
    "matroska": ("pcm", "flac"), "mov": ("pcm", "alac"), "mp4": ("flac", "alac"), "ipod": ("alac",), "avi": ("pcm",),
    "nut": ("pcm",), "asf": ("pcm",), "mxf": ("pcm",), "ogg": ("flac",), "ogv": ("flac",),
}  # fmt: skip
LOSSLESS_CODECS = {"flac", "alac", "truehd", "mlp", "tta", "wavpack", "ape", "tak", "s302m"}  # beside pcm_*
PCM = {"u8": "pcm_s16le", "s16": "pcm_s16le", "s32": "pcm_s32le", "flt": "pcm_f32le", "dbl": "pcm_f64le"}
FORMATS = {"s16": ("s16", "s16p"), "s32": ("s32", "s32p")}  # of FLAC and ALAC
RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)  # that AAC knows
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 8: "7.1"}  # of AAC and Opus both
PIECE = 1024  # samples of a packet of PCM; those of TrueHD have 40, less than a tick of some containers
STEREO = ("mp2", "libmp3lame", "wmav2")  # encoders of two channels


def is_lossless(codec: str) -> bool:
    return codec.startswith("pcm_") or codec in LOSSLESS_CODECS


def instead_of(source: Any, form: str) -> list[str]:
    """List FFmpeg's names of the encoders to try for a stream in a container, the best first."""
    found = []
    if is_lossless(source.codec_context.codec.canonical_name):
        kind = source.codec_context.format.name.removesuffix("p")
        deep = form == "mxf" or source.codec_context.codec.canonical_name == "pcm_bluray"
        pcm = "pcm_s24le" if deep and kind != "s16" else PCM.get(kind, "pcm_s32le")
        found = [pcm if name == "pcm" else name for name in LOSSLESS.get(form, ())]
        if kind in ("flt", "dbl"):
            found = [name for name in found if name not in ("flac", "alac")]  # of whole numbers
    return found if form == "mxf" and found else [*found, "pcm_s16le" if form == "mxf" else SOUND.get(form, "aac")]


class SoundTranscoder:
    """A stream of sound that the container does not hold as it is."""

    def __init__(self, container: OutputContainer, source: Any, codec: str) -> None:
        self.source = source
        self.taken = self.undecodable = self.given = 0  # packets, and those of them without sound; pieces of sound
        self._long: Any = None  # puts small pieces of PCM together
        channels = source.layout.nb_channels
        if codec.startswith("pcm_") or codec in LOSSLESS_CODECS:
            rate = 48000 if container.format.name == "mxf" else source.rate
            self.target: Any = container.add_stream(codec, rate=rate)
            context: Any = self.target.codec_context
            named = source.layout.name if "channels" not in source.layout.name else LAYOUTS.get(channels)
            context.layout = named or source.layout.name
            if codec.startswith("pcm_"):
                self._long = av.AudioResampler(frame_size=PIECE)
            else:
                wide = source.codec_context.format.name.startswith("s32")
                known = {form.name for form in context.codec.audio_formats or ()}
                context.format = next(name for name in FORMATS["s32" if wide else "s16"] if name in known)
            return
        rates = RATES if codec == "aac" else (32000, 44100, 48000) if codec in STEREO else ()
        self.target = container.add_stream(codec, rate=source.rate if source.rate in rates else 48000)
        context = self.target.codec_context
        if codec in STEREO:
            channels = min(channels, 2)
        context.layout = LAYOUTS.get(channels, "stereo")
        context.bit_rate = 96_000 * min(channels, 8)

    def packets(self, packet: av.Packet[Any] | None) -> Iterator[av.Packet[Any]]:
        self.taken += packet is not None and packet.size > 0
        try:
            frames = self.source.codec_context.decode(packet)
        except av.FFmpegError:  # a damaged packet is a hole in the sound
            frames = []
            self.undecodable += 1
        if self._long is not None:
            last: list[Any] = [None] if packet is None else []
            frames = [piece for frame in [*frames, *last] for piece in self._long.resample(frame)]
        self.given += len(frames)
        for frame in frames:
            yield from self.target.encode(frame)
        if packet is None:
            yield from self.target.encode(None)
