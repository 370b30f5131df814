"""A run's whole network as files of torch's own, which need nothing of this package: TorchScript, and torch.export's.

Both take `images` uint8 [batch, height, width, channel] and answer what a bundle does: probabilities (of a regression,
values) and features. torch 2.14 calls torch.jit deprecated, yet it is what LibTorch and older devices load; the
exported program is what came after it, and what the converters in `programs/` read.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mlstack.config import Config
from mlstack.engines.lightning.inference import ACTIVATIONS
from mlstack.engines.lightning.restore import build_network, load_weights
from mlstack.errors import ExportError
from mlstack.models.pytorch import Classifier
from mlstack.runs import RunFolder

# One a converter, called `python <file> network.pt2 pictures.npy <folder>` in an environment of its own.
PROGRAMS = Path(__file__).parent / "programs"

EXAMPLE_BATCH = 2  # torch.export takes a dimension of 1 for one that is always 1
PIXELS = {"uint8": torch.uint8, "float32": torch.float32}


class Deployed(nn.Module):
    """A classifier with everything that its bundle's graph does.

    Args:
        classifier: On the CPU, in 32 bits.
        task: `data.task`.
        temperature: What logits are divided by.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, classifier: Classifier, *, task: str, temperature: float) -> None:
        super().__init__()
        self.classifier = classifier
        self.activation = ACTIVATIONS[task]
        self.temperature = temperature
        # Channel by channel, unlike Classifier.normalize: converters for small devices know no rows of several.
        self.register_buffer("scale", classifier.scale.view(-1, 1, 1).clone())  # [channel, 1, 1]
        self.register_buffer("shift", classifier.shift.view(-1, 1, 1).clone())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (or float, 0 to 255) [batch, height, width, channel] → [batch, answer] and [batch, feature]."""
        pixels = images.to(torch.float32).permute(0, 3, 1, 2) * self.scale + self.shift
        features = self.classifier.encode(pixels.contiguous())
        return self.activation(self.classifier.answer(features) / self.temperature), features


class TorchNetwork:
    """Writes a run's network.

    Args:
        config: The run's settings.
        run: The run folder that holds the weights.
        checkpoint: `best` or `last`.
        temperature: What logits are divided by; None = nothing.

    Raises:
        RunError: No such checkpoint, or a damaged one.
    """

    def __init__(self, config: Config, run: RunFolder, *, checkpoint: str, temperature: float | None) -> None:
        model = replace(config.model, pretrained=False, gradient_checkpointing=False)
        weights = run.checkpoint(checkpoint)
        classifier = build_network(model, config.data, weights, channels_last=False)
        load_weights(classifier, weights)
        network = Deployed(classifier, task=config.data.task, temperature=temperature or 1.0)
        self._network = network.eval().requires_grad_(False)
        assert config.data.image_size and config.data.channels, "a run's settings are complete"
        self._picture = (config.data.image_size, config.data.image_size, config.data.channels)
        self._name = config.model.target or config.model.name

    def write_script(self, path: Path) -> None:
        """Write TorchScript, for any number of pictures. Raises ExportError."""
        images = torch.zeros((EXAMPLE_BATCH, *self._picture), dtype=torch.uint8)
        with self._explained("TorchScript"):
            script = torch.jit.trace(self._network, images, check_trace=False)  # type: ignore[no-untyped-call]
            torch.jit.freeze(script).save(str(path))

    def write_program(self, path: Path, *, batch: int | None = None, pixels: str = "uint8") -> None:
        """Write an exported program (.pt2).

        Args:
            path: The file.
            batch: The only number of pictures a call takes; None = any.
            pixels: Type of the pictures, `uint8` or `float32`; 0 to 255 in both.

        Raises:
            ExportError: torch.export can't follow the network.
        """
        images = torch.zeros((batch or EXAMPLE_BATCH, *self._picture), dtype=PIXELS[pixels])
        sizes = None if batch else ({0: torch.export.Dim("batch")},)
        with self._explained("an exported program"):
            torch.export.save(torch.export.export(self._network, (images,), dynamic_shapes=sizes), path)

    @contextmanager
    def _explained(self, kind: str) -> Iterator[None]:
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")  # torch's own deprecations, of what it calls itself among them
                yield
        except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ExportError(f"{self._name} can't become {kind}: {reason}") from error


def network_of(config: Config, run: RunFolder, *, checkpoint: str, temperature: float | None) -> TorchNetwork:
    """The network of a run; arguments and errors as `TorchNetwork`'s."""
    return TorchNetwork(config, run, checkpoint=checkpoint, temperature=temperature)


def open_network(path: Path) -> Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Load a file that `TorchNetwork` wrote (.pt or .pt2), to be called with uint8 [n, height, width, channel]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network: Any = torch.export.load(path).module() if path.suffix == ".pt2" else torch.jit.load(str(path))  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def answer(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        outputs, features = network(torch.from_numpy(images))
        return outputs.numpy(), features.numpy()

    return answer
