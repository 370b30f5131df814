"""What comes after the training: the best checkpoint is measured, the run recorded; then figures and last words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlstack.commands.evaluate import measure
from mlstack.commands.pruning import pruning_facts, pruning_line
from mlstack.commands.run_end import status_of, way_on
from mlstack.config import Config
from mlstack.datasets import Dataset
from mlstack.engines import Engine, Predictions, RunResult
from mlstack.errors import MLStackError
from mlstack.metrics import Scores
from mlstack.reports.guarded import draw_each, guarded
from mlstack.reports.headline import headline
from mlstack.reports.learning_curves import draw_learning_curves
from mlstack.reports.run_figures import split_figures
from mlstack.runs import RunFolder, finish_run
from mlstack.utils.console import say

# By split, what the best checkpoint says and how good that is.
Measured = Mapping[str, tuple[Predictions, Scores]]

# Of the figures, those that the tracker shows; each task has some of them.
SENT_FIGURES = ("learning_curves", "sample_predictions", "confusion_matrix", "label_scores", "predicted_against_true")


def record(engine: Engine, config: Config, dataset: Dataset, run: RunFolder, result: RunResult) -> Measured:
    """Write into results.json what training came to, measure the best checkpoint, and mark the run as finished.

    Each fact is written when it is known: where a picture of the test split can't be read, the rest is there.

    Returns:
        By split, predictions and metrics.

    Raises:
        MLStackError: Pictures that can't be read, a file that can't be written; the training is not lost.
    """
    try:
        run.update_results(metrics={}, **pruning_facts(config, run), **_facts(run, config, result))
        measured: dict[str, tuple[Predictions, Scores]] = {}
        for split, limit in (("val", config.trainer.limit_val_batches), ("test", config.trainer.limit_test_batches)):
            if limit:
                measured[split] = measure(engine, config, dataset, run, split=split)
                run.update_results(metrics={name: scores for name, (_, scores) in measured.items()})
        if config.trainer.fast_dev_run:
            run.update_results(status="fast_dev_run")
        else:
            finish_run(run, output_dir=config.output_dir)
    except BaseException as error:
        _report(engine, run, status=status_of(error))
        if isinstance(error, MLStackError) and run.has_checkpoint:
            say(f"the training is complete, what comes after it is not: mend that, then\n{way_on(run)}")
        raise
    return measured


def show(
    engine: Engine, config: Config, dataset: Dataset, run: RunFolder, result: RunResult, measured: Measured
) -> None:
    """Draw the figures of a recorded run, send them to the tracker, and say what came out and what to type next.

    A figure that can't be drawn, and a tracker that fails, cost one line each.
    """
    draw(config, dataset, run, measured)
    results = run.read_results()
    _report(engine, run, status=results["status"])
    say(("" if config.trainer.fast_dev_run else pruning_line(results)) + closing(config, run, result, measured))


def draw(config: Config, dataset: Dataset, run: RunFolder, measured: Measured) -> None:
    """Learning curves, and the figures of the test split, or of val where there was no test."""
    draw_each([("learning_curves", lambda: _learning_curves(config, dataset, run))])
    name = "test" if "test" in measured else "val"
    if name in measured:
        split, outputs, task = dataset.splits[name], measured[name][0].outputs, dataset.task
        draw_each(split_figures(run.figures, split, outputs, dataset.classes, task=task, name=name))


def closing(config: Config, run: RunFolder, result: RunResult, measured: Measured) -> str:
    """What came out, where it lies, and what to type next."""
    lines = [f"{name:<10}  {headline(config.data.task, scores)}" for name, (_, scores) in measured.items()]
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


def _facts(run: RunFolder, config: Config, result: RunResult) -> dict[str, Any]:
    facts = asdict(result)
    del facts["is_main"]
    if parameters := facts.pop("teacher_parameters"):
        facts["distill"] = {**run.read_results()["distill"], "teacher_parameters": parameters}
    batch = config.data.batch_size * result.world_size * config.trainer.accumulate_grad_batches
    return {
        **facts,
        "cores_busy": result.cpu_seconds / result.train_seconds,
        "global_batch_size": batch,
        "seed": config.seed,
    }


def _report(engine: Engine, run: RunFolder, *, status: str) -> None:
    with guarded("the tracker's record could not be ended"):
        engine.report(run, [run.figures / f"{name}.png" for name in SENT_FIGURES], status=status)


def _learning_curves(config: Config, dataset: Dataset, run: RunFolder) -> Path:
    return draw_learning_curves(
        run.metrics_path,
        run.figures / "learning_curves.png",
        monitor=config.trainer.monitor,
        mode=config.trainer.mode,
        title=f"{config.model.name} on {dataset.name}",
        task=dataset.task,
        loss=config.model.loss,
    )
