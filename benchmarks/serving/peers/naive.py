"""What people write by hand with FastAPI: uvicorn naive:app."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
import onnxruntime
from fastapi import FastAPI, UploadFile
from PIL import Image
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
_, height, width, channels = session.get_inputs()[0].shape
app = FastAPI()


class Rows(BaseModel):
    """Pictures as nested lists."""

    inputs: list[list[list[list[int]]]]


def answer(images: np.ndarray[Any, Any]) -> dict[str, Any]:
    """The likeliest class of each picture, and the probabilities."""
    probabilities = session.run(None, {"images": images})[0]
    return {"classes": probabilities.argmax(axis=1).tolist(), "probabilities": probabilities.tolist()}


@app.post("/predict")
def predict(rows: Rows) -> dict[str, Any]:
    """Rows."""
    return answer(np.array(rows.inputs, np.uint8))


@app.post("/predict_image")
def predict_image(file: UploadFile) -> dict[str, Any]:
    """A photograph."""
    image = Image.open(io.BytesIO(file.file.read())).convert("RGB" if channels == 3 else "L")
    pixels = np.asarray(image.resize((width, height)), np.uint8)
    return answer(pixels.reshape(1, height, width, channels))
