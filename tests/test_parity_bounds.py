"""What an exported file may differ by from its checkpoint: just over each bound is refused, just within it passes."""

from __future__ import annotations

import pytest

from cliplit.export.parity import TOLERANCES, Comparison

# Precision, largest difference of the light map, least PSNR of the enhanced picture in dB (docs/export.md).
BOUNDS = [("fp32", 1e-5, 100.0), ("fp16", 5e-3, 50.0), ("bf16", 5e-2, 40.0), ("int8", 1e-1, 40.0)]


@pytest.mark.parametrize("precision,largest,psnr", BOUNDS)
def test_both_bounds_of_a_precision_hold(precision, largest, psnr):
    def passes(difference, decibels):
        return Comparison("b", "p", difference, difference / 10, decibels).passes(TOLERANCES[precision])

    assert passes(largest, psnr) and passes(0.0, 200.0)
    assert not passes(largest * 1.01, psnr + 50)
    assert not passes(largest / 10, psnr - 0.1)
    assert not passes(largest * 1.01, psnr - 0.1)
    assert not passes(float("nan"), psnr) and not passes(largest, float("nan"))


def test_no_precision_is_without_bounds():
    assert set(TOLERANCES) == {precision for precision, *_ in BOUNDS}
