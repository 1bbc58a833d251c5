"""Renders the sample clip of the package: a backlit pan through a CC0 panorama.

python -m cliplit.pictures.demo_clip leadenhall_market_1k.hdr runtime/demo/backlit.mp4
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import click
import numpy as np

from ..arrays import Array
from ..command import reports_errors
from ..files import atomic_write
from .panorama import View, meter_highlights, perspective_crop, read_panorama
from .tone import film_curve

RATE = 25
WIDTH, HEIGHT = 640, 360


def pan(panorama: Array, start: float, stop: float, seconds: float) -> Iterator[Array]:
    """Yield (H, W, 3) uint8 frames of a pan that eases in and out, exposed once for the highlights."""
    frames = round(seconds * RATE)
    views = [View(start + (stop - start) * ease(i / (frames - 1)), 4.0, 75.0, WIDTH, HEIGHT) for i in range(frames)]
    exposures = [meter_highlights(perspective_crop(panorama, view), 98.0) for view in views[:: RATE // 2]]
    exposure = min(value for value in exposures if value is not None)
    for view in views:
        yield np.round(film_curve(perspective_crop(panorama, view) * exposure) * 255).astype(np.uint8)


def ease(t: float) -> float:
    return t * t * (3.0 - 2.0 * t)


def hum(seconds: float, sample_rate: int = 48000) -> Array:
    """Synthesise a soft chord, (1, samples) int16, so that one can hear that sound is kept."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    chord = sum(np.sin(2 * np.pi * f * t) for f in (220.0, 277.18, 329.63))
    fade = np.clip(np.minimum(t, seconds - t) / 0.5, 0.0, 1.0)
    return (chord * fade * 1500).astype(np.int16)[None]


@click.command()
@click.argument("panorama", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--yaw", nargs=2, type=float, default=(105.0, 250.0), show_default=True, help="Pan from, to; degrees.")
@click.option("--seconds", default=6.0, show_default=True)
@click.option("--crf", default=20, show_default=True)
@reports_errors
def main(panorama: Path, target: Path, yaw: tuple[float, float], seconds: float, crf: int) -> None:
    """Render a backlit pan through PANORAMA (.hdr) into the clip TARGET."""
    radiance = read_panorama(panorama)
    with atomic_write(target) as file, av.open(f"file:{file}", "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"crf": str(crf), "preset": "veryslow"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        context = video.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = (
            1,
            1,
            1,
            1,
        )  # BT.709, limited
        audio = container.add_stream("aac", rate=48000, layout="mono", options={"b": "32k"})
        sound = av.AudioFrame.from_ndarray(hum(seconds), format="s16", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = 48000, 0, Fraction(1, 48000)
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
        for picture in pan(radiance, *yaw, seconds):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(video.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))
        container.mux(video.encode(None))
    click.echo(f"{target}: {target.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
