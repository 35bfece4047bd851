"""Trainings planned by a user interface, and run as iterators."""
