"""Encoders: the choice for a clip, the meaning of `--crf` and `--preset` to each, and whether it works here.

One table. Quality is constant everywhere: an encoder without `crf` gets the number in its own terms, on the same
scale if it has one (0 best .. 51 worst), so that NVENC or Quick Sync do not use their default bit rate.
"""

from __future__ import annotations

import difflib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

import av
from av.video.codeccontext import VideoCodecContext

from cliplit.errors import InputError, first_line

from .ffmpeg_log import logged
from .frames import Clip
from .pixels import closest, layout_of, losses

SPEEDS = ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"]
FAMILIES = ("h264", "hevc", "av1", "vp9", "prores", "ffv1")

Options = dict[str, str]

os.environ.setdefault("SVT_LOG", "1")  # errors only; SVT-AV1 has no option for it


@dataclass(frozen=True)
class Encoding:
    """How the video stream is encoded; None takes the encoder's default of the table below.

    Attributes:
        codec: "auto" (the source's family where the container holds it), a family (`FAMILIES`), or an encoder's name.
        crf: constant quality, lower is better.
        preset: a word from `SPEEDS`, or the encoder's own.
        pixel_format: FFmpeg's name; the source's own or the closest one otherwise.
        options: the encoder's own options.
    """

    codec: str = "auto"
    crf: float | None = None
    preset: str | None = None
    pixel_format: str | None = None
    options: Options = field(default_factory=dict)


@dataclass(frozen=True)
class Encoder:
    """The properties of one of FFmpeg's encoders.

    Attributes:
        quality: options for a crf; None if it is lossless or has a fixed quality.
        crf: that looks as good as x264's 18.
        presets: option name and its value for each of `SPEEDS`; None if it has no such option.
        fixed: options it always gets.
        interlaced: keeps two fields apart.
        even: refuses subsampled chroma that does not divide the size.
    """

    name: str
    family: str
    quality: Callable[[float], Options] | None = None
    crf: float = 18
    presets: tuple[str, list[str]] | None = None
    fixed: Options = field(default_factory=dict)
    interlaced: bool = False
    even: bool = False
    hardware: bool = False


def _crf(value: float) -> Options:
    return {"crf": f"{value:g}"}


def _crf_alone(value: float) -> Options:
    return {"crf": f"{value:g}", "b": "0"}


def _nvenc(value: float) -> Options:
    return {"rc": "vbr", "cq": f"{value:g}", "b": "0"}


def _global(value: float) -> Options:
    return {"global_quality": f"{round(value)}"}


def _amf(value: float) -> Options:
    return {"rc": "cqp", "qp_i": f"{round(value)}", "qp_p": f"{round(value)}"}


def _scale(value: float) -> Options:
    # MPEG's quantiser, 1..31, in units of 1 / 118 (FF_QP2LAMBDA)
    return {"flags": "+qscale", "global_quality": str(118 * max(1, min(31, round(value / 6))))}


def _videotoolbox(value: float) -> Options:
    return {"flags": "+qscale", "global_quality": str(118 * max(1, min(100, round(100 - 1.8 * value))))}


X26X = ("preset", SPEEDS)
SVT = ("preset", ["12", "11", "10", "10", "9", "8", "6", "5", "4", "2"])
VPX = ("cpu-used", ["5", "5", "5", "4", "3", "2", "1", "1", "0", "0"])
AOM = ("cpu-used", ["8", "8", "7", "7", "6", "5", "4", "3", "2", "1"])
NVENC = ("preset", ["p1", "p1", "p2", "p3", "p3", "p4", "p5", "p6", "p7", "p7"])
QSV = (
    "preset",
    ["veryfast", "veryfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "veryslow"],
)
AMF = ("quality", ["speed"] * 5 + ["balanced"] + ["quality"] * 4)

# In order of preference within a family: software first, because its quality is what the defaults were chosen for.
ENCODERS = (
    Encoder("libx264", "h264", _crf, 18, X26X, interlaced=True, even=True),
    Encoder("libx264rgb", "h264", _crf, 18, X26X),
    Encoder("h264_nvenc", "h264", _nvenc, 19, NVENC, even=True, hardware=True),
    Encoder("h264_qsv", "h264", _global, 19, QSV, even=True, hardware=True),
    Encoder("h264_vaapi", "h264", _global, 19, None, even=True, hardware=True),
    Encoder("h264_videotoolbox", "h264", _videotoolbox, 18, None, even=True, hardware=True),
    Encoder("h264_amf", "h264", _amf, 19, AMF, even=True, hardware=True),
    Encoder("libopenh264", "h264", lambda q: {"qmin": f"{round(q)}", "qmax": f"{round(q) + 6}"}, 20, even=True),
    Encoder("libx265", "hevc", _crf, 20, X26X, {"x265-params": "log-level=error", "a53cc": "1"}, even=True),
    Encoder("hevc_nvenc", "hevc", _nvenc, 21, NVENC, even=True, hardware=True),
    Encoder("hevc_qsv", "hevc", _global, 21, QSV, even=True, hardware=True),
    Encoder("hevc_vaapi", "hevc", _global, 21, None, even=True, hardware=True),
    Encoder("hevc_videotoolbox", "hevc", _videotoolbox, 20, None, even=True, hardware=True),
    Encoder("hevc_amf", "hevc", _amf, 21, AMF, even=True, hardware=True),
    Encoder("libsvtav1", "av1", _crf, 24, SVT, {"preset": "8"}, even=True),
    Encoder("libaom-av1", "av1", _crf_alone, 24, AOM, {"cpu-used": "5", "row-mt": "1"}),
    Encoder("av1_nvenc", "av1", _nvenc, 26, NVENC, even=True, hardware=True),
    Encoder("av1_qsv", "av1", _global, 26, QSV, even=True, hardware=True),
    Encoder("libvpx-vp9", "vp9", _crf_alone, 24, VPX, {"cpu-used": "2", "row-mt": "1"}),
    Encoder("vp9_qsv", "vp9", _global, 26, QSV, even=True, hardware=True),
    Encoder("libvpx", "vp8", _crf_alone, 10, VPX),
    Encoder("libtheora", "theora", lambda q: {"flags": "+qscale", "global_quality": str(118 * round((51 - q) / 5))}),
    Encoder("prores_ks", "prores", fixed={"vendor": "apl0"}, interlaced=True),
    Encoder("ffv1", "ffv1", fixed={"level": "3", "slicecrc": "1", "g": "1"}, interlaced=True),
    Encoder("mpeg2video", "mpeg2video", _scale, 12, interlaced=True, even=True),
    Encoder("mpeg4", "mpeg4", _scale, 12, interlaced=True, even=True),
    Encoder("mjpeg", "mjpeg", _scale, 12),
    *(Encoder(n, n, interlaced=True) for n in ("rawvideo", "huffyuv", "ffvhuff", "utvideo", "v210", "png", "qtrle")),
)  # fmt: skip
BY_NAME = {encoder.name: encoder for encoder in ENCODERS}
# Codecs that `auto` keeps; clips of any other one get the container's best.
KEPT = (*FAMILIES, "png", "qtrle", "huffyuv", "ffvhuff", "utvideo", "v210")
LOSSLESS = {"rawvideo": "ffv1"}  # what becomes another lossless codec where the container holds it
# Formats that accept any codec when asked, and then write what nothing reads; and what players expect of MP4.
REALLY_HELD = {
    "yuv4mpegpipe": {"rawvideo"},
    "mpegts": {"h264", "hevc", "mpeg2video", "mpeg4"},
    "mxf": {"h264", "mpeg2video", "prores"},
    "ogv": {"theora"},
    "ogg": {"theora"},
    "mpeg": {"mpeg2video", "h264"},
    "vob": {"mpeg2video", "h264"},
    "flv": {"h264"},  # the others by Enhanced RTMP, which many players do not know
    "mp4": {"h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video"},
}
INSTEAD = ("h264", "vp9", "av1", "hevc", "ffv1", "rawvideo")  # the first that the container holds


@dataclass(frozen=True)
class Choice:
    """An encoder that exists, works here, and the pixel format it will be given."""

    encoder: Encoder
    pixel_format: str
    notes: tuple[str, ...] = ()


def choose(clip: Clip, encoding: Encoding, container: str) -> Choice:
    """Choose the encoder for a clip in a container (FFmpeg's name of the format).

    Raises:
        InputError: no such encoder here, one that the container cannot hold or that cannot keep interlaced video.
    """
    if encoding.codec != "auto":
        return _checked(_named(encoding.codec, clip, encoding, container), clip, encoding)
    own = [clip.codec] if clip.codec in KEPT else [LOSSLESS[clip.codec]] if clip.codec in LOSSLESS else []
    families = [f for f in (*own, *INSTEAD) if f in held_by(container)]
    found: list[Choice] = []
    unfit: InputError | None = None
    for family in dict.fromkeys(families):
        try:
            candidate = _from_family(family, clip, encoding, container)
        except InputError as error:  # of a pixel format that this family does not take; another one may
            unfit = unfit or error
            continue
        found += [candidate] if candidate else []
    if clip.field_order != "progressive":
        found = [c for c in found if c.encoder.interlaced] or found
    if encoding.crf is not None or encoding.preset is not None:
        found = [c for c in found if c.encoder.quality] or found
    if not found and unfit:
        raise unfit
    if not found:
        raise InputError(
            f"no video encoder here writes into {container}, use .mkv or .webm; installed: {', '.join(installed())}"
        )
    choice = next((c for c in found if not _loses_depth(clip, c)), found[0])
    if clip.codec and choice.encoder.family != clip.codec:
        choice = Choice(choice.encoder, choice.pixel_format,
                        (f"{clip.codec} becomes {choice.encoder.family} ({choice.encoder.name})",))  # fmt: skip
    return _checked(choice, clip, encoding)


SYNONYMS = {"h265": "hevc", "x265": "hevc", "x264": "h264", "avc": "h264", "h.264": "h264", "h.265": "hevc"}


def _named(codec: str, clip: Clip, encoding: Encoding, container: str) -> Choice:
    codec = SYNONYMS.get(codec.lower(), codec)
    if codec in FAMILIES:
        choice = _from_family(codec, clip, encoding, container)
        if choice is None:
            held = ", ".join(f for f in FAMILIES if f in held_by(container)) or "none of " + ", ".join(FAMILIES)
            raise InputError(f"{codec}: no such encoder works here, or {container} cannot hold it (it holds {held})")
        return choice
    encoder = BY_NAME.get(codec) or Encoder(codec, codec)
    if not exists(codec):
        near = difflib.get_close_matches(codec, [*FAMILIES, *installed()], 3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"installed: {', '.join(installed())}"
        raise InputError(f"{codec}: no such video encoder here; {hint}")
    if not holds(container, codec):
        raise InputError(f"{container} cannot hold {codec}; .mkv holds nearly all")
    form = _format_for(codec, clip, encoding)
    if encoder.hardware:
        problem = trial(codec, form)
        if problem:
            raise InputError(f"{codec} does not work on this machine ({problem}); working: {', '.join(installed())}")
    return Choice(encoder, form)


def _from_family(family: str, clip: Clip, encoding: Encoding, container: str) -> Choice | None:
    candidates = [e for e in ENCODERS if e.family == family and exists(e.name) and holds(container, e.name)]
    if layout_of(clip.pixel_format).rgb and clip.codec == "h264":  # which few players open: only where it was so
        candidates.sort(key=lambda e: e.name != "libx264rgb")
    else:
        candidates = [e for e in candidates if e.name != "libx264rgb"]
    for encoder in candidates:
        form = _format_for(encoder.name, clip, encoding)
        if not encoder.hardware or not trial(encoder.name, form):
            return Choice(encoder, form)
    return None


def _loses_depth(clip: Clip, choice: Choice) -> bool:
    """Return whether the encoder would reduce more than eight bits to eight."""
    return layout_of(clip.pixel_format).depth > 8 == layout_of(choice.pixel_format).depth


def _format_for(codec: str, clip: Clip, encoding: Encoding) -> str:
    available = formats(codec)
    wanted = encoding.pixel_format
    if wanted is not None:
        if available and wanted not in available:
            raise InputError(f"{codec} does not take pixel format {wanted}; it takes {', '.join(available)}")
        layout_of(wanted)
        return wanted
    chosen = closest(clip.pixel_format, available) if available else clip.pixel_format
    if chosen is None:
        raise InputError(f"{codec} takes no pixel format that this program writes ({', '.join(available)})")
    encoder = BY_NAME.get(codec)
    if encoder and encoder.even and not fits_sampling(clip.width, clip.height, chosen):
        whole = [name for name in available if fits_sampling(clip.width, clip.height, name)]
        chosen = closest(clip.pixel_format, whole) or chosen
    return chosen


def _checked(choice: Choice, clip: Clip, encoding: Encoding) -> Choice:
    notes = list(choice.notes)
    if clip.field_order != "progressive" and not choice.encoder.interlaced:
        raise InputError(
            f"the clip is interlaced and {choice.encoder.name} cannot keep two fields apart; use --codec h264, prores "
            "or ffv1, or deinterlace it first, e.g.: ffmpeg -i IN -vf bwdif OUT"
        )
    if encoding.pixel_format is None:
        notes += [
            f"{choice.encoder.name} cannot hold {what}" for what in losses(clip.pixel_format, choice.pixel_format)
        ]
    if not fits_sampling(clip.width, clip.height, clip.pixel_format) and choice.encoder.even:
        notes.append(
            f"{clip.width}x{clip.height} is odd: written as {choice.pixel_format}, so that no row or column is lost"
        )
    return Choice(choice.encoder, choice.pixel_format, tuple(notes))


def options_of(choice: Choice, encoding: Encoding) -> Options:
    """Return the options an encoder is opened with.

    Raises:
        InputError: a crf or preset for an encoder that has none, an option it does not know.
    """
    encoder = choice.encoder
    options = dict(encoder.fixed)
    if encoder.quality is not None:
        options |= encoder.quality(encoder.crf if encoding.crf is None else encoding.crf)
    elif encoding.crf is not None:
        raise InputError(f"{encoder.name} has no constant quality: leave out --crf (see --enc-opt)")
    if encoding.preset is not None:
        options |= _preset(encoder, encoding.preset)
    known = option_names(encoder.name)
    for name in encoding.options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise InputError(f"--enc-opt {name}: the encoder {encoder.name} has no such option{hint}")
    options = {name: value for name, value in options.items() if name in known}
    for name, value in encoding.options.items():
        joined = name.endswith("-params") and name in options
        options[name] = f"{options[name]}:{value}" if joined else value
    return options


def _preset(encoder: Encoder, preset: str) -> Options:
    if encoder.presets is None:
        raise InputError(f"{encoder.name} has no presets: leave out --preset (see --enc-opt)")
    name, values = encoder.presets
    if preset in SPEEDS:
        return {name: values[SPEEDS.index(preset)]}
    if preset not in values and not preset.lstrip("-").isdigit():
        raise InputError(f"--preset {preset}: {encoder.name} knows {', '.join(dict.fromkeys([*SPEEDS, *values]))}")
    return {name: preset}


# ------------------------------------------------------------------ what there is


@lru_cache
def exists(codec: str) -> bool:
    try:
        return av.Codec(codec, "w").type == "video"
    except (ValueError, av.FFmpegError):
        return False


@lru_cache
def formats(codec: str) -> tuple[str, ...]:
    return tuple(form.name for form in av.Codec(codec, "w").video_formats or ())


@lru_cache
def installed() -> tuple[str, ...]:
    """List the encoders of the table that exist here and, if they need hardware, work."""
    return tuple(e.name for e in ENCODERS if exists(e.name) and not (e.hardware and trial(e.name, "yuv420p")))


@lru_cache
def holds(container: str, codec: str) -> bool:
    try:
        with av.open(io.BytesIO(), "w", format=container) as trial_container:
            trial_container.add_stream(codec)
            return True
    except (ValueError, av.FFmpegError):
        return False


@lru_cache
def held_by(container: str) -> frozenset[str]:
    """Return the codec families of the table that a container can hold."""
    families = frozenset(e.family for e in ENCODERS if exists(e.name) and holds(container, e.name))
    return families & REALLY_HELD.get(container, families)


@lru_cache
def option_names(codec: str) -> frozenset[str]:
    options = av.CodecContext.create(codec, "w").supported_options
    writes = [o for o in (*options.generic, *options.private) if o.flags & 1]  # AV_OPT_FLAG_ENCODING_PARAM
    return frozenset(o.name for o in writes)


@lru_cache
def trial(codec: str, pixel_format: str) -> str:
    """Try a hardware encoder on one frame: return why it does not work here, or nothing."""
    try:
        with logged(av.logging.ERROR):  # for the error to have a reason
            context = av.CodecContext.create(codec, "w")
            assert isinstance(context, VideoCodecContext)
            name = pixel_format if pixel_format in formats(codec) else closest(pixel_format, formats(codec)) or "nv12"
            context.width, context.height, context.pix_fmt = 256, 144, name
            context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
            frame = av.VideoFrame(256, 144, name)
            frame.pts, frame.time_base = 0, context.time_base
            packets = [*context.encode(frame), *context.encode(None)]
            return "" if any(packet.size for packet in packets) else "no picture came out"
    except av.FFmpegError as error:
        said = (getattr(error, "log", None) or (0, "", ""))[2]  # what the driver's library had to say
        return first_line(ValueError(said or error.strerror or error))
    except Exception as error:  # whatever else a driver does
        return first_line(error)


def fits_sampling(width: int, height: int, pixel_format: str) -> bool:
    """Tell whether every chroma sample covers as many luma samples as any other."""
    columns, rows = layout_of(pixel_format).steps
    return height % rows == 0 and width % columns == 0
