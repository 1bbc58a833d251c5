"""What a name that a user gives stands for, and how FFmpeg is told that a file is a file.

FFmpeg and OpenCV take every name for an address or a device if it looks like one: `10:30.mp4` for a protocol "10",
`a ! b.mp4` for a GStreamer pipeline, `0` for a camera. So what exists as a file is a file, whatever its name, and all
that opens local media gets its name from `local`.

What is inside a file may be a name, too: playlists (HLS, DASH, ffconcat), session descriptions and lists of pictures
make FFmpeg open what they say. So a file is opened with the demuxers of `FILES` alone and the one protocol `file`;
playlists are another kind, which the user asks for, and addresses a third, which never reaches files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from cliplit.errors import InputError

# FFmpeg's demuxers that read pictures (and sound, so that a file of sound is told to be that) from the one file they
# are given. Left out: those that open others (concat, hls, dash, imf, image2, sdp, rtsp, vobsub, webm_dash_manifest),
# run scripts (vapoursynth, avisynth), are devices, or take any text for pictures (tty).
FILES = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,nut,flv,live_flv,kux,asf,asf_o,ogg,mxf,gxf,lxf,"
    "yuv4mpegpipe,ivf,obu,av1,h264,hevc,vvc,evc,vc1,vc1test,avs2,avs3,cavsvideo,dirac,dnxhd,dv,h261,h263,mjpeg,gif,apng,"
    "jpegxl_anim,rm,ivr,wtv,nuv,nsv,pva,film_cpk,bink,smk,roq,swf,wav,w64,mp3,flac,aac,ac3,eac3,dts,truehd,aiff,caf,"
    "iamf,amr,tta,wv,ape,jpeg_pipe,png_pipe"
)
PLAYLISTS = "concat,hls,applehttp,dash,imf"
STREAMS = f"{FILES},hls,applehttp,dash,rtsp,rtp,sdp,mpjpeg"  # what an address may answer with

# Protocols by the kind of what names them: a playlist of files reaches files, an address only the network.
IN_FILES = "file"
IN_PLAYLISTS = "file,crypto,data"
IN_ADDRESSES = (
    "http,https,httpproxy,tls,tcp,udp,udplite,rtp,srtp,rtmp,rtmps,rtmpt,rtmpts,rtmpe,rtmpte,srt,rist,mmsh,mmst,ftp,sftp,"
    "crypto,data"
)
IN_PIPES = "pipe"
SCHEMES = (*IN_ADDRESSES.removesuffix(",crypto,data").split(","), "rtsp", "rtsps", "mms")

Origin = Literal["pipe", "file", "camera", "pipeline", "address"]

DEVICE = re.compile(r"/dev/video\d+")
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
LIVE_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtp", "udp", "srt", "mms")


def origin_of(name: str) -> Origin:
    """Tell what IN or OUT of a command stands for: "-" is a pipe, what exists is a file (or a folder of them)."""
    if name == "-":
        return "pipe"
    if DEVICE.fullmatch(name):
        return "camera"
    if exists(name):
        return "file"
    if name.isascii() and name.isdecimal():
        return "camera"
    if " ! " in name:
        return "pipeline"
    return "address" if ADDRESS.match(name) else "file"


def is_live(name: str) -> bool:
    """Tell whether a name stands for a camera, a GStreamer pipeline, or an address of a kind that is a live stream."""
    origin = origin_of(name)
    if origin == "address":
        return name.partition("://")[0].lower() in LIVE_SCHEMES
    return origin in ("camera", "pipeline")


def local(path: Path | str) -> str:
    """Return the address by which FFmpeg opens a local file of any name, and nothing but a file."""
    return f"file:{path}"


def opened_by(name: str) -> Path | str:
    """Return the path or the address behind the name of an open container."""
    return Path(name.removeprefix("file:")) if name.startswith("file:") else name


def demuxing(kind: Literal["file", "playlist", "address", "pipe"]) -> dict[str, str]:
    """Return FFmpeg's options that hold a source of this kind to its demuxers and protocols."""
    formats, protocols = {
        "file": (FILES, IN_FILES),
        "playlist": (f"{FILES},{PLAYLISTS}", IN_PLAYLISTS),
        "address": (STREAMS, IN_ADDRESSES),
        "pipe": (FILES, IN_PIPES),
    }[kind]
    return {"format_whitelist": formats, "protocol_whitelist": protocols}


def checked_address(name: str) -> str:
    """Return an address as it is. Raises InputError if it is none of the network: `concat://`, `file://`, `subfile://`."""
    scheme = name.partition("://")[0].lower()
    if ADDRESS.match(name) and scheme in SCHEMES:
        return name
    if scheme == "file":
        raise InputError(f"{name}: give the path of a file, without file://")
    raise InputError(f"{name}: no address of a network stream; http, https, rtsp, rtmp, srt, udp and the like are")


def exists(name: Path | str) -> bool:
    """Return whether there is something of that name; a name that no file can have is none."""
    try:
        return Path(name).exists()
    except (OSError, ValueError):
        return False
