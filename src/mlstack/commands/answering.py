"""Who answers for new pictures: a run, in its training framework, or a bundle, in ONNX Runtime and without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.answers import check_fit
from mlstack.bundle.folder import find_bundle, read_bundle
from mlstack.bundle.metadata import told_apart
from mlstack.bundle.session import Session, runtime
from mlstack.commands.evaluate import on_this_machine
from mlstack.config import DataConfig
from mlstack.config.commands import PredictConfig
from mlstack.datasets.decode import PictureRule
from mlstack.engines import Engine, create_engine
from mlstack.engines.base import BatchSource
from mlstack.errors import HardwareError
from mlstack.runs import find_run
from mlstack.utils.hardware import usable_cores

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class Answerer(Protocol):
    """A trained model that is asked about pictures.

    Attributes:
        task: `data.task`.
        names: Of the classes, labels or targets, each another one.
        rule: How a picture becomes its input.
    """

    task: str
    names: Sequence[str]
    rule: PictureRule

    def outputs(self, source: BatchSource) -> NDArray[np.float32]:
        """float32 [n, answer] for every picture of a source: see `Predictions.outputs`."""
        ...


def answerer(config: PredictConfig) -> Answerer:
    """The bundle that `bundle=` names, else the run that `run=` names.

    Raises:
        BundleError: No such bundle, or a damaged one.
        RunError: No such run.
        HardwareError: A device that isn't there.
    """
    return RunAnswerer(config) if config.bundle is None else BundleAnswerer(config, config.bundle)


class RunAnswerer:
    """A run. Its framework is imported with the first question."""

    def __init__(self, config: PredictConfig) -> None:
        self.run = find_run(config.run, output_dir=config.output_dir)
        settings = on_this_machine(self.run.read_config(), accelerator=config.accelerator)
        # Files are decoded in threads; processes would pay off for very many only.
        self.settings = replace(settings, data=replace(settings.data, num_workers=0))
        self.checkpoint = config.checkpoint
        self.task = settings.data.task
        self.names: Sequence[str] = settings.data.classes or []
        self.rule = rule_of(settings.data)
        self._engine: Engine | None = None

    def outputs(self, source: BatchSource) -> NDArray[np.float32]:
        if self._engine is None:
            self._engine = create_engine(self.settings.trainer.engine)
            self._engine.check(self.settings)
        return self._engine.predict(self.settings, source, run=self.run, checkpoint=self.checkpoint).outputs


class BundleAnswerer:
    """A bundle, checked, and the model file that it names as its default."""

    def __init__(self, config: PredictConfig, which: str) -> None:
        bundle = read_bundle(find_bundle(which, output_dir=config.output_dir))
        metadata, picture = bundle.metadata, bundle.metadata.input
        self.session = Session(bundle.model(), threads=usable_cores(), providers=_providers(config.accelerator))
        check_fit(self.session, metadata)
        self.task = metadata.task
        self.names: Sequence[str] = told_apart(metadata.classes)
        self.rule = PictureRule((picture.height, picture.width), picture.decoded_size, picture.channels, picture.resize)

    def outputs(self, source: BatchSource) -> NDArray[np.float32]:
        steps = range(len(source))
        return np.concatenate([self.session.run(source.batch(0, step).images).output for step in steps])


def rule_of(data: DataConfig) -> PictureRule:
    """How a run's network gets its pictures; its settings are complete."""
    assert data.image_size and data.decoded_size and data.channels, "a run's settings are complete"
    return PictureRule(data.image_size, data.decoded_size, data.channels, data.resize)


def _providers(accelerator: str) -> tuple[str, ...]:
    """Where ONNX Runtime runs, by what `accelerator=` asks for."""
    if accelerator == "cpu":
        return (CPU,)
    there = runtime("bundle=").get_available_providers()
    if accelerator != "mps" and CUDA in there:
        return (CUDA, CPU)
    if accelerator == "auto":
        return (CPU,)
    raise HardwareError(
        f"accelerator={accelerator}: this build of ONNX Runtime does not run there",
        allowed=("auto", "cpu"),
        hint="an NVIDIA GPU needs another build: the package onnxruntime-gpu instead of onnxruntime",
    )
