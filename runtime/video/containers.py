"""What this program writes into, by suffix, and what each container really holds: a table of facts.

FFmpeg takes names that it then cannot honour: MPEG-TS "accepts" every codec and stores it as private data that nothing
plays, `.jpg` becomes raw video. The facts are those of FFmpeg's muxers (libavformat: `get_dvb_stream_type` of
mpegtsenc.c, `mpeg_mux_init` of mpegenc.c, `mxf_write_header` of mxfenc.c, `codec_movsubtitle_tags` of movenc.c), which
implement ISO/IEC 13818-1, SMPTE ST 377 and ISO/IEC 14496-12.
`tests/test_video_containers.py` reads back what was written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cliplit.errors import InputError

FORMATS = {
    ".mp4": "mp4", ".m4v": "ipod", ".mov": "mov", ".qt": "mov", ".3gp": "3gp", ".3g2": "3g2", ".f4v": "f4v",
    ".mkv": "matroska", ".mk3d": "matroska", ".webm": "webm", ".nut": "nut",
    ".ts": "mpegts", ".m2ts": "mpegts", ".mts": "mpegts", ".m2t": "mpegts",
    ".mpg": "mpeg", ".mpeg": "mpeg", ".vob": "vob", ".mxf": "mxf", ".ogv": "ogv", ".ogg": "ogg",
    ".avi": "avi", ".flv": "flv", ".wmv": "asf", ".asf": "asf", ".y4m": "yuv4mpegpipe",
    ".h264": "h264", ".264": "h264", ".hevc": "hevc", ".265": "hevc", ".ivf": "ivf", ".obu": "obu",
    ".m2v": "mpeg2video",
}  # fmt: skip
NUMBERED = ".png, .tif (8 or 16 bits), .jpg, .webp"
SEVERAL = f"numbered pictures are {NUMBERED}; .png and .tif lose nothing"
LINEAR = "; .exr holds linear light without a white: convert to 16-bit .tif with the view transform of the scene"
OTHERS = f"numbered pictures are {NUMBERED}; convert others first, without loss: ffmpeg -i IN frames_%04d.png"
REFUSED = {
    "is a picture": (
        "cliplit-image relights pictures; for a clip use .mp4, or .mkv with --codec ffv1, which loses nothing",
        (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".exr", ".webp", ".dpx", ".ppm", ".jp2", ".avif", ".heic"),
    ),
    "is an animated picture": (
        "use .mp4 or .webm, and make the picture from that: ffmpeg -i CLIP OUT",
        (".gif", ".apng"),
    ),
    "is raw video without a header": ("use .y4m, which names size and rate", (".yuv", ".rgb", ".raw", ".nv12")),
    "is a playlist of many files": ("use .mp4, and cut that: ffmpeg -i CLIP -c copy OUT", (".m3u8", ".m3u", ".mpd")),
    "holds sound only": (
        "use .mp4 or .mkv",
        (".mp3", ".wav", ".flac", ".m4a", ".aac", ".opus", ".oga", ".mka", ".wma", ".aif", ".aiff", ".ac3"),
    ),
}  # fmt: skip
PATTERN = re.compile(r"%0?\d*d")


def format_for(target: Path) -> str:
    """Return FFmpeg's name of the container that a name asks for.

    Raises:
        InputError: it is none that a clip can be written into; the message says what is.
    """
    suffix = target.suffix.lower()
    if suffix in FORMATS:
        return FORMATS[suffix]
    for what, (instead, suffixes) in REFUSED.items():
        if suffix in suffixes:
            several = SEVERAL + (LINEAR if suffix == ".exr" else "")
            marked = "%" in target.name or "#" in target.name  # a number in another program's words
            said = several if PATTERN.search(target.name) else f"{suffix} {what}; {instead}"
            said += "; numbered pictures are named as frames_%04d.png" if marked and said is not several else ""
            raise InputError(f"{target}: {said}")
    named = f"{suffix} names no container" if suffix not in ("", ".") else "has no suffix, which names the container"
    raise InputError(f"{target}: {named}; try .mp4 or .mkv")


def several_in(source: Path) -> str:
    """Say why numbered pictures of this name are not read."""
    return SEVERAL + LINEAR if source.suffix.lower() == ".exr" else OTHERS


@dataclass(frozen=True)
class Facts:
    """What a container holds of the streams beside the pictures, where FFmpeg's own check cannot be trusted.

    Attributes:
        sound: codecs; None leaves it to the check.
        subtitles, data: the same; no data tracks are held by default.
        videos: codecs of further streams of pictures; the same.
        cover: whether cover art has a place.
        rates: of sound, in Hz; empty for all.
    """

    sound: frozenset[str] | None = None
    subtitles: frozenset[str] | None = None
    data: frozenset[str] | None = frozenset()
    videos: frozenset[str] | None = None
    cover: bool = False
    rates: tuple[int, ...] = ()


def _set(names: str) -> frozenset[str]:
    return frozenset(names.split())


TS_SOUND = "mp1 mp2 mp3 aac aac_latm ac3 eac3 dts opus"
QUICKTIME_DATA = _set("bin_data tmcd")
# Not PCM: "ipcm" is so new (ISO/IEC 23003-5) that many players, FFmpeg 5 among them, take its bits for others.
MP4_SOUND = _set("aac mp1 mp2 mp3 ac3 eac3 alac flac opus dts vorbis truehd")
# FFmpeg 8 writes AC-3, FLAC, Opus and more by Enhanced RTMP, which most players take for PCM at 5512 Hz.
FLV_SOUND = _set("aac mp3 nellymoser speex")
MPEG_SOUND = _set("mp1 mp2 mp3 ac3 dts")
ONE = _set("")  # stream of pictures: FFmpeg writes a second one so that it is taken for sound, or shifts the first
FACTS = {
    "mpegts": Facts(
        _set(TS_SOUND), _set("dvb_subtitle dvb_teletext"), _set("klv timed_id3"),
        _set("mpeg1video mpeg2video mpeg4 h264 hevc vc1 cavs dirac"),
    ),
    "m2ts": Facts(_set(f"{TS_SOUND} truehd pcm_bluray"), _set("hdmv_pgs_subtitle dvb_subtitle"), videos=ONE),
    "mpeg": Facts(MPEG_SOUND, _set("dvd_subtitle"), videos=ONE),
    "vob": Facts(MPEG_SOUND, _set("dvd_subtitle"), videos=ONE),
    "mxf": Facts(_set("pcm_s16le pcm_s24le"), _set(""), videos=ONE, rates=(48000,)),
    "mp4": Facts(MP4_SOUND, subtitles=_set("mov_text dvd_subtitle"), data=QUICKTIME_DATA, cover=True),
    "ipod": Facts(subtitles=_set("mov_text"), data=QUICKTIME_DATA, cover=True),
    "mov": Facts(subtitles=_set("mov_text"), data=QUICKTIME_DATA),
    "avi": Facts(subtitles=_set(""), videos=ONE),
    "flv": Facts(FLV_SOUND, _set(""), videos=ONE),
    "matroska": Facts(cover=True),
    "nut": Facts(data=None),
}  # fmt: skip
NOTHING_BESIDE = ("h264", "hevc", "ivf", "obu", "mpeg2video", "yuv4mpegpipe")  # bare streams of pictures
BARE = Facts(_set(""), _set(""), videos=ONE)


def facts_of(form: str, suffix: str = "") -> Facts:
    """Return the facts of a format; .m2ts is Blu-ray's kind of MPEG-TS."""
    if form in NOTHING_BESIDE:
        return BARE
    return FACTS.get("m2ts" if form == "mpegts" and suffix.lower() == ".m2ts" else form, Facts())
