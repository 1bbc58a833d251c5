"""Tables as data and as Markdown; the HTML page shows the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .quality import MEASURES, Scores


@dataclass(frozen=True)
class Table:
    """`head` names the columns, `rows` are text cells, `best` lists the (row, column) to mark.

    `prose`: cells are sentences. `folded`: shown when it is asked for.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]] = frozenset()
    note: str = ""
    prose: bool = False
    folded: bool = False


def score_table(title: str, means: dict[str, Scores], unmarked: Sequence[str] = (), note: str = "") -> Table:
    """Tabulate methods by measures; the best of each measure is marked, except in rows of `unmarked`."""
    columns = [name for name in MEASURES if any(name in scores for scores in means.values())]
    head = ("method", *(f"{MEASURES[c].label}{unit(c)}" for c in columns))
    rows = tuple(
        (method, *(f"{scores[c]:.{MEASURES[c].decimals}f}" if c in scores else "" for c in columns))
        for method, scores in means.items()
    )
    best = set()
    for column, name in enumerate(columns, start=1):
        better = MEASURES[name].better
        competing = {i: s[name] for i, (m, s) in enumerate(means.items()) if name in s and m not in unmarked}
        if better and len(competing) > 1:
            goal = (max if better == "higher" else min)(competing.values())
            best |= {(i, column) for i, value in competing.items() if value == goal}
    return Table(title, head, rows, frozenset(best), note)


def picture_table(measure: str, rows: dict[str, dict[str, Scores]], unmarked: Sequence[str] = ()) -> Table | None:
    """Tabulate one measure, pictures by methods, with the best of each picture marked; None where no picture has it."""
    methods = [method for method, scores in rows.items() if any(measure in one for one in scores.values())]
    pictures = list(dict.fromkeys(name for m in methods for name, scores in rows[m].items() if measure in scores))
    if not pictures:
        return None
    known = MEASURES[measure]
    cells, best = [], set()
    for i, picture in enumerate(pictures):
        values = [rows[method].get(picture, {}).get(measure) for method in methods]
        cells.append((picture, *("" if v is None else f"{v:.{known.decimals}f}" for v in values)))
        competing = {j: v for j, v in enumerate(values) if v is not None and methods[j] not in unmarked}
        if known.better and len(competing) > 1:
            goal = (max if known.better == "higher" else min)(competing.values())
            best |= {(i, j + 1) for j, value in competing.items() if value == goal}
    title = f"{known.label} of each picture{f', {known.unit}' if known.unit else ''}"
    return Table(title, ("picture", *methods), tuple(cells), frozenset(best), folded=True)


def unit(name: str) -> str:
    arrow = {"higher": " ↑", "lower": " ↓", "": ""}[MEASURES[name].better]
    return (f" {MEASURES[name].unit}" if MEASURES[name].unit else "") + arrow


def markdown(table: Table) -> str:
    """Format a pipe table with the best cells in bold."""
    lines = [f"### {table.title}", ""] if table.title else []
    lines += ["| " + " | ".join(map(cell, table.head)) + " |", "|" + "---|" * len(table.head)]
    for i, row in enumerate(table.rows):
        cells = (f"**{cell(c)}**" if (i, j) in table.best else cell(c) for j, c in enumerate(row))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, *(["", table.note] if table.note else [])]) + "\n"


def cell(text: str) -> str:
    return text.replace("|", "\\|")
