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
