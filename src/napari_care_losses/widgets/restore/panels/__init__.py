"""Panels for saving, folders, import and export."""
