"""`python -m cliplit.plugins`, where the command is not on the PATH."""

from cliplit.plugins.cli import main

main(prog_name="cliplit-plugins")
