"""The quantile of a few thousand numbers, of which clips need some for each frame."""

from __future__ import annotations

import numpy as np

from cliplit.arrays import Array


def quantile(values: Array, share: float) -> float:
    """Compute a quantile of (n,) values, linear between the two nearest: `numpy.quantile`, several times as fast."""
    at = (values.size - 1) * share
    low = int(at)
    high = min(low + 1, values.size - 1)
    parted = np.partition(values, (low, high))
    return float(parted[low] + (at - low) * (parted[high] - parted[low]))
