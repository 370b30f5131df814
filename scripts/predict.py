"""Classify pictures with a trained model.

    python scripts/predict.py input=photos/                           # every picture of a folder
    python scripts/predict.py run=latest input=cat.jpg output=cat.json top_k=3
    python scripts/predict.py 'input=[a.jpg,b.jpg]' output=predictions.csv

It writes a table, a row for each picture with its most probable classes, and a picture grid
beside it. A picture that cannot be read is named, and nothing is written.
"""

from __future__ import annotations

import _environment

if __name__ == "__main__":
    _environment.require()
    from mlstack.config.command_line import run
    from mlstack.config.commands import PredictConfig

    run("mlstack.commands.predict:predict", PredictConfig, config_name="predict", usage=__doc__)
