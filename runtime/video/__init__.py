"""Clips: reading, writing and relighting them frame by frame, with every other stream they have."""
