"""What noise an image has, and how it is estimated."""
