"""What relighting asks of a picture, and the two forms in which hosts have pictures: packed RGB and planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from cliplit.arrays import Array

from .bars import Area, picture_area
from .colour import UNSPECIFIED, Coding, Planes
from .gain import WHITE, apply_channels, apply_planes, apply_rgb, fields, packed
from .light_map import Coefficients
from .noise import plane_noise, planes_grain, rgb_grain
from .proxy import Proxy, planes_proxy, rgb_proxy, visible_area
from .shadows import Grain, planes_cleanup, rgb_cleanup, rgb_planes

NEUTRAL_BLOCK = 2  # luma rows and columns to a sample of the colourless chroma that grey pictures get


class Pixels(Protocol):
    """The samples of one picture, gamma-coded or HDR.

    Attributes:
        transfer: code point of ITU-T H.273; PQ and HLG count as HDR.
    """

    @property
    def transfer(self) -> int: ...

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        ...

    def proxy(self, size: tuple[int, int]) -> Proxy:
        """Shrink the picture to (h, w)."""
        ...

    def picture_area(self) -> Area:
        """Find the part that is picture, between bars; all of it where there are none."""
        ...

    def aligned(self, area: Area) -> Area:
        """Grow an area to edges that `cropped` can take."""
        ...

    def cropped(self, area: Area) -> Any:
        """Return pixels that are views of an area as `picture_area` or `aligned` give them."""
        ...

    def noise_plane(self) -> tuple[Array, float, float]:
        """Return the plane that noise is measured on, its code of black, and the factor from codes to [0, 1]."""
        ...

    def grain(self) -> Grain:
        """Measure the noise in the dark."""
        ...

    def relight(self, coefficients: Coefficients, out: Any, grain: Grain | None = None) -> None:
        """Write the relighted picture into `out`, pixels of the same form and size, which may be these themselves.

        Lifted shadows are cleaned (`shadows`) where its `grain` is known, of the picture or of its clip.
        """
        ...

    def copy_to(self, out: Any) -> None:
        """Write the picture into `out` unchanged."""
        ...

    def like(self) -> Any:
        """Return pixels of the same form and size in new memory, to be written to."""
        ...


@dataclass(frozen=True)
class PackedRGB:
    """(H, W, 3) RGB or (H, W, 4) RGBA, uint8, uint16 or float32 in [0, 1]. Alpha is copied."""

    samples: Array
    transfer: int = UNSPECIFIED

    @property
    def size(self) -> tuple[int, int]:
        return self.samples.shape[0], self.samples.shape[1]

    def proxy(self, size: tuple[int, int]) -> Proxy:
        return rgb_proxy(self.samples, size)

    def picture_area(self) -> Area:
        return visible_area(self.samples)

    def aligned(self, area: Area) -> Area:
        return area

    def cropped(self, area: Area) -> PackedRGB:
        return replace(self, samples=self.samples[area.slices])

    def noise_plane(self) -> tuple[Array, float, float]:
        return self.samples[..., 1], 0.0, 1.0 / WHITE[self.samples.dtype]

    def grain(self) -> Grain:
        return rgb_grain(rgb_planes(self.samples))

    def relight(self, coefficients: Coefficients, out: PackedRGB, grain: Grain | None = None) -> None:
        cleanup = None if grain is None else rgb_cleanup(self.samples, coefficients, grain)
        apply_rgb(self.samples, coefficients, out.samples, cleanup)

    def copy_to(self, out: PackedRGB) -> None:
        out.samples[...] = self.samples

    def like(self) -> PackedRGB:
        return PackedRGB(np.empty_like(self.samples), self.transfer)


@dataclass(frozen=True)
class PlanarPixels:
    """Planes of 8 to 16 bits: Y' alone, or Y', Cb and Cr of any sampling, or R, G and B where `coding.rgb`.

    Attributes:
        interlaced: two fields, woven; 4:2:0 chroma lines belong to one field each.
    """

    planes: Sequence[Array]
    coding: Coding
    interlaced: bool = False
    transfer: int = UNSPECIFIED

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.planes[0].shape
        return height, width

    @property
    def with_chroma(self) -> Planes:
        """Three planes; grey gets colourless chroma, writable but kept nowhere."""
        if len(self.planes) >= 3:
            return self.planes[0], self.planes[1], self.planes[2]
        luma = self.planes[0]
        rows, columns = (-(-side // NEUTRAL_BLOCK) for side in luma.shape)
        cb, cr = (np.full((rows, columns), 1 << (self.coding.depth - 1), luma.dtype) for _ in range(2))
        return luma, cb, cr

    def proxy(self, size: tuple[int, int]) -> Proxy:
        return planes_proxy(self.with_chroma, self.coding, size)

    def picture_area(self) -> Area:
        """Of luma alone (green where there is none), which is enough to tell bars."""
        plane = self.planes[1 if self.coding.rgb else 0]
        return self.aligned(picture_area(plane, 1 / self.coding.numbers.y_scale))

    def aligned(self, area: Area) -> Area:
        rows, columns = self._per_chroma_sample
        return area.aligned(rows * (2 if self.interlaced else 1), columns, *self.size)

    @property
    def _per_chroma_sample(self) -> tuple[int, int]:
        """Luma rows and columns to a chroma sample."""
        if len(self.planes) < 3:
            return NEUTRAL_BLOCK, NEUTRAL_BLOCK
        rows, columns = (-(-a // b) for a, b in zip(self.planes[0].shape, self.planes[1].shape, strict=True))
        return rows, columns

    def cropped(self, area: Area) -> PlanarPixels:
        rows, columns = self._per_chroma_sample
        luma, *chroma = self.planes
        y, x = (slice(s.start // n, -(-s.stop // n)) for s, n in zip(area.slices, (rows, columns), strict=True))
        return replace(self, planes=[luma[area.slices], *(plane[y, x] for plane in chroma)])

    def noise_plane(self) -> tuple[Array, float, float]:
        y_offset, y_scale, *_ = self.coding.numbers
        return self.planes[1 if self.coding.rgb else 0], y_offset, y_scale

    def grain(self) -> Grain:
        numbers = self.coding.numbers
        if len(self.planes) < 3:
            return Grain(plane_noise(self.planes[0], numbers.y_offset, numbers.y_scale) or 0.0, 0.0)
        if self.coding.rgb:
            return rgb_grain(rgb_planes(packed(self.with_chroma, self.coding.depth)))
        return planes_grain(self.with_chroma, numbers.y_offset, numbers.y_scale)

    def relight(self, coefficients: Coefficients, out: PlanarPixels, grain: Grain | None = None) -> None:
        if self.coding.rgb:
            apply_channels(self.with_chroma, out.with_chroma, coefficients, self.coding.depth, grain)
            return
        both = fields(self.with_chroma, self.interlaced), fields(out.with_chroma, self.interlaced)
        for source, target in zip(*both, strict=True):
            cleanup = None
            if grain is not None:
                shown = source[: len(self.planes)]
                cleanup = planes_cleanup(shown, self.coding.depth, coefficients, grain)
            apply_planes(source, target, coefficients, self.coding, cleanup)

    def copy_to(self, out: PlanarPixels) -> None:
        for source, target in zip(self.planes, out.planes, strict=True):
            target[...] = source

    def like(self) -> PlanarPixels:
        planes = [np.empty_like(plane) for plane in self.planes]
        return PlanarPixels(planes, self.coding, self.interlaced, self.transfer)
