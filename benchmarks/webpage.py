"""One self-contained HTML file: pictures, plots, tables, style and script. It fetches nothing.

Templates are Jinja's, which escapes what comes from file names. Slider and themes are those of the page in the browser
(plugins/web/components). Pictures at full size, where there are some, are files beside the page that it links to.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from cliplit.arrays import Array
from cliplit.errors import BackendError
from cliplit.files import atomic_write
from cliplit.install import install_hint
from cliplit.plugins import __path__ as plugins

from .plots import Plot
from .quality import MEASURES, Scores
from .scoring import INPUT, Sample
from .tables import Table

PAGE = Path(__file__).parent / "page"
COMPONENTS = Path(plugins[0]) / "web" / "components"
STYLES = (COMPONENTS / "theme.css", COMPONENTS / "slider.css", PAGE / "page.css")
SCRIPTS = (COMPONENTS / "theme.js", COMPONENTS / "slider.js", PAGE / "page.js")
SHOWN_SCORES = ("psnr", "ssim", "ciede2000")  # beside a picture


@dataclass(frozen=True)
class Headline:
    """The result in one number, and the sentence that says what it is."""

    number: str
    words: str


@dataclass(frozen=True)
class Section:
    """A heading and its content, in this order."""

    title: str
    texts: Sequence[str] = ()
    samples: Sequence[Sample] = ()
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = ()
    first: str = ""  # method that is shown at first
    headline: Headline | None = None


@dataclass(frozen=True)
class Choice:
    method: str
    after: str
    light: str
    scores: str = ""
    full: str = ""  # address of the file at full size


@dataclass(frozen=True)
class Viewer:
    """A picture with its slider; pictures are data URIs."""

    name: str
    width: int
    height: int
    before: str
    full: str = ""
    choices: list[Choice] = field(default_factory=list)


def write_page(target: Path, title: str, about: str, sections: Sequence[Section]) -> None:
    """Write the page. Raises BackendError if Jinja is missing."""
    try:
        import jinja2
    except ImportError as error:
        raise BackendError(f"jinja2 is missing; install it with: {install_hint('bench')}") from error
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(PAGE), autoescape=True, trim_blocks=True)
    shown = [
        {
            "title": s.title,
            "texts": s.texts,
            "headline": s.headline,
            "viewers": [viewer(sample, s.first) for sample in s.samples],
            "plots": [{"title": p.title, "words": p.words, "source": svg_uri(p.svg)} for p in s.plots],
            "tables": s.tables,
        }
        for s in sections
    ]
    style = "\n".join(path.read_text(encoding="utf-8") for path in STYLES)
    script = "\n".join(re.sub(r"^export ", "", path.read_text(encoding="utf-8"), flags=re.M) for path in SCRIPTS)
    template = environment.get_template("page.html")
    text = template.render(title=title, about=about, sections=shown, style=style, script=script)
    with atomic_write(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def viewer(sample: Sample, first: str) -> Viewer:
    methods = sorted(sample.after, key=lambda method: method != first)  # stable: the others keep their order
    choices = [
        Choice(
            method,
            jpeg_uri(sample.after[method]),
            jpeg_uri(as_gray(sample.light[method])),
            score_words(sample.scores.get(method, {})),
            quote(sample.full.get(method, "")),
        )
        for method in methods
    ]
    height, width = sample.before.shape[:2]
    return Viewer(sample.name, width, height, jpeg_uri(sample.before), quote(sample.full.get(INPUT, "")), choices)


def score_words(scores: Scores) -> str:
    """Say a picture's scores in a line."""
    known = [(MEASURES[name], scores[name]) for name in SHOWN_SCORES if name in scores]
    return ", ".join(f"{m.label} {value:.{m.decimals}f} {m.unit}".strip() for m, value in known)


def as_gray(light: Array) -> Array:
    return np.round(light * 255).astype(np.uint8)


def jpeg_uri(picture: Array) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=88, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def svg_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
