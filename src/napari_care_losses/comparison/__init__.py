"""Several methods on one image: baselines, scores, reports."""
