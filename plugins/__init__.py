"""Adapters that bring the runtime into other programs."""
