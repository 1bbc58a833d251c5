"""Benchmarks of speed and quality, always against references measured in the same run."""
