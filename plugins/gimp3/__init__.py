"""The plug-in for GIMP 3, run by GIMP's own Python: `gi` and the standard library only. Pixels go to the worker."""
