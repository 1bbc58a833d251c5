"""Tables as data and as Markdown; the HTML page shows the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .quality import MEASURES, Scores


@dataclass(frozen=True)
class Table:
    """`head` names the columns, `rows` are text cells, `best` lists the (row, column) to mark."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]] = frozenset()
    note: str = ""
    prose: bool = False  # cells are sentences


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
