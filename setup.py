"""Maps the top-level folders into the namespace `cliplit.*`; builds the pixel loop and the frei0r filter.

Both are optional: without a compiler the package installs all the same and numpy does the work. The filter is a
library for other programs, not a Python module; it is built like one to be in the wheel.
"""

import os
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

flags = [] if os.name == "nt" else ["-O3", "-std=c11", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra"]

extensions = [
    Extension("cliplit.runtime.light._relight", ["runtime/light/_relight.c"], extra_compile_args=flags, optional=True)
]
if sys.platform == "linux":
    extensions.append(
        Extension(
            "cliplit.plugins._frei0r",
            sorted(map(str, Path("plugins/frei0r").glob("*.c"))),
            depends=sorted(map(str, Path("plugins/frei0r").glob("*.h"))),
            libraries=["dl"],
            extra_compile_args=["-O2", "-std=c11", "-Wall", "-Wextra", "-fvisibility=hidden"],
            optional=True,
        )
    )

setup(
    packages=packages,
    package_dir=FOLDERS,
    package_data={
        "cliplit": ["py.typed", "recipes/*.yaml"],
        "cliplit.runtime": ["models/*", "demo/*"],
        "cliplit.benchmarks": ["page/*"],
    },
    include_package_data=False,  # only what stands above; MANIFEST.in is for the source distribution
    ext_modules=extensions,
)
