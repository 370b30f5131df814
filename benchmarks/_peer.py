"""The way the field's usual template trains, written anew for comparison: what `peer_template.py` measures.

    python benchmarks/_peer.py --help

Everything is imported before the command line is read; metric objects are updated and logged each step, on the bar too;
a rich progress bar; two loggers; torchvision's CIFAR10 with Pillow transforms. (`pytorch_lightning` is the same code as
the `lightning` package that the template imports.)
"""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
import torch
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics import MaxMetric, MeanMetric
from torchmetrics.classification import MulticlassAccuracy
from torchvision.datasets import CIFAR10
from torchvision.transforms import Compose, Normalize, RandomCrop, RandomHorizontalFlip, ToTensor

SETTINGS = {
    "data": {"path": "data", "batch_size": 64, "num_workers": 0},
    "model": {"width": 8, "learning_rate": 1e-3},
    "trainer": {"max_epochs": 1, "limit_train_batches": 100},
}


class PeerModule(pl.LightningModule):
    """A network with metric objects.

    Args:
        network: float [batch, 3, height, width] → logits [batch, 10].
        each_step: Log the value of each step beside that of the epoch.
    """

    def __init__(self, network: nn.Module, *, each_step: bool) -> None:
        super().__init__()
        self.network = network
        self.each_step = each_step
        self.criterion = nn.CrossEntropyLoss()
        self.train_loss, self.train_accuracy = MeanMetric(), MulticlassAccuracy(10, average="micro")
        self.best_accuracy = MaxMetric()

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        images, labels = batch
        logits = self.network(images)
        loss: Tensor = self.criterion(logits, labels)
        self.train_loss(loss)
        self.train_accuracy(logits.argmax(dim=1), labels)
        how = {"on_step": self.each_step, "on_epoch": True, "prog_bar": True}
        self.log("train/loss", self.train_loss, **how)
        self.log("train/accuracy", self.train_accuracy, **how)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def data_loader(folder: Path, batch_size: int) -> DataLoader[Any]:
    """Shuffled training batches, cropped, flipped and normalised picture by picture."""
    CIFAR10._check_integrity = lambda self: True  # made-up files have other checksums
    normalise = Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    transform = Compose([RandomCrop(32, padding=4), RandomHorizontalFlip(), ToTensor(), normalise])
    return DataLoader(CIFAR10(str(folder), train=True, transform=transform), batch_size=batch_size, shuffle=True)


def train(network: nn.Module, loader: DataLoader[Any], *, steps: int, each_step: bool, folder: Path) -> None:
    """So many steps on the CPU; the bar draws to a terminal that nobody sees."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with warnings.catch_warnings(), Path(os.devnull).open("w") as screen:
        warnings.simplefilter("ignore")  # advice to use workers, and Lightning's own deprecated calls
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=1,
            limit_train_batches=steps,
            logger=[CSVLogger(folder), TensorBoardLogger(folder)],
            callbacks=[RichProgressBar(console_kwargs={"file": screen, "force_terminal": True})],
            enable_model_summary=False,
            default_root_dir=folder,
        )
        trainer.fit(PeerModule(network, each_step=each_step), loader)


ConfigStore.instance().store(name="peer", node=SETTINGS)


@hydra.main(version_base="1.3", config_path=None, config_name="peer")
def main(_: DictConfig) -> None:
    """Only --help and --cfg job are asked of this command line."""


if __name__ == "__main__":
    main()
