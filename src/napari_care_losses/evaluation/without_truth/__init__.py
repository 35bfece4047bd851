"""What can be said of a restoration, or of one image, without a ground truth."""
