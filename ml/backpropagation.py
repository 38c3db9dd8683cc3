"""Backpropagation by hand through a chain of layers, into memory that is used again at each step.

For small batches on a CPU autograd's own account of what it does takes a good part of the time.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ml.dropout import Dropout, keep_mask
from ml.losses import LossName

aten = torch.ops.aten
Slope = Callable[[Tensor, Tensor, Tensor], Any]
"""From the gradient of the outputs, the inputs and the outputs to the gradient of the inputs."""

SLOPES: dict[type[nn.Module], Slope] = {
    nn.ReLU: lambda gradient, x, y: aten.threshold_backward(gradient, y, 0),
    nn.LeakyReLU: lambda gradient, x, y: aten.leaky_relu_backward(gradient, x, 0.01, False),
    nn.GELU: lambda gradient, x, y: aten.gelu_backward(gradient, x),
    nn.SiLU: lambda gradient, x, y: aten.silu_backward(gradient, x),
    nn.ELU: lambda gradient, x, y: aten.elu_backward(gradient, 1, 1, 1, True, y),
    nn.Tanh: lambda gradient, x, y: aten.tanh_backward(gradient, y),
    nn.Sigmoid: lambda gradient, x, y: aten.sigmoid_backward(gradient, y),
}


def _squared(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    error = outputs - targets
    return error.square().mean(), error * (2 / error.numel())


def _absolute(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    error = outputs - targets
    return error.abs().mean(), error.sign() / error.numel()


def _huber(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    error = outputs - targets
    return functional.huber_loss(outputs, targets), error.clamp(-1, 1) / error.numel()


def _cross_entropy(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    logarithms = torch.log_softmax(outputs, 1)
    loss = functional.nll_loss(logarithms, targets)
    gradient = logarithms.exp_()
    gradient.scatter_add_(1, targets.unsqueeze(1), gradient.new_full((len(targets), 1), -1))
    return loss, gradient.div_(len(targets))


LOSS_SLOPES: dict[LossName, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "mse": _squared,
    "mae": _absolute,
    "huber": _huber,
    "cross_entropy": _cross_entropy,
}
"""From outputs and targets to the loss and its gradient."""


class Link(ABC):
    """A layer that remembers what it needs to go back."""

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs `(batch, ...)`, good until the next call."""

    @abstractmethod
    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs; write those of the parameters into `.grad`."""


class Affine(Link):
    """`y = W x + b`."""

    def __init__(self, layer: nn.Linear, batch_size: int, is_first: bool) -> None:
        self._weight, self._bias = layer.weight.detach(), layer.bias.detach()
        layer.weight.grad, layer.bias.grad = map(torch.zeros_like, (self._weight, self._bias))
        self._weight_gradient, self._bias_gradient = layer.weight.grad, layer.bias.grad
        self._outputs = torch.empty(batch_size, layer.out_features)
        self._gradient = torch.empty(batch_size, layer.in_features)
        self._is_first = is_first

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs."""
        self._inputs = inputs
        outputs = self._outputs[: len(inputs)]
        return torch.addmm(self._bias, inputs, self._weight.t(), out=outputs)

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs."""
        torch.mm(gradient.t(), self._inputs, out=self._weight_gradient)
        torch.sum(gradient, 0, out=self._bias_gradient)
        if self._is_first:
            return gradient  # nobody asks for that of the data
        return torch.mm(gradient, self._weight, out=self._gradient[: len(gradient)])


class Activation(Link):
    """A function of each number."""

    def __init__(self, layer: nn.Module) -> None:
        self._layer = layer
        self._slope = SLOPES[type(layer)]

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs."""
        self._inputs = inputs
        outputs: Tensor = self._layer(inputs)
        self._outputs = outputs
        return outputs

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs."""
        answer: Tensor = self._slope(gradient, self._inputs, self._outputs)
        return answer


class Drop(Link):
    """Dropout."""

    def __init__(self, layer: Dropout) -> None:
        self._p = layer.p

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what is left."""
        self._mask = keep_mask(inputs.shape, self._p)
        return inputs * self._mask

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient of what was left."""
        return gradient * self._mask


class Chain:
    """A network as links."""

    def __init__(self, links: list[Link]) -> None:
        self._links = links

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs for `inputs` (batch, ...)."""
        outputs = inputs.flatten(1)
        for link in self._links:
            outputs = link.forward(outputs)
        return outputs

    def backward(self, gradient: Tensor) -> None:
        """Write the gradient of every parameter, given that of the outputs."""
        for link in reversed(self._links):
            gradient = link.backward(gradient)


def chain(network: nn.Module, batch_size: int) -> Chain | None:
    """Return a chain of the network's layers, sharing its parameters; None if some layer is not
    of a kind that is known here."""
    if not isinstance(network, nn.Sequential):
        return None
    links: list[Link] = []
    for position, layer in enumerate(network):
        if isinstance(layer, nn.Linear):
            links.append(Affine(layer, batch_size, is_first=not links))
        elif isinstance(layer, Dropout):
            links.append(Drop(layer))
        elif type(layer) in SLOPES:
            links.append(Activation(layer))
        elif position or not isinstance(layer, nn.Flatten):
            return None
    return Chain(links)
