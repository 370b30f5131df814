"""Train a model: one YAML, one command. Then evaluate it and draw its figures.

    python scripts/train.py data=digits                               # a minute, no download
    python scripts/train.py model=resnet18 data=cifar10 trainer.max_epochs=10
    python scripts/train.py data=image_folder data.path=photos/ trainer=fast
    python scripts/train.py trainer.devices=4 trainer.strategy=ddp    # more GPUs, no code
    python scripts/train.py recipe=cifar10_resnet18                   # a git-tracked experiment
    python scripts/train.py resume=latest                             # go on with a stopped run
    python scripts/train.py init_from=latest data=image_folder data.path=photos/  # fine-tune
    python scripts/train.py -m model=resnet18,mobilenet_v3 data=digits seed=1,2   # four runs

It ends with the metrics and the run folder: outputs/<data>_<model>_<engine>/<date_time_id>/
"""

from __future__ import annotations

import _environment

if __name__ == "__main__":
    _environment.require()
    from mlstack.config import Config
    from mlstack.config.command_line import run

    run(
        "mlstack.commands.train:train",
        Config,
        config_name="config",
        usage=__doc__,
        stored="mlstack.commands.resume:stored_config",
    )
