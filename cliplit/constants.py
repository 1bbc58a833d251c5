"""The numbers that training and runtime must agree on. No imports: the runtime reads them without torch."""

from __future__ import annotations

LUMA_WEIGHTS = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709
MAX_GAIN = 16.0  # a picture of mean luminance 0.05 needs a gain of about 10
GUIDE_RADIUS = 3  # of the guided filter, in proxy pixels
GUIDE_EPSILON = 2e-3  # of the guided filter: luma variance below which a window counts as flat
PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"}  # gamma-coded pictures
