"""The parts of the Train widget."""
