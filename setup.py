"""Maps the top-level folders into the namespace `cliplit.*` and builds the pixel loop.

The C extension is optional: without a compiler the package installs all the same and numpy does the work.
"""

import os

from setuptools import Extension, setup

FOLDERS = ("export", "runtime", "plugins", "benchmarks")

flags = [] if os.name == "nt" else ["-O3", "-std=c11", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra"]

setup(
    packages=["cliplit", *(f"cliplit.{folder}" for folder in FOLDERS)],
    package_dir={f"cliplit.{folder}": folder for folder in FOLDERS},
    package_data={"cliplit": ["py.typed", "recipes/*.yaml"], "cliplit.runtime": ["models/*", "demo/*"]},
    ext_modules=[
        Extension("cliplit.runtime._relight", ["runtime/_relight.c"], extra_compile_args=flags, optional=True),
    ],
)
