"""Plots as SVG text, by matplotlib: text stays text, and nothing is fetched when they are shown."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cliplit.errors import BackendError
from cliplit.install import install_hint

Point = tuple[float, float]
COLOURS = ("#1f5fa8", "#b3471d", "#2f7d4f", "#7a3f9d", "#a8801f", "#13808c", "#a02c5a", "#555555", "#6b8e23", "#000000")
ACCENT = "#ab4e05"  # of the page, in light colours


@dataclass(frozen=True)
class Plot:
    """`svg` as text, and what it shows in words."""

    title: str
    svg: str
    words: str


def curves(title: str, x: str, y: str, lines: Mapping[str, Sequence[Point]], logarithmic: bool = True) -> Plot:
    """Plot one line per name through its points."""
    figure, axes = _figure()
    for (name, points), colour in zip(lines.items(), COLOURS * len(lines), strict=False):
        ordered = sorted(points)
        axes.plot([p[0] for p in ordered], [p[1] for p in ordered], "o-", label=name, color=colour, markersize=4)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(True, which="both", alpha=0.25)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    words = "; ".join(f"{name}: " + ", ".join(f"{a:g}: {b:.3g}" for a, b in sorted(p)) for name, p in lines.items())
    return Plot(title, _svg(figure), f"{y} over {x}. {words}")


def bars(title: str, x: str, values: Mapping[str, float]) -> Plot:
    """Plot one horizontal bar per name with its value."""
    figure, axes = _figure(height=0.9 + 0.3 * len(values))
    names = list(values)[::-1]
    drawn = axes.barh(names, [values[n] for n in names], color=ACCENT)
    axes.bar_label(drawn, fmt="%.3g", padding=3, fontsize=8)
    axes.set_xlabel(x)
    axes.margins(x=0.12)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return Plot(title, _svg(figure), f"{x}: " + ", ".join(f"{n} {v:.3g}" for n, v in values.items()))


def _figure(width: float = 7.2, height: float = 3.4) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure  # without pyplot: no display, no global state
    except ImportError as error:
        raise BackendError(f"matplotlib is missing; install it with: {install_hint('bench')}") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _svg(figure: Any) -> str:
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cliplit", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
