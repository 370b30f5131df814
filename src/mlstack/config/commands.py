"""The schemas of the other commands. What they don't name comes from the run folder that they work on."""

from __future__ import annotations

from dataclasses import dataclass

from mlstack.config.data import DataConfig
from mlstack.config.keys import MISSING, group, key
from mlstack.config.trainer import ACCELERATORS, ENGINES
from mlstack.config.validation import PROFILES, STAGES, DockerStageConfig, VenvStageConfig

SPLITS = ("train", "val", "test")
CHECKPOINTS = ("best", "last")
TABLE_SUFFIXES = (".csv", ".json")


@dataclass
class EvalConfig:
    """Measure a trained model on one split of its data."""

    run: str = key("latest", "Run folder; latest = the newest finished run", path=True)
    split: str = key("test", "Split to measure on", choices=SPLITS)
    checkpoint: str = key("best", "Which weights: best by trainer.monitor, or the last ones", choices=CHECKPOINTS)
    output_dir: str = key("outputs", "Folder in which latest is looked for", path=True)
    batch_size: int | None = key(None, "Images a step; null = as in training", minimum=1)
    num_workers: int | None = key(None, "Processes that prepare batches; null = as in training", minimum=0)
    accelerator: str = key("auto", "Kind of device; auto = GPU where there is one", choices=ACCELERATORS)


@dataclass
class PredictConfig:
    """Let a trained model answer for pictures: classes, labels or numbers."""

    run: str = key("latest", "Run folder; latest = the newest finished run", path=True)
    bundle: str | None = key(None, "Ask a bundle instead of a run: its folder, or latest", path=True)
    url: str | None = key(None, "Ask a service instead, such as http://127.0.0.1:8000; its key: MLSTACK_API_KEY")
    input: list[str] = key(
        MISSING, "Pictures: a file, a folder, a pattern (*.jpg), or a list; a video; camera:0", path=True
    )
    every: int = key(1, "Of a video or camera, every so many frames", unit="frames", minimum=1)
    max_frames: int | None = key(None, "Of a video or camera, answers to give; null = to its end, or Ctrl-C", minimum=1)
    output: str = key("predictions.csv", "Table of predictions, .csv or .json", path=True)
    grid: str | None = key(None, "Picture grid (.png); null = beside the table", path=True)
    top_k: int = key(5, "Classes listed for each picture, most probable first (classification only)", minimum=1)
    checkpoint: str = key("best", "Which weights: best by trainer.monitor, or the last ones", choices=CHECKPOINTS)
    output_dir: str = key("outputs", "Folder in which latest is looked for", path=True)
    batch_size: int = key(64, "Pictures a step", minimum=1)
    accelerator: str = key("auto", "Kind of device; auto = GPU where there is one", choices=ACCELERATORS)


@dataclass
class ConvertConfig:
    """Turn a trained model into one of the other engine."""

    run: str = key("latest", "Run folder; latest = the newest finished run", path=True)
    engine: str | None = key(None, "Engine to convert to; null = the other one", choices=ENGINES)
    checkpoint: str = key("best", "Which weights: best by trainer.monitor, or the last ones", choices=CHECKPOINTS)
    target: str | None = key(None, "For a run with model.target: the same network in the other framework")
    output_dir: str = key("outputs", "Folder of the runs, and of the new one", path=True)


@dataclass
class DownloadConfig:
    """Fetch a data set, or clear away what downloads left behind."""

    data: DataConfig = group(DataConfig)
    clean: bool = key(False, "Delete downloaded archives and partial files instead; unpacked data stay")


@dataclass
class CheckEnvConfig:
    """Report what this machine and this environment offer."""

    json: bool = key(False, "Print JSON instead of a table")
    output_dir: str = key("outputs", "Folder that has to be writable", path=True)


@dataclass
class ValidateConfig:
    """Find out whether this code works here: its models, its GPU, its containers."""

    stage: str = key(
        "models", "models = train each for a moment; venv = stage 1, on the GPU; docker = stage 2", choices=STAGES
    )
    profile: str = key("quick", "Of a stage: quick = one model, 5 minutes; full = all, 30 minutes", choices=PROFILES)
    models: list[str] = key([], "Choices of the model group; [] = every shipped one, quick: resnet18")
    data: str = key("digits", "Choice of the data group")
    engine: str = key(ENGINES[0], "Framework that trains", choices=ENGINES)
    max_epochs: int = key(1, "Passes over the training images", unit="epochs", minimum=1)
    accelerator: str = key("auto", "Kind of device; auto = GPU where there is one", choices=ACCELERATORS)
    allow_cpu: bool = key(False, "Stage venv without a GPU all the same: a dry run, marked as such in the report")
    output_dir: str = key("outputs", "Folder in which run folders are made, and validate/ with the reports", path=True)
    venv: VenvStageConfig = group(VenvStageConfig)
    docker: DockerStageConfig = group(DockerStageConfig)


@dataclass
class CompareRunsConfig:
    """Put finished runs side by side."""

    runs: list[str] = key([], "Run folders, folders or patterns; [] = all finished runs in output_dir", path=True)
    output: str = key("comparison.png", "Figure: the monitored metric against CPU seconds (.png)", path=True)
    csv: str | None = key(None, "Table of the runs with all metrics (.csv); null = none", path=True)
    json: str | None = key(None, "The same with mean and deviation over seeds (.json); null = none", path=True)
    output_dir: str = key("outputs", "Folder in which finished runs are looked for", path=True)
