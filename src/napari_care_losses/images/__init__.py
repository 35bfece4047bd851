"""What a stack of frames is, and what is asked of it."""
