"""What is written into picture files, by the numbers of their standards: ITU-T T.81 (JPEG), WebP, 16 bits to 8."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from cliplit.runtime.image.image_io import Picture, read_picture, write_picture
from made import backlit


def sampling_factors(data):
    """(horizontal, vertical) of each component of a JPEG's frame header: ITU-T T.81 B.2.2."""
    at = 2
    while data[at + 1] not in (0xC0, 0xC1, 0xC2):
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    components = data[at + 9]
    packed = [data[at + 11 + 3 * number] for number in range(components)]
    return [(factors >> 4, factors & 15) for factors in packed]


@pytest.mark.parametrize("quality", [60, 95])
def test_jpeg_keeps_as_much_colour_as_light(tmp_path, quality):
    """4:4:4: a gain brings out every step between two colours; halved chroma would blur it."""
    write_picture(tmp_path / "out.jpg", Picture(backlit(40, 60)), backlit(40, 60), quality)
    data = (tmp_path / "out.jpg").read_bytes()
    assert sampling_factors(data) == [(1, 1)] * 3
    Image.fromarray(backlit(40, 60)).save(tmp_path / "halved.jpg", subsampling="4:2:0")
    assert sampling_factors((tmp_path / "halved.jpg").read_bytes())[0] == (2, 2)


def test_the_quality_of_jpeg_is_what_was_asked_for(tmp_path):
    """Quality 50 is the table of T.81 K.1 itself, whose first numbers are 16, 11, 10; 95 a tenth of it."""
    for quality, first in ((50, [16, 11]), (95, [2, 1])):
        write_picture(tmp_path / "out.jpg", Picture(backlit(40, 60)), backlit(40, 60), quality)
        with Image.open(tmp_path / "out.jpg") as image:
            assert image.quantization[0][:2] == first


def test_webp_keeps_colours_that_cannot_be_seen(tmp_path):
    """Under an alpha of 0 they are there for who edits the mask later; WebP flattens them unless told not to."""
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(40, 200, (3, 4, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    picture = np.dstack([smooth, np.zeros((48, 64), np.uint8)])
    picture[:16, :16, 3] = 255
    write_picture(tmp_path / "out.webp", Picture(picture), picture)
    back = read_picture(tmp_path / "out.webp").pixels
    assert np.array_equal(back[..., 3], picture[..., 3])
    assert np.abs(back[..., :3].astype(int) - picture[..., :3]).mean() < 6


def test_sixteen_bits_become_the_nearest_eight(tmp_path):
    """v / 257, rounded: 0 to 128 are 0, 129 to 385 are 1 ... 65407 and above 255; and it is said."""
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    deep = Picture(np.dstack([every] * 3))
    notes = write_picture(tmp_path / "out.bmp", deep, deep.pixels)
    assert notes == ["BMP is written with 8 bits; the picture had 16"]
    with Image.open(tmp_path / "out.bmp") as image:
        result = np.asarray(image.convert("RGB"))[..., 1]
    assert np.array_equal(result, np.rint(every / 257.0).astype(np.uint8))
    assert result.ravel()[[128, 129, 385, 386, 65406, 65407]].tolist() == [0, 1, 1, 2, 254, 255]
    assert np.array_equal(np.rint(result * 257.0), result.astype(np.uint16) * 257)
