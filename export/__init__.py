"""Turns a checkpoint into files that run elsewhere."""
