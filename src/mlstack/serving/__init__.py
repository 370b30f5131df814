"""A bundle as an HTTP service, on ONNX Runtime and NumPy alone: neither torch nor paddle is imported here."""
