"""Optimizers by name, and their learning rates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import paddle
from numpy.typing import NDArray
from paddle import Tensor, nn
from paddle.optimizer import SGD, Adam, AdamW, Momentum, Optimizer
from paddle.regularizer import L2Decay

from mlstack.config import ModelConfig
from mlstack.engines.paddle.muon import Muon
from mlstack.engines.paddle.parameter_groups import parameter_groups
from mlstack.errors import ConfigError

Group = Mapping[str, Any]  # see `parameter_groups`


def build_optimizer(config: ModelConfig, network: nn.Layer, *, scale: float = 1.0) -> GroupedOptimizer:
    """The optimizer that `model.optimizer` names, over the parameters that learn.

    Its groups are those of `parameter_groups`, each with its peak learning rate.

    Args:
        config: The `model` settings.
        network: Whose parameters, on their device already; frozen ones are left out.
        scale: What the learning rates are multiplied by.

    Raises:
        ConfigError: The optimizer refuses its arguments, or every parameter is frozen.
    """
    groups = parameter_groups(
        network,
        weight_decay=config.weight_decay,
        decay_norm_and_bias=config.decay_norm_and_bias,
        hidden_apart=config.optimizer == "muon",
    )
    if not groups:
        raise ConfigError(
            "there is nothing to learn: every weight of the network is frozen",
            key="model.freeze_backbone",
            hint="type model.freeze_backbone=false, or give your network a last linear layer",
        )
    names = _unique_names(network)
    try:
        inner = OPTIMIZERS[config.optimizer](groups, float(config.learning_rate), **config.optimizer_args)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"model.optimizer={config.optimizer} refuses model.optimizer_args={config.optimizer_args}: {error}",
            key="model.optimizer_args",
        ) from error
    return GroupedOptimizer(groups, inner, names, scale=scale)


class GroupedOptimizer:
    """One or two of Paddle's optimizers that work as one.

    Paddle's own groups aren't used: a group's own rate costs a tensor for each parameter and step, and the loop over
    groups time. `paddle.amp.GradScaler` takes this object like an optimizer, and skips the step as a whole.

    Args:
        groups: From `parameter_groups`.
        inner: The optimizers, each with a rate of its own.
        names: Of the parameters in the network, by those that Paddle gave them.
        scale: What the learning rates are multiplied by.

    Attributes:
        groups: What was given.
        inner: Paddle's optimizers.
        parameters: Those that learn.
        shrunk: Those among them that weight decay and the L1 penalty shrink.
    """

    def __init__(
        self, groups: Sequence[Group], inner: Sequence[Optimizer], names: Mapping[str, str], *, scale: float = 1.0
    ) -> None:
        self.groups, self.inner = list(groups), list(inner)
        self.parameters: list[Tensor] = [parameter for group in groups for parameter in group["params"]]
        self.shrunk: list[Tensor] = [parameter for group in groups if group["shrinks"] for parameter in group["params"]]
        self.peaks = [optimizer.get_lr() * scale for optimizer in inner]
        self._factor: float | None = None
        self.set_factor(1.0)
        self._state = _accumulators(self.inner, names)

    @property
    def _parameter_list(self) -> list[Tensor]:  # what GradScaler asks an optimizer for
        return self.parameters

    @property
    def rate(self) -> float:
        """The learning rate of the first group, as it is now."""
        return float(self.inner[0].get_lr())

    def set_factor(self, factor: float) -> None:
        """Set every learning rate to `factor` times its peak."""
        if factor != self._factor:  # writes to the device
            self._factor = factor
            for optimizer, peak in zip(self.inner, self.peaks, strict=True):
                optimizer.set_lr(peak * factor)

    def step(self) -> None:
        """Take one step. Parameters without a gradient stay where they are."""
        for optimizer in self.inner:
            optimizer.step()

    def clear_grad(self) -> None:
        """Drop the gradients. (Paddle's own clear_grad makes them 0, and momentum goes on moving what has none.)"""
        for parameter in self.parameters:
            parameter.clear_gradient(False)  # by position: the keyword `set_to_zero` has no effect

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors themselves, not copies, each under `name of the parameter in the network/name of the tensor`."""
        return dict(self._state)

    def load_state_dict(self, state: Mapping[str, NDArray[Any] | Tensor]) -> None:
        """Take over a `state_dict`, bit for bit; before the first step, too.

        Raises:
            ValueError: It belongs to another network or another kind of optimizer.
        """
        if unlike := sorted(set(state) ^ set(self._state)):
            raise ValueError(f"the state is that of another optimizer or network; they differ by {unlike[:3]}")
        for name, tensor in self._state.items():
            tensor.set_value(state[name])


def _unique_names(network: nn.Layer) -> dict[str, str]:
    """The names of parameters in the network, by those that Paddle gave them; of two that are equal, one is changed.

    Parts that were built under two name guards have equal ones, and would share their momentum.
    """
    names: dict[str, str] = {}
    for structured, parameter in network.named_parameters():
        if parameter.name in names:
            parameter.name = paddle.utils.unique_name.generate(f"{parameter.name}_{structured}")
        names[parameter.name] = structured
    return names


def _accumulators(inner: Sequence[Optimizer], names: Mapping[str, str]) -> dict[str, Tensor]:
    """What the optimizers remember, by `parameter/accumulator`.

    Paddle makes these tensors in the first step, and its own names for them count all that were ever made in the
    process, so that a state could be loaded neither before that step nor into a second optimizer. They are made here.
    """
    found: dict[str, Tensor] = {}
    for optimizer in inner:
        block = paddle.base.framework.default_main_program().global_block()
        optimizer._create_accumulators(block, optimizer._parameter_list)
        for kind, tensors in optimizer._accumulators.items():
            found.update({f"{names[name]}/{kind}": tensor for name, tensor in tensors.items()})
    return found


def _sgd(
    groups: Sequence[Group], rate: float, *, momentum: float = 0.0, dampening: float = 0.0, nesterov: bool = False
) -> list[Optimizer]:
    if not 0 <= momentum < 1 or dampening != 0:
        raise ValueError("momentum must be from 0 to below 1, and Paddle has no dampening")
    if nesterov and not momentum:
        raise ValueError("nesterov needs a momentum above 0")
    parameters = _with_l2(groups)
    return [Momentum(rate, momentum, parameters, use_nesterov=nesterov) if momentum else SGD(rate, parameters)]


def _adam(
    groups: Sequence[Group],
    rate: float,
    *,
    betas: Sequence[float] = (0.9, 0.999),
    eps: float = 1e-8,
    amsgrad: bool = False,
) -> list[Optimizer]:
    return [Adam(rate, *betas, eps, _with_l2(groups), amsgrad=amsgrad)]


def _adamw(
    groups: Sequence[Group],
    rate: float,
    *,
    betas: Sequence[float] = (0.9, 0.999),
    eps: float = 1e-8,
    amsgrad: bool = False,
) -> list[Optimizer]:
    parameters = _with_l2(groups, but_none=True)
    decay = max(group["weight_decay"] for group in groups)  # the others have 0
    shrunk = {parameter.name for group in groups if group["weight_decay"] for parameter in group["params"]}
    shrinks = shrunk.__contains__
    return [AdamW(rate, *betas, eps, parameters, decay, apply_decay_param_fun=shrinks, amsgrad=amsgrad)]


def _muon(
    groups: Sequence[Group],
    rate: float,
    *,
    momentum: float = 0.95,
    nesterov: bool = True,
    ns_steps: int = 5,
    betas: Sequence[float] = (0.9, 0.999),
    eps: float = 1e-8,
    rest_learning_rate: float | None = None,
) -> list[Optimizer]:
    """Muon for the group named `hidden`, AdamW for all others."""
    arguments: dict[str, Any] = {"momentum": momentum, "nesterov": nesterov, "ns_steps": ns_steps}
    inner: list[Optimizer] = [
        Muon(group["params"], learning_rate=rate, weight_decay=group["weight_decay"], **arguments)
        for group in groups
        if group["name"] == "hidden"
    ]
    if rest := [group for group in groups if group["name"] != "hidden"]:
        inner += _adamw(rest, rate if rest_learning_rate is None else rest_learning_rate, betas=betas, eps=eps)
    return inner


def _with_l2(groups: Sequence[Group], *, but_none: bool = False) -> list[Tensor]:
    """The parameters of all groups, each with its weight decay as Paddle wants it: in the parameter.

    Args:
        groups: From `parameter_groups`.
        but_none: Take away what another optimizer, or the network's own code, has put there.
    """
    for group in groups:
        decay = L2Decay(group["weight_decay"]) if group["weight_decay"] and not but_none else None
        for parameter in group["params"]:
            parameter.regularizer = decay
    return [parameter for group in groups for parameter in group["params"]]


OPTIMIZERS: dict[str, Callable[..., list[Optimizer]]] = {"sgd": _sgd, "adam": _adam, "adamw": _adamw, "muon": _muon}
