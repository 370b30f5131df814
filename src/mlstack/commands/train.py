"""Train, evaluate the best checkpoint, draw the figures: all of it into one run folder."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from mlstack.commands.evaluate import Scores, measure
from mlstack.config import Config
from mlstack.datasets import Dataset, load_dataset
from mlstack.datasets.derived import with_derived
from mlstack.engines import Engine, RunResult, create_engine
from mlstack.errors import MLStackError
from mlstack.models.catalog import check_name
from mlstack.provenance import provenance
from mlstack.reports.learning_curves import draw_learning_curves
from mlstack.reports.run_figures import draw_split
from mlstack.runs import RunFolder, create_run, discard_run, finish_run
from mlstack.utils.console import logged_to, say
from mlstack.utils.ranks import is_main_process

# Statistics of the pictures that torchvision's and timm's pretrained weights have seen.
IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]


def train(config: Config) -> None:
    """Train a model as the settings say, and leave a finished run folder.

    Raises:
        MLStackError: Settings, data or hardware that can't work; no run folder is left behind.
    """
    if config.model.target is None:
        check_name(config.model.name)  # before a framework is imported
    engine = create_engine(config.trainer.engine)
    engine.check(config)
    dataset = load_dataset(config.data)
    config = complete(config, dataset)
    run = create_run(config)
    if not is_main_process():
        engine.fit(config, dataset, run)
        return
    with logged_to(run.log_path):
        run.write_config(config)
        run.update_results(status="running", started_at=datetime.now(UTC).isoformat(), **provenance())
        say(_opening(config, dataset, run))
        result, cpu_seconds = _fit(engine, config, dataset, run)
        _conclude(engine, config, dataset, run, result, cpu_seconds)


def complete(config: Config, dataset: Dataset) -> Config:
    """Fill in what follows from the data, from `model.pretrained`, `trainer.fast_dev_run` and `trainer.monitor`."""
    data, trainer = with_derived(config.data, dataset), config.trainer
    if config.model.pretrained and config.data.mean is None and data.channels == 3:
        data = replace(data, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    if trainer.fast_dev_run:
        trainer = replace(trainer, max_epochs=1, limit_train_batches=1, limit_val_batches=1, limit_test_batches=1)
    if trainer.mode == "auto":
        trainer = replace(trainer, mode="min" if trainer.monitor.endswith("loss") else "max")
    return replace(config, data=data, trainer=trainer)


def _fit(engine: Engine, config: Config, dataset: Dataset, run: RunFolder) -> tuple[RunResult, float]:
    """Train; says in results.json how it ended if it does not end well. Returns also the CPU seconds it took."""
    started = time.process_time()
    try:
        result = engine.fit(config, dataset, run)
    except MLStackError:
        if not run.metrics_path.exists():  # nothing was trained yet: leave nothing half-written
            discard_run(run)
        raise
    except BaseException as error:
        reason = "interrupted" if isinstance(error, KeyboardInterrupt | SystemExit) else "failed"
        run.update_results(status=reason, error=f"{type(error).__name__}: {error}")
        raise
    return result, time.process_time() - started


def _conclude(
    engine: Engine, config: Config, dataset: Dataset, run: RunFolder, result: RunResult, cpu_seconds: float
) -> None:
    """Measure the best checkpoint, write results.json, draw the figures, say what came out."""
    measured = {
        name: measure(engine, config, dataset, run, split=name)
        for name, limit in (("val", config.trainer.limit_val_batches), ("test", config.trainer.limit_test_batches))
        if limit
    }
    metrics = {name: scores for name, (_, scores) in measured.items()}
    run.update_results(metrics=metrics, **_facts(config, dataset, result, cpu_seconds))
    _draw(config, dataset, run, measured)
    if config.trainer.fast_dev_run:
        run.update_results(status="fast_dev_run")
    else:
        finish_run(run, output_dir=config.output_dir)
    say(_closing(config, run, result, metrics))


def _facts(config: Config, dataset: Dataset, result: RunResult, cpu_seconds: float) -> dict[str, Any]:
    facts = asdict(result)
    del facts["is_main"]
    return {
        **facts,
        "cpu_seconds": cpu_seconds,
        "cores_busy": cpu_seconds / result.train_seconds,
        "seed": config.seed,
        "data": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "images": {name: len(split) for name, split in dataset.splits.items()},
            "classes": len(dataset.classes),
        },
    }


def _draw(config: Config, dataset: Dataset, run: RunFolder, measured: dict[str, Any]) -> None:
    settings = config.trainer
    title = f"{config.model.name} on {dataset.name}"
    draw_learning_curves(
        run.metrics_path,
        run.figures / "learning_curves.png",
        monitor=settings.monitor,
        mode=settings.mode,
        title=title,
    )
    name = "test" if "test" in measured else "val"
    if name in measured:
        predictions, _ = measured[name]
        draw_split(run.figures, dataset.splits[name], predictions.probabilities, dataset.classes, name=name)


def _opening(config: Config, dataset: Dataset, run: RunFolder) -> str:
    sizes = ", ".join(f"{len(split):,} {name}" for name, split in dataset.splits.items())
    data = config.data
    return (
        f"data        {dataset.name}: {sizes}; {data.image_size}×{data.image_size}×{data.channels}, "
        f"{len(dataset.classes)} classes\n"
        f"model       {config.model.target or config.model.name}, {config.model.optimizer}, {config.model.scheduler}\n"
        f"run folder  {run.path}"
    )


def _closing(config: Config, run: RunFolder, result: RunResult, metrics: dict[str, Scores]) -> str:
    lines = []
    for name, scores in metrics.items():
        lines.append(
            f"{name:<10}  accuracy {scores['accuracy']:.4f}   loss {scores['loss']:.4f}   f1 {scores['f1']:.4f}"
        )
    best = "" if result.best_epoch is None else f"   best epoch {result.best_epoch + 1} of {result.epochs}"
    early = ", stopped early" if result.stopped_early else ""
    lines.append(
        f"training    {result.train_seconds:.1f} s{early}   "
        f"{result.images_per_second:,.0f} images/s   peak memory {result.peak_memory_mb:,.0f} MiB{best}"
    )
    lines.append(f"run folder  {run.path}   (config, checkpoints, metrics, figures)")
    if config.trainer.fast_dev_run:
        return "\n".join([*lines, "next        it works: type the same without trainer.fast_dev_run=true"])
    elsewhere = "" if config.output_dir == "outputs" else f" output_dir={config.output_dir}"
    lines.append(f"next        python scripts/eval.py run=latest{elsewhere} split=test")
    lines.append(f"            python scripts/predict.py run=latest{elsewhere} input=<pictures> output=predictions.csv")
    return "\n".join(lines)
