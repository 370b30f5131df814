"""The engine on PyTorch Lightning: `engine.py` conducts, `module.py` is the training step."""
