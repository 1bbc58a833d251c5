"""The plug-in for GIMP 2.10 on Linux, where no Python comes with GIMP: this installation's, through ctypes."""
