"""What a network is to learn from: clean images, other noisy ones, or the noisy images alone."""
