"""What to type for an extra, right for where the user is. All messages take it from here.

cliplit is on no package index yet, so its bare name is good only where pip finds it installed already. Until
`PUBLISHED`, the place it was installed from is named.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import util
from pathlib import Path

PUBLISHED = False  # set when an index has it; then the name alone serves
PROJECT = "cliplit"

# What each module that an extra brings belongs to, for a command that meets it missing. `torch` is in two.
EXTRAS = {
    "onnxruntime": "cpu", "openvino": "openvino", "torch": "train", "torchvision": "train", "open_clip": "train",
    "yaml": "train", "OpenEXR": "train", "onnx": "export", "onnxscript": "export", "onnxslim": "export",
    "tensorboard": "metrics", "pyiqa": "metrics", "skimage": "bench", "matplotlib": "bench", "jinja2": "bench",
    "fsspec": "batch", "ray": "ray", "tensorrt": "tensorrt", "pillow_heif": "pictures", "imagecodecs": "pictures",
    "rawpy": "pictures", "pyvirtualcam": "camera",
}  # fmt: skip


def install_hint(extra: str) -> str:
    """Give the command that adds `extra` to this installation, for a shell, such as: pip install ".[train]"."""
    place, editable = source()
    return f'{installer()} {"-e " if editable else ""}"{place}[{extra}]"'


def source() -> tuple[str, bool]:
    """Tell what to install from, and whether the installation is an editable one.

    The checkout this runs in; or the folder or wheel it was installed from, while that is there; or the name, which
    is good beside an installed copy.
    """
    if PUBLISHED:
        return PROJECT, False
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "setup.py").is_file() and (checkout / "runtime").is_dir():
        return shown(checkout), installed_from()[1]
    place, editable = installed_from()
    return (shown(place), editable) if place is not None and place.exists() else (PROJECT, False)


def installed_from() -> tuple[Path | None, bool]:
    """Return the folder or file that pip or uv noted (PEP 610), and whether it is an editable installation."""
    # Every command imports this module, few come here; these take as long to import as all else of --help.
    from importlib import metadata
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:  # a build leaves another, without a note, in the checkout itself
        texts = (found.read_text("direct_url.json") for found in metadata.distributions(name=PROJECT))
        noted = json.loads(next(filter(None, texts), "{}"))
    except (OSError, ValueError):
        return None, False
    url = urlsplit(noted.get("url", ""))
    if url.scheme != "file":
        return None, False
    return Path(url2pathname(url.path)), bool(noted.get("dir_info", {}).get("editable"))


def shown(place: Path) -> str:
    """`.` in the checkout itself, the path elsewhere."""
    try:
        return "." if place.samefile(Path.cwd()) else str(place)
    except OSError:
        return str(place)


def installer() -> str:
    """Name the program that made this environment; pipx and uv keep tools in their own, without a pip inside."""
    prefix = Path(sys.prefix)
    if (prefix / "pipx_metadata.json").is_file():
        return "pipx install --force"
    if (prefix / "uv-receipt.toml").is_file():
        return "uv tool install --force"
    if util.find_spec("pip") is None:
        return "uv pip install" if os.environ.get("VIRTUAL_ENV") else f"uv pip install --python {sys.executable}"
    return "pip install"
