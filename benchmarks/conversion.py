"""How far apart the two frameworks answer with the same weights: `python benchmarks/conversion.py`, 2 minutes.

Each shipped network is given batch-norm statistics of real pictures in one framework (two training passes), converted,
and asked about the same pictures in both. Shown is the largest difference of a logit over the largest logit, in either
direction, and whether converting there and back gives every array back bit by bit. Bar: 1e-4, and yes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from mlstack.config import DataConfig, ModelConfig
from mlstack.config.vocabulary import CONFIG_DIR
from mlstack.datasets import load_dataset
from mlstack.errors import DataError
from mlstack.models import paddle, pytorch
from mlstack.models.conversion import to_paddle, to_torch

# isort: split
import paddle as paddle_itself
import torch

DATA = {"digits": 32, "fashion_mnist": 8}  # pictures of 8 and of 28 pixels
BAR = 1e-4


def new_share(name: str) -> float:
    """How much of a batch goes into the running statistics of an untrained network.

    With little of it the signal dies away in a network that has few shortcuts, and all pictures get the same answer;
    with much of it channels that hardly vary amplify rounding errors.
    """
    return 0.5 if name.startswith("resnet") else 0.99


Weights = dict[str, NDArray[Any]]


class Torch:
    """A network in PyTorch."""

    def __init__(self, model: ModelConfig, data: DataConfig) -> None:
        torch.manual_seed(0)
        self.network = pytorch.build_classifier(model, data)

    def see(self, images: NDArray[np.uint8], share: float) -> None:
        for layer in self.network.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = share
        with torch.no_grad():
            for _ in range(2):
                self.network(torch.from_numpy(images))

    def weights(self) -> Weights:
        return {name: value.numpy().copy() for name, value in self.network.state_dict().items()}

    def take(self, weights: Weights) -> None:
        self.network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})

    @torch.no_grad()
    def answers(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        answers: NDArray[np.float32] = self.network.eval()(torch.from_numpy(images)).numpy()
        return answers


class Paddle:
    """The same in Paddle."""

    def __init__(self, model: ModelConfig, data: DataConfig) -> None:
        paddle_itself.seed(0)
        self.network = paddle.build_classifier(model, data)

    def see(self, images: NDArray[np.uint8], share: float) -> None:
        for layer in self.network.sublayers():
            if isinstance(layer, paddle_itself.nn.BatchNorm2D):
                layer._momentum = 1 - share
        with paddle_itself.no_grad():
            for _ in range(2):
                self.network(paddle_itself.to_tensor(images))

    def weights(self) -> Weights:
        return {name: np.array(value.numpy()) for name, value in self.network.state_dict().items()}

    def take(self, weights: Weights) -> None:
        missing, _ = self.network.set_state_dict(weights)
        assert not missing

    def answers(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.network.eval()
        with paddle_itself.no_grad():
            return np.array(self.network(paddle_itself.to_tensor(images)).numpy())


def distance(
    source: Torch | Paddle, target: Torch | Paddle, images: NDArray[np.uint8], share: float
) -> tuple[float, bool]:
    """Largest difference of a logit over the largest logit, and whether the round trip is exact."""
    there, back = (to_paddle, to_torch) if isinstance(source, Torch) else (to_torch, to_paddle)
    source.see(images, share)
    weights = source.weights()
    moved = there(weights)
    target.take(moved)
    returned = back(moved)
    exact = returned.keys() == weights.keys() and all(
        returned[name].dtype == value.dtype and returned[name].tobytes() == value.tobytes()
        for name, value in weights.items()
    )
    expected, answers = source.answers(images), target.answers(images)
    assert np.ptp(expected, axis=0).max() > 0.01 * abs(expected).max(), "all pictures get the same answer"
    return float(abs(answers - expected).max() / abs(expected).max()), exact


def main() -> None:
    torch.set_num_threads(1)
    files = sorted((CONFIG_DIR / "model").glob("*.yaml"))
    names = [name for file in files if (name := yaml.safe_load(file.read_text(encoding="utf-8"))["name"])]
    print(f"{'model':<20} {'data':<14} {'torch → paddle':>15} {'paddle → torch':>15}  round trip exact")
    for data, number in DATA.items():
        try:
            dataset = load_dataset(DataConfig(name=data, download=False))
        except DataError as error:
            print(f"{data}: left out ({error.message})")
            continue
        images = dataset.splits["train"].images.read(np.arange(number))
        settings = DataConfig(
            classes=list(dataset.classes), image_size=images.shape[1], channels=images.shape[3],
            mean=list(dataset.mean), std=list(dataset.std),
        )  # fmt: skip
        for name in names:
            # pictures that are dropped by chance would make the statistics those of the few others
            model = ModelConfig(name=name, args={"stochastic_depth_prob": 0.0} if name == "efficientnet_b0" else {})
            share = new_share(name)
            forth, exact = distance(Torch(model, settings), Paddle(model, settings), images, share)
            back, too = distance(Paddle(model, settings), Torch(model, settings), images, share)
            verdict = "ok" if max(forth, back) <= BAR and exact and too else "short"
            answer = "yes" if exact and too else "no"
            print(f"{name:<20} {data:<14} {forth:>15.1e} {back:>15.1e}  {answer}  {verdict}", flush=True)


if __name__ == "__main__":
    main()
