"""Training runs: the loop, its losses, state and reports."""
