"""Models of other tools, imported and exported."""
