"""The networks that predict a light map, and their checkpoints."""
