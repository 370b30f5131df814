"""The bundle, the one thing that passes from training to deployment. Needs numpy; onnxruntime to ask the model."""
