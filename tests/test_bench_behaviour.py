"""The behaviour benchmark measures what it says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from cliplit.benchmarks import behaviour
from made import backlit

pytest.importorskip("skimage")


class Switch:
    """An enhancer that lifts pictures darker than a level by two stops and leaves the others."""

    def __call__(self, picture):
        return behaviour.exposed(picture, 2.0) if behaviour.level(picture) < 60 else picture.copy()


def test_a_switch_is_seen():
    photo = np.full((40, 60, 3), 120, np.uint8)
    found = {finding.law: finding for finding in behaviour.exposure(Switch(), [photo])}
    assert found["exposure: largest rise for less light"].found > 20
    assert not found["exposure: largest rise for less light"].holds
    assert found["exposure: SSIM to the photo itself, mean"].holds


def test_bars_that_count_as_picture_are_seen():
    photo = np.full((40, 60, 3), 64, np.uint8)
    photo[::2] = 62
    content, themselves = behaviour.bars(Switch(), [photo])
    assert content.found > 20 and themselves.holds


def test_the_command_prints_a_table(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), backlit(96, 128))
    arguments = [str(tmp_path), "--law", "transparency", "--law", "gradient"]
    result = CliRunner().invoke(behaviour.main, arguments)
    assert result.exit_code == 0, result.output
    assert "alpha: what is hidden changes what is seen | 0 codes" in result.output


def test_light_that_jumps_in_a_pan_is_found(monkeypatch):
    """Every second frame twice as bright in codes is a stop; frames as they are change by nothing."""
    photo = np.random.default_rng(2).integers(40, 120, (48, 160, 3)).astype(np.uint8)
    monkeypatch.setattr(behaviour, "relighted", lambda _, frames: list(frames))
    (steady,) = behaviour.pans(None, [photo])
    assert steady.found < 1e-6 and steady.holds
    monkeypatch.setattr(
        behaviour, "relighted", lambda _, frames: [f * np.uint8(1 + i % 2) for i, f in enumerate(frames)]
    )
    (jumping,) = behaviour.pans(None, [photo])
    assert jumping.found == pytest.approx(1.0, abs=0.01) and not jumping.holds
