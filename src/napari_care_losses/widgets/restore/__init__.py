"""The Restore widget."""
