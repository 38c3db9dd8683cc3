"""A trained network's forward pass as plain tensor functions.

For a row or two, the overhead of modules and the recomputation of constants take longer than the
arithmetic.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ml.preprocessing import Standardize, standardized

Forward = Callable[[Tensor], Tensor]


def plain(network: nn.Module) -> Forward:
    """Return a function equal, bit for bit, to `network` in evaluation mode, as long as its
    parameters do not change."""
    steps = [PLAIN.get(type(layer), _called)(layer) for layer in _layers(network.eval())]

    def forward(inputs: Tensor) -> Tensor:
        outputs = inputs
        for step in steps:
            outputs = step(outputs)
        return outputs

    return forward


def _layers(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers of a sequence, recursively, that have an effect in evaluation mode."""
    if type(network).forward is nn.Sequential.forward:
        for layer in network.children():
            yield from _layers(layer)
    elif not isinstance(network, nn.Identity | nn.Dropout):
        yield network


def _called(layer: nn.Module) -> Forward:
    return layer


def _affine(layer: nn.Linear) -> Forward:
    bias, weight = layer.bias.detach(), layer.weight.detach().t()
    return lambda inputs: torch.addmm(bias, inputs, weight)


def _standardised(layer: Standardize) -> Forward:
    offset, factor = layer.offset(), layer.factor()
    return lambda raw: standardized(raw, offset, factor)


PLAIN: dict[type[nn.Module], Callable[[Any], Forward]] = {
    Standardize: _standardised,
    nn.Linear: _affine,
    nn.Flatten: lambda _: lambda inputs: inputs.flatten(1),
    nn.ReLU: lambda _: torch.relu,
}
"""Plain equivalents by layer type; other layers are called as modules."""
