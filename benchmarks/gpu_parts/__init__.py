"""What benchmarks/gpu.py measures: a file for each part, which is run in a process of its own.

Files with a leading underscore are what the others share.
"""
