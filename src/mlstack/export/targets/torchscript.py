"""TorchScript (model.pt), for LibTorch and anything with torch; and its successor, the exported program (model.pt2)."""

from __future__ import annotations

from importlib.metadata import version

from mlstack.engines.network_files import check_network_files, network_files
from mlstack.export.targets.base import Converted, Request, needs_run, ran
from mlstack.runs import RunFolder

NEEDED_FOR = "target=torchscript"


def check(run: RunFolder | None) -> None:
    """Refuse a bundle whose network is not torch's. See `targets.check`."""
    check_network_files(needs_run(run, "torchscript").read_config().trainer.engine, needed_for=NEEDED_FOR)


def convert(request: Request) -> Converted:
    """Write both files, each with normalisation, temperature and probabilities in it."""
    run = needs_run(request.run, "torchscript")
    config, metadata = run.read_config(), request.bundle.metadata
    files = network_files(config.trainer.engine, needed_for=NEEDED_FOR)
    network = files.network_of(config, run, checkpoint=request.config.checkpoint, temperature=metadata.temperature)
    script, program = request.folder / "model.pt", request.folder / "model.pt2"
    network.write_script(script)
    network.write_program(program)
    return Converted(
        models=tuple(
            ran(files.open_network(path), request, file=path.name, how=how)
            for path, how in ((script, "torch.jit.load, CPU"), (program, "torch.export.load, CPU"))
        ),
        versions={"torch": version("torch")},
        unchecked=("LibTorch without Python, and GPUs",),
    )
