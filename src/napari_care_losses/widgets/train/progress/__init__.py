"""Loss curve, patches and validation image of a training."""
