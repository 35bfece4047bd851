"""Restoring what is still being acquired."""
