"""Measurements: speed and quality, against references measured in the same run."""
