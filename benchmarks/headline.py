"""The first thing a report says: by how much the best model differs from the best method without a network."""

from __future__ import annotations

from collections.abc import Sequence

from .scoring import INPUT, Comparison
from .webpage import Headline


def headline(found: Comparison, models: Sequence[str], classical: Sequence[str]) -> Headline | None:
    """Compare the best model with the best classical method, or else with the pictures as they were.

    None without references, or where a side has no result.
    """
    psnr = {method: scores["psnr"] for method, scores in found.means.items() if "psnr" in scores}
    ours = [method for method in models if method in psnr]
    theirs = [method for method in classical if method in psnr]
    other = "the best classical method" if theirs else "the pictures as they were"
    theirs = theirs or [INPUT]
    if not ours or theirs[0] not in psnr:
        return None
    model, rival = (max(names, key=psnr.__getitem__) for names in (ours, theirs))
    name = f", {rival}" if rival != INPUT else ""
    difference = psnr[model] - psnr[rival]
    words = f"{'over' if difference >= 0 else 'against'} {other}{name}: {model} has {psnr[model]:.2f} dB, that one "
    words += f"{psnr[rival]:.2f} dB. Mean PSNR of {sum('psnr' in scores for scores in found.rows[model])} pictures."
    return Headline(f"{difference:+.2f} dB".replace("-", "\N{MINUS SIGN}"), words)
