from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mlstack.config import ModelConfig
from mlstack.models.pytorch import build_classifier
from mlstack.models.pytorch.memory import checkpoint_gradients

from .conftest import images_of, pictures

pytestmark = pytest.mark.framework


def train_a_step(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    torch.manual_seed(1)  # of dropout
    loss = nn.functional.cross_entropy(network(images), labels)
    loss.backward()
    return loss.item()


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0"])
def test_gradient_checkpointing_changes_neither_loss_nor_gradients_nor_statistics(name: str) -> None:
    plain = build_classifier(ModelConfig(name=name), images_of(16, 3)).train()
    saving = copy.deepcopy(plain)
    assert checkpoint_gradients(saving.backbone) >= 8
    images, labels = pictures(4, 16, 3), torch.tensor([0, 1, 2, 3])
    for _ in range(2):
        assert train_a_step(plain, images, labels) == pytest.approx(train_a_step(saving, images, labels), abs=1e-6)
    for (name, one), (_, other) in zip(plain.named_parameters(), saving.named_parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5, msg=name)
    for (name, one), (_, other) in zip(plain.named_buffers(), saving.named_buffers(), strict=True):
        torch.testing.assert_close(one, other, msg=name)
    norms = [module for module in saving.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(norm.track_running_stats and int(norm.num_batches_tracked) == 2 for norm in norms)


def test_the_setting_recomputes_activations_in_the_backward_pass() -> None:
    calls = []
    model = ModelConfig(name="mobilenet_v3_small", gradient_checkpointing=True)
    classifier = build_classifier(model, images_of(8, 1))
    classifier.backbone.features[3].register_forward_hook(lambda *_: calls.append(1))  # type: ignore[index]
    inside = classifier.backbone.features[3].block[0]  # type: ignore[index]
    inside.register_forward_hook(lambda *_: calls.append(1))
    calls.clear()
    classifier.train()(pictures(2, 8, 1)).sum().backward()
    assert len(calls) == 3  # the block once, what lies in it twice
    calls.clear()
    classifier.eval()(pictures(2, 8, 1)).sum().backward()
    assert len(calls) == 2
