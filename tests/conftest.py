"""Fixtures: an enhancer, a backlit picture, and the team's real files where they are present."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from made import backlit

ROOT = Path(__file__).resolve().parents[1]
# In CI everything is there that can be had, and a test skipped for want of it is a failure. What may be missing, and
# cases that do not apply, are said in other words: an NVIDIA driver, TensorRT, pretrained weights, blocks not run.
# wandb is a client of a service, and no part of the extra dev.
FOR_WANT_OF = re.compile(
    r"could not import '(?!tensorrt'|cuda|pycuda|wandb')|not installed|is not here|without a C compiler"
    r"|needs (the extra|the package|ffmpeg|chromium|strace)"
)
ALL_THERE = os.environ.get("CLIPLIT_TESTS") == "all"  # set by .ci/run


def held_to_it(report):
    """Make a failure of a skip that CI does not allow."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    if ALL_THERE and report.skipped and FOR_WANT_OF.search(reason):
        report.outcome, report.longrepr = "failed", f"skipped, where everything has to be there: {reason}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    held_to_it((yield).get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report():
    held_to_it((yield).get_result())


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
