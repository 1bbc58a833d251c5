"""`cliplit-image`: depth, alpha, orientation, profiles, metadata, names, bad files (R3.1 to R3.6)."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image, ImageCms, PngImagePlugin

from cliplit.errors import InputError
from cliplit.runtime import enhance_picture
from cliplit.runtime.image.cli import main
from cliplit.runtime.image.image_io import TURNS, png_chunks, read_picture, stored, upright
from made import backlit

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SAVE = {"PNG": {}, "JPEG": {"quality": 95}, "WEBP": {"lossless": True}, "TIFF": {}}
SUFFIX = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "TIFF": ".tif"}


def command(*arguments):
    code = "from cliplit.runtime.image.cli import main; main(prog_name='cliplit-image')"
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert "Traceback" not in result.stderr, result.stderr
    return result


def exif(orientation=1):
    tags = Image.Exif()
    tags[0x010F], tags[0x0112] = "Maker", orientation
    tags.get_ifd(0x8769)[0x9003] = "2026:01:02 03:04:05"
    return tags


def deep_backlit(alpha=False):
    picture = backlit(90, 128).astype(np.uint16) * 257
    picture += np.random.default_rng(0).integers(0, 200, picture.shape, dtype=np.uint16)  # more than 8 bits of it
    if alpha:
        ramp = np.linspace(0, 65535, 128).astype(np.uint16)
        picture = np.dstack([picture, np.broadcast_to(ramp, (90, 128))])
    return picture


@pytest.mark.parametrize("form", SAVE)
def test_8bit_keeps_profile_and_exif(tmp_path, form):
    source, target = tmp_path / f"in{SUFFIX[form]}", tmp_path / f"out{SUFFIX[form]}"
    Image.fromarray(backlit(90, 128)).save(source, form, icc_profile=PROFILE, exif=exif().tobytes(), **SAVE[form])
    assert command(source, target).returncode == 0
    with Image.open(target) as out:
        assert out.format == form
        assert out.info["icc_profile"] == PROFILE
        assert out.getexif()[0x010F] == "Maker"
        assert out.getexif().get_ifd(0x8769)[0x9003] == "2026:01:02 03:04:05"
        assert np.asarray(out).mean() > 1.05 * backlit(90, 128).mean()


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_8bit_alpha_is_untouched(tmp_path, form):
    alpha = np.random.default_rng(0).integers(0, 256, (90, 128), dtype=np.uint8)
    source, target = tmp_path / f"in{SUFFIX[form]}", tmp_path / f"out{SUFFIX[form]}"
    Image.fromarray(np.dstack([backlit(90, 128), alpha])).save(source, form, exact=True, **SAVE[form])
    assert command(source, target).returncode == 0
    with Image.open(target) as out:
        assert np.array_equal(np.asarray(out)[..., 3], alpha)


@pytest.mark.parametrize("mode", ["P", "L", "LA", "1", "CMYK"])
def test_other_modes(tmp_path, mode):
    image = Image.fromarray(backlit(90, 128))
    if mode == "P":
        image = image.quantize(64)
        image.info["transparency"] = 3
    else:
        image = image.convert("RGB").convert(mode)
    source = tmp_path / ("in.jpg" if mode == "CMYK" else "in.png")
    image.save(source)
    assert command(source, tmp_path / "out.png").returncode == 0
    with Image.open(source) as before, Image.open(tmp_path / "out.png") as after:
        expected = {"P": "RGBA", "1": "L", "CMYK": "RGB"}.get(mode, mode)
        assert after.mode == expected
        if expected in ("RGBA", "LA"):
            assert np.array_equal(np.asarray(after)[..., -1], np.asarray(before.convert("RGBA"))[..., -1])


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16bit_stays_16bit(tmp_path, suffix, alpha):
    from cliplit.runtime import Enhancer

    picture = deep_backlit(alpha)
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    if suffix == ".png":
        source.write_bytes(
            cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA if alpha else cv2.COLOR_RGB2BGR))[1]
        )
    else:
        tifffile.imwrite(source, picture, photometric="rgb", extrasamples=["unassalpha"] if alpha else None)
    assert command(source, target).returncode == 0
    result = read_picture(target).pixels
    assert result.dtype == np.uint16
    assert np.array_equal(result, Enhancer()(picture))


def test_16bit_png_keeps_its_metadata_chunks(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "née Müller")
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "PNG", icc_profile=PROFILE, exif=exif(6), pnginfo=info)
    chunks = {
        kind: whole for kind, whole in png_chunks(buffer.getvalue()) if kind in (b"iCCP", b"eXIf", b"iTXt", b"tEXt")
    }
    assert len(chunks) == 3
    data = cv2.imencode(".png", cv2.cvtColor(deep_backlit(), cv2.COLOR_RGB2BGR))[1].tobytes()
    (tmp_path / "in.png").write_bytes(data[:33] + b"".join(chunks.values()) + data[33:])
    assert command(tmp_path / "in.png", tmp_path / "out.png").returncode == 0
    out = dict(png_chunks((tmp_path / "out.png").read_bytes()))
    for kind, whole in chunks.items():
        assert out[kind] == whole
    assert read_picture(tmp_path / "out.png").orientation == 6


def test_16bit_tiff_keeps_its_profile(tmp_path):
    tifffile.imwrite(
        tmp_path / "in.tif", deep_backlit(), photometric="rgb", iccprofile=PROFILE, description="a view", metadata=None
    )
    assert command(tmp_path / "in.tif", tmp_path / "out.tif").returncode == 0
    with tifffile.TiffFile(tmp_path / "out.tif") as out:
        assert out.pages[0].tags[34675].value == PROFILE
        assert out.pages[0].description == "a view"


def test_16bit_gray(tmp_path):
    cv2_gray = deep_backlit()[..., 1]
    (tmp_path / "in.png").write_bytes(cv2.imencode(".png", cv2_gray)[1])
    assert command(tmp_path / "in.png", tmp_path / "out.png").returncode == 0
    out = cv2.imdecode(np.fromfile(tmp_path / "out.png", np.uint8), cv2.IMREAD_UNCHANGED)
    assert (out.dtype, out.shape) == (np.uint16, (90, 128))
    assert out.mean() > 1.05 * cv2_gray.mean()


@pytest.mark.parametrize("orientation", TURNS)
def test_orientation(tmp_path, orientation):
    """The network sees the picture upright; pixels and tag stay as they were stored."""
    from cliplit.runtime import Enhancer

    picture = backlit(90, 128)
    turned = stored(picture, orientation)
    assert np.array_equal(upright(turned, orientation), picture)
    Image.fromarray(np.ascontiguousarray(turned)).save(tmp_path / "in.png", exif=exif(orientation))
    assert command(tmp_path / "in.png", tmp_path / "out.png").returncode == 0
    with Image.open(tmp_path / "out.png") as out:
        assert out.getexif()[0x0112] == orientation
        assert np.array_equal(upright(np.asarray(out), orientation), Enhancer()(picture))


def test_orientation_agrees_with_pillow():
    from PIL import ImageOps

    picture = backlit(20, 30)
    for orientation in TURNS:
        image = Image.fromarray(picture)
        image.getexif()[0x0112] = orientation
        assert np.array_equal(np.asarray(ImageOps.exif_transpose(image)), upright(picture, orientation))


def test_a_folder_with_bad_files_goes_on(tmp_path):
    """R3.6: the good ones are written, each bad one is named once, exit code 1."""
    folder = tmp_path / "é 你好 'x"
    (folder / "deeper").mkdir(parents=True)
    Image.fromarray(backlit(40, 60)).save(folder / "a b.png")
    Image.fromarray(backlit(40, 60)).save(folder / "deeper" / "ü.jpg")
    (folder / "broken.jpg").write_bytes((folder / "deeper" / "ü.jpg").read_bytes()[:300])
    (folder / "empty.png").touch()
    (folder / "text.tif").write_text("no picture")
    (folder / "notes.txt").write_text("not meant to be a picture")
    result = command(folder, tmp_path / "out")
    assert result.returncode == 1
    for name in ("broken.jpg", "empty.png", "text.tif"):
        assert sum(name in line for line in result.stderr.splitlines()) == 1, result.stderr
    assert sum("notes.txt" in line for line in result.stderr.splitlines()) == 1  # named as passed over
    assert "2 of 5 pictures written; 1 other files were passed over" in result.stdout
    written = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert written == ["a b.png", "deeper/ü.jpg"]


def test_several_files_into_a_folder(tmp_path):
    for name in ("a.png", "b.jpg"):
        Image.fromarray(backlit(40, 60)).save(tmp_path / name)
    assert command(tmp_path / "a.png", tmp_path / "b.jpg", tmp_path / "out").returncode == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "b.jpg"]


def test_nothing_is_destroyed_or_lost_in_silence(tmp_path):
    rgba = np.dstack([backlit(40, 60), np.full((40, 60), 128, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "in.png")
    refused = command(tmp_path / "in.png", tmp_path / "out.jpg")
    assert refused.returncode == 1
    assert "transparency" in refused.stderr
    (tmp_path / "out.png").write_bytes(b"precious")
    assert command(tmp_path / "in.png", tmp_path / "out.png").returncode == 1
    assert (tmp_path / "out.png").read_bytes() == b"precious"
    before = (tmp_path / "in.png").read_bytes()
    assert command(tmp_path / "in.png", tmp_path / "in.png", "--overwrite").returncode == 1
    assert (tmp_path / "in.png").read_bytes() == before
    frames = [Image.fromarray(backlit(20, 30)), Image.fromarray(backlit(20, 30, 1))]
    frames[0].save(tmp_path / "two.webp", save_all=True, append_images=frames[1:])
    assert "2 pictures" in command(tmp_path / "two.webp", tmp_path / "one.webp").stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.png", "out.png", "two.webp"]


def test_strength_zero_keeps_the_pixels(tmp_path):
    Image.fromarray(backlit(40, 60)).save(tmp_path / "in.png")
    assert command(tmp_path / "in.png", tmp_path / "out.png", "--strength", 0).returncode == 0
    assert np.array_equal(read_picture(tmp_path / "out.png").pixels, backlit(40, 60))


def test_pictures_side_by_side_are_the_same_as_one_by_one(tmp_path):
    """Threads share one network; nothing of that may show."""
    source = tmp_path / "in"
    source.mkdir()
    for seed in range(8):
        Image.fromarray(backlit(60, 80, seed)).save(source / f"{seed}.png")
    for jobs in ("1", "4"):
        result = CliRunner().invoke(main, [str(source), str(tmp_path / jobs), "--jobs", jobs], catch_exceptions=False)
        assert result.exit_code == 0 and "8 of 8" in result.output
    for path in (tmp_path / "1").iterdir():
        assert path.read_bytes() == (tmp_path / "4" / path.name).read_bytes()


@pytest.mark.parametrize("unit,per_inch", [("INCH", 300.0), ("CENTIMETER", 300.0 * 2.54)])
def test_16bit_tiff_keeps_its_resolution_quietly(tmp_path, unit, per_inch):
    """Read back by Pillow, which counts pixels per inch (TIFF 6.0: unit 2 is an inch, 3 a centimetre)."""
    picture = np.full((40, 60, 3), 9000, np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", picture, photometric="rgb", resolution=(300, 300), resolutionunit=unit)
    result = command(tmp_path / "in.tif", tmp_path / "out.tif", "--quiet")
    assert result.returncode == 0 and result.stderr == ""
    with Image.open(tmp_path / "out.tif") as written:
        assert written.info["dpi"] == pytest.approx((per_inch, per_inch), rel=1e-3)


def test_whatever_a_file_raises_the_folder_goes_on(tmp_path, monkeypatch):
    """One line for it, the summary, exit 1."""
    source = tmp_path / "in"
    source.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(backlit(40, 60)).save(source / name)
    from cliplit.runtime.image import enhance

    relight = enhance.relight
    raised = {"a": RuntimeError("of another library\nwith two lines"), "b": MemoryError()}

    def failing(picture, enhancer):
        error = raised.pop(next(iter(raised)), None) if raised else None
        if error:
            raise error
        return relight(picture, enhancer)

    monkeypatch.setattr(enhance, "relight", failing)
    result = CliRunner().invoke(main, [str(source), str(tmp_path / "out"), "--jobs", "1"])
    assert result.exit_code == 1 and "1 of 3 pictures written" in result.output
    assert "a.png: RuntimeError: of another library\n" in result.output
    assert "b.png: not enough memory\n" in result.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["c.png"]


def test_a_single_file_that_fails_has_no_summary(tmp_path):
    (tmp_path / "x.png").write_bytes(b"no picture")
    result = CliRunner().invoke(main, [str(tmp_path / "x.png"), str(tmp_path / "o.png")])
    assert result.exit_code == 1 and result.output.count("\n") == 1 and "not a picture" in result.output


@pytest.mark.parametrize(
    "arguments,code,words",
    [
        (("", "o.jpg"), 2, "empty name"),
        (("a.png", ""), 2, "empty name"),
        (("a.png", "b.png", "o.jpg"), 2, "looks like a picture"),
        ((".", "o.jpg"), 2, "looks like a picture"),
        (("http://h/a.jpg", "o.jpg"), 2, "cliplit-video"),
        (("clip.mp4", "o.jpg"), 1, "cliplit-video"),
        (("a.png", "o.mp4"), 1, "cliplit-video"),
        (("a.png", "o.dng"), 1, "can be written"),
        (("-", "a.png", "o.png"), 2, "one IN and one OUT"),
        (("a.png", "o.png", "--max-pixels", "100"), 1, "more than 100 pixels"),
    ],
)
def test_names_that_mean_something_else(tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        Image.fromarray(backlit(40, 60)).save(name)
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41")
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == code and words in result.output, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "clip.mp4"]


def test_folders_take_what_single_files_take_and_name_the_rest(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for name in ("a.png", "b.bmp", "c.avif", "d.webp", "e.JPG", "f.tiff"):
        Image.fromarray(backlit(40, 60)).save(source / name, "JPEG" if name == "e.JPG" else None)
    for name in ("g.mp4", "h.txt", "i.jp2", ".hidden.png"):
        (source / name).write_bytes(b"x")
    result = CliRunner().invoke(main, [str(source), str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "6 of 6 pictures written; 4 other files were passed over" in result.output
    for name, reason in (
        ("g.mp4", "cliplit-video"),
        ("h.txt", "suffix"),
        ("i.jp2", "cannot be read"),
        (".hidden.png", "hidden"),
    ):
        assert any(name in line and reason in line for line in result.output.splitlines()), name
    assert len(list((tmp_path / "out").iterdir())) == 6


def test_pipes(tmp_path):
    """- reads standard input and writes standard output, in the format that came in."""
    from cliplit.runtime import enhance_picture

    Image.fromarray(backlit(40, 60)).save(tmp_path / "in.png")
    enhance_picture(tmp_path / "in.png", tmp_path / "expected.png")
    code = "from cliplit.runtime.image.cli import main; main(prog_name='cliplit-image')"
    data = (tmp_path / "in.png").read_bytes()
    for arguments in (("-", "-"), (str(tmp_path / "in.png"), "-"), ("-", str(tmp_path / "out.png"))):
        done = subprocess.run([sys.executable, "-c", code, *arguments], input=data, capture_output=True, timeout=240)
        assert done.returncode == 0, done.stderr
        written = done.stdout if arguments[1] == "-" else (tmp_path / "out.png").read_bytes()
        assert written == (tmp_path / "expected.png").read_bytes()


def test_pictures_of_other_libraries(tmp_path, enhancer):
    from cliplit.runtime import enhance_picture

    picture = backlit(40, 60)
    expected = enhancer(picture)
    image = Image.fromarray(picture)
    image.info["icc_profile"] = PROFILE
    relit = enhance_picture(image, enhancer=enhancer)
    assert np.array_equal(np.asarray(relit), expected) and relit.info["icc_profile"] == PROFILE
    assert enhance_picture(image.convert("L"), enhancer=enhancer).mode == "L"
    assert np.array_equal(enhance_picture(picture, enhancer=enhancer), expected)
    image.save(tmp_path / "in.png")
    assert np.array_equal(enhance_picture(str(tmp_path / "in.png"), enhancer=enhancer), expected)
    assert enhance_picture(image, tmp_path / "out.png", enhancer) == []
    assert np.array_equal(read_picture(tmp_path / "out.png").pixels, expected)
    assert read_picture(tmp_path / "out.png").belongings.icc == PROFILE
    with pytest.raises(InputError, match="mode F"):
        enhance_picture(Image.new("F", (4, 4)), enhancer=enhancer)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"target": 5}, "no path"),
        ({"target": ""}, "empty name"),
        ({"target": "a\0.png"}, "NUL"),
        ({"target": "a" * 300 + ".png"}, "more than 255 bytes"),
        ({"enhancer": "lite"}, "no Enhancer"),
        ({"quality": True}, "whole number"),
        ({"max_pixels": "10"}, "whole number"),
        ({"overwrite": "no"}, "neither True nor False"),
        ({"source": "http://example.org/a.png"}, "cliplit-video"),
        ({"source": " "}, "empty name"),
        ({"source": np.ma.masked_array(np.zeros((8, 8, 3), np.uint8), True)}, "masked"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_arguments_are_one_line(tmp_path, arguments, words):
    Image.new("RGB", (32, 24), (40, 30, 20)).save(tmp_path / "in.png")
    with pytest.raises(InputError, match=words) as raised:
        enhance_picture(**{"source": tmp_path / "in.png", "target": tmp_path / "out.png", **arguments})
    assert "\n" not in str(raised.value)
    assert [each.name for each in tmp_path.iterdir()] == ["in.png"]


def test_a_gray_array_becomes_a_gray_file(tmp_path):
    gray = np.linspace(0, 90, 32 * 24).astype(np.uint8).reshape(24, 32)
    for number, array in enumerate((gray, gray[..., None])):
        assert enhance_picture(array, tmp_path / f"{number}.png") == []
        with Image.open(tmp_path / f"{number}.png") as image:
            assert image.mode == "L"
            assert np.array_equal(np.asarray(image), enhance_picture(array).reshape(24, 32))


def test_links_and_pipes_in_a_folder_are_named(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.new("RGB", (32, 24), (40, 30, 20)).save(folder / "a.png")
    (folder / "nowhere.jpg").symlink_to("gone.jpg")
    (folder / "itself.jpg").symlink_to("itself.jpg")
    (folder / "around").symlink_to(".")
    os.mkfifo(folder / "pipe.jpg")
    done = command(folder, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "1 of 1 pictures written; 4 other files were passed over" in done.stdout
    for name, reason in (
        ("nowhere.jpg", "a link that leads nowhere"), ("itself.jpg", "a link that leads nowhere"),
        ("around", "a link to a folder"), ("pipe.jpg", "no ordinary file"),
    ):  # fmt: skip
        assert f"{folder / name} is passed over: {reason}" in done.stderr
