#!/usr/bin/python3
"""The file GIMP starts, installed as plug-ins/cliplit/cliplit.py beside the package it imports.

The first line names a fixed Python: with `env`, an active virtual environment would hide the system's `gi`.
"""

from cliplit_plugins.gimp3.plug_in import main

main()
