"""Restoring frames, stacks, files and folders."""
