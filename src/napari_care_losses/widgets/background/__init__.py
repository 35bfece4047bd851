"""Work in background threads."""
