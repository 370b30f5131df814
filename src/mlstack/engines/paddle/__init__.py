"""The engine on PaddlePaddle."""
