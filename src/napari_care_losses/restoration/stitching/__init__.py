"""A frame in tiles, and back."""
