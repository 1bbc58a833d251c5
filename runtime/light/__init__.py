"""The light of a picture and its application: proxy, light map, gain, temporal filter. Knows no files."""
