"""The parts of the Compare widget."""
