"""Files of torch's own for a run's network, written by the command and asked without this package."""

from __future__ import annotations

import json
import shutil
import sys
import warnings

import pytest

from mlstack.bundle.folder import read_bundle
from mlstack.bundle.reference import read_reference
from mlstack.config.export import ExportConfig
from mlstack.export.targets import base
from mlstack.runs import RunFolder

pytestmark = pytest.mark.framework


@pytest.fixture(scope="module")
def exported(trained: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A copy of the trained run, exported for torch."""
    from mlstack.commands.export import export

    run = RunFolder(shutil.copytree(trained.path, tmp_path_factory.mktemp("exported") / "run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "SECONDS", 0.02)
        export(ExportConfig(run=str(run.path), target="torchscript", accelerator="cpu"))
    return run


@pytest.mark.parametrize("name", ["model.pt", "model.pt2"])
def test_the_file_answers_as_the_bundle_does_without_this_package(
    exported: RunFolder, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    for module in [module for module in sys.modules if module.startswith("mlstack.models")]:
        monkeypatch.setitem(sys.modules, module, None)
    path = exported.path / "targets" / "torchscript" / name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls torch.jit deprecated
        network = torch.jit.load(path) if name == "model.pt" else torch.export.load(path).module()
    bundle = read_bundle(exported.path / "bundle")
    golden = read_reference(bundle.path / "reference.npz", bundle.metadata)
    for count in (1, 5):
        with torch.inference_mode():
            outputs, features = network(torch.from_numpy(golden.golden_images[:count].copy()))
        torch.testing.assert_close(
            outputs, torch.from_numpy(golden.golden_outputs[:count].copy()), atol=1e-5, rtol=1e-4
        )
        assert features.shape == (count, bundle.metadata.features)


def test_the_facts_say_on_how_many_pictures_it_was_compared(exported: RunFolder) -> None:
    facts = json.loads((exported.path / "targets" / "torchscript" / "facts.json").read_text(encoding="utf-8"))
    assert [model["file"] for model in facts["models"]] == ["model.pt", "model.pt2"]
    for model in facts["models"]:
        assert model["images"] > 100
        assert model["relative_error"] < 1e-5
        assert model["agreement"] == 1
