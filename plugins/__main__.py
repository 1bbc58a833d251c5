"""`python -m cliplit.plugins`, where the command is not on the PATH."""

from .cli import main

main(prog_name="cliplit-plugins")
