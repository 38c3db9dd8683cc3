"""Backpropagation by hand through a chain of layers, into memory that is used again at each step.

For small batches on a CPU autograd's own account of what it does takes a good part of the time.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ml.dropout import Dropout, kept
from ml.losses import LossName
from ml.preprocessing import Encode, Standardize

aten = torch.ops.aten
Slope = Callable[[Tensor, Tensor, Tensor], Any]
"""From the gradient of the outputs, the inputs and the outputs to the gradient of the inputs."""

ONE = torch.ones(())
ZERO = torch.zeros(())
MEAN = 1
"""Of aten's ways to reduce a loss."""
IGNORED = -100
"""A class that none has."""

SLOPES: dict[type[nn.Module], Slope] = {
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
    logs = torch.log_softmax(outputs, 1)
    loss, weight = aten.nll_loss_forward(logs, targets, None, MEAN, IGNORED)
    gradient = aten.nll_loss_backward(ONE, logs, targets, None, MEAN, IGNORED, weight)
    return loss, aten._log_softmax_backward_data(gradient, logs, 1, logs.dtype)


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


class Rectified(Link):
    """`max(x, 0)`, in place of its inputs."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs."""
        self._outputs = inputs.relu_()
        return self._outputs

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs."""
        return aten.threshold_backward(gradient, self._outputs, 0)  # type: ignore[no-any-return]


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
        self._kept, self._scale = kept(inputs.shape, self._p)
        return torch.addcmul(ZERO, inputs, self._kept, value=self._scale)

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient of what was left."""
        return torch.addcmul(ZERO, gradient, self._kept, value=self._scale)


class Standardized(Link):
    """The standardisation before the network."""

    def __init__(self, layer: Standardize) -> None:
        self._offset, self._factor = layer.offset(), layer.factor()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs."""
        return inputs.to(torch.float32, copy=True).sub_(self._offset).mul_(self._factor)

    def backward(self, gradient: Tensor) -> Tensor:
        """Nobody asks for the gradient of the data."""
        return gradient


class Encoded(Link):
    """The encoding of a table's rows before the network."""

    def __init__(self, layer: Encode) -> None:
        self._layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs."""
        return self._layer.forward(inputs)

    def backward(self, gradient: Tensor) -> Tensor:
        """Nobody asks for the gradient of the data."""
        return gradient


class Flattened(Link):
    """Each image as one row."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the rows."""
        return inputs.flatten(1)

    def backward(self, gradient: Tensor) -> Tensor:
        """Nobody asks for the gradient of the data."""
        return gradient


class Chain:
    """A network as links."""

    def __init__(self, links: list[Link]) -> None:
        self._links = links

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs for raw `inputs` (batch, ...)."""
        outputs = inputs
        for link in self._links:
            outputs = link.forward(outputs)
        return outputs

    def backward(self, gradient: Tensor) -> None:
        """Write the gradient of every parameter, given that of the outputs."""
        for link in reversed(self._links):
            gradient = link.backward(gradient)


def chain(model: nn.Module, batch_size: int) -> Chain | None:
    """Return a chain of the layers of `model`, preprocessing and network, sharing its parameters;
    None if some layer is not of a kind that is known here."""
    preprocessing, network = model.get_submodule("preprocessing"), model.get_submodule("network")
    if not isinstance(network, nn.Sequential):
        return None
    links: list[Link] = []
    seen_affine = False
    for layer in (preprocessing, *network):
        if isinstance(layer, nn.Linear):
            links.append(Affine(layer, batch_size, is_first=not seen_affine))
            seen_affine = True
        elif type(layer) is nn.ReLU:
            links.append(Rectified())
        elif type(layer) in SLOPES:
            links.append(Activation(layer))
        elif isinstance(layer, Dropout):
            links.append(Drop(layer))
        elif isinstance(layer, Standardize):
            links.append(Standardized(layer))
        elif isinstance(layer, Encode):
            links.append(Encoded(layer))
        elif isinstance(layer, nn.Flatten):
            links.append(Flattened())
        elif not isinstance(layer, nn.Identity):
            return None
    return Chain(links)
