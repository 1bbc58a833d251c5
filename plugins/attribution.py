"""Who the plug-ins are by, as GIMP shows it. Standard library only: GIMP's own Python takes this file along."""

AUTHORS = "the cliplit authors"
LICENCE = "Apache License 2.0"
YEAR = "2026"  # of the copyright, as in NOTICE
