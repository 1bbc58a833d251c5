"""What judges a picture in training: image encoders, prompts and residual vectors."""
