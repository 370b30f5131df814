"""Ask a trained model about pictures or a video: classes, labels or numbers.

    python scripts/predict.py input=photos/                           # every picture of a folder
    python scripts/predict.py run=latest input=cat.jpg output=cat.json top_k=3
    python scripts/predict.py 'input=[a.jpg,b.jpg]' output=predictions.csv
    python scripts/predict.py bundle=latest input=photos/             # without a training framework
    python scripts/predict.py bundle=latest input=video.mp4 every=5   # each fifth frame
    python scripts/predict.py bundle=latest input=camera:0            # until Ctrl-C
    python scripts/predict.py url=http://127.0.0.1:8000 input=photos/ # ask a service

It writes a table, a row for each picture or frame, and a grid of the first ones beside it. A
picture that cannot be read is named, and nothing is written.
"""

from __future__ import annotations

import _environment

if __name__ == "__main__":
    _environment.require()
    from mlstack.config.command_line import run
    from mlstack.config.commands import PredictConfig

    run("mlstack.commands.predict:predict", PredictConfig, config_name="predict", usage=__doc__)
