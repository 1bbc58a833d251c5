"""Pixels of every kind of file: right, or refused in one line. What is expected comes from the formats' standards."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from cliplit.errors import BackendError, InputError
from cliplit.runtime import enhance_picture
from cliplit.runtime.image import boxes, icc, jpeg, jxl, linear, png
from cliplit.runtime.image.image_io import decode, read_picture, write_picture
from cliplit.runtime.image.picture import Cicp, Picture
from cliplit.srgb import to_coded, to_linear
from made import backlit

COLOUR = backlit(90, 128)
DEEP = COLOUR.astype(np.uint16) * 257
GRAY, DEEP_GRAY = COLOUR[..., 1], DEEP[..., 1]
ALPHA = np.random.default_rng(1).integers(1, 256, (90, 128), dtype=np.uint8)
DEEP_ALPHA = ALPHA.astype(np.uint16) * 257


def rgb(plane, *more):
    return np.dstack([plane] * 3 + list(more))


def tiff(pixels, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, metadata=None, **options)
    return buffer.getvalue()


def tiff_pages(*pages):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for pixels, options in pages:
            file.write(pixels, photometric="rgb", metadata=None, **options)
    return buffer.getvalue()


def saved(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def deep_png(pixels, colour, extra=b""):
    """A 16-bit PNG by the specification alone: no filter, one IDAT."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    data = png.chunk(b"IDAT", zlib.compress(rows))
    return png.SIGNATURE + png.chunk(b"IHDR", header) + extra + data + png.chunk(b"IEND", b"")


def keyed(value):
    """Gray with one value that is transparent, and the alpha that means."""
    plane = DEEP_GRAY.copy()
    plane[3, 3] = value
    return plane, np.where(plane == value, 0, 65535).astype(np.uint16)


PALETTE = Image.fromarray(COLOUR).quantize(200)
BILEVEL = Image.fromarray(GRAY).convert("1")
EXACT = {
    "white is zero, 8 bits": (tiff(255 - GRAY, photometric="miniswhite"), rgb(GRAY)),
    "white is zero, 16 bits": (tiff(65535 - DEEP_GRAY, photometric="miniswhite"), rgb(DEEP_GRAY)),
    "gray and alpha, 8 bits": (
        tiff(np.dstack([GRAY, ALPHA]), photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"]),
        rgb(GRAY, ALPHA),
    ),
    "gray and alpha, 16 bits": (
        tiff(np.dstack([DEEP_GRAY, DEEP_ALPHA]), photometric="minisblack", planarconfig="contig",
             extrasamples=["unassalpha"]),
        rgb(DEEP_GRAY, DEEP_ALPHA),
    ),
    "planes, 16 bits": (tiff(np.moveaxis(DEEP, 2, 0).copy(), photometric="rgb", planarconfig="separate"), DEEP),
    "planes, 8 bits": (tiff(np.moveaxis(COLOUR, 2, 0).copy(), photometric="rgb", planarconfig="separate"), COLOUR),
    "tiles": (tiff(DEEP, photometric="rgb", tile=(32, 32)), DEEP),
    "big-endian": (tiff(DEEP, photometric="rgb", byteorder=">"), DEEP),
    "BigTIFF": (tiff(DEEP, photometric="rgb", bigtiff=True), DEEP),
    "BigTIFF, big-endian": (tiff(DEEP, photometric="rgb", bigtiff=True, byteorder=">"), DEEP),
    "BigTIFF, 8 bits": (tiff(COLOUR, photometric="rgb", bigtiff=True), COLOUR),
    "LZW, 16 bits": (cv2.imencode(".tif", DEEP[..., ::-1])[1].tobytes(), DEEP),
    "LZW, 8 bits": (saved(Image.fromarray(COLOUR), "TIFF", compression="tiff_lzw"), COLOUR),
    "fax": (saved(BILEVEL, "TIFF", compression="group4"), np.asarray(BILEVEL.convert("RGB"))),
    "palette": (saved(PALETTE, "TIFF"), np.asarray(PALETTE.convert("RGB"))),
    "an extra channel": (tiff(np.dstack([COLOUR, ALPHA]), photometric="rgb", extrasamples=["unspecified"]), COLOUR),
    "an extra channel, 16 bits": (
        tiff(np.dstack([DEEP, DEEP_ALPHA]), photometric="rgb", extrasamples=["unspecified"]), DEEP
    ),
    "a thumbnail after": (tiff_pages((DEEP, {}), (COLOUR[::4, ::4], {"subfiletype": 1})), DEEP),
    "a thumbnail before": (tiff_pages((COLOUR[::4, ::4], {"subfiletype": 1}), (DEEP, {})), DEEP),
    "a thumbnail before, 8 bits": (tiff_pages((COLOUR[::4, ::4], {"subfiletype": 1}), (COLOUR, {})), COLOUR),
    "smaller copies inside": (tiff_pages((DEEP, {"subifds": 1}), (DEEP[::2, ::2], {"subfiletype": 1})), DEEP),
    "PNG of gray and alpha": (deep_png(np.dstack([DEEP_GRAY, DEEP_ALPHA]), 4), rgb(DEEP_GRAY, DEEP_ALPHA)),
    "PNG with a transparent gray": (
        deep_png(keyed(777)[0], 0, png.chunk(b"tRNS", struct.pack(">H", 777))), rgb(*keyed(777))
    ),
    "BMP": (saved(Image.fromarray(COLOUR), "BMP"), COLOUR),
    "WebP": (saved(Image.fromarray(COLOUR), "WEBP", lossless=True), COLOUR),
}  # fmt: skip


@pytest.mark.parametrize("kind", EXACT)
def test_pixels_are_those_of_the_file(kind):
    data, expected = EXACT[kind]
    picture = decode(data, "x")
    assert picture.pixels.dtype == expected.dtype and picture.pixels.dtype.isnative
    assert np.array_equal(picture.pixels, expected)
    assert picture.gray == (expected[..., 0] == expected[..., 2]).all()
    assert bool(picture.notes) == any(word in kind for word in ("thumbnail", "copies", "extra channel"))


@pytest.mark.parametrize("top", [255, 65535])
def test_colours_multiplied_by_alpha_are_divided_again(top):
    """TIFF 6.0, ExtraSamples 1: shown on black they must be what the file holds."""
    colour, alpha = (COLOUR, ALPHA) if top == 255 else (DEEP, DEEP_ALPHA)
    shown = np.rint(colour * (alpha[..., None] / top)).astype(colour.dtype)
    data = tiff(np.dstack([shown, alpha]), photometric="rgb", extrasamples=["assocalpha"])
    pixels = decode(data, "x").pixels
    assert np.array_equal(pixels[..., 3], alpha)
    assert np.abs(pixels[..., :3] * (alpha[..., None] / top) - shown).max() <= 1


REFUSED = {
    "several pages": (tiff_pages((COLOUR, {}), (COLOUR, {})), "2 pages"),
    "float TIFF of 0 to 255": (tiff(COLOUR.astype(np.float32), photometric="rgb"), "1 is white; divide"),
    "float TIFF with a profile that is not linear": (
        tiff((COLOUR / 255).astype(np.float32), photometric="rgb", iccprofile=icc.SRGB.tobytes()), "linear profile",
    ),
    "float TIFF, white is zero": (tiff((GRAY / 255).astype(np.float32), photometric="miniswhite"), "white is zero"),
    "signed TIFF": (tiff(DEEP.astype(np.int16), photometric="rgb"), "int16.*save it as 16-bit"),
    "TIFF of 32 bits": (tiff(DEEP.astype(np.uint32), photometric="rgb"), "32 bits.*save it as 16-bit"),
    "JPEG of 12 bits": (
        saved(Image.fromarray(COLOUR), "JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"), "12 bits",
    ),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not a picture"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
    "MP4": (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", "cliplit-video"),
    "GIF": (saved(PALETTE, "GIF"), "cliplit-video"),
    "nothing": (b"", "empty"),
    "JPEG without its last marker": (saved(Image.fromarray(COLOUR), "JPEG")[:-2], "cut off"),
    "PNG cut off": (saved(Image.fromarray(COLOUR), "PNG")[:-700], "damaged"),
    "PNG of 16 bits cut off": (deep_png(DEEP, 2)[:-700], "damaged"),
    "PNG without its last chunk": (deep_png(DEEP, 2)[:-12], "cut off"),
    "PNG with a wrong bit": (deep_png(DEEP, 2).replace(b"IDAT", b"IDAT\xff", 1), "damaged"),
    "animated WebP": (
        saved(Image.fromarray(COLOUR), "WEBP", save_all=True, append_images=[Image.fromarray(COLOUR[::-1])]),
        "2 pictures",
    ),
    "animated PNG": (
        saved(Image.fromarray(COLOUR), "PNG", save_all=True, append_images=[Image.fromarray(COLOUR[::-1])]),
        "2 pictures",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_right_is_refused_in_one_line(kind):
    data, words = REFUSED[kind]
    with pytest.raises(InputError, match=words) as raised:
        decode(data, "a name.jpg")
    assert str(raised.value).startswith("a name.jpg: ") and "\n" not in str(raised.value)


def test_a_small_file_of_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    bomb = saved(Image.new("1", (20000, 20000)), "PNG")
    assert len(bomb) < 60000
    with pytest.raises(InputError, match=r"20000x20000 is more than .* --max-pixels"):
        decode(bomb, "bomb.png")
    for form in ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "AVIF"):
        data = saved(Image.fromarray(COLOUR), form)
        with pytest.raises(InputError, match="128x90 is more than 11519 pixels"):
            decode(data, "x", max_pixels=90 * 128 - 1)
        assert decode(data, "x", max_pixels=90 * 128).pixels.shape[:2] == (90, 128)
    hidden = png.chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1 << 28)))  # 256 MB in 260 kB
    data = saved(Image.fromarray(COLOUR), "PNG")
    assert any("zTXt" in note for note in decode(data[:33] + hidden + data[33:], "x").notes)


def test_cmyk_is_converted_by_its_profile():
    """By lcms, as any viewer does, not by the plain formula; without a profile the colours are said to be a guess."""
    cmyk = Image.fromarray(COLOUR).convert("CMYK")
    for form in ("JPEG", "TIFF"):
        picture = decode(saved(cmyk, form), "x")
        assert picture.pixels.shape == COLOUR.shape and any("guess" in note for note in picture.notes)
        assert not picture.belongings.icc


def test_lab_is_converted():
    lab = ImageCms.profileToProfile(
        Image.fromarray(COLOUR), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    picture = decode(saved(lab, "TIFF"), "x")
    assert np.abs(picture.pixels.astype(int) - COLOUR).mean() < 1


def test_the_first_of_several_pictures_in_a_jpeg_and_a_note(tmp_path):
    first, second = Image.fromarray(COLOUR), Image.fromarray(COLOUR[::4, ::4])
    data = saved(first, "MPO", save_all=True, append_images=[second], quality=92)
    picture = decode(data, "x")
    assert np.array_equal(picture.pixels, decode(saved(first, "JPEG", quality=92), "x").pixels)
    assert any("several pictures" in note for note in picture.notes)
    write_picture(tmp_path / "out.jpg", picture, picture.pixels)
    with Image.open(tmp_path / "out.jpg") as out:
        assert out.format == "JPEG"  # and not MPO, which would look for a second one


def test_a_gain_map_is_left_out_with_a_note_and_nothing_speaks_of_it(tmp_path):
    """Ultra HDR: a JPEG whose XMP describes the JPEG behind it (Ultra HDR Image Format 1.1)."""
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"'
        b' xmlns:Container="http://ns.google.com/photos/1.0/container/" xmlns:dc="http://purl.org/dc/elements/1.1/"'
        b' dc:format="image/jpeg"><Container:Directory><rdf:Seq/></Container:Directory></rdf:Description>'
        b"</rdf:RDF></x:xmpmeta>"
    )
    data = saved(Image.fromarray(COLOUR), "JPEG", xmp=packet) + saved(Image.fromarray(GRAY), "JPEG")
    picture = decode(data, "x")
    assert any("gain map" in note for note in picture.notes)
    write_picture(tmp_path / "out.jpg", picture, picture.pixels)
    written = (tmp_path / "out.jpg").read_bytes()
    assert b"hdr-gain-map" not in written and b"photos/1.0" not in written and b"image/jpeg" in written
    motion = saved(Image.fromarray(COLOUR), "JPEG") + b"\0\0\0\x18ftypmp42" + bytes(5000)
    assert any("a clip by the look of it" in note for note in decode(motion, "x").notes)


def test_alpha_that_is_opaque_everywhere_goes_into_jpeg(tmp_path):
    opaque = np.dstack([COLOUR, np.full((90, 128), 255, np.uint8)])
    assert any("opaque" in note for note in write_picture(tmp_path / "o.jpg", Picture(opaque), opaque))
    with pytest.raises(InputError, match="transparency"):
        write_picture(tmp_path / "t.jpg", Picture(np.dstack([COLOUR, ALPHA])), np.dstack([COLOUR, ALPHA]))


def test_formats_say_what_sides_they_hold(tmp_path):
    wide = np.zeros((3, 20000, 3), np.uint8)
    with pytest.raises(InputError, match="WEBP holds 16383"):
        write_picture(tmp_path / "o.webp", Picture(wide), wide)


# ------------------------------------------------------------------ linear light


def test_radiance_keeps_its_light_and_its_header(tmp_path, enhancer):
    light = ((COLOUR / 255.0) ** 2.2).astype(np.float32)
    light[:5] = 7.5  # brighter than white
    data = cv2.imencode(".hdr", light[..., ::-1])[1].tobytes()
    (tmp_path / "in.hdr").write_bytes(data.replace(b"#?RADIANCE\n", b"#?RADIANCE\nEXPOSURE=2.0\n"))
    assert enhance_picture(tmp_path / "in.hdr", tmp_path / "out.hdr", enhancer) == []
    out = (tmp_path / "out.hdr").read_bytes()
    assert b"\nEXPOSURE=2.0\n" in out[:80]
    before, after = (cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_UNCHANGED) for each in (data, out))
    assert np.array_equal(before[:5], after[:5])
    assert after[60:].mean() > 1.5 * before[60:].mean()
    notes = enhance_picture(tmp_path / "in.hdr", tmp_path / "out.png", enhancer)
    assert any("white now" in note for note in notes)
    for wrong in (b"+Y 90 +X 128", b"-Y 90 -X 128"):
        with pytest.raises(InputError, match="top left"):
            decode(data.replace(b"-Y 90 +X 128", wrong), "x")


def test_the_curve_is_that_of_srgb():
    """IEC 61966-2-1: 0.0031308 -> 0.04045, 0.2140 -> 0.5, 1 -> 1; below 0 mirrored, above 1 continued."""
    linear_values = np.array([0, 0.0031308, 0.21404114, 1.0, -0.21404114, 4.0], np.float32)
    coded = to_coded(linear_values)
    assert coded[:5] == pytest.approx([0, 0.04045, 0.5, 1.0, -0.5], abs=2e-5) and coded[5] > 1.7
    assert to_linear(coded) == pytest.approx(linear_values, rel=1e-5)


def test_openexr_keeps_all_but_the_light(tmp_path, enhancer):
    library = pytest.importorskip("OpenEXR", reason="needs the extra pictures")
    light = ((COLOUR / 255.0) ** 2.2).astype(np.float32)
    light[:5] = 7.5
    alpha = np.full((90, 128), 0.5, np.float32)
    depth = np.random.default_rng(0).random((90, 128)).astype(np.float32)
    header = {"compression": library.PIZ_COMPRESSION, "type": library.scanlineimage, "owner": "me"}
    channels = {"RGBA": np.dstack([light / 2, alpha]).astype(np.float16), "Z": depth}
    library.File(header, channels).write(str(tmp_path / "in.exr"))
    assert enhance_picture(tmp_path / "in.exr", tmp_path / "out.exr", enhancer) == []
    before, after = (library.File(str(tmp_path / name), separate_channels=True) for name in ("in.exr", "out.exr"))
    assert after.header()["owner"] == "me" and after.header()["compression"] == library.PIZ_COMPRESSION
    for name in ("A", "Z"):
        assert np.array_equal(before.channels()[name].pixels, after.channels()[name].pixels)
    red = [file.channels()["R"].pixels for file in (before, after)]
    assert red[1].dtype == np.float16 and np.array_equal(red[0][:5], red[1][:5])
    assert red[1][60:].mean() > 1.5 * red[0][60:].mean()
    notes = enhance_picture(tmp_path / "in.exr", tmp_path / "out.png", enhancer)
    assert any("channels Z" in note for note in notes)


# ------------------------------------------------------------------ formats of the extra


def test_a_missing_library_is_named_with_the_command(monkeypatch):
    files = {
        "imagecodecs": jxl.CODESTREAM + bytes(20),
        "OpenEXR": linear.EXR_MAGIC + bytes(20),
        "pillow_heif": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "rawpy": b"FUJIFILMCCD-RAW 0201",
    }
    for module, data in files.items():
        monkeypatch.setitem(__import__("sys").modules, module, None)
        with pytest.raises(BackendError, match=r"x: .* needs .*\[pictures\]"):
            decode(data, "x")


@pytest.mark.parametrize("suffix", [".heic", ".jxl", ".avif"])
def test_heic_jpeg_xl_and_avif_give_what_was_written(tmp_path, suffix):
    pytest.importorskip(
        {".heic": "pillow_heif", ".jxl": "imagecodecs"}.get(suffix, "PIL"), reason="needs the extra pictures"
    )
    for pixels, bits in ((COLOUR, 8), (np.dstack([COLOUR, ALPHA]), 8), (DEEP, 16)):
        notes = write_picture(tmp_path / f"o{suffix}", Picture(pixels), pixels)
        back = read_picture(tmp_path / f"o{suffix}").pixels
        kept = bits == 16 and suffix == ".heic"
        assert back.dtype == (np.uint16 if kept else np.uint8) and back.shape == pixels.shape
        scale = 257 if kept else 1
        assert np.abs(back[..., :3].astype(float) / scale - COLOUR).mean() < 1.5
        assert bool(notes) == (bits == 16)  # 10 bits, or 8


def test_deep_avif_is_read_whole():
    imagecodecs = pytest.importorskip("imagecodecs", reason="needs the extra pictures")
    ten = np.zeros((64, 64, 3), np.uint16)
    ten[:, 32:] = 1023
    data = imagecodecs.avif_encode(ten, bitspersample=10, level=100)
    pixels = decode(data, "x").pixels
    assert pixels.dtype == np.uint16 and pixels[:, :24].max() < 400 and pixels[:, 40:].min() > 65100


def test_jpeg_xl_says_its_colours(tmp_path):
    """Code points of ITU-T H.273 and depths as cjxl writes them; what only an ICC profile or numbers say is refused."""
    imagecodecs = pytest.importorskip("imagecodecs", reason="needs the extra pictures")
    assert jxl.header(imagecodecs.jpegxl_encode(COLOUR)) == jxl.Header()
    assert jxl.size_of(imagecodecs.jpegxl_encode(COLOUR)) == (90, 128)
    linear16 = decode(imagecodecs.jpegxl_encode(DEEP, lossless=True), "x")  # which imagecodecs calls linear
    assert np.array_equal(linear16.pixels, DEEP) and linear16.belongings.cicp == Cicp(1, 8)
    light = ((COLOUR / 255.0) ** 2.2).astype(np.float32)
    assert np.array_equal(decode(imagecodecs.jpegxl_encode(light, lossless=True), "x").pixels, light)
    if shutil.which("cjxl") is None:
        pytest.skip("needs cjxl")
    (tmp_path / "in.png").write_bytes(deep_png(DEEP, 2))

    def encoded(*options):
        command = ["cjxl", "in.png", "out.jxl", "-d", "0", *options]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        return (tmp_path / "out.jxl").read_bytes()

    for bits in (10, 12):
        picture = decode(encoded(f"--override_bitdepth={bits}"), "x")
        step = 65535 / (2**bits - 1)
        assert picture.bits == bits and np.abs(picture.pixels.astype(int) - DEEP).max() <= step
    for said, points in (("DCI_Rel_SRG", (12, 13)), ("202_Rel_PeQ", (9, 16)), ("202_Rel_HLG", (9, 18))):
        picture = decode(encoded("-x", f"color_space=RGB_D65_{said}"), "x")
        assert picture.belongings.cicp == Cicp(*points) and np.array_equal(picture.pixels, DEEP)
        write_picture(tmp_path / "back.png", picture, picture.pixels)
        chunks = dict(png.png_chunks((tmp_path / "back.png").read_bytes()))
        assert chunks[b"cICP"][8:12] == bytes([*points, 0, 1])
    with pytest.raises(InputError, match=r"numbers of its own.*djxl"):
        decode(encoded("-x", "color_space=RGB_D65_SRG_Rel_g0.4"), "x")


# ------------------------------------------------------------------ TIFF of many bits


@pytest.mark.parametrize("kind", ["float16", "float32"])
@pytest.mark.parametrize("samples", ["gray", "rgb", "rgba"])
def test_float_tiff_is_linear_light_and_stays_float(tmp_path, enhancer, kind, samples):
    light = ((COLOUR / 255.0) ** 2.2).astype(kind)
    light[:5] = 7.5  # brighter than white
    alpha = np.full((90, 128), 0.5, kind)
    pixels = {"gray": light[..., 1], "rgb": light, "rgba": np.dstack([light, alpha])}[samples]
    options = {"extrasamples": ["unassalpha"]} if samples == "rgba" else {}
    data = tiff(pixels, photometric="minisblack" if samples == "gray" else "rgb", resolution=(300, 300), **options)
    (tmp_path / "in.tif").write_bytes(data)
    assert enhance_picture(tmp_path / "in.tif", tmp_path / "out.tif", enhancer) == []
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        after, tags = file.pages[0].asarray(), file.pages[0].tags
    assert (after.dtype, after.shape) == (pixels.dtype, pixels.shape)
    assert tags["XResolution"].value == (300, 1)
    assert np.array_equal(after[:5], pixels[:5])
    assert after[60:].mean() > 1.3 * pixels[60:].mean()
    if samples == "rgba":
        assert np.array_equal(after[..., 3], alpha)
        return
    notes = enhance_picture(tmp_path / "in.tif", tmp_path / "out.png", enhancer)
    assert any("white now" in note for note in notes)
    pytest.importorskip("OpenEXR", reason="needs the extra pictures")
    write_picture(tmp_path / "out.exr", (picture := read_picture(tmp_path / "in.tif")), picture.pixels)
    assert np.array_equal(read_picture(tmp_path / "out.exr").pixels, picture.pixels)


def test_float_tiff_of_other_primaries_keeps_its_linear_profile(tmp_path):
    """Display P3 with a linear curve: IEC 61966-2-1's curve on the same primaries shows the same colours, by lcms."""
    linear_p3 = icc.matrix_profile(icc.PRIMARIES[12], (1.0,))
    light = ((COLOUR / 255.0) ** 2.2).astype(np.float32)
    picture = decode(tiff(light, photometric="rgb", iccprofile=linear_p3), "x")
    write_picture(tmp_path / "same.tif", picture, picture.pixels)
    with tifffile.TiffFile(tmp_path / "same.tif") as file:
        assert file.pages[0].tags[34675].value == linear_p3
    write_picture(tmp_path / "coded.png", picture, picture.pixels)
    with Image.open(tmp_path / "coded.png") as image:
        made = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        shown = ImageCms.profileToProfile(image.convert("RGB"), made, icc.SRGB)
    from_linear = Image.fromarray(np.rint(light * 255).astype(np.uint8))
    expected = ImageCms.profileToProfile(from_linear, ImageCms.ImageCmsProfile(io.BytesIO(linear_p3)), icc.SRGB)
    bright = COLOUR.min(axis=2) > 100  # where 8 linear bits are enough
    assert np.abs(np.asarray(shown).astype(int) - np.asarray(expected))[bright].max() <= 3
    with pytest.raises(InputError, match=r"BT\.709.s colours"):
        write_picture(tmp_path / "out.exr", picture, picture.pixels)


def test_cmyk_and_lab_of_16_bits_as_those_of_8():
    """By Pillow's lcms, from the same numbers in 8 bits."""
    inks = np.asarray(Image.fromarray(COLOUR).convert("CMYK"))
    plain = decode(tiff(inks.astype(np.uint16) * 257, photometric="separated"), "x")
    assert any("guess" in note for note in plain.notes)
    expected = np.asarray(Image.fromarray(inks, "CMYK").convert("RGB")).astype(int)
    assert np.abs(plain.pixels / 257 - expected).max() <= 1
    lab = ImageCms.profileToProfile(
        Image.fromarray(COLOUR), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    raw = np.asarray(lab)  # L* 255 for 100; a*, b* signed
    ab = raw[..., 1:].view(np.int8).astype(int) * 256
    cielab = np.dstack([raw[..., :1].astype(np.uint16) * 257, ab.astype(np.int16).view(np.uint16)])
    icclab = np.dstack([np.rint(raw[..., :1] / 255 * 65280), ab + 32768]).astype(np.uint16)
    for stored, photometric in ((cielab, 8), (icclab, 9)):
        picture = decode(tiff(stored, photometric=photometric), "x")
        assert np.abs(picture.pixels / 257 - COLOUR).max() <= 4  # 8 bits of a* and b*
        assert np.abs(picture.pixels / 257 - COLOUR).mean() < 0.7


def test_what_is_beside_colour_and_alpha_is_named():
    for colour, alpha in ((COLOUR, ALPHA), (DEEP, DEEP_ALPHA)):
        data = tiff(np.dstack([colour, alpha, alpha]), photometric="rgb", planarconfig="contig", extrasamples=[2, 0])
        picture = decode(data, "x")
        assert np.array_equal(picture.pixels, np.dstack([colour, alpha]))
        assert any("neither colour nor alpha" in note for note in picture.notes)
    gray = np.dstack([np.rint(GRAY * (ALPHA / 255.0)).astype(np.uint8), ALPHA])
    data = tiff(gray, photometric="minisblack", planarconfig="contig", extrasamples=["assocalpha"])
    assert np.abs(decode(data, "x").pixels[..., 0] * (ALPHA / 255.0) - gray[..., 0]).max() <= 1


def test_a_jpeg_damaged_inside_is_said_to_be():
    """libjpeg, and Pillow with it, pads what is missing with gray and says nothing."""
    for options in ({}, {"progressive": True}):
        data = saved(Image.fromarray(COLOUR), "JPEG", quality=92, **options)
        assert decode(data, "x").notes == ()
        half = len(data) // 2
        notes = decode(data[:half] + b"\xff\xd9", "x").notes
        assert any("damaged inside" in note for note in notes)


def test_png_code_points_come_before_the_profile(tmp_path):
    """PNG third edition, 4.3: cICP has precedence over iCCP."""
    extra = png.chunk(b"cICP", bytes([9, 16, 0, 1])) + png.chunk(b"iCCP", b"p\0\0" + zlib.compress(icc.SRGB.tobytes()))
    picture = decode(deep_png(DEEP, 2, extra), "x")
    with pytest.raises(InputError, match="cannot say these colours"):  # PQ, which no profile says
        write_picture(tmp_path / "out.jpg", picture, picture.pixels)
    write_picture(tmp_path / "out.png", picture, picture.pixels)
    kinds = [kind for kind, _ in png.png_chunks((tmp_path / "out.png").read_bytes())]
    assert b"cICP" in kinds and b"iCCP" in kinds


def test_bmp_keeps_its_resolution_and_shows_its_profile(tmp_path):
    """BITMAPV5HEADER: resolution at 24, colour space at 56, place and size of the profile at 112."""
    p3 = icc.matrix_profile(icc.PRIMARIES[12], icc.SRGB_CURVE)
    rows = COLOUR[::-1, :, ::-1].tobytes()  # 384 bytes a row, a multiple of 4
    header = struct.pack("<IiiHHIIiiII", 124, 128, 90, 1, 24, 0, len(rows), 11811, 5906, 0, 0)
    header += bytes(16) + b"DEBM" + bytes(36 + 12) + struct.pack("<IIII", 4, 124 + len(rows), len(p3), 0)
    file = b"BM" + struct.pack("<IHHI", 14 + 124 + len(rows) + len(p3), 0, 0, 138) + header + rows + p3
    picture = decode(file, "x")
    assert np.array_equal(picture.pixels, COLOUR) and picture.belongings.icc == p3
    write_picture(tmp_path / "out.tif", picture, picture.pixels)
    with Image.open(tmp_path / "out.tif") as image:
        assert image.info["icc_profile"] == p3
        assert image.info["dpi"] == pytest.approx((300, 150), abs=0.05)
    with pytest.raises(InputError, match="BMP holds no colour profile"):
        write_picture(tmp_path / "out.bmp", picture, picture.pixels)
    data = saved(Image.fromarray(COLOUR), "BMP", dpi=(300, 300))
    plain = decode(data, "x")
    assert write_picture(tmp_path / "out.bmp", plain, plain.pixels) == []
    with Image.open(tmp_path / "out.bmp") as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.05)


def test_what_only_png_or_linear_formats_hold_is_named(tmp_path):
    extra = png.chunk(b"tIME", struct.pack(">HBBBBB", 2026, 1, 2, 3, 4, 5))
    data = saved(Image.fromarray(COLOUR), "PNG")
    picture = decode(data[:33] + extra + data[33:], "x")
    assert any("tIME" in note for note in write_picture(tmp_path / "out.tif", picture, picture.pixels))
    assert write_picture(tmp_path / "out.png", picture, picture.pixels) == []
    light = ((COLOUR / 255.0) ** 2.2).astype(np.float32)
    radiance = cv2.imencode(".hdr", light)[1].tobytes().replace(b"#?RADIANCE\n", b"#?RADIANCE\nEXPOSURE=2.0\n")
    picture = decode(radiance, "x")
    assert any("EXPOSURE=2.0" in note for note in write_picture(tmp_path / "out.png", picture, picture.pixels))


def camera_raw(cfa=True):
    """A DNG as cameras write it: a thumbnail first, the mosaic in a directory below."""
    buffer = io.BytesIO()
    extra = [(50706, 1, 4, (1, 4, 0, 0), True), (50708, 2, 0, "Test Camera", True)]
    with tifffile.TiffWriter(buffer) as file:
        small = np.ascontiguousarray(COLOUR[::2, ::2])
        file.write(small, photometric="rgb", subfiletype=1, subifds=1, extratags=extra if cfa else None, metadata=None)
        mosaic = [(33421, 3, 2, (2, 2), True), (33422, 1, 4, (0, 1, 1, 2), True)]
        wide = np.kron(GRAY, np.ones((2, 2), np.uint16)).astype(np.uint16) * 16
        file.write(wide, photometric=32803, extratags=mosaic, metadata=None)
    return buffer.getvalue()


@pytest.mark.parametrize("named", [True, False])
def test_camera_raw_is_developed_or_refused_never_its_thumbnail(monkeypatch, named):
    data = camera_raw(named)
    monkeypatch.setitem(__import__("sys").modules, "rawpy", None)
    with pytest.raises(BackendError, match="camera raw needs rawpy"):
        decode(data, "x.dng")
    monkeypatch.undo()
    pytest.importorskip("rawpy", reason="needs the extra pictures")
    try:
        pixels = decode(data, "x.dng").pixels
    except InputError as error:
        assert "LibRaw" in str(error)
    else:
        assert pixels.shape[:2] == (180, 256) and pixels.dtype == np.uint16


def test_avif_orientations_are_those_that_pillow_finds():
    for orientation in range(1, 9):
        tags = Image.Exif()
        tags[274] = orientation
        data = saved(Image.fromarray(COLOUR), "AVIF", exif=tags.tobytes())
        assert boxes.orientation(dict(boxes.boxes(data))) == orientation
        assert decode(data, "x").orientation == orientation


# ------------------------------------------------------------------ colours said otherwise


# Linear Display P3 to linear sRGB, of CSS Color 4, section 18.
P3_TO_SRGB = np.array(
    [[1.22494018, -0.22494018, 0], [-0.04205695, 1.04205695, 0], [-0.01963755, -0.07863605, 1.0982736]]
)


def test_profiles_made_of_code_points_agree_with_lcms():
    """Display P3 is primaries 12 of H.273 with sRGB's curve."""
    profile = icc.matrix_profile(icc.PRIMARIES[12], icc.SRGB_CURVE)
    assert icc.channels(profile) == "RGB" and not icc.is_srgb(profile)
    assert icc.is_srgb(icc.matrix_profile(icc.PRIMARIES[1], icc.SRGB_CURVE))
    for colour in ((100, 100, 100), (150, 120, 110), (60, 120, 100)):
        expected = to_coded(P3_TO_SRGB @ to_linear(np.array(colour) / 255)) * 255
        shown = ImageCms.profileToProfile(Image.new("RGB", (4, 4), colour), io.BytesIO(profile), icc.SRGB)
        assert np.abs(np.asarray(shown)[0, 0] - expected).max() <= 1


def test_pq_stays_pq_or_is_refused(tmp_path, enhancer):
    coded = (DEEP * 0.5).astype(np.uint16)
    data = deep_png(coded, 2, png.chunk(b"cICP", bytes([9, 16, 0, 1])))
    (tmp_path / "in.png").write_bytes(data)
    assert enhance_picture(tmp_path / "in.png", tmp_path / "out.png", enhancer) == []
    out = read_picture(tmp_path / "out.png")
    assert out.belongings.cicp == Cicp(9, 16) and (out.pixels >= coded).all() and out.pixels.mean() > coded.mean()
    with pytest.raises(InputError, match=r"use \.png"):
        enhance_picture(tmp_path / "in.png", tmp_path / "out.jpg", enhancer)


def test_an_unknown_jpeg_segment_does_not_stop_anything():
    data = saved(Image.fromarray(COLOUR), "JPEG")
    odd = data[:2] + b"\xff\xe5\0\x06what" + data[2:]
    picture = decode(odd, "x")
    assert any("APP5" in note for note in picture.notes)
    assert jpeg.take_apart(odd).segments[0][0] == 0xE5
