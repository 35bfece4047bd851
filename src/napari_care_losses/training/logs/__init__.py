"""Logs of trainings: a CSV file beside the model, and TensorBoard's events."""
