"""The table of training pairs."""
