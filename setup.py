"""Maps the top-level folders into the namespace `cliplit.*`; builds the pixel loops and the frei0r filter.

Both are optional: without a compiler the package installs all the same and numpy does the work. The filter is a
library for other programs, not a Python module; it is built like one to be in the wheel.

The page that an index shows is README.md with absolute links. The project has no public address that is known, so a
release build is told one: CLIPLIT_PUBLIC_URL, the repository's, and the links lead to its files. Without one, pictures
and links into the repository are left as their words: relative ones are broken on any index.
"""

import os
import re
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup

FOLDERS = {"cliplit": "cliplit"} | {
    f"cliplit.{folder}": folder for folder in ("export", "runtime", "plugins", "benchmarks")
}

packages = [
    package if inner is None else f"{package}.{inner}"
    for package, folder in FOLDERS.items()
    for inner in (None, *find_packages(folder))
]

# Python's own flags hold -fwrapv, with which loops over neighbours are several times slower. Products and sums may be
# rounded as one where the processor can.
flags = [
    "-O3",
    "-std=c11",
    "-fno-wrapv",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wall",
    "-Wextra",
]
flags = [] if os.name == "nt" else flags

# The version stands in cliplit/__init__.py alone; importing it here would need what is not installed yet.
VERSION = re.search(r'__version__ = "(\d+)\.(\d+)', Path("cliplit/__init__.py").read_text(encoding="utf-8"))
assert VERSION

extensions = [
    Extension(
        f"cliplit.runtime.light.{name}",
        [f"runtime/light/{name}.c"],
        depends=["runtime/light/_loops.h"],
        extra_compile_args=flags,
        optional=True,
    )
    for name in ("_maps", "_relight", "_shadows")
]
if sys.platform == "linux":
    extensions.append(
        Extension(
            "cliplit.plugins._frei0r",
            sorted(map(str, Path("plugins/frei0r").glob("*.c"))),
            depends=sorted(map(str, Path("plugins/frei0r").glob("*.h"))),
            define_macros=[("CLIPLIT_MAJOR", VERSION[1]), ("CLIPLIT_MINOR", VERSION[2])],
            libraries=["dl"],
            extra_compile_args=["-O2", "-std=c11", "-Wall", "-Wextra", "-fvisibility=hidden"],
            optional=True,
        )
    )

PUBLIC_URL = os.environ.get("CLIPLIT_PUBLIC_URL", "").rstrip("/")


def index_page(text: str, public_url: str) -> str:
    """Return README.md with every link into the repository absolute, or reduced to its words without an address."""

    def absolute(link: re.Match[str]) -> str:
        picture, words, target = link.groups()
        if "://" in target or target.startswith("#"):
            return link[0]
        if not public_url:
            return words
        return f"{picture}[{words}]({public_url}/{'raw' if picture else 'blob'}/main/{target})"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", absolute, text)


setup(
    long_description=index_page(Path("README.md").read_text(encoding="utf-8"), PUBLIC_URL),
    long_description_content_type="text/markdown",
    project_urls={"Source": PUBLIC_URL, "Issues": f"{PUBLIC_URL}/issues"} if PUBLIC_URL else {},
    packages=packages,
    package_dir=FOLDERS,
    package_data={
        "cliplit": ["py.typed", "recipes/*.yaml"],
        "cliplit.runtime": ["models/*", "demo/*"],
        "cliplit.benchmarks": ["page/*"],
        # The page in the browser, where it was built (docs/web.md); its components are the quality report's.
        "cliplit.plugins": ["kdenlive/*.xml", "web/dist/*", "web/components/*"],
    },
    include_package_data=False,  # only what stands above; MANIFEST.in is for the source distribution
    ext_modules=extensions,
)
