"""Experiments as data: training pairs, test pairs, methods; run, resumed and reported."""
