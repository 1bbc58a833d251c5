"""`cliplit-train report RUN`: the curves, scores, sample sheets and constants of a run in one HTML file."""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..config import read_json
from ..errors import InputError
from ..files import atomic_write
from .journal import EACH, LOG, SAMPLES, read_log

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 74, 12, 12, 42  # margins of a plot
TICKS = 5  # of an axis, about
UNITS = {
    "psnr": "dB",
    "reconstruction_psnr": "dB",
    "ssim": "0 to 1",
    "lpips": "distance",
    "mean_luminance": "0 to 1",
    "clipped": "share of pixels",
    "lr": "per step",
    "images_per_second": "pictures/s",
}
COLOURS = {
    "targets": "#2b6cb0",
    "prompts": "#6b46c1",
    "reconstruct": "#2f855a",
    "enhance": "#c05621",
    "refine": "#97266d",
}
SKIPPED = {"step", "round", "time", "stage", "event"}
SHEETS = 12  # at most, spread over the run

Point = tuple[float, float]

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1a202c}"
    "figure{display:inline-block;margin:.5rem}figcaption{font-weight:600}svg{background:#f7fafc}"
    "img{max-width:100%;image-rendering:auto}table{border-collapse:collapse}td,th{padding:.1rem .8rem;text-align:left}"
    "text{font:11px system-ui,sans-serif;fill:#4a5568}.grid{stroke:#e2e8f0}.axis{fill:none;stroke:#4a5568}"
)


def write_report(run: Path, target: Path) -> None:
    """Write the page. Raises InputError if there is no run, or none that has logged anything yet."""
    entries = read_log(run / LOG)
    if not entries:
        raise InputError(f"{run}: no run with a log ({LOG}) to draw")
    constants, each = (read_if_there(run / name) for name in ("config.json", EACH))
    sheets = sorted((run / SAMPLES).glob("*.png"))
    title = html.escape(f"{run.name}: {constants.get('method', '')} {constants.get('network', '')}")
    parts = [f"<h1>{title}</h1>", legend(entries), *curves(entries), *map(sheet, spread(sheets, SHEETS))]
    body = "\n".join([*parts, events(entries), pictures_table(each), table(constants)])
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    page = f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'
    with atomic_write(target) as temporary:
        temporary.write_text(page, encoding="utf-8")


def curves(entries: Sequence[dict[str, Any]]) -> list[str]:
    """Draw one figure per logged number, in order of appearance; each stage has its own colour."""
    measured = [entry for entry in entries if "event" not in entry]
    names = list(dict.fromkeys(k for e in measured for k, v in e.items() if k not in SKIPPED and _is_number(v)))
    return [figure(name, lines_of(entries, name)) for name in names]


def lines_of(entries: Sequence[dict[str, Any]], name: str) -> list[tuple[str, list[Point]]]:
    """Split an entry's values into (stage, points) per uninterrupted stretch of a stage; scores form one line."""
    lines: list[tuple[str, list[Point]]] = []
    for entry in entries:
        if "event" in entry or not _is_number(entry.get(name)):
            continue
        stage = entry.get("stage", "")
        if not lines or lines[-1][0] != stage:
            lines.append((stage, []))
        lines[-1][1].append((float(entry["step"]), float(entry[name])))
    return lines


def figure(name: str, lines: Sequence[tuple[str, list[Point]]]) -> str:
    """Draw one number over the steps, with ticks, grid, units and the stages that it has."""
    points = [point for _, line in lines for point in line]
    (x0, x1), (y0, y1) = (_range([p[axis] for p in points]) for axis in (0, 1))

    def x_of(step: float) -> float:
        return LEFT + (step - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)

    def y_of(value: float) -> float:
        return HEIGHT - BOTTOM - (value - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)

    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    drawn = []
    for tick in ticks(x0, x1):
        x = x_of(tick)
        drawn.append(f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}"/>')
        drawn.append(f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{tick:g}</text>')
    for tick in ticks(y0, y1):
        y = y_of(tick)
        drawn.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        drawn.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    drawn.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
    unit = _with_unit(name)
    drawn.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">optimizer step</text>')
    middle = (TOP + bottom) / 2
    turned = f'transform="rotate(-90 12 {middle})"'
    drawn.append(f'<text x="12" y="{middle}" text-anchor="middle" {turned}>{html.escape(unit)}</text>')
    for stage, line in lines:
        colour = COLOURS.get(stage, "#1a202c")
        places = [(x_of(step), y_of(value)) for step, value in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{path}"/>')
        if len(places) == 1:
            drawn.append(f'<circle cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="2.5" fill="{colour}"/>')
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">{"".join(drawn)}</svg>'
    stages = key(stage for stage, _ in lines)
    return f"<figure><figcaption>{html.escape(unit)} {stages}</figcaption>{svg}</figure>"


def ticks(low: float, high: float) -> list[float]:
    """Choose round numbers within [low, high], about `TICKS` of them: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)]


def key(stages: Iterable[str]) -> str:
    """Name the stages in their colours; scores have none and are black."""
    names = ((stage, stage or "scores") for stage in dict.fromkeys(stages))
    return " ".join(f'<b style="color:{COLOURS.get(s, "#1a202c")}">{html.escape(shown)}</b>' for s, shown in names)


def legend(entries: Sequence[dict[str, Any]]) -> str:
    return f"<p>Stages: {key(e['stage'] for e in entries if 'stage' in e)}</p>"


def events(entries: Sequence[dict[str, Any]]) -> str:
    """List what happened besides steps: changed options, divergence, retries."""
    rows = []
    for entry in entries:
        if "event" in entry:
            details = {k: v for k, v in entry.items() if k not in ("step", "time", "event")}
            cells = (str(entry["step"]), str(entry["event"]), json.dumps(details))
            rows.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
    return f"<h2>Events</h2><table>{''.join(rows)}</table>" if rows else ""


def pictures_table(each: dict[str, Any]) -> str:
    """Tabulate the scores of best.pt for each validation picture, the worst of the first score on top."""
    tables = []
    for folder, pictures in each.items():
        if not isinstance(pictures, dict) or not pictures:
            continue
        names = list(next(iter(pictures.values())))
        head = "".join(f"<th>{html.escape(_with_unit(n))}</th>" for n in ("picture", *names))
        rows = []
        for picture, scores in sorted(pictures.items(), key=lambda item: item[1][names[0]]):
            values = "".join(f"<td>{scores[n]:.4g}</td>" for n in names)
            rows.append(f"<tr><td>{html.escape(picture)}</td>{values}</tr>")
        title = f"Pictures of --{folder.replace('_', '-')}, at step {each.get('step')}"
        tables.append(f"<h2>{html.escape(title)}</h2><table><tr>{head}</tr>{''.join(rows)}</table>")
    return "".join(tables)


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


def read_if_there(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _with_unit(name: str) -> str:
    return f"{name} ({UNITS[name]})" if name in UNITS else name


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
