"""Live scores, residual and the plot over time."""
