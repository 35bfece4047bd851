"""Devices, memory, prefetching, several processes, the state of an optimizer."""
