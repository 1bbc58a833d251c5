"""Guidance of training: image encoders, prompts and residual vectors that judge pictures."""
