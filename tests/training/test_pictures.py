"""Training pictures: any format, broken files named, linear light, noise; batches determined by their number."""

from __future__ import annotations

import io
from pathlib import Path

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
from cliplit.pictures.augment import Change, augmented, exposed_by
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
    with pytest.raises(
        InputError, match=r"1 picture there \(1 cannot be read, such as .*bad\.png\); training needs at least 4"
    ):
        read_folder([tmp_path], (32, 32), 4)


def test_pairs_are_matched_by_name(made, config):
    sources = read_guided_sources(config(pairs=str(made.pairs), method="rave"))
    assert sources.matched
    assert [p.stem for p in sources.backlit.paths] == [p.stem for p in sources.well_lit.paths]


def test_references_go_through_the_same_augmentation(made, config):
    configuration = config(pairs=str(made.pairs), method="rave")
    batches = GuidedBatches(read_guided_sources(configuration), configuration, Stage.ENHANCE)
    for step in range(4):
        _, clean, reference = batches.batch(step)
        assert clean.shape == reference.shape == (4, 3, 48, 48)
        # The input is 0.5 * reference ** 3 pixel by pixel; resampling and 8 bits blur that a little.
        assert (clean - 0.5 * reference**3).abs().mean() < 0.02


@pytest.mark.parametrize("stage", [Stage.PROMPTS, Stage.REFINE, Stage.RECONSTRUCT, Stage.ENHANCE])
def test_a_batch_depends_on_its_number_alone_and_is_the_sum_of_its_parts(config, stage):
    configuration = config(noise=1.0)
    sources = read_guided_sources(configuration)
    whole, again = (GuidedBatches(sources, configuration, stage).batch(7) for _ in range(2))
    halves = [GuidedBatches(sources, configuration, stage, (rank, 2)).batch(7) for rank in range(2)]
    for a, b, first, second in zip(whole, again, *halves, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, torch.cat([first, second]))
    other = GuidedBatches(sources, configuration, stage).batch(8)
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
        picture, clean, _ = zip(*(batches.batch(step) for step in range(4)), strict=True)
        assert torch.equal(torch.cat(picture), torch.cat(clean)) != noisy
        assert (torch.cat(picture) - torch.cat(clean)).abs().mean() < 0.1


def picture_tensor(picture):
    return torch.from_numpy(to_uint8(picture).transpose(2, 0, 1).copy())


def changes_of(config, count=20, **given):
    """Draw changes with every kind of them, by the options of a run."""
    rng = np.random.default_rng(2)
    return [Change.drawn(config(**given), rng) for _ in range(count)]


def test_augmentation_moves_pictures_alike_and_keeps_their_size(config):
    a = picture_tensor(scene(1, 40, 40))
    changes = changes_of(config)
    both = [augmented(torch.stack([part] * len(changes)), changes) for part in (a, a // 2 * 2 // 2)]
    assert both[0].shape == (20, 3, 40, 40)
    assert (both[0] / 2 - both[1]).abs().max() < 0.005  # halves of 8-bit codes are rounded
    plain = a.float() / 255
    assert sum(not torch.equal(moved, plain) for moved in both[0]) > 12
    assert augmented(picture_tensor(scene(1, 24, 40))[None], changes[:1]).shape == (1, 3, 24, 40)


@pytest.mark.parametrize(("height", "width"), [(40, 40), (36, 60)])
def test_a_warp_is_what_opencv_makes_of_the_same_matrix(height, width):
    """About the centre: stretched along both axes, then turned clockwise on the screen, mirrored at the edges."""
    picture = scene(3, height, width)
    angle, stretch = 0.4, (1.2, 0.8)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) @ np.diag(stretch)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = np.concatenate([turn, (centre - turn @ centre)[:, None]], axis=1)
    wanted = cv2.warpAffine(to_uint8(picture) / np.float32(255), matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
    found = augmented(picture_tensor(picture)[None], [Change(angle=angle, stretch=stretch)])[0].permute(1, 2, 0).numpy()
    assert np.abs(found - wanted).max() < 0.02  # OpenCV rounds places to 1/32 of a pixel


def test_flips_and_quarter_turns_are_exact():
    picture = picture_tensor(scene(4, 32, 32))
    moved = augmented(torch.stack([picture] * 3), [Change(mirror=True), Change(upside_down=True), Change(turn=True)])
    plain = picture.float() / 255
    for found, wanted in zip(moved, (plain.flip(2), plain.flip(1), plain.transpose(1, 2)), strict=True):
        assert torch.equal(found, wanted)


def test_a_crop_is_the_window_enlarged():
    picture = picture_tensor(scene(5, 32, 48))
    cropped = augmented(picture[None], [Change(window=(0.5, 0.5, 0.25, 0.5))])
    window = picture[None, :, 8:24, 24:48].float() / 255
    wanted = torch.nn.functional.interpolate(window, (32, 48), mode="bilinear", align_corners=False)
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))  # at its edges the crop sees beyond them
    assert (cropped - wanted)[inner].abs().max() < 1e-5


@pytest.mark.parametrize("kind", ["none", "turns"])
def test_less_augmentation_moves_whole_pixels_or_nothing(config, kind):
    changes = changes_of(config, augmentation=kind)
    assert not any(change.warps for change in changes)
    assert any(change.mirror or change.turn for change in changes) == (kind == "turns")


def test_exposure_varies_by_at_most_so_many_stops_on_the_input_alone(made, config):
    """One stop doubles linear light (IEC 61966-2-1): 0.5 is 0.2140 linear, and 0.4281 is coded 0.6858."""
    assert float(exposed_by(torch.full((1, 3, 2, 2), 0.5), [Change(stops=1.0)])[0, 0, 0, 0]) == pytest.approx(
        0.6858, abs=2e-4
    )
    dark, double = torch.full((1, 3, 2, 2), 0.2), Change(stops=np.float64(1.0))
    assert exposed_by(dark, [double]).dtype == torch.float32
    stops = [change.stops for change in changes_of(config, 50, exposure_jitter=0.5)]
    assert -0.5 <= min(stops) < -0.3 and 0.3 < max(stops) <= 0.5
    plain, jittered = (
        GuidedBatches(read_guided_sources(given), given, Stage.ENHANCE).batch(0)
        for given in (config(pairs=str(made.pairs), exposure_jitter=jitter) for jitter in (0.0, 1.0))
    )
    assert torch.equal(plain[2], jittered[2]) and not torch.equal(plain[1], jittered[1])


def test_a_bound_on_memory_changes_no_picture(made, config):
    """48x48 RGB are 6912 bytes; what does not fit is read again, and gives the same batch."""
    kept = read_folder([made.backlit], (48, 48), 1, most=2 * 6912)
    whole = read_folder([made.backlit], (48, 48), 1)
    assert kept.pictures.held == 2 * 6912 and whole.pictures.held == 8 * 6912
    assert sum(isinstance(item, Path) for item in kept.pictures.items) == 6
    assert all(np.array_equal(a, b) for a, b in zip(kept.pictures, whole.pictures, strict=True))


def test_a_picture_that_vanishes_during_a_run_is_named(tmp_path):
    write_picture(tmp_path / "a.png", to_uint8(scene(1)))
    kept = read_folder([tmp_path], (32, 32), 1, most=1)
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"a\.png: was a picture when the run began"):
        kept.pictures[0]


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
