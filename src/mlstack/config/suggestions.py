"""What somebody meant who typed a key that does not exist: other tools' words, other groups, near spellings."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from mlstack.config.passthrough import LIGHTNING_ARGUMENTS
from mlstack.config.vocabulary import Vocabulary

# Words of Keras, Hugging Face, torchvision's and timm's scripts and older Lightning, each with our key.
OTHER_WORDS = {
    "accumulation_steps": "trainer.accumulate_grad_batches",
    "amp": "trainer.precision",
    "arch": "model.name",
    "architecture": "model.name",
    "augmentation": "data.augment.flip",
    "batch": "data.batch_size",
    "bf16": "trainer.precision",
    "bs": "data.batch_size",
    "clip_grad_norm": "trainer.gradient_clip_val",
    "cuda": "trainer.accelerator",
    "data_dir": "data.path",
    "data_path": "data.path",
    "dataloader_num_workers": "data.num_workers",
    "dataset": "data.name",
    "dataset_dir": "data.path",
    "decay": "model.weight_decay",
    "default_root_dir": "output_dir",
    "device": "trainer.accelerator",
    "early_stopping": "trainer.early_stopping_patience",
    "enable_progress_bar": "trainer.progress_bar",
    "epoch": "trainer.max_epochs",
    "epochs": "trainer.max_epochs",
    "eval_steps": "trainer.check_val_every_n_epoch",
    "fp16": "trainer.precision",
    "framework": "trainer.engine",
    "gpu": "trainer.devices",
    "gpus": "trainer.devices",
    "grad_clip": "trainer.gradient_clip_val",
    "gradient_accumulation_steps": "trainer.accumulate_grad_batches",
    "image": "data.image_size",
    "img_size": "data.image_size",
    "imgsz": "data.image_size",
    "input_size": "data.image_size",
    "jit": "trainer.compile",
    "log_interval": "trainer.log_every_n_steps",
    "logger": "tracker",
    "logging_steps": "trainer.log_every_n_steps",
    "lr": "model.learning_rate",
    "lr_scheduler": "model.scheduler",
    "lr_scheduler_type": "model.scheduler",
    "max_grad_norm": "trainer.gradient_clip_val",
    "mixed_precision": "trainer.precision",
    "momentum": "model.optimizer_args.momentum",
    "nesterov": "model.optimizer_args.nesterov",
    "n_epochs": "trainer.max_epochs",
    "num_devices": "trainer.devices",
    "num_epochs": "trainer.max_epochs",
    "num_gpus": "trainer.devices",
    "num_processes": "trainer.devices",
    "num_train_epochs": "trainer.max_epochs",
    "opt": "model.optimizer",
    "optim": "model.optimizer",
    "output": "output_dir",
    "patience": "trainer.early_stopping_patience",
    "per_device_train_batch_size": "data.batch_size",
    "plugins": "trainer.strategy",
    "random_seed": "seed",
    "resolution": "data.image_size",
    "root": "data.path",
    "sched": "model.scheduler",
    "seed_everything": "seed",
    "steps": "trainer.max_steps",
    "torch_compile": "trainer.compile",
    "train_batch_size": "data.batch_size",
    "val_split": "data.val_fraction",
    "validation_split": "data.val_fraction",
    "warmup_ratio": "model.warmup_fraction",
    "warmup_steps": "model.warmup_fraction",
    "wd": "model.weight_decay",
    "weights": "model.pretrained",
    "workers": "data.num_workers",
}


def nearest(word: str, known: Iterable[object], *, cutoff: float = 0.6) -> str | None:
    """The nearest of some names, or None where none is nearer than `cutoff` (1 = the same)."""
    names = {str(name).lower(): str(name) for name in known}
    matches = get_close_matches(word.lower(), names, n=1, cutoff=cutoff)
    return names[matches[0]] if matches else None


def nearest_key(name: str, vocabulary: Vocabulary) -> str | None:
    """The key that `name` stands for: its last word in another group, another tool's word, or a near spelling.

    `trainer.batch_size` gives `data.batch_size`, `lr` gives `model.learning_rate`, `trainer.max_epoch` gives
    `trainer.max_epochs`.
    """
    by_last_word = {key.rpartition(".")[2]: key for key in reversed(list(vocabulary.keys))}
    word = name.rpartition(".")[2].lower().replace("-", "_")
    meant = by_last_word.get(word) or OTHER_WORDS.get(word)
    if meant and (meant in vocabulary.keys or vocabulary.is_open(meant)):
        return meant
    if word in LIGHTNING_ARGUMENTS and "trainer.lightning" in vocabulary.keys:
        return f"trainer.lightning.{word}"
    if near := nearest(name, vocabulary.keys):
        return near
    near_word = nearest(word, by_last_word)
    return by_last_word[near_word] if near_word else None
