"""Restoring the visible part of one frame."""
