"""Fixtures: an enhancer, a backlit picture, and the team's real files where they are present."""

from __future__ import annotations

from pathlib import Path

import pytest

from made import backlit

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared():
    folder = ROOT.parent / "shared"
    if not (folder / "docs").is_dir():
        pytest.skip("needs the shared folder beside the project")
    return folder


@pytest.fixture(scope="session")
def backlit_picture():
    return backlit()


@pytest.fixture(scope="session")
def enhancer():
    from cliplit.runtime import Enhancer

    return Enhancer(threads=1)
