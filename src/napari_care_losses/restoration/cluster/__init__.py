"""Restoring on many machines with Dask."""
