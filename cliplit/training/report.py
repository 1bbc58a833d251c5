"""`cliplit-train report RUN`: the curves, scores, sample sheets and constants of a run in one HTML file."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import atomic_write
from .journal import LOG, SAMPLES, read_log

WIDTH, HEIGHT, MARGIN = 640, 220, 46
COLOURS = {
    "targets": "#2b6cb0",
    "prompts": "#6b46c1",
    "reconstruct": "#2f855a",
    "enhance": "#c05621",
    "refine": "#97266d",
}
SKIPPED = {"step", "round", "time", "stage"}
SHEETS = 12  # at most, spread over the run

Point = tuple[float, float]

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1a202c}"
    "figure{display:inline-block;margin:.5rem}figcaption{font-weight:600}svg{background:#f7fafc}"
    "img{max-width:100%;image-rendering:auto}table{border-collapse:collapse}td,th{padding:.1rem .8rem;text-align:left}"
    "text{font:11px system-ui,sans-serif;fill:#4a5568}"
)


def write_report(run: Path, target: Path) -> None:
    """Write the page. Raises InputError if there is no run, or none that has logged anything yet."""
    entries = read_log(run / LOG)
    if not entries:
        raise InputError(f"{run}: no run with a log ({LOG}) to draw")
    config = run / "config.json"
    constants = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    sheets = sorted((run / SAMPLES).glob("*.png"))
    title = html.escape(f"{run.name}: {constants.get('method', '')} {constants.get('network', '')}")
    body = "\n".join(
        [f"<h1>{title}</h1>", legend(entries), *curves(entries), *map(sheet, spread(sheets, SHEETS)), table(constants)]
    )
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    page = f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'
    with atomic_write(target) as temporary:
        temporary.write_text(page, encoding="utf-8")


def curves(entries: Sequence[dict[str, Any]]) -> list[str]:
    """Draw one figure per logged number, in order of appearance; each stage has its own colour."""
    names = list(dict.fromkeys(k for e in entries for k, v in e.items() if k not in SKIPPED and _is_number(v)))
    return [figure(name, lines_of(entries, name)) for name in names]


def lines_of(entries: Sequence[dict[str, Any]], name: str) -> list[tuple[str, list[Point]]]:
    """Split an entry's values into (stage, points) per uninterrupted stretch of a stage; scores form one line."""
    lines: list[tuple[str, list[Point]]] = []
    for entry in entries:
        if not _is_number(entry.get(name)):
            continue
        stage = entry.get("stage", "")
        if not lines or lines[-1][0] != stage:
            lines.append((stage, []))
        lines[-1][1].append((float(entry["step"]), float(entry[name])))
    return lines


def figure(name: str, lines: Sequence[tuple[str, list[Point]]]) -> str:
    points = [point for _, line in lines for point in line]
    (x0, x1), (y0, y1) = (_range([p[axis] for p in points]) for axis in (0, 1))

    def place(point: Point) -> str:
        x = MARGIN + (point[0] - x0) / (x1 - x0) * (WIDTH - MARGIN - 8)
        y = HEIGHT - 20 - (point[1] - y0) / (y1 - y0) * (HEIGHT - 30)
        return f"{x:.1f},{y:.1f}"

    drawn = []
    for stage, line in lines:
        colour = COLOURS.get(stage, "#1a202c")
        path = " ".join(place(point) for point in line)
        drawn.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{path}"/>')
        if len(line) == 1:
            x, y = path.split(",")
            drawn.append(f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>')
    axes = (
        f'<text x="2" y="14">{y1:.4g}</text><text x="2" y="{HEIGHT - 20}">{y0:.4g}</text>'
        f'<text x="{MARGIN}" y="{HEIGHT - 5}">{x0:.0f}</text>'
        f'<text x="{WIDTH - 8}" y="{HEIGHT - 5}" text-anchor="end">step {x1:.0f}</text>'
    )
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">{axes}{"".join(drawn)}</svg>'
    return f"<figure><figcaption>{html.escape(name)}</figcaption>{svg}</figure>"


def legend(entries: Sequence[dict[str, Any]]) -> str:
    stages = dict.fromkeys(e["stage"] for e in entries if "stage" in e)
    return "<p>" + " ".join(f'<b style="color:{COLOURS.get(s, "#000")}">{html.escape(s)}</b>' for s in stages) + "</p>"


def sheet(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    caption = f"{html.escape(path.stem)}: before, after, light map"
    return (
        f'<figure><figcaption>{caption}</figcaption><img src="data:image/png;base64,{data}" alt="{caption}"></figure>'
    )


def table(constants: dict[str, Any]) -> str:
    rows = (f"<tr><th>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>" for k, v in constants.items())
    return f"<h2>Constants</h2><table>{''.join(rows)}</table>"


def spread(items: Sequence[Path], count: int) -> list[Path]:
    """Pick at most `count` items, evenly spaced, always with the last one."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
