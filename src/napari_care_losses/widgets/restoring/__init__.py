"""The parts of the Restore widget."""
