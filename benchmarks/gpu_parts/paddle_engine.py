"""The Paddle engine on the GPU, where Paddle's GPU build is installed: images/s and peak memory in each precision."""

from __future__ import annotations

import contextlib
import io
from importlib.util import find_spec

from _workload import made_up_pictures
from gpu_parts._part import Place, run_part
from gpu_parts._rows import RowWriter, Skipped
from mlstack.config import Config
from mlstack.config.compose import compose
from mlstack.config.trainer import ENGINES
from mlstack.datasets.derived import complete
from mlstack.engines.factory import create_engine
from mlstack.runs import create_run

EPOCHS, STEPS = 2, 40


def measure(rows: RowWriter, place: Place) -> None:
    """One row for each precision."""
    if "paddle" not in ENGINES or find_spec("paddle") is None:
        raise Skipped("Paddle is not installed")
    create_engine("paddle")  # before anybody else imports Paddle: quietly
    import paddle

    if not place.dry and not (paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count()):
        raise Skipped(f"Paddle {paddle.__version__} is a build for the CPU, or sees no GPU")
    batch, model, steps = (8, "small_cnn", 2) if place.dry else (256, "resnet18", STEPS)
    dataset = made_up_pictures(batch * steps)
    full = None
    for precision in ("32", "bf16", "16"):
        title = f"{model} at 32 px, batch {batch}: {precision}"
        with rows.attempt(title):
            if precision == "16":
                place.need_gpu("a CPU has no training in 16 bits")
            words = [f"model={model}", f"data.batch_size={batch}", f"trainer.precision={precision}", "tracker=none"]
            words += ["trainer.engine=paddle", f"trainer.max_epochs={EPOCHS}", "trainer.progress_bar=false"]
            words += [f"trainer.accelerator={place.accelerator}", f"output_dir={place.folder}"]
            config = complete(compose(Config, words), dataset)
            engine = create_engine("paddle")
            engine.check(config)
            with contextlib.redirect_stdout(io.StringIO()):
                found = engine.fit(config, dataset, create_run(config))
            full = full or found.images_per_second
            compared = {"ratio": found.images_per_second / full, "against": "32"} if precision != "32" else {}
            note = f"on {found.device}, peak {found.peak_memory_mb:,.0f} MiB, warm-up included"
            rows.add(title, found.images_per_second, "images/s", note=note, **compared)


if __name__ == "__main__":
    run_part(measure)
