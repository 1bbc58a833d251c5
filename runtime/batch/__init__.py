"""Thousands of files: a plan, a manifest, one step of work, and two engines that run it."""
