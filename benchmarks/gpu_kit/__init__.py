"""`make gpu-kit`: benchmarks/gpu.py for a machine without a network."""
