"""Recording in one line for loops that somebody else runs: Lightning, Transformers, Accelerate.

Each file imports its framework when it is imported itself, so only the one in use must be installed.
"""
