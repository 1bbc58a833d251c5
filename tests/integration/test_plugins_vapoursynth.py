"""The filter in VapourSynth: pixels against `cliplit-filter` and `Enhancer`, any order, vspipe, mpv, what it refuses.

VapourSynth needs Python 3.12 or newer; `.ci/plugins.sh` runs this file in a Debian 13 root.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from cliplit.errors import InputError
from cliplit.runtime.backends.model_file import BUNDLED
from cliplit.runtime.enhancer import Enhancer

from .conftest import missing, need, psnr

try:
    import vapoursynth as vs

    from cliplit.plugins.vapoursynth import enhance
except ImportError:
    vs = None

FILTER = [sys.executable, "-P", "-c", "from cliplit.plugins.filter_cli import main; main(prog_name='cliplit-filter')"]
WIDTH, HEIGHT = 320, 180
INTEGER = ["GRAY8", "YUV411P8", "YUV440P8"]
INTEGER += [f"YUV{sampling}P{bits}" for sampling in (420, 422, 444) for bits in (8, 10, 12, 16)]
Y4M = {"YUV420P8": "420jpeg", "YUV422P8": "422", "YUV444P8": "444", "YUV411P8": "411", "GRAY8": "mono"}
Y4M |= {"YUV420P10": "420p10", "YUV422P12": "422p12", "YUV444P16": "444p16"}


@pytest.fixture(scope="module", autouse=True)
def vapoursynth():
    if vs is None:
        missing("VapourSynth")


@pytest.fixture(scope="module")
def scene(photo):
    """A function: picture number k of the scene moving sideways with the noise of a sensor, (H, W, 3) uint8."""

    def picture(k, width=WIDTH, height=HEIGHT):
        noise = np.random.default_rng(k).normal(0, 2, (height, width, 1))
        moved = cv2.resize(np.roll(photo, 3 * k, axis=1), (width, height))
        return np.clip(moved + noise, 0, 255).astype(np.uint8)

    return picture


def filled(pictures, form="RGB24", fps=(25, 1), **props):
    """A clip of arrays, (H, W, 3) RGB, converted by VapourSynth's own resize."""
    height, width = pictures[0].shape[:2]
    blank = vs.core.std.BlankClip(None, width, height, vs.RGB24, len(pictures), *fps, keep=True)

    def fill(n, f):
        result = f.copy()
        for channel in range(3):
            np.asarray(result[channel])[...] = pictures[n][..., channel]
        return result

    clip = blank.std.ModifyFrame(blank, fill)
    if form != "RGB24":
        matrix = {} if form.startswith("RGB") else {"matrix": 6 if height < 720 else 1}
        clip = clip.resize.Bicubic(format=getattr(vs, form), **matrix)
    return clip.std.SetFrameProps(**props) if props else clip


def planes(frame):
    return [np.asarray(plane).copy() for plane in frame]


def same(a, b):
    return all(np.array_equal(one, other) for one, other in zip(planes(a), planes(b), strict=True))


def rgb(clip, n):
    """A frame as (H, W, 3) uint8."""
    return np.stack(planes(clip.resize.Bicubic(format=vs.RGB24).get_frame(n)), axis=-1)


def filtered(clip, tag, *options, scan="p"):
    """The clip's frames through `cliplit-filter`, as lists of planes."""
    line = f"YUV4MPEG2 W{clip.width} H{clip.height} F{clip.fps.numerator}:{clip.fps.denominator} I{scan} C{tag}\n"
    frames = [b"".join(plane.tobytes() for plane in planes(frame)) for frame in clip.frames()]
    data = line.encode() + b"".join(b"FRAME\n" + frame for frame in frames)
    done = subprocess.run([*FILTER, "--keep-grain", *options], input=data, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = frames_of(done.stdout, planes(clip.get_frame(0)))
    assert len(found) == len(frames)
    return found


def frames_of(data, alike):
    """The frames of a YUV4MPEG2 stream, as lists of planes of the shapes and types of `alike`."""
    body, found = data.partition(b"\n")[2], []
    while body:
        assert body.startswith(b"FRAME\n")
        body, frame = body[6:], []
        for plane in alike:
            frame.append(np.frombuffer(body[: plane.nbytes], plane.dtype).reshape(plane.shape))
            body = body[plane.nbytes :]
        found.append(frame)
    return found


@pytest.mark.parametrize("form", INTEGER)
def test_every_format_is_relighted_as_the_same_picture_in_8_bit_rgb(scene, form):
    clip = filled([scene(0)], form)
    result = enhance(clip, temporal=0)
    assert result.format.id == clip.format.id
    before, after = rgb(clip, 0), rgb(result, 0)
    assert psnr(before, after) < 30, "not relighted"
    assert psnr(Enhancer(clean_shadows=False)(before), after) >= 42


@pytest.mark.parametrize("form", ["RGB24", "RGB30", "RGB48", "RGBS"])
def test_rgb_is_enhancers(scene, form):
    clip = filled([scene(0)], form)
    before, after = clip.get_frame(0), enhance(clip, temporal=0).get_frame(0)
    picture, got = (np.stack(planes(frame), axis=-1) for frame in (before, after))
    if form == "RGB30":
        picture, got = np.float32(picture) / 1023, np.float32(got) / 1023
        assert np.abs(Enhancer(clean_shadows=False)(picture) - got).max() < 0.75 / 1023
    else:
        np.testing.assert_array_equal(Enhancer(clean_shadows=False)(picture), got)


@pytest.mark.parametrize("form,tag", Y4M.items())
@pytest.mark.parametrize("temporal", [0, 0.7])
def test_the_same_bits_as_cliplit_filter(scene, form, tag, temporal):
    clip = filled([scene(k) for k in range(6)], form)
    result = enhance(clip, strength=0.8, max_gain=8, temporal=temporal)
    wanted = filtered(clip, tag, "--strength", "0.8", "--max-gain", "8", "--temporal", str(temporal))
    for frame, expected in zip(result.frames(), wanted, strict=True):
        for plane, other in zip(planes(frame), expected, strict=True):
            np.testing.assert_array_equal(plane, other)


@pytest.mark.parametrize("form", ["YUV420P8", "YUV420P10"])
def test_the_same_bits_at_full_size(scene, form):
    clip = filled([scene(k) for k in range(5)], form)
    wanted = filtered(clip, Y4M[form], "--quality", "exact", "--temporal", "0.4")
    for frame, expected in zip(enhance(clip, temporal=0.4, quality="exact").frames(), wanted, strict=True):
        for plane, other in zip(planes(frame), expected, strict=True):
            np.testing.assert_array_equal(plane, other)


@pytest.mark.parametrize("form,width,height", [("YUV444P8", 321, 181), ("YUV422P8", 322, 181), ("YUV420P8", 1366, 768)])
def test_odd_sizes(scene, form, width, height):
    clip = filled([scene(0, width, height)], form)
    wanted = filtered(clip, Y4M[form], "--temporal", "0")[0]
    for plane, other in zip(planes(enhance(clip, temporal=0).get_frame(0)), wanted, strict=True):
        np.testing.assert_array_equal(plane, other)


@pytest.mark.filterwarnings("ignore:The _ColorRange frame property")  # scripts still set it
def test_matrix_and_range_come_from_the_frames(scene):
    clip = filled([scene(0)], "YUV444P8").std.RemoveFrameProps(["_Matrix", "_Range", "_ColorRange"])
    for props, options in (
        ({}, ["--input-color", "bt601"]),
        ({"_Matrix": 1}, ["--input-color", "bt709"]),
        ({"_Matrix": 9, "_Range": 1}, ["--input-color", "bt2020:full"]),
        ({"_ColorRange": 0}, ["--input-color", "bt601:full"]),
        ({"_ColorRange": 1}, ["--input-color", "bt601:limited"]),
    ):
        tagged = clip.std.SetFrameProps(**props) if props else clip
        wanted = filtered(clip, "444", "--temporal", "0", *options)[0]
        for plane, other in zip(planes(enhance(tagged, temporal=0).get_frame(0)), wanted, strict=True):
            np.testing.assert_array_equal(plane, other)


def test_fields_are_relighted_apart(scene):
    clip = filled([scene(0, 320, 184)], "YUV420P8")
    for value, scan in ((0, "p"), (1, "b"), (2, "t")):
        frame = enhance(clip.std.SetFieldBased(value), temporal=0).get_frame(0)
        wanted = filtered(clip, "420jpeg", "--temporal", "0", scan=scan)[0]
        for plane, other in zip(planes(frame), wanted, strict=True):
            np.testing.assert_array_equal(plane, other)
    assert not same(frame, enhance(clip, temporal=0).get_frame(0))


def test_properties_and_alpha_stay(scene):
    clip = filled([scene(0)], "YUV420P8", _SARNum=4, _SARDen=3, Note="mine")
    alpha = vs.core.std.BlankClip(clip, format=vs.GRAY8, color=77)
    result = enhance(clip.std.ClipToProp(alpha, prop="_Alpha"), temporal=0).get_frame(0)
    assert (result.props["_SARNum"], result.props["_SARDen"]) == (4, 3)
    assert (np.asarray(result.props["_Alpha"][0]) == 77).all()
    assert result.props["Note"] in ("mine", b"mine")


def test_strength_0_is_the_clip_itself(scene):
    clip = filled([scene(0)], "YUV420P8")
    assert same(enhance(clip, strength=0).get_frame(0), clip.get_frame(0))


@pytest.fixture(scope="module")
def moving(scene):
    return [scene(k, 192, 108) for k in range(41)]


@pytest.mark.parametrize("seed", range(3))
def test_frames_are_the_same_in_every_order(moving, seed):
    """A time constant of 0.1 s makes a span 5 frames: the clip has eight, and one frame more."""
    wanted = list(enhance(filled(moving, "YUV420P8"), time_constant=0.1).frames())
    result = enhance(filled(moving, "YUV420P8"), time_constant=0.1)
    order = list(range(len(moving)))
    random.Random(seed).shuffle(order)
    if seed == 0:  # backwards, as an editor may play
        order = sorted(order, reverse=True)
    waiting = [(n, result.get_frame_async(n)) for n in order]
    for n, future in waiting:
        assert same(future.result(), wanted[n]), n


@pytest.mark.parametrize("seconds", [0, 0.1])
def test_each_frame_is_looked_at_once_in_a_run(moving, monkeypatch, seconds):
    looked = []
    see = Enhancer.log_light
    monkeypatch.setattr(Enhancer, "log_light", lambda self, proxy: looked.append(1) or see(self, proxy))  # type: ignore[func-returns-value]
    assert len(list(enhance(filled(moving, "YUV420P8"), time_constant=seconds).frames())) == len(looked) == len(moving)


def test_where_spans_meet_nothing_shows(moving):
    """Against the filter that runs through: the same up to the second span, and then as good as the same, next to
    what smoothing itself changes."""
    clip = filled(moving, "YUV444P16")
    through = [planes[0].astype(float) for planes in filtered(clip, "444p16", "--time-constant", "0.1")]

    def errors(seconds):
        frames = enhance(clip, time_constant=seconds).frames()
        return [np.abs(planes(frame)[0] - wanted).mean() / 257 for frame, wanted in zip(frames, through, strict=True)]

    spans, single = errors(0.1), errors(0)
    assert max(spans[:10]) == 0
    assert max(spans) < 0.2 * np.mean(single[1:])


def test_time_comes_from_the_frames(moving):
    """Frames that stand for 4 times as long are smoothed as a clip of a quarter of the rate."""
    slow = filled(moving[:8], "YUV420P8", fps=(25, 4))
    told = filled(moving[:8], "YUV420P8").std.SetFrameProps(_DurationNum=4, _DurationDen=25)
    fast = filled(moving[:8], "YUV420P8")
    wanted, got, other = (enhance(clip, time_constant=0.7).get_frame(7) for clip in (slow, told, fast))
    assert same(wanted, got)
    assert not same(wanted, other)
    untold = fast.std.AssumeFPS(fpsnum=25).std.RemoveFrameProps(["_DurationNum", "_DurationDen"])
    assert same(enhance(untold, time_constant=0.7).get_frame(7), other)


def refused(words, clip, **settings):
    with pytest.raises(InputError, match=words) as caught:
        enhance(clip, **settings)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_relighted_is_refused_in_one_line(scene):
    core, clip = vs.core, filled([scene(0)], "YUV420P8")
    for form in ("YUV444PS", "GRAYS", "RGBH", "YUV410P8", "GRAY32"):
        refused(form, core.std.BlankClip(format=getattr(vs, form), width=320, height=180))
    other = core.std.BlankClip(format=vs.YUV444P8, width=320, height=180)
    refused("changes its format", core.std.Splice([clip, other], mismatch=True))
    smaller = core.std.BlankClip(format=vs.YUV420P8, width=160, height=90)
    refused("changes its format", core.std.Splice([clip, smaller], mismatch=True))
    refused("not str", "clip.mkv")
    refused("LITE: neither a bundled model", clip, model="LITE")
    refused("strength 3.0 is outside", clip, strength=3.0)
    refused("max_gain 0.5 is outside", clip, max_gain=0.5)
    refused("a time constant of 5 s", clip, time_constant=5)


@pytest.mark.parametrize(
    "props,words",
    [
        ({"_Matrix": 14}, "matrix 14"),
        ({"_Transfer": 16}, r"HDR \(PQ\)"),
        ({"_Transfer": 18}, r"HDR \(HLG\)"),
        ({"_Transfer": 8}, "linear light"),
    ],
)
def test_frames_that_cannot_be_relighted_say_so(scene, props, words):
    result = enhance(filled([scene(0)], "YUV420P8", **props))
    with pytest.raises(vs.Error, match=words):
        result.get_frame(0)


SCRIPT = """
import numpy as np, vapoursynth as vs
from cliplit.plugins.vapoursynth import enhance

planes = [np.load(f"{folder}/{{k}}.npy") for k in range(3)]
blank = vs.core.std.BlankClip(None, {width}, {height}, vs.YUV420P8, len(planes[0]), 25, 1, keep=True)

def fill(n, f):
    f = f.copy()
    for k in range(3):
        np.asarray(f[k])[...] = planes[k][n]
    return f

enhance(blank.std.ModifyFrame(blank, fill).std.SetFrameProps(_Matrix=6), strength=0.8).set_output()
"""


@pytest.fixture(scope="module")
def script(scene, tmp_path_factory):
    """A script that relights a clip of 12 frames, and the clip."""
    folder = tmp_path_factory.mktemp("script")
    clip = filled([scene(k) for k in range(12)], "YUV420P8")
    for k, plane in enumerate(zip(*map(planes, clip.frames()), strict=True)):
        np.save(folder / f"{k}.npy", np.stack(plane))
    (folder / "clip.vpy").write_text(SCRIPT.format(folder=folder, width=WIDTH, height=HEIGHT))
    return folder / "clip.vpy", clip


def vspipe():
    program = Path(sys.executable).with_name("vspipe")
    if not program.exists():
        missing("vspipe")
    return str(program)


def test_vspipe_writes_y4m(script):
    path, clip = script
    done = subprocess.run([vspipe(), "-c", "y4m", str(path), "-"], capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert {f"W{WIDTH}", f"H{HEIGHT}", "F25:1"} <= set(done.stdout.partition(b"\n")[0].decode().split())
    got, wanted = frames_of(done.stdout, planes(clip.get_frame(0))), filtered(clip, "420jpeg", "--strength", "0.8")
    assert len(got) == 12
    for frame, expected in zip(got, wanted, strict=True):
        for plane, other in zip(frame, expected, strict=True):
            np.testing.assert_array_equal(plane, other)


def test_a_compressed_clip_with_its_own_tags(tmp_path):
    """The script of docs/plugins.md on the clip in the package, which is BT.709 though it has 360 lines."""
    if not hasattr(vs.core, "bs"):
        missing("BestSource")
    source = f'vs.core.bs.VideoSource(r"{BUNDLED.parent / "demo" / "backlit.mp4"}", cachemode=0)[:10]'
    (tmp_path / "clip.vpy").write_text(
        "import vapoursynth as vs\nfrom cliplit.plugins.vapoursynth import enhance\n\n"
        f"enhance({source}, strength=0.8).set_output()\n"
    )
    done = subprocess.run([vspipe(), "-c", "y4m", str(tmp_path / "clip.vpy"), "-"], capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    clip = eval(source)
    wanted = filtered(clip, "420jpeg", "--strength", "0.8", "--input-color", "bt709")
    body = b"".join(b"FRAME\n" + b"".join(plane.tobytes() for plane in frame) for frame in wanted)
    assert len(wanted) == 10
    assert done.stdout.partition(b"\n")[2] == body


def test_a_refusal_ends_vspipe_with_the_reason(script, tmp_path):
    path, _ = script
    (tmp_path / "bad.vpy").write_text(path.read_text().replace("strength=0.8", "strength=7"))
    done = subprocess.run([vspipe(), "-c", "y4m", str(tmp_path / "bad.vpy"), "-"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "strength 7 is outside 0..2" in done.stderr


def test_mpv_takes_what_vspipe_writes(script, tmp_path):
    need("mpv")
    path, clip = script
    out = tmp_path / "out.mkv"
    mpv = ["mpv", "--no-config", "--no-terminal", "-", f"--o={out}", "--ovc=ffv1", "--of=matroska"]
    with subprocess.Popen([vspipe(), "-c", "y4m", str(path), "-"], stdout=subprocess.PIPE) as source:
        assert subprocess.run(mpv, stdin=source.stdout, timeout=300).returncode == 0
    with av.open(str(out)) as container:
        shown = [frame.to_ndarray() for frame in container.decode(video=0)]
    assert len(shown) == 12
    wanted = filtered(clip, "420jpeg", "--strength", "0.8")
    for got, expected in zip(shown, wanted, strict=True):
        np.testing.assert_array_equal(got[:HEIGHT], expected[0])
