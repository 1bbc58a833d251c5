"""Quality of a relighted picture: one function per measure, one table that names them all.

PSNR, SSIM and CIEDE2000 come from scikit-image; LPIPS, MUSIQ and NIQE from pyiqa if installed. This module adds what no
library has: halos, noise gain, change of well-lit photos. Pictures are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from cliplit.arrays import Array
from cliplit.constants import LUMA_WEIGHTS
from cliplit.errors import BackendError
from cliplit.install import install_hint

Scores = dict[str, float]

WHITE = 255  # a sample a file holds as white
DARK = 0.2  # luma below which an area counts as dark
NOISE = 2.0  # standard deviation, in 8-bit codes, of the noise that is added to see what becomes of it
STRONG_EDGE = 0.3  # step of luma


@dataclass(frozen=True)
class Measure:
    """Presentation of a score: label, unit, decimals and which direction is better, if either is."""

    label: str
    unit: str
    decimals: int
    better: Literal["higher", "lower", ""]
    meaning: str


MEASURES = {
    "psnr": Measure("PSNR", "dB", 2, "higher", "against the reference"),
    "ssim": Measure("SSIM", "", 4, "higher", "against the reference; 7x7 windows, mean of three channels"),
    "ciede2000": Measure("CIEDE2000", "", 2, "lower", "mean colour error against the reference; 1 is just visible"),
    "lpips": Measure("LPIPS", "", 4, "lower", "against the reference (pyiqa)"),
    "musiq": Measure("MUSIQ", "", 2, "higher", "without reference (pyiqa)"),
    "niqe": Measure("NIQE", "", 2, "lower", "without reference (pyiqa)"),
    "halo": Measure("halo", "stops", 3, "lower", "how far the gain next to strong edges is from that further away"),
    "noise_gain": Measure("noise gain", "x", 2, "lower", "of noise added to dark areas: out over in"),
    "clipped": Measure("clipped", "%", 2, "lower", "pixels with a channel at white"),
    "newly_clipped": Measure("newly clipped", "%", 2, "lower", "pixels that were not white before"),
    "mean_luma": Measure("mean luma", "", 3, "", "brightness of the result, 0 to 1"),
    "welllit_change": Measure("change", "CIEDE2000", 2, "lower", "what is done to photos that need nothing"),
}


def pair_scores(before: Array, after: Array, reference: Array) -> Scores:
    """Score a result against the well-lit picture of the same scene, and as `picture_scores` does."""
    metrics, _ = _skimage()
    scores = {
        "psnr": min(float(metrics.peak_signal_noise_ratio(reference, after, data_range=255)), 100.0)
        if not np.array_equal(reference, after)
        else 100.0,  # cliplit-eval's bound
        "ssim": float(metrics.structural_similarity(reference, after, channel_axis=2, data_range=255)),
        "ciede2000": colour_error(after, reference),
    }
    return scores | learned_scores(after, reference) | picture_scores(before, after)


def picture_scores(before: Array, after: Array) -> Scores:
    """Compute the scores that need no reference."""
    was_white, is_white = (picture.max(axis=2) == WHITE for picture in (before, after))
    return {
        "halo": halo(luma(before), luma(after)),
        "clipped": 100 * float(is_white.mean()),
        "newly_clipped": 100 * float((is_white & ~was_white).mean()),
        "mean_luma": float(luma(after).mean()),
    }


def luma(picture: Array) -> Array:
    """Convert (H, W, 3) uint8 to (H, W) float32 luma in [0, 1], ITU-R BT.709 on gamma-coded values."""
    return picture.astype(np.float32) @ np.array(LUMA_WEIGHTS, np.float32) / 255


def colour_error(one: Array, other: Array) -> float:
    """Compute the mean CIEDE2000 difference (Sharma, Wu, Dalal 2005) of two sRGB pictures."""
    _, color = _skimage()
    return float(color.deltaE_ciede2000(color.rgb2lab(one), color.rgb2lab(other)).mean())


def halo(before: Array, after: Array) -> float:
    """Compute mean |gain beside a strong edge - gain further away on the same side| in stops; luma (H, W) in [0, 1].

    The edges are the outline between the picture's bright and its dark part (Otsu's threshold) where luma steps by
    `STRONG_EDGE` or more. A gain that is blurred across an outline lights up a seam of the sky along the roof, or
    leaves a dark one: that seam is what is measured. What one tone curve for the whole picture would do is taken out
    first, so that a plain power has no halo. 0 where the picture has no such edge.
    """
    unit = max(1.0, min(before.shape) / 480)
    smooth = cv2.GaussianBlur(before, (0, 0), unit)
    codes = np.round(np.clip(smooth, 0, 1) * 255).astype(np.uint8)
    _, bright = cv2.threshold(codes, 0, 1, cv2.THRESH_OTSU)
    reach = np.ones((2 * round(5 * unit) + 1,) * 2, np.uint8)
    outline = bright != cv2.erode(bright, np.ones((3, 3), np.uint8))
    strong = outline & (cv2.dilate(smooth, reach) - cv2.erode(smooth, reach) > STRONG_EDGE)
    if not strong.any():
        return 0.0
    distance = cv2.distanceTransform((~strong).astype(np.uint8), cv2.DIST_L2, 5) / unit
    gain = np.log2((cv2.GaussianBlur(after, (0, 0), unit) + 0.01) / (smooth + 0.01))
    local = (gain - tone_curve(codes, gain)).astype(np.float32)
    differences = []
    for side in (bright == 0, bright == 1):
        near, near_weight = _local_mean(local, side & (distance >= 3) & (distance < 8), 48 * unit)
        far, far_weight = _local_mean(local, side & (distance >= 16) & (distance < 40), 48 * unit)
        known = strong & (near_weight > 1e-3) & (far_weight > 1e-3)
        differences.append(np.abs(near - far)[known])
    joined = np.concatenate(differences)
    return float(joined.mean()) if joined.size else 0.0


def tone_curve(codes: Array, gain: Array, bins: int = 64) -> Array:
    """Compute the part of a gain that depends on brightness alone: its mean over pixels of like luma, (H, W)."""
    classes = codes.astype(np.intp) * bins // 256
    count = np.bincount(classes.ravel(), minlength=bins)
    mean = np.bincount(classes.ravel(), gain.ravel(), minlength=bins) / np.maximum(count, 1)
    centres = (np.arange(bins) + 0.5) * 256 / bins - 0.5
    filled = count > 0
    return np.interp(codes, centres[filled], mean[filled])


def _local_mean(values: Array, mask: Array, window: float) -> tuple[Array, Array]:
    """Return (mean of the masked values around each pixel, share of the window they fill)."""
    size = (2 * round(window / 2) + 1,) * 2
    weight = cv2.blur(mask.astype(np.float32), size)
    return cv2.blur(values * mask, size) / np.maximum(weight, 1e-6), weight


def noise_gain(enhance: Callable[[Array], Array], before: Array, after: Array, seed: int = 0) -> float | None:
    """Compute by how much noise in dark areas is amplified; None if nothing is dark.

    The picture goes through the method a second time with noise of `NOISE` codes in its dark areas. What differs
    there is noise and nothing else: texture, which a measure on one picture takes for noise, cancels.
    """
    dark = cv2.GaussianBlur(luma(before), (0, 0), 3) < DARK
    if dark.mean() < 0.01:
        return None
    grain = np.random.default_rng(seed).normal(0, NOISE, before.shape)
    noisy = np.where(dark[..., None], np.clip(np.round(before + grain), 0, 255), before).astype(np.uint8)
    inside = cv2.erode(dark.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    if not inside.any():
        return None
    added = luma(noisy)[inside] - luma(before)[inside]
    seen = luma(enhance(noisy))[inside] - luma(after)[inside]
    return float(seen.std() / max(added.std(), 1e-6))


def welllit_change(before: Array, after: Array) -> float:
    """Compute the mean CIEDE2000 change of a photo that needed none."""
    return colour_error(before, after)


def learned_scores(after: Array, reference: Array | None) -> Scores:
    """Compute LPIPS, MUSIQ and NIQE, if pyiqa is installed and has their weights."""
    try:
        import torch

        from cliplit.training.validation import quality_metric
    except ImportError:
        return {}
    tensors = [torch.from_numpy(p.transpose(2, 0, 1).copy())[None].float() / 255 for p in (after, reference)
               if p is not None]  # fmt: skip
    scores: Scores = {}
    with torch.no_grad():
        if reference is not None and (lpips := quality_metric("lpips")):
            scores["lpips"] = float(lpips(*tensors))
        for name in ("musiq", "niqe"):
            if metric := quality_metric(name):
                scores[name] = float(metric(tensors[0]))
    return scores


def _skimage() -> tuple[Any, Any]:
    """Import scikit-image's metrics and colours late, which keeps `--help` fast."""
    try:
        from skimage import color, metrics
    except ImportError as error:
        raise BackendError(f"scikit-image is missing; install it with: {install_hint('bench')}") from error
    return metrics, color
