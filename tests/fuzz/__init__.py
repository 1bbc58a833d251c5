"""Hostile inputs: generators, a few hundred inputs in CI, and a command for hours (`python -m tests.fuzz --help`)."""
