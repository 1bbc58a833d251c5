"""Export of a checkpoint to files that run elsewhere."""
