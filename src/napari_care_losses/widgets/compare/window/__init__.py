"""The window with panels, plots and tables."""
