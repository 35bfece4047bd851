"""Training a network on pairs of low and high exposure."""
