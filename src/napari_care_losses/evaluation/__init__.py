"""Scores of restored images, with a ground truth and without."""
