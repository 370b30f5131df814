"""Our engine against a hand-written Paddle loop: `OMP_NUM_THREADS=1 python benchmarks/loop_paddle.py`, 2 minutes.

As `loop.py`, with trainer.engine=paddle: the same network (normalisation inside), batches, AdamW and loss on both
sides. The engine runs as shipped: schedule, metrics.csv, the TensorBoard tracker, loss and accuracy of training; the
loop has none of these.

Expect 0.98 × where the hand-written step takes 11 ms, 1 × where it takes 50 or more: a quarter of a millisecond a
step. (`trainer=fast` saves Paddle nothing: there is little between two steps to save.)
"""

from __future__ import annotations

import mlstack.models.paddle.quiet  # isort: skip  # noqa: F401  # before anything else imports Paddle

from collections.abc import Iterator

import paddle
from paddle import nn

from _loop import Comparison, Size, batches
from mlstack.config import Config
from mlstack.datasets import Dataset
from mlstack.models.paddle import build_classifier

SHORT_STEP = Size(("model=small_cnn", "model.args.width=4"), batch=36, steps=240, bars=(0.90,))
LONG_STEP = Size(("model=small_cnn", "model.args.width=8"), batch=152, steps=64, bars=(0.98,))
WAYS = {"mlstack": ("trainer.engine=paddle",)}


def main() -> None:
    """Measure both step lengths and print a table of each."""
    Comparison(by_hand, WAYS, (SHORT_STEP, LONG_STEP)).run()


def by_hand(config: Config, dataset: Dataset, steps: int) -> Iterator[None]:
    """The least code that Paddle needs; a step each time the next item is asked for."""
    network = build_classifier(config.model, config.data)
    network.train()
    rate, decay = config.model.learning_rate, config.model.weight_decay
    optimizer = paddle.optimizer.AdamW(rate, parameters=network.parameters(), weight_decay=decay)
    cross_entropy = nn.CrossEntropyLoss()
    loader = batches(config, dataset)
    for step in range(steps):
        batch = loader.batch(0, step)
        loss = cross_entropy(network(paddle.to_tensor(batch.images)), paddle.to_tensor(batch.labels))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        yield


if __name__ == "__main__":
    main()
