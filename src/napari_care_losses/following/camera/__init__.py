"""The camera of a running acquisition."""
