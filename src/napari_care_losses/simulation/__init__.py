"""Simulated images of cells at any exposure."""
