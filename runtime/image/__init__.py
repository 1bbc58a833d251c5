"""Still pictures: reading, relighting and writing them with their metadata."""
