"""Training pictures: any format, broken files named, linear light, noise; batches determined by their number."""

from __future__ import annotations

import io

import cv2
import numpy as np
import OpenEXR
import pytest
import tifffile
import torch
from PIL import Image

from cliplit.config import TrainConfig
from cliplit.errors import InputError
from cliplit.phases import Stage
from cliplit.pictures.augment import augmented
from cliplit.pictures.guided_batches import GuidedBatches, read_guided_sources
from cliplit.pictures.pairs import PairBatches, Sources
from cliplit.pictures.picture_folder import decoded, developed, read_folder, read_picture
from cliplit.training.sources import read_sources

from .conftest import scene, to_uint8, write_picture


@pytest.fixture
def config(options):
    return lambda **given: TrainConfig.from_dict(options(**given))


def mean_of(path):
    picture = decoded(path)
    return picture.dtype, picture.shape, float(picture.mean())


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp", ".gif", ".ppm"])
def test_formats(tmp_path, suffix):
    picture = to_uint8(scene(1))
    buffer = io.BytesIO()
    kind = {".jpg": "JPEG", ".tif": "TIFF", ".ppm": "PPM"}.get(suffix, suffix[1:].upper())
    Image.fromarray(picture).save(buffer, kind)
    path = tmp_path / f"é 你好 'x{suffix}"
    path.write_bytes(buffer.getvalue())
    dtype, shape, mean = mean_of(path)
    assert (dtype, shape) == (np.uint8, (48, 64, 3))
    assert mean == pytest.approx(picture.mean(), abs=2.0)
    assert np.abs(decoded(path).astype(int) - picture).mean() < 12  # red is red, blue is blue


def test_sixteen_bits_and_orientation(tmp_path):
    picture = to_uint8(scene(2))
    tifffile.imwrite(tmp_path / "deep.tif", picture.astype(np.uint16) * 257, photometric="rgb")
    assert np.abs(decoded(tmp_path / "deep.tif").astype(int) - picture).max() <= 1
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    Image.fromarray(picture).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    assert decoded(tmp_path / "turned.jpg").shape == (64, 48, 3)


def test_linear_pictures_keep_their_range_and_are_exposed_when_drawn(tmp_path):
    radiance = scene(3) ** 4 * 50 + 0.01
    cv2.imwrite(str(tmp_path / "a.hdr"), radiance[..., ::-1])
    tifffile.imwrite(tmp_path / "a.tif", radiance, photometric="rgb")
    exr = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    half = {name: radiance[..., i].astype(np.float16) for i, name in enumerate("RGB")}
    OpenEXR.File(exr, half).write(str(tmp_path / "a.exr"))
    rng = np.random.default_rng(0)
    for name in ("a.hdr", "a.tif", "a.exr"):
        picture = read_picture(tmp_path / name, (48, 64))
        assert picture.dtype == np.float16 and picture.max() / picture.mean() > 3
        dark, light = developed(picture, True, rng), developed(picture, False, rng)
        assert dark.min() >= 0 and dark.max() <= 1 and light.min() >= 0 and light.max() <= 1
        assert dark.mean() < light.mean()  # exposed for the highlights, against exposure fusion
    assert np.allclose(decoded(tmp_path / "a.exr"), decoded(tmp_path / "a.tif"), rtol=1e-3)
    (tmp_path / "cut.exr").write_bytes((tmp_path / "a.exr").read_bytes()[:200])
    assert decoded(tmp_path / "cut.exr") is None


def test_broken_files_are_named_and_left_out(options, tmp_path, capsys):
    for i in range(5):
        write_picture(tmp_path / "in" / f"{i}.png", to_uint8(scene(i)))
    (tmp_path / "in" / "empty.jpg").write_bytes(b"")
    (tmp_path / "in" / "cut.png").write_bytes((tmp_path / "in" / "0.png").read_bytes()[:40])
    (tmp_path / "in" / "notes.txt").write_text("no picture, and no complaint")
    config = TrainConfig.from_dict(options(backlit=[str(tmp_path / "in")], method="rave"))
    sources = read_sources(config)
    assert len(sources.guided.backlit.pictures) == 5
    assert {p.name for p in sources.guided.failed} == {"empty.jpg", "cut.png"}
    output = capsys.readouterr()
    assert "cut.png: not a picture" in output.out + output.err and "notes" not in output.out + output.err


def test_too_few_pictures_is_a_clear_error(tmp_path):
    write_picture(tmp_path / "one.png", to_uint8(scene(1)))
    (tmp_path / "bad.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"1 pictures \(1 files there cannot be read\); training needs at least 4"):
        read_folder([tmp_path], (32, 32), 4)


def test_pairs_are_matched_by_name(made, config):
    sources = read_guided_sources(config(pairs=str(made.pairs), method="rave"))
    assert sources.matched
    assert [p.stem for p in sources.backlit.paths] == [p.stem for p in sources.well_lit.paths]


def test_references_go_through_the_same_augmentation(made, config):
    configuration = config(pairs=str(made.pairs), method="rave")
    batches = GuidedBatches(read_guided_sources(configuration), configuration, Stage.ENHANCE)
    for step in range(4):
        _, clean, reference = batches[step]
        assert clean.shape == reference.shape == (4, 3, 48, 48)
        # The input is 0.5 * reference ** 3 pixel by pixel; resampling and 8 bits blur that a little.
        assert (clean - 0.5 * reference**3).abs().mean() < 0.02


@pytest.mark.parametrize("stage", [Stage.PROMPTS, Stage.REFINE, Stage.RECONSTRUCT, Stage.ENHANCE])
def test_a_batch_depends_on_its_number_alone_and_is_the_sum_of_its_parts(config, stage):
    configuration = config(noise=1.0)
    sources = read_guided_sources(configuration)
    whole, again = (GuidedBatches(sources, configuration, stage)[7] for _ in range(2))
    halves = [GuidedBatches(sources, configuration, stage, (rank, 2))[7] for rank in range(2)]
    for a, b, first, second in zip(whole, again, *halves, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, torch.cat([first, second]))
    other = GuidedBatches(sources, configuration, stage)[8]
    assert not torch.equal(whole[0], other[0])


def test_every_picture_comes_once_a_lap(config):
    configuration = config(seed=5)
    batches = GuidedBatches(read_guided_sources(configuration), configuration, Stage.ENHANCE)
    for lap in range(3):
        numbers = [batches._number(0, lap * 8 + i) for i in range(8)]
        assert sorted(numbers) == list(range(8))


def test_noise_is_on_the_input_only(config):
    for share, noisy in ((0.0, False), (1.0, True)):
        configuration = config(noise=share)
        batches = GuidedBatches(read_guided_sources(configuration), configuration, Stage.ENHANCE)
        picture, clean, _ = zip(*(batches[step] for step in range(4)), strict=True)
        assert torch.equal(torch.cat(picture), torch.cat(clean)) != noisy
        assert (torch.cat(picture) - torch.cat(clean)).abs().mean() < 0.1


def test_augmentation_moves_pictures_alike_and_keeps_their_size():
    rng = np.random.default_rng(2)
    a = scene(1, 40, 40)
    changed = 0
    for _ in range(20):
        x, y = augmented([a, a * 0.5], rng)
        assert x.shape == y.shape == a.shape
        assert np.allclose(y, x * 0.5, atol=1e-5)
        changed += not np.array_equal(x, a)
    assert changed > 12
    wide = augmented([scene(1, 24, 40)] * 1, rng)[0]
    assert wide.shape == (24, 40, 3)


def test_low_light_draws_dark_pictures():
    photos = [to_uint8(scene(i) ** 0.7) for i in range(6)]
    means = {}
    for task in ("backlit", "low-light"):
        batches = PairBatches(Sources(photos=photos), 16, ((32, 32),), seed=1, task=task)
        means[task] = np.mean([float(batches[i][0].mean()) for i in range(6)])
    assert means["low-light"] < 0.8 * means["backlit"]


def test_low_light_adds_noise_to_guided_inputs(options):
    assert TrainConfig.from_dict(options(task="low-light")).noise == 0.5
    assert TrainConfig.from_dict(options(task="low-light", noise=0.1)).noise == 0.1
