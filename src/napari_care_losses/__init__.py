"""Restore low-exposure fluorescence images in napari, with CARE networks trained on losses that keep the detail."""

__version__ = "0.1.0.dev0"
