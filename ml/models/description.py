"""Descriptions of networks: what flows through their layers, and what it costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ml.models.networks import Residual
from ml.signature import Signature

Shape = tuple[int, ...]
WHOLE = "network"
"""Name of the network within a trained model."""


@dataclass(frozen=True)
class TracedLayer:
    """A layer and what flows through it."""

    name: str
    """Its name within the network."""
    module: nn.Module
    inputs: Tensor
    """Its inputs for one row `(1, ...)`, without memory; layers may share them."""
    outputs: Tensor

    @property
    def shape(self) -> Shape:
        """Shape of its outputs for one row."""
        return tuple(self.outputs.shape[1:])

    @property
    def parameter_count(self) -> int:
        """Number of its parameters, without those of layers within it."""
        if isinstance(self.module, Residual):
            return 0
        return sum(parameter.numel() for parameter in self.module.parameters())


@dataclass(frozen=True)
class Description:
    """The structure, size and cost of a network before training."""

    structure: str
    """The layers, as `print(model)` shows them."""
    parameters: dict[str, Shape]
    """Shapes by the names that they have in a trained model."""
    layers: Sequence[TracedLayer]
    multiply_adds: int
    """Multiplications, each with an addition, of the matrix products and convolutions of a row."""


def describe(network: nn.Module, signature: Signature) -> Description:
    """Return the description of a network on the meta device, in the place that it has in a
    trained model, behind the preprocessing."""
    model = nn.Sequential()
    model.add_module(WHOLE, network)
    with FlopCounterMode(display=False) as counter:
        layers = trace(model, signature)
    parameters = {name: tuple(one.shape) for name, one in model.named_parameters()}
    # The counter counts multiplications and additions apart.
    return Description(str(model), parameters, layers, counter.get_total_flops() // 2)


def trace(network: nn.Module, signature: Signature) -> list[TracedLayer]:
    """Return the layers of a network on the meta device in the order of the computation: those that
    have no layers of their own, and each residual layer after its layers."""
    inputs = signature.inputs
    shape = inputs.shape if inputs.kind == "images" else (inputs.width,)
    traced: list[TracedLayer] = []

    def following(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def follow(module: nn.Module, given: tuple[Any, ...], outputs: Any) -> None:
            traced.append(TracedLayer(name, module, given[0], outputs))

        return follow

    hooks = [
        module.register_forward_hook(following(name))
        for name, module in network.named_modules()
        if _is_layer(module)
    ]
    was_training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.empty((1, *shape), device="meta"))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return traced


def _is_layer(module: nn.Module) -> bool:
    if isinstance(module, nn.ParameterList):
        return False
    parts = [child for child in module.children() if not isinstance(child, nn.ParameterList)]
    return not parts or isinstance(module, Residual)
