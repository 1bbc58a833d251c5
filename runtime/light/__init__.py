"""What the light of a picture is and how it is applied: proxy, light map, gain, temporal filter. Knows no files."""
