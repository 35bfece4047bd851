"""A comparison as one HTML page that needs nothing else, and its scores as CSV."""
