"""The `trainer` group: how long, on what, how precisely; the same keys for every engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlstack.config.keys import key

# Each folder of engines/ that holds an engine, Lightning first; who deletes such a folder has one choice less.
ENGINES = tuple(
    sorted(
        (path.parent.name for path in Path(__file__).parents[1].glob("engines/*/engine.py")),
        key=lambda name: (name != "lightning", name),
    )
)
ACCELERATORS = ("auto", "cpu", "gpu", "mps")
STRATEGIES = (  # Lightning's own names, without fork and spawn: each process starts the script anew
    "auto",
    "ddp",
    "ddp_find_unused_parameters_true",
    "fsdp",
    "fsdp_cpu_offload",
    "deepspeed",
    "deepspeed_stage_1",
    "deepspeed_stage_2",
    "deepspeed_stage_2_offload",
    "deepspeed_stage_3",
    "deepspeed_stage_3_offload",
)
PRECISIONS = ("32", "bf16", "16", "64")
CLIPPING = ("norm", "value")
MODES = ("auto", "max", "min")
# What is measured on val and on test, for each `data.task`; the second is what `trainer.monitor=auto` watches.
METRICS = {
    "classification": (
        "loss",
        "accuracy",
        "top5_accuracy",
        "precision",
        "recall",
        "f1",
        "roc_auc",
        "calibration_error",
    ),
    "multilabel": ("loss", "f1", "precision", "recall", "exact_match", "roc_auc", "average_precision"),
    "regression": ("loss", "mae", "rmse", "r2"),
}
LESS_IS_BETTER = ("loss", "calibration_error", "mae", "rmse")
MONITORS = tuple(dict.fromkeys(f"val_{metric}" for metrics in METRICS.values() for metric in metrics))
PRECISION_ALIASES = {
    "32-true": "32",
    "bf16-mixed": "bf16",
    "16-mixed": "16",
    "64-true": "64",
    "fp32": "32",
    "fp16": "16",
}


@dataclass
class TrainerConfig:
    """How a run is carried out."""

    engine: str = key(ENGINES[0], "Framework that trains", choices=ENGINES)
    accelerator: str = key("auto", "Kind of device; auto = GPU where there is one", choices=ACCELERATORS)
    devices: int = key(1, "Devices (on a CPU: processes); -1 = all there are", minimum=1, besides=(-1,))
    strategy: str = key("auto", "How several devices share the work", choices=STRATEGIES)
    precision: str = key(
        "32", "Arithmetic of the network; 16 on a GPU only", choices=PRECISIONS, aliases=PRECISION_ALIASES
    )
    max_epochs: int = key(10, "Passes over the training images", unit="epochs", minimum=1)
    max_steps: int | None = key(None, "Stop after so many; null = no limit", unit="optimizer steps", minimum=1)
    limit_train_batches: int | float = key(1.0, "Training batches: a whole number, or a share (1.0 = all)", above=0)
    limit_val_batches: int | float = key(1.0, "Validation batches: a whole number, or a share; 0 = none", minimum=0)
    limit_test_batches: int | float = key(1.0, "Test batches: a whole number, or a share; 0 = none", minimum=0)
    fast_dev_run: bool = key(False, "One batch of each split, to see that everything works; leaves no checkpoint")
    accumulate_grad_batches: int = key(1, "Batches whose gradients make one optimizer step", unit="batches", minimum=1)
    steps_per_execution: int = key(
        1, "Optimizer steps between two turns of the loop (callbacks, progress bar)", unit="optimizer steps", minimum=1
    )
    ema_decay: float | None = key(
        None,
        "Validate and keep a moving average of the weights with this decay (0.999); null = don't",
        above=0,
        maximum=0.999999,
    )
    quantization_aware: bool = key(False, "Train as if weights and activations were int8: int8 costs less later")
    scale_learning_rate: bool = key(False, "Multiply the learning rate by the number of devices")
    gradient_clip_val: float | None = key(None, "Clip gradients to this; null = don't", above=0)
    gradient_clip_algorithm: str = key("norm", "What is clipped: the norm of all, or each value", choices=CLIPPING)
    log_every_n_steps: int = key(50, "Steps between two values of the training loss", unit="optimizer steps", minimum=1)
    check_val_every_n_epoch: int = key(1, "Validate every so many epochs", unit="epochs", minimum=1)
    monitor: str = key(
        "auto",
        "Metric that finds the best checkpoint and stops early; auto = val_accuracy, val_f1 or val_mae, by data.task",
        choices=("auto", *MONITORS),
    )
    mode: str = key("auto", "Whether more (max) or less (min) of it is better; auto = as the metric is", choices=MODES)
    checkpoint_every_n_steps: int | None = key(
        500, "Checkpoint also within an epoch; null = only at its end", unit="optimizer steps", minimum=1
    )
    save_top_k: int = key(3, "Best checkpoints to keep", minimum=1)
    early_stopping_patience: int | None = key(
        None, "Stop after so many validations without improvement; null = never", unit="validations", minimum=1
    )
    deterministic: bool = key(False, "Only deterministic GPU kernels: slower, repeatable (a CPU always is)")
    channels_last: bool = key(True, "Keep images as batch, height, width, channel in memory: faster convolutions")
    compile: bool = key(False, "Compile the network (pays off on a GPU in long runs)")
    sync_batchnorm: bool = key(False, "Share batch-norm statistics between devices")
    job: str | None = key(
        None, "Name of a job: started again, it goes on with its unfinished run; null = torchrun's --rdzv-id"
    )
    progress_bar: bool = key(True, "Show a bar with images/s and the time left")
    lightning: dict[str, Any] = key({}, "Any other argument of pytorch_lightning.Trainer, such as detect_anomaly")
    paddle: dict[str, Any] = key({}, "Flags of Paddle's own, such as FLAGS_cudnn_exhaustive_search")
