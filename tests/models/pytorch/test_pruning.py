from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import yaml

from mlstack.config import ModelConfig, PruneConfig
from mlstack.config.vocabulary import CONFIG_DIR
from mlstack.errors import ConfigError
from mlstack.models.pytorch import Classifier, build_classifier
from mlstack.models.pytorch.cost import count_macs, count_parameters
from mlstack.models.pytorch.pruning import remove_channels
from mlstack.models.weight_shapes import shapes_of

from .conftest import images_of, pictures

pytestmark = pytest.mark.framework

SHIPPED = [
    name
    for path in sorted((CONFIG_DIR / "model").glob("*.yaml"))
    if (name := yaml.safe_load(path.read_text(encoding="utf-8"))["name"])
]
SMALL = ModelConfig(name="small_cnn")


def pruned(model: ModelConfig, size: int = 8, *, seed: int = 0, **settings: object) -> Classifier:
    torch.manual_seed(0)
    classifier = build_classifier(model, images_of(size, 1))
    remove_channels(classifier, replace(PruneConfig(ratio=0.5), **settings), channels=1, size=size, seed=seed)  # type: ignore[arg-type]
    return classifier


@pytest.mark.parametrize("name", [name for name in SHIPPED if not name.startswith("timm/")])
def test_every_shipped_network_loses_half_of_its_channels_and_is_rebuilt_from_its_weights(name: str) -> None:
    model, size = ModelConfig(name=name), 32 if name[0] in "em" else 8
    whole = build_classifier(model, images_of(size, 1))
    narrow = pruned(model, size)
    assert 0.2 < count_parameters(narrow) / count_parameters(whole) < 0.3
    macs = [count_macs(network, channels=1, size=size) for network in (narrow, whole)]
    assert 0.2 < macs[0] / macs[1] < 0.3
    state = narrow.state_dict()
    again = build_classifier(model, images_of(size, 1), shapes=shapes_of(state))
    again.load_state_dict(state)
    images = pictures(2, size, 1)
    with torch.no_grad():
        assert torch.equal(again.eval()(images), narrow.eval()(images))
    assert [one.requires_grad for one in narrow.parameters()] == [one.requires_grad for one in whole.parameters()]
    assert narrow.head.weight.shape[0] == 10  # type: ignore[union-attr,index]


def test_the_channels_that_stay_are_those_with_the_larger_weights() -> None:
    classifier = build_classifier(SMALL, images_of(8, 1))
    first = classifier.backbone[0][0]  # type: ignore[index]
    with torch.no_grad():
        first.weight[::2] *= 100
        kept = first.weight[::2].clone()
    remove_channels(classifier, PruneConfig(ratio=0.5), channels=1, size=8, seed=0)
    torch.testing.assert_close(classifier.backbone[0][0].weight, kept)  # type: ignore[index]


@pytest.mark.parametrize("importance", ["l1", "l2", "random"])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_processes_with_equal_weights_and_seeds_remove_the_same_channels(importance: str, scope: str) -> None:
    first, second = (pruned(SMALL, importance=importance, scope=scope).state_dict() for _ in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_random_choice_follows_the_seed() -> None:
    first, second = (pruned(SMALL, importance="random", seed=seed).state_dict() for seed in (1, 2))
    assert not all(torch.equal(first[name], second[name]) for name in first)


def test_with_a_global_scope_layers_lose_different_shares() -> None:
    classifier = build_classifier(SMALL, images_of(8, 1))
    with torch.no_grad():
        classifier.backbone[2][0].weight[:16] *= 1000  # type: ignore[index]  # beside them the other 48 are nothing
    remove_channels(classifier, PruneConfig(ratio=0.5, scope="global"), channels=1, size=8, seed=0)
    widths = [one.out_channels for one in classifier.modules() if isinstance(one, torch.nn.Conv2d)]
    assert widths[4] == 16
    assert min(kept / total for kept, total in zip(widths[:4], (16, 16, 32, 32), strict=True)) >= 0.5


def test_the_whitening_layer_stays() -> None:
    narrow = pruned(replace(SMALL, whitening=True))
    convolutions = [one for one in narrow.modules() if isinstance(one, torch.nn.Conv2d)]
    assert [tuple(one.weight.shape[:2]) for one in convolutions[:2]] == [(16, 1), (8, 16)]
    assert not convolutions[0].weight.requires_grad


def test_memory_stays_laid_out_as_the_settings_say() -> None:
    weight = pruned(SMALL).backbone[1][0].weight  # type: ignore[index]
    assert weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("model", "size", "key", "words"),
    [
        (replace(SMALL, args={"width": 2}), 8, "prune.ratio", "removes no channel"),
        (ModelConfig(name="shufflenet_v2_x0_5"), 32, "prune.method", "can't remove channels of this network"),
    ],
)
def test_networks_without_channels_to_spare_or_to_follow_are_refused(
    model: ModelConfig, size: int, key: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        pruned(model, size)
    assert caught.value.key == key
    assert caught.value.hint
