"""What the validation images of a training show: a preview, and intervals that hold."""
