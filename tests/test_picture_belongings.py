"""What belongs to a picture crosses formats: written by exiftool, carried by us, read by exiftool (and Pillow)."""

from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
from fractions import Fraction

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from cliplit.runtime.image import exif, ifd, jpeg, photoshop, png, xmp
from cliplit.runtime.image.image_io import decode, read_picture, write_picture
from cliplit.runtime.image.picture import Belongings, Picture
from made import backlit

COLOUR = backlit(90, 128)
DEEP = COLOUR.astype(np.uint16) * 257
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
WRITTEN = {
    "EXIF:Artist": "你好",
    "EXIF:Copyright": "© 2026 Jürgen",
    "EXIF:Make": "Maker",
    "EXIF:LensModel": "Lens",
    "EXIF:UserComment": "Größe",
    "EXIF:GPSLatitude": 50.5,
    "XMP:Title": "Tïtle",
    "IPTC:Keywords": "Schlüssel",
}
needs_exiftool = pytest.mark.skipif(not shutil.which("exiftool"), reason="exiftool is not here")


def exiftool(path, *options):
    done = subprocess.run(["exiftool", "-j", "-n", "-G0", *options, str(path)], capture_output=True, timeout=300)
    return json.loads(done.stdout)[0]


def saved(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def carried(source, target):
    """Read and write as the commands do, with pixels as they are; returns the notes."""
    picture = read_picture(source)
    return write_picture(target, picture, picture.pixels)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A JPEG with all of it, by Pillow and exiftool."""
    if not shutil.which("exiftool"):
        pytest.skip("exiftool is not here")
    path = tmp_path_factory.mktemp("full") / "full.jpg"
    Image.fromarray(COLOUR).save(path, icc_profile=PROFILE, dpi=(240, 240), comment="a comment")
    values = [f"-{name.replace('EXIF:', '').replace('XMP:', 'XMP-dc:')}={value}" for name, value in WRITTEN.items()]
    command = ["exiftool", "-q", "-overwrite_original", *values, "-GPSLatitudeRef=N", "-Orientation#=6", str(path)]
    subprocess.run(command, check=True, timeout=300)
    return path


HELD = {  # what each format has a place for, besides EXIF, XMP and the profile
    ".jpg": {"IPTC", "comment", "orientation"},
    ".png": {"IPTC", "comment", "orientation"},
    ".tif": {"IPTC", "orientation"},
    ".webp": {"orientation"},
    ".avif": set(),
    ".heic": set(),
    ".jxl": set(),
}


@pytest.mark.parametrize("suffix", HELD)
def test_all_of_a_jpeg_arrives(full, tmp_path, suffix):
    pytest.importorskip(
        {".heic": "pillow_heif", ".jxl": "imagecodecs"}.get(suffix, "PIL"), reason="needs the extra pictures"
    )
    target = tmp_path / f"out{suffix}"
    notes = carried(full, target)
    found = exiftool(target)
    for name, value in WRITTEN.items():
        if not name.startswith("IPTC") or "IPTC" in HELD[suffix]:
            assert found.get(name) == value, name
    assert ("IPTC" in HELD[suffix]) != any("IPTC" in note for note in notes)
    assert ("comment" in HELD[suffix]) == ("a comment" in map(str, found.values()))
    assert ("comment" in HELD[suffix]) != any("'Comment'" in note for note in notes)
    assert found["EXIF:XResolution"] == 240
    assert suffix == ".jxl" or found["ICC_Profile:ProfileDescription"] == "sRGB built-in"
    # Where the format holds no orientation the pixels stand upright: 6 is a quarter turn.
    turned = "orientation" not in HELD[suffix]
    assert found.get("EXIF:Orientation", 1) == (1 if turned else 6)
    assert read_picture(target).pixels.shape[:2] == ((128, 90) if turned else (90, 128))


@pytest.mark.parametrize("first", [".png", ".tif", ".webp", ".avif"])
@pytest.mark.parametrize("second", [".jpg", ".png", ".tif"])
def test_all_of_it_comes_back(full, tmp_path, first, second):
    between, target = tmp_path / f"between{first}", tmp_path / f"out{second}"
    carried(full, between)
    carried(between, target)
    found = exiftool(target)
    for name, value in WRITTEN.items():
        if not name.startswith("IPTC") or "IPTC" in HELD[first]:
            assert found.get(name) == value, name
    assert found["EXIF:XResolution"] == 240


@needs_exiftool
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bits_lose_nothing_on_the_way_to_8(tmp_path, suffix, order):
    tags = [(274, 3, 1, 6, True), (33432, 2, 0, "© 2026 Jürgen".encode(), True)]
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, DEEP, photometric="rgb", iccprofile=PROFILE, extratags=tags, metadata=None,
                     resolution=(300, 300), resolutionunit="CENTIMETER", byteorder=order)  # fmt: skip
    subprocess.run(["exiftool", "-q", "-overwrite_original", "-LensModel=Lens", "-XMP-dc:Title=Tïtle", str(source)])
    carried(source, tmp_path / f"out{suffix}")
    found = exiftool(tmp_path / f"out{suffix}")
    assert (found["EXIF:Orientation"], found["EXIF:Copyright"]) == (6, "© 2026 Jürgen")
    assert (found["EXIF:LensModel"], found["XMP:Title"]) == ("Lens", "Tïtle")
    assert found["EXIF:XResolution"] * (2.54 if found["EXIF:ResolutionUnit"] == 3 else 1) == pytest.approx(762)
    assert found["ICC_Profile:ProfileDescription"] == "sRGB built-in"


def test_an_exif_block_is_carried_as_bytes():
    """Nothing in it is understood; that is why all of it arrives."""
    block = b"II*\0\x08\0\0\0\x01\0\x7c\x92\x07\0\x06\0\0\0\x1a\0\0\0\0\0\0\0maker!"
    data = saved(Image.fromarray(COLOUR), "JPEG", exif=exif.PREFIX + block)
    for form in ("JPEG", "PNG", "WEBP", "JPEG"):
        data, notes = written(form, decode(data, "x"))
        assert notes == [] and decode(data, "x").belongings.exif == block


def written(form, picture):
    from cliplit.runtime.image.formats import BY_NAME
    from cliplit.runtime.image.image_io import encode

    return encode(BY_NAME[form], "x", picture, picture.pixels)


DAMAGED = {
    "a text for an orientation": b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abc\0\0\0\0\0",
    "more entries than bytes": b"II*\0\x08\0\0\0\xff\xff",
    "no structure": b"garbage",
    "a value outside": b"MM\0*\0\0\0\x08\0\x02\x01\x0f\0\x02\xff\xff\xff\xff\0\0\0\x40\x01\x12\0\x03\0\0\0\x01"
    b"\0\x06\0\0\0\0\0\0",
    "a directory that is its own child": b"II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\0\0\0\0",
}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIC", "JPEG XL"])
@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_exif_stops_nothing(form, kind):
    pytest.importorskip(
        {"HEIC": "pillow_heif", "JPEG XL": "imagecodecs"}.get(form, "PIL"), reason="needs the extra pictures"
    )
    segment = exif.PREFIX + DAMAGED[kind]
    data = saved(Image.fromarray(COLOUR), "JPEG")
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
    out, notes = written(form, decode(data, "x"))
    back = decode(out, "x").belongings.exif
    kept = {DAMAGED[kind], exif.with_orientation_1(DAMAGED[kind])}  # HEIC and JPEG XL are written upright
    assert back in kept or any("damaged" in note for note in notes) or form in ("TIFF", "AVIF")


def big_exif(size=90000):
    tags = Image.Exif()
    tags[0x010F] = "Maker"
    tags.get_ifd(0x8769)[0x927C] = b"M" * size
    return tags


def test_what_is_too_large_for_a_jpeg_is_said(tmp_path):
    data = saved(Image.fromarray(COLOUR), "PNG", exif=big_exif())
    out, notes = written("JPEG", decode(data, "x"))
    assert notes == ["the maker note of the EXIF block is too large for JPEG and left out"]
    with Image.open(io.BytesIO(out)) as image:
        assert image.getexif()[0x010F] == "Maker"


@needs_exiftool
def test_large_xmp_goes_into_several_segments(tmp_path):
    """XMP specification part 3, 1.1.3.1; exiftool joins them, and so do we."""
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:source="' + b"s" * 150000 + b'"'
        b' dc:format="image/tiff"/></rdf:RDF></x:xmpmeta>'
    )
    picture = Picture(COLOUR, belongings=Belongings(xmp=packet))
    out, notes = written("JPEG", picture)
    (tmp_path / "out.jpg").write_bytes(out)
    assert notes == []
    assert len(exiftool(tmp_path / "out.jpg", "-XMP-dc:Source")["XMP:Source"]) == 150000
    again = decode(out, "x").belongings.xmp
    assert b"HasExtendedXMP" not in again and again.count(b"s" * 150000) == 1
    with pytest.raises(ValueError, match="no XML"):
        xmp.merged(b"<x", b"<y")


def test_the_thumbnail_in_exif_shows_the_new_picture():
    small = saved(Image.new("RGB", (160, 120), (200, 0, 0)), "JPEG", quality=95) + bytes(3000)
    first = ifd.Ifd({0x010F: ifd.ascii_entry("Maker")})
    at = 8 + len(ifd.directory(first, "<", 8))
    second = {
        513: ifd.Entry(ifd.LONG, struct.pack("<I", at + 30)),
        514: ifd.Entry(ifd.LONG, struct.pack("<I", len(small))),
    }
    table = ifd.directory(ifd.Ifd(second), "<", at)
    block = bytearray(ifd.block(ifd.Tree("<", first))) + table + small
    next_at = 8 + 2 + 12
    block[next_at : next_at + 4] = struct.pack("<I", at)
    out, notes = written("JPEG", Picture(COLOUR, belongings=Belongings(exif=bytes(block))))
    assert notes == []
    tree = ifd.parse(decode(out, "x").belongings.exif)
    place, length = (ifd.number(tree, tree.second.entries[tag]) for tag in (513, 514))
    with Image.open(io.BytesIO(decode(out, "x").belongings.exif[place : place + length])) as thumbnail:
        assert thumbnail.size == (160, 120)
        middle = np.asarray(thumbnail.convert("RGB")).astype(int)[10:100]
    expected = np.asarray(Image.fromarray(COLOUR).resize((160, 112))).astype(int)
    assert np.abs(middle[20:60].mean((0, 1)) - expected[26:66].mean((0, 1))).max() < 12  # no longer red
    cut, note = exif.with_thumbnail_of(bytes(block[: -len(small)]), COLOUR)
    assert "left out" in note and ifd.parse(cut).second is None


def test_png_keeps_its_chunks_of_colour_and_text():
    extra = {
        b"cICP": bytes([12, 13, 0, 1]), b"gAMA": struct.pack(">I", 45455), b"cHRM": struct.pack(">8I", *range(1, 9)),
        b"pHYs": struct.pack(">IIB", 11811, 11811, 1), b"tEXt": b"Author\0Somebody", b"tIME": bytes(7),
        b"iTXt": "Title\0\0\0de\0\0Überschrift".encode(),
    }  # fmt: skip
    data = saved(Image.fromarray(COLOUR), "PNG")
    data = data[:33] + b"".join(png.chunk(kind, content) for kind, content in extra.items()) + data[33:]
    out, notes = written("PNG", decode(data, "x"))
    found = {kind: whole[8:-4] for kind, whole in png.png_chunks(out)}
    assert notes == [] and {kind: found.get(kind) for kind in extra} == extra
    order = [kind for kind, _ in png.png_chunks(out)]
    assert max(order.index(kind) for kind in (b"cICP", b"gAMA", b"cHRM")) < order.index(b"IDAT")


@pytest.mark.parametrize("form", ["JPEG", "TIFF", "WEBP", "AVIF"])
def test_colours_that_png_says_become_a_profile_elsewhere(form):
    """Shown by lcms, the picture in the other format has the colours that its chunks say."""
    data = saved(Image.fromarray(COLOUR), "PNG")
    gamma = data[:33] + png.chunk(b"gAMA", struct.pack(">I", 100000)) + data[33:]  # linear light
    out, _ = written(form, decode(gamma, "x"))
    profile = decode(out, "x").belongings.icc
    shown = ImageCms.profileToProfile(
        Image.new("RGB", (4, 4), (55, 55, 55)), io.BytesIO(profile), ImageCms.createProfile("sRGB")
    )
    assert abs(int(np.asarray(shown)[0, 0, 1]) - 128) <= 1  # 55 / 255 = 0.2157 of light is 0.5019 of sRGB's signal


def test_texts_of_png_become_entries(tmp_path):
    info = Belongings(
        texts=(("Author", "Jürgen"), ("Copyright", "©"), ("Chapter", "7")), resolution=(Fraction(300),) * 2
    )
    for form in ("TIFF", "WEBP"):
        out, notes = written(form, Picture(COLOUR, belongings=info))
        tree = ifd.parse(decode(out, "x").belongings.exif)
        assert tree.root.entries[315].data == "Jürgen\0".encode() and tree.root.entries[33432].data == "©\0".encode()
        assert exif.resolution(tree) == (300, 300)
        assert any("'Chapter'" in note for note in notes)


def test_jpeg_density(tmp_path):
    for per_inch, dpi in (((Fraction(300),) * 2, 300), ((Fraction(254, 1),) * 2, 254), ((Fraction(72),) * 2, 72)):
        out, _ = written("JPEG", Picture(COLOUR, belongings=Belongings(resolution=per_inch)))
        with Image.open(io.BytesIO(out)) as image:
            assert image.info["dpi"] == pytest.approx((dpi, dpi), abs=0.01)
    assert jpeg.density_of(jpeg.jfif(None)) is None


def test_photoshop_resources_keep_their_order_and_lose_their_thumbnail():
    def resource(number, content):
        return b"8BIM" + struct.pack(">HHI", number, 0, len(content)) + content + b"\0" * (len(content) % 2)

    data = (
        resource(0x03ED, b"sixteen bytes...")
        + resource(0x0404, b"odd")
        + resource(0x040C, b"thumb")
        + resource(1, b"x")
    )
    iptc, others = photoshop.split(data)
    assert iptc == b"odd" and others == resource(0x03ED, b"sixteen bytes...") + resource(1, b"x")
    assert photoshop.split(photoshop.joined(iptc, others)) == (iptc, others)
    assert photoshop.split(data[:-3])[0] == b"odd"
