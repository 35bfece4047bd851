"""What the three widgets share."""
