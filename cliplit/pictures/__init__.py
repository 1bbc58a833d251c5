"""Pictures to train on: photos, panoramas, synthetic backlight, sensor noise."""
