"""Models of neighbouring tools: CSBDeep's folders read, bioimage.io packages written and read.

What lies in such files was made by strangers. Names in them are never used as paths, sizes are bounded before anything
is read, nothing is fully unpickled, no code in them is run, and what parses a format made in C is run in a process of
its own (`confined.py`).
"""
